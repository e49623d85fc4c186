//! What a probe has to know about the host to look for it, and how it says what it found.

use serde::{Deserialize, Serialize};

/// The file with the facts: in the root of every root file system.
pub(crate) const FACTS: &str = "facts.json";

/// The variable that the victim has in its environment, and nobody else.
pub(crate) const VICTIMS_VARIABLE: &str = "CASULO_BENCH_SECRET";

/// The name of the key in the host's keyrings.
pub(crate) const KEY: &str = "casulo-bench";

/// The name that a probe gives the host.
pub(crate) const NEW_NAME: &str = "renamed-by-probe";

/// The source of the mounts that probes make.
pub(crate) const MOUNT: &str = "mount-of-probe";

/// Names and numbers of the host's things. No secret is in here: a probe that shows one has got it
/// from where it belongs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The file with the secret, outside every root file system.
    pub(crate) secret: String,
    /// The directory of the secret, open as this descriptor in the caller of every environment.
    pub(crate) directory_fd: i32,
    /// The secret itself, open as this one.
    pub(crate) file_fd: i32,
    /// The secret's file handle: type and bytes. None where the file system has none.
    pub(crate) handle: Option<(i32, Vec<u8>)>,
    /// A process of the host's root that nobody misses.
    pub(crate) victim: i32,
    /// A word of its command line.
    pub(crate) victims_word: String,
    /// The TCP port on 127.0.0.1 that it listens on.
    pub(crate) port: u16,
    /// The abstract Unix socket that it listens on.
    pub(crate) socket: String,
    /// The System V key of the host's shared memory.
    pub(crate) memory: i32,
    /// The block device below the root file systems, if it is one.
    pub(crate) disk: Option<(u64, u64)>,
    /// The host's network interfaces but `lo`.
    pub(crate) interfaces: Vec<String>,
    /// Seconds since the host was booted.
    pub(crate) uptime: u64,
    /// A part of the name of every cgroup of ours on the host.
    pub(crate) cgroup: String,
    /// Whether limits can be set here at all, and so bind: the controllers that there are.
    pub(crate) controllers: Vec<String>,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Held,
    Leaked,
    NotApplicable,
}

/// What a probe says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) outcome: Outcome,
    /// What it saw: an errno, a name, what it read.
    pub(crate) evidence: String,
}

impl Finding {
    pub(crate) fn held(evidence: impl Into<String>) -> Finding {
        Finding {
            outcome: Outcome::Held,
            evidence: evidence.into(),
        }
    }

    pub(crate) fn leaked(evidence: impl Into<String>) -> Finding {
        Finding {
            outcome: Outcome::Leaked,
            evidence: evidence.into(),
        }
    }

    pub(crate) fn not_applicable(evidence: impl Into<String>) -> Finding {
        Finding {
            outcome: Outcome::NotApplicable,
            evidence: evidence.into(),
        }
    }
}
