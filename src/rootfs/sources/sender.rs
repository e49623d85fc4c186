//! The parent's part, where init cannot do it: it clones the rootfs and the bind sources in the host's mount namespace
//! and sends them.

use super::super::idmap;
use super::super::mount::{Action, Bind, IdMapping, Maps, Mount};
use super::super::place::Shape;
use super::super::{Cloner, Plan, RootSwitch};
use super::opened::{Place, STEP, change, locate, open_object_as, open_root};
use super::{Source, Tree};
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::sync::Channel;
use crate::sync::trees::{BATCH, Top};
use crate::sys::fd::close_all;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many descriptors of trees the parent keeps at most.
const KEPT: usize = 256;

/// What is sent to init, in the order of the plan, and how far that is. Parent, with the caller's privileges, in its
/// mount namespace.
///
/// It keeps the descriptors of what it has sent: where one is closed last the kernel has work to do, and while these are
/// there, init has not.
pub(crate) struct Sender<'a> {
    plan: &'a Plan,
    maps: MapsOfMounts<'a>,
    channel: &'a Channel,
    /// The mounts that are not dealt with.
    rest: &'a [Mount],
    /// What is known of init.
    init: Progress,
    /// What init is to answer.
    asked: Asked,
    batch: Batch,
}

/// How much of what comes before the next source init has mounted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// All of it.
    All,
    /// Perhaps not all, but it has made every new file system.
    NewOnes,
    /// Perhaps not every new file system. mountinfo lists mounts in the order in which they were made (Linux 6.8), so it
    /// must have, before the next source is cloned.
    Unknown,
}

/// What init is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// To say when it has come to the next source.
    Turn,
    /// The next source, which lies in the container's root.
    Source,
}

impl<'a> Sender<'a> {
    /// Sends the rootfs, and the bind sources as far as init need not answer first. Once the id maps of `init` are
    /// written. `proc` is the host's.
    ///
    /// # Errors
    /// E_MOUNT: a source that is not there or cannot be cloned, an attribute that cannot be had, an id map that
    /// the file system refuses; E_NAMESPACE and E_ID_MAP from the namespace that carries a map; E_SYNC.
    pub(crate) fn begin(
        plan: &'a Plan,
        init: Pid,
        proc: &'a ProcFs,
        channel: &'a Channel,
    ) -> Result<Sender<'a>> {
        let mut sender = Sender {
            plan,
            maps: MapsOfMounts {
                init,
                proc,
                containers: None,
            },
            channel,
            rest: &[],
            init: Progress::NewOnes,
            asked: Asked::Nothing,
            batch: Batch::default(),
        };
        if plan.switch == RootSwitch::Chroot {
            return Ok(sender);
        }
        if plan.cloner == Cloner::Init {
            channel.send_clone_in_init()?;
            return Ok(sender);
        }
        let root = match open_root(plan) {
            // CAP_SYS_ADMIN may also be one over a user namespace that does not own this mount namespace.
            Err(error) if error.errno == Some(Errno::EPERM) && !plan.has_idmaps() => {
                channel.send_clone_in_init()?;
                return Ok(sender);
            }
            root => root?,
        };
        channel.send_trees(&[Top::Directory], &[root.as_fd()])?;
        sender.batch.sent.push(root);
        sender.rest = &plan.mounts;
        sender.go_on()?;
        Ok(sender)
    }

    /// Init has come to the next source, or has that already: sends what can be sent now.
    ///
    /// # Errors
    /// As [`Sender::begin`].
    pub(crate) fn hear_turn(&mut self) -> Result<()> {
        match self.asked {
            Asked::Turn => self.init = Progress::All,
            Asked::Source => self.done(),
            Asked::Nothing => return Err(unasked()),
        }
        self.go_on()
    }

    /// Init has cloned the source that lies in the container's root: changes that and sends it back, with what can be sent
    /// now.
    ///
    /// # Errors
    /// As [`Sender::begin`].
    pub(crate) fn hear_found(&mut self, tree: OwnedFd) -> Result<()> {
        match self.rest {
            [mount, ..] if self.asked == Asked::Source => {
                let Action::Bind(bind) = &mount.action else {
                    return Err(unasked());
                };
                let maps = &mut self.maps;
                let idmap = |tree: BorrowedFd<'_>| maps.apply(tree, bind);
                let tree = change(tree, &mount.changes, mount, bind, idmap)?;
                self.batch.push(tree, self.channel)?;
                self.done();
                self.go_on()
            }
            _ => Err(unasked()),
        }
    }

    fn go_on(&mut self) -> Result<()> {
        self.asked = Asked::Nothing;
        while let Some(mount) = self.rest.first() {
            match &mount.action {
                Action::Bind(bind) => {
                    if !self.source(mount, bind)? {
                        return Ok(());
                    }
                    self.done();
                }
                Action::FileSystem(_) | Action::MountCall(_) => {
                    self.init = Progress::Unknown;
                    self.rest = self.rest.get(1..).unwrap_or_default();
                }
                Action::Remount(_) => self.rest = self.rest.get(1..).unwrap_or_default(),
            }
        }
        self.batch.send(self.channel)
    }

    /// Opens the next source. False if init has to answer first.
    fn source(&mut self, mount: &Mount, bind: &Bind) -> Result<bool> {
        if self.init == Progress::Unknown {
            return self.ask_for_turn();
        }
        match locate(mount, bind, &self.plan.path, self.maps.proc)? {
            Place::Host(object) => {
                let maps = &mut self.maps;
                let idmap = |tree: BorrowedFd<'_>| maps.apply(tree, bind);
                match open_object_as(object.as_fd(), mount, bind, idmap)? {
                    Source::Tree(tree) => self.batch.push(tree, self.channel)?,
                    Source::Link(text) => {
                        self.batch.send(self.channel)?;
                        self.channel.send_link(&text)?;
                    }
                }
                self.batch.objects.push(object);
                Ok(true)
            }
            Place::Inside(path) => {
                self.batch.send(self.channel)?;
                self.channel.send_inside(&path)?;
                self.asked = Asked::Source;
                Ok(false)
            }
            Place::Missing if self.init == Progress::All => {
                Err(Errno::ENOENT).context(Code::Mount, STEP, mount)
            }
            Place::Missing => self.ask_for_turn(),
        }
    }

    fn ask_for_turn(&mut self) -> Result<bool> {
        self.batch.send(self.channel)?;
        self.channel.ask_for_turn()?;
        self.asked = Asked::Turn;
        Ok(false)
    }

    /// The next source is init's to attach.
    fn done(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.init = Progress::NewOnes;
    }
}

fn unasked() -> Error {
    Error::new(Code::Sync, "init spoke of a source without being asked")
}

/// Trees that go in one message.
#[derive(Default)]
struct Batch {
    tops: Vec<Top>,
    trees: Vec<OwnedFd>,
    sent: Vec<OwnedFd>,
    /// What the trees are clones of.
    objects: Vec<OwnedFd>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        close_all(std::mem::take(&mut self.objects));
        close_all(std::mem::take(&mut self.sent));
    }
}

impl Batch {
    fn push(&mut self, tree: Tree, channel: &Channel) -> Result<()> {
        self.tops.push(match tree.shape {
            Shape::Directory => Top::Directory,
            Shape::File => Top::Other,
        });
        self.trees.push(tree.fd);
        match self.trees.len() {
            BATCH => self.send(channel),
            _ => Ok(()),
        }
    }

    fn send(&mut self, channel: &Channel) -> Result<()> {
        if self.trees.is_empty() {
            return Ok(());
        }
        let trees: Vec<BorrowedFd<'_>> = self.trees.iter().map(AsFd::as_fd).collect();
        channel.send_trees(&self.tops, &trees)?;
        self.tops.clear();
        close_all(std::mem::take(&mut self.objects));
        if self.sent.len() >= KEPT {
            close_all(std::mem::take(&mut self.sent));
        }
        self.sent.append(&mut self.trees);
        Ok(())
    }
}

/// The user namespaces that carry the maps of id-mapped mounts. Parent.
struct MapsOfMounts<'a> {
    init: Pid,
    proc: &'a ProcFs,
    /// The container's own, once one mount has wanted it.
    containers: Option<OwnedFd>,
}

impl MapsOfMounts<'_> {
    fn apply(&mut self, tree: BorrowedFd<'_>, bind: &Bind) -> Result<()> {
        let Some(IdMapping { depth, maps }) = &bind.idmap else {
            return Ok(());
        };
        let made;
        let users = match maps {
            Maps::Container => match &mut self.containers {
                Some(users) => users,
                none => none.insert(idmap::user_namespace_of(self.init, self.proc)?),
            },
            Maps::Joined(path) => {
                made = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).context(
                    Code::Namespace,
                    "open",
                    path.display(),
                )?;
                &made
            }
            Maps::Own { uids, gids } => {
                made = idmap::user_namespace(uids, gids, self.proc)?;
                &made
            }
        };
        idmap::apply(tree, *depth, users.as_fd())
            .map_err(|errno| idmap::refused(errno, &bind.source))
    }
}
