//! The entrant: casulo's child in the host's pid namespace, which nobody in the container can see. Born in the
//! container's cgroup with all the caller's privileges, it joins every namespace, becomes the process in all but its
//! pid, has that born as its sibling, and ends.
//!
//! It connects to nothing that it finds in the container, and writes below /proc by descriptors that it opened on the
//! host: there is no `/proc/self` of it inside.

use super::Request;
use super::cgroup::Destination;
use crate::binary::protection;
use crate::binary::shared::Shared;
use crate::capabilities::SysAdmin;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::namespaces::{self, Kind, Kinds};
use crate::process::asked::Birth;
use crate::process::last_steps::{LastSteps, Tracer, Wait, WorkingDirectory};
use crate::process::{Entered, Role, signals};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::seccomp::Bpf;
use crate::step::{self, Step};
use crate::sync::pipes::TheirEnds;
use crate::sync::{Channel, Message};
use crate::sys::child;
use crate::sys::namespace::stop_being_dumpable;
use crate::sys::pidfd::pidfd_send_signal;
use crate::{lsm, terminal};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::setns;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, chroot, fchdir, write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What the entrant inherits.
pub(super) struct Entrant<'a> {
    pub(super) request: &'a Request<'a>,
    /// A pidfd of the container's init.
    pub(super) init: &'a OwnedFd,
    pub(super) bpf: Option<&'a Bpf>,
    pub(super) ends: TheirEnds,
    pub(super) shared: &'static Shared,
}

impl Entrant<'_> {
    /// Runs it. `proc` is the host's.
    pub(super) fn run(self, parent: Channel, destination: Destination, proc: ProcFs) -> ! {
        self.shared.begin();
        let (parent, error) = match self.enter(&parent, destination, proc) {
            Err(error) => (parent, error),
            Ok(ready) => self.last_steps(&ready, parent),
        };
        // If nobody listens any more there is nobody to tell.
        let _ = parent.send(&Message::Failed(error));
        child::leave(1)
    }

    /// The steps of an entrant but the birth, in their order.
    fn enter(&self, parent: &Channel, destination: Destination, proc: ProcFs) -> Result<Ready> {
        self.leave_the_caller(parent)?;
        self.wait_for_cgroup(parent, destination)?;
        let labels = self.take_from_host(&proc)?;
        self.join_namespaces(proc)?;
        let root = root()?;
        self.open_terminal(&root, parent)?;
        let entered = self.prepare(&root, labels)?;
        let sys_admin = self.become_user(parent)?;
        let program = self.request.process.locate(&root, entered)?;
        Ok(Ready { program, sys_admin })
    }

    /// Of the caller's session nothing is left to be reached from the process: its terminal, its group, its share of
    /// the processor (/proc/N/autogroup).
    fn leave_the_caller(&self, parent: &Channel) -> Result<()> {
        step::begin(Step::ExecEnter)?;
        protection::close_binary_mount();
        if !without(Defence::OwnSession) {
            signals::own_session()?;
        }
        end_with_parent(parent)
    }

    /// Where the clone has not put it into its cgroup, it goes there now.
    fn wait_for_cgroup(&self, parent: &Channel, destination: Destination) -> Result<()> {
        match destination {
            Destination::Reached => Ok(()),
            Destination::ItsOwnMove(processes) => move_to(processes, self.request.id),
            Destination::SystemdsMove { .. } => parent.receive()?.ok_or_else(parent_left).map(drop),
        }
    }

    /// What only the host's privileges grant, and the files of its own /proc that it writes later.
    fn take_from_host(&self, proc: &ProcFs) -> Result<lsm::Files> {
        let process = self.request.process;
        step::begin(Step::ExecGrant)?;
        process.grant(Pid::this(), proc, Role::Exec)?;
        process.labels.open(proc)
    }

    /// All namespaces, and init's root where the container lives in a chroot.
    fn join_namespaces(&self, proc: ProcFs) -> Result<()> {
        let root_of_init = self.root_of_init(&proc)?;
        step::begin(Step::ExecJoin)?;
        self.request.process.identity.leave_callers_groups()?;
        stop_being_dumpable().context(Code::Process, "prctl", "PR_SET_DUMPABLE")?;
        self.join(&proc)?;
        drop(proc);
        if let Some(root) = root_of_init {
            fchdir(&root).and_then(|()| chroot(".")).context(
                Code::Process,
                "enter the root of",
                "init",
            )?;
        }
        if self.request.seen.state.has(Kind::User) {
            namespaces::become_root_of_joined()?;
        }
        Ok(())
    }

    fn open_terminal(&self, root: &Root, parent: &Channel) -> Result<()> {
        let process = self.request.process;
        let Some(size) = process.terminal else {
            return Ok(());
        };
        step::begin(Step::ExecTerminal)?;
        let pty = terminal::open(root, size)?;
        pty.give_to(process.identity.uid)?;
        terminal::take_streams(pty.slave.as_fd())?;
        parent.send(&Message::Terminal(pty.master))
    }

    /// What of the process needs root's privileges in its user namespace, its working directory last of all.
    fn prepare(&self, root: &Root, labels: lsm::Files) -> Result<Entered> {
        let process = self.request.process;
        step::begin(Step::ExecPrepare)?;
        process.prepare(&labels)?;
        drop(labels);
        process.enter(root)
    }

    /// From root of its user namespace to the process's user. Whether CAP_SYS_ADMIN stays until the filter is loaded.
    fn become_user(&self, parent: &Channel) -> Result<SysAdmin> {
        let process = self.request.process;
        step::begin(Step::ExecUser)?;
        let sys_admin = process.sys_admin_until(self.request.filter);
        process.become_user(sys_admin)?;
        if process.identity.changes_ids() {
            // That has cleared it, PR_SET_PDEATHSIG(2const).
            end_with_parent(parent)?;
        }
        Ok(sys_admin)
    }

    /// From here on the process is what it will be.
    fn last_steps(&self, ready: &Ready, parent: Channel) -> (Channel, Error) {
        let process = self.request.process;
        let steps = LastSteps {
            program: &ready.program,
            bpf: self.bpf,
            sys_admin: ready.sys_admin,
            go: self.ends.go.as_fd(),
            tell: self.ends.tell.as_fd(),
            wait: Wait::Announced,
            working_directory: WorkingDirectory::Verified,
            shared: self.shared,
            tracer: Tracer::for_listener(process),
            hooks: &[],
            hook_output: [None; 2],
            execute: Step::ExecExecute,
        };
        let prepare = || -> Result<()> {
            step::begin(Step::ExecReady)?;
            let mut keep = steps.descriptors();
            keep.push(parent.as_fd().as_raw_fd());
            steps
                .program
                .ready(process, &keep, Birth::Sibling.siblings())?;
            step::begin(Step::ExecFilter)?;
            step::begin(Step::ExecWait)?;
            // Until then somebody may hold the mount that this program runs from.
            parent.until_seen(self.shared)
        };
        match prepare() {
            Err(error) => (parent, error),
            Ok(()) => steps.bear(process, parent),
        }
    }

    /// All namespaces by one call, in which the kernel checks with the old and the new credentials at once and joins
    /// all or none. Where that is refused, those that are not the caller's own.
    fn join(&self, proc: &ProcFs) -> Result<()> {
        let all = self.request.seen.state.namespaces;
        if all.is_empty() {
            return Ok(());
        }
        let all = match without(Defence::JoinedBeforeBirth) {
            false => all,
            // Whoever is in another user namespace could not be stopped.
            true => all.and(Kinds::from_iter([Kind::Pid, Kind::User])),
        };
        match setns(self.init, all.clone_flags()) {
            Err(Errno::EPERM) => {}
            result => {
                return result.context(Code::Namespace, "join the namespaces of", self.request.id);
            }
        }
        let others =
            namespaces::not_shared_with(all, self.request.seen.state.init_process_pid, proc)?;
        setns(self.init, others.clone_flags()).context(
            Code::Namespace,
            "join the namespaces of",
            self.request.id,
        )
    }

    /// Where the container shares the caller's mount namespace it lives in a chroot: init's root.
    fn root_of_init(&self, proc: &ProcFs) -> Result<Option<OwnedFd>> {
        if self.request.seen.state.has(Kind::Mount) {
            return Ok(None);
        }
        let pid = self.request.seen.state.init_process_pid;
        let root = proc.open_link(&format!("{pid}/root"), OFlag::O_PATH | OFlag::O_DIRECTORY);
        // Only then is it sure that the number was still init's.
        root.and_then(|root| pidfd_send_signal(self.init.as_fd(), 0).map(|()| Some(root)))
            .context(Code::Process, "open the root of", "init")
    }
}

/// What the entrant has found.
struct Ready {
    program: crate::process::Program,
    sys_admin: SysAdmin,
}

/// The root that it has joined.
fn root() -> Result<Root> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open("/", flags, Mode::empty()).context(Code::Process, "open", "/")?;
    Ok(Root::from_fd(root))
}

/// `processes` is the list of processes of a cgroup: `0` stands for who writes it (cgroups(7)).
fn move_to(processes: OwnedFd, id: &str) -> Result<()> {
    let step = "move the process to the cgroup of";
    match write(&processes, b"0").context(Code::Cgroup, step, id)? {
        0 => Err(Error::step(Code::Cgroup, step, id, Errno::EIO)),
        _ => Ok(()),
    }
}

fn end_with_parent(parent: &Channel) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context(Code::Process, "set the parent-death signal", "")?;
    if parent.is_closed() {
        Err(parent_left())
    } else {
        Ok(())
    }
}

fn parent_left() -> Error {
    Error::new(Code::Sync, "the parent left before the process could start")
}
