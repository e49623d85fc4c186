//! What init has from its parent. Made in the parent, before the clone.

use crate::binary::shared::Shared;
use crate::defence::{Defence, without};
use crate::hooks::Output;
use crate::namespaces::{self, Joins};
use crate::process::asked::Birth;
use crate::process::last_steps::Tracer;
use crate::process::last_steps::WorkingDirectory;
use crate::rootfs::devices::Nodes;
use crate::seccomp::Bpf;
use crate::sync::Channel;
use crate::sync::pipes::TheirEnds;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Who will start the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartBy {
    /// This process, by `Created::start`.
    Parent,
    /// A later `casulo start`, over the FIFOs in the state directory.
    Fifo,
}

/// What init inherits from the parent.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// Opened namespaces to join.
    pub joins: Joins,
    /// Device nodes that only the parent may make.
    pub nodes: Nodes,
    /// The compiled filter.
    pub bpf: Option<Bpf>,
    /// Our end of the conversation with the parent.
    pub parent: Channel,
    /// The ends of the pipes for the last steps.
    pub ends: TheirEnds,
    /// The page for the last steps.
    pub shared: &'static Shared,
    /// Who says that the program is to be executed.
    pub start: StartBy,
    /// Whether the working directory is looked at again before that.
    pub working_directory: WorkingDirectory,
    /// Who has to look into it until its program runs.
    pub tracer: Tracer,
    /// Files that get what hooks say.
    pub output: Output,
    /// Where startContainer hooks write: stdout and stderr, or both together.
    pub words: Vec<OwnedFd>,
}

impl Inheritance {
    /// Whether this process becomes init, or makes it.
    pub(super) fn birth(&self) -> Birth {
        if self.joins.joins(namespaces::Kind::Pid) {
            Birth::Sibling
        } else {
            Birth::Itself
        }
    }

    /// Where startContainer hooks write.
    pub(super) fn hook_output(&self) -> [Option<RawFd>; 2] {
        if without(Defence::HookPipes) {
            return self.output.descriptors();
        }
        let word = |at: usize| {
            let word = self.words.get(at).or(self.words.last());
            word.map(AsRawFd::as_raw_fd)
        };
        [word(0), word(1)]
    }
}
