//! Steps that are made to fail, or at which the process is killed (`CASULO_FAULT`). Any casulo process.
//!
//! Each point at which a command has acquired something and not yet the next thing has a name. The
//! environment of a test build picks one: `CASULO_FAULT=mounts:ENOMEM` fails there with this errno,
//! `mounts:kill` kills the process that is there, `mounts:stop` stops it until SIGCONT; a third part
//! (`replace-record:kill:2`) waits for the second time.

use crate::binary::landing::Fault;
#[cfg(feature = "testing")]
use crate::binary::landing::{FaultKind, FaultPlace};
use crate::error::Result;
#[cfg(feature = "testing")]
use crate::error::{Code, Error};
#[cfg(feature = "testing")]
use nix::errno::Errno;

/// Which process of casulo is at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The command that was called.
    Parent,
    /// Init, the process of exec, or a hook before its execve.
    Child,
}

/// The steps with their names and sides, in the order in which a command goes through them.
macro_rules! steps {
    ($( $(#[doc = $doc:literal])+ $step:ident $name:literal $side:ident; )+) => {
        /// What is about to be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step { $( $(#[doc = $doc])+ $step, )+ }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Step] = &[$(Step::$step),+];

            /// Its name in `CASULO_FAULT`.
            pub fn name(self) -> &'static str {
                match self { $(Step::$step => $name),+ }
            }

            /// Whose step it is.
            pub fn side(self) -> Side {
                match self { $(Step::$step => Side::$side),+ }
            }
        }
    };
}

steps! {
    // create and run, the parent
    /// The id is reserved: a directory that has no name yet is made.
    Reserve "reserve" Parent;
    /// It is there and locked; the facts are written.
    Record "record" Parent;
    /// It takes the container's name.
    NameRecord "name-record" Parent;
    /// The filter is compiled, or found compiled.
    CompileFilter "compile-filter" Parent;
    /// A compiled filter that is written takes its name.
    /// A connection to the seccomp agent.
    ConnectAgent "connect-agent" Parent;
    /// The facts that are written replace the old ones.
    ReplaceRecord "replace-record" Parent;
    /// The cgroup's directory.
    Cgroup "cgroup" Parent;
    /// It is there, and does not name its record yet.
    HoldCgroup "hold-cgroup" Parent;
    /// Its limits.
    Limits "limits" Parent;
    /// Its owner.
    CgroupOwner "cgroup-owner" Parent;
    /// The RDT class is made.
    RdtClass "rdt-class" Parent;
    /// It gets its schemata.
    RdtSchemata "rdt-schemata" Parent;
    /// The monitoring group is made.
    RdtMonitor "rdt-monitor" Parent;
    /// Namespaces to join are opened.
    OpenNamespaces "open-namespaces" Parent;
    /// The FIFOs on which init waits for start.
    StartFifos "start-fifos" Parent;
    /// The files that get the words of hooks.
    HookOutput "hook-output" Parent;
    /// The process that holds systemd's scope.
    Bridge "bridge" Parent;
    /// The scope.
    Scope "scope" Parent;
    /// systemd is told to start it; it is waited for.
    ScopeStarts "scope-starts" Parent;
    /// The cgroups in the scope.
    FillScope "fill-scope" Parent;
    /// The bridge makes init.
    Cross "cross" Child;
    /// Init.
    Clone "clone" Parent;
    /// Init is there; its maps and all else that only the parent can do to it.
    Maps "maps" Parent;
    /// The process that holds the maps of an id-mapped mount waits.
    MapHolder "map-holder" Child;
    /// The container's network namespace is entered, for devices of the host that it takes over.
    EnterNetwork "enter-network" Parent;
    /// It is entered.
    LookInside "look-inside" Parent;
    /// A device moves.
    MoveDevice "move-device" Parent;
    /// It has moved; it gets its addresses.
    DressDevice "dress-device" Parent;
    /// It is set up.
    SetUpDevice "set-up-device" Parent;
    /// The process's own limits of the host.
    Grant "grant" Parent;
    /// Init joins the RDT class, and then the monitoring group.
    RdtJoin "rdt-join" Parent;
    /// Init may go on.
    Go "go" Parent;
    /// The device program is loaded.
    DeviceProgram "device-program" Parent;
    /// It is attached.
    DeviceRules "device-rules" Parent;
    /// The rootfs and the bind sources are cloned and sent.
    OpenSources "open-sources" Parent;
    /// The copy of config.json.
    KeepConfig "keep-config" Parent;
    /// The facts with init's pid are written.
    RecordInit "record-init" Parent;
    /// Hooks of the runtime's namespaces.
    RuntimeHooks "runtime-hooks" Parent;
    /// A hook's process.
    ForkHook "fork-hook" Parent;
    /// A hook's process, before it is bound to the life of its parent.
    BecomeHook "become-hook" Child;
    /// The terminal goes to the console socket.
    SendTerminal "send-terminal" Parent;
    /// The pid file is written.
    PidFile "pid-file" Parent;
    /// The pid file that is written takes its name.
    NamePidFile "name-pid-file" Parent;
    /// The pidfd socket.
    SendPidfd "send-pidfd" Parent;
    /// Init is told that it is recorded.
    Release "release" Parent;
    /// All is done; the facts say so.
    Finish "finish" Parent;
    /// What it takes to look after init in the foreground.
    Attend "attend" Parent;
    /// `run` says `Start`.
    SayStart "say-start" Parent;
    /// The program runs; the poststart hooks.
    RunPoststart "run-poststart" Parent;
    /// `run` waits for the end.
    WaitForEnd "wait-for-end" Parent;

    // init
    /// The namespaces that the clone has not made.
    Unshare "unshare" Child;
    /// Inherited descriptors are marked.
    MarkDescriptors "mark-descriptors" Child;
    /// The last steps into the namespaces.
    EnterNamespaces "enter-namespaces" Child;
    /// A procfs of its own.
    PrivateProc "private-proc" Child;
    /// The mount namespace is cut off from the host's.
    EnterRoot "enter-root" Child;
    /// The mounts.
    Mounts "mounts" Child;
    /// Device nodes and links.
    Devices "devices" Child;
    /// The mounts and nodes are in place; init says so.
    Populated "populated" Child;
    /// createContainer hooks.
    ContainerHooks "container-hooks" Child;
    /// The new root.
    Pivot "pivot" Child;
    /// The old root is detached.
    DetachOldRoot "detach-old-root" Child;
    /// The session.
    Session "session" Child;
    /// The pty.
    Terminal "terminal" Child;
    /// The working directory.
    MakeCwd "make-cwd" Child;
    /// Kernel parameters.
    Sysctl "sysctl" Child;
    /// Masks and read-only paths.
    Masks "masks" Child;
    /// What needs root's privileges of the process.
    Prepare "prepare" Child;
    /// The user.
    User "user" Child;
    /// The program is looked up.
    Locate "locate" Child;
    /// All is set up.
    Ready "ready" Child;
    /// Init was started; startContainer hooks.
    StartHooks "start-hooks" Child;
    /// Signals, descriptors and resource limits.
    ResourceLimits "resource-limits" Child;
    /// The filter.
    LoadFilter "load-filter" Child;
    /// The program.
    Execute "execute" Child;

    // start
    /// The container is locked; init is asked.
    ConnectToInit "connect-to-init" Parent;
    /// Init is told to start.
    TellStart "tell-start" Parent;
    /// Init has started; the FIFOs go.
    ForgetFifos "forget-fifos" Parent;
    /// Poststart hooks.
    Poststart "poststart" Parent;

    // exec
    /// The entrant.
    ExecClone "exec-clone" Parent;
    /// systemd moves it into the container's cgroup, where only that may (an ordinary user's).
    ExecAttach "exec-attach" Parent;
    /// It is there, and is told.
    ExecAttached "exec-attached" Parent;
    /// It may go on.
    ExecGo "exec-go" Parent;
    /// It runs.
    ExecRuns "exec-runs" Parent;
    /// What it takes to look after it in the foreground.
    ExecAttend "exec-attend" Parent;
    /// It takes what only the host's privileges grant.
    ExecGrant "exec-grant" Child;
    /// It joins the namespaces.
    ExecJoin "exec-join" Child;
    /// Its terminal.
    ExecTerminal "exec-terminal" Child;
    /// Its user.
    ExecUser "exec-user" Child;
    /// Its filter.
    ExecFilter "exec-filter" Child;
    /// It waits until it may be seen.
    ExecWait "exec-wait" Child;
    /// The process's program.
    ExecExecute "exec-execute" Child;

    // pause, resume, kill, update
    /// The cgroup freezes.
    Freeze "freeze" Parent;
    /// It was told to, and is waited for.
    Frozen "frozen" Parent;
    /// The cgroup thaws.
    Thaw "thaw" Parent;
    /// The signal.
    Signal "signal" Parent;
    /// A limit changes.
    UpdateLimit "update-limit" Parent;
    /// The properties of the scope change.
    UpdateScope "update-scope" Parent;
    /// systemd has changed them.
    ScopeUpdated "scope-updated" Parent;
    /// The schemata of the RDT class change.
    UpdateSchemata "update-schemata" Parent;
    /// The device rules change.
    UpdateDevices "update-devices" Parent;

    // delete, and the end of run
    /// The processes are killed.
    KillAll "kill-all" Parent;
    /// The cgroup goes.
    RemoveCgroup "remove-cgroup" Parent;
    /// The directories above it go.
    RemoveParents "remove-parents" Parent;
    /// The scope goes.
    StopScope "stop-scope" Parent;
    /// systemd is told to stop it; it is waited for.
    ScopeStops "scope-stops" Parent;
    /// The RDT class and the monitoring group go.
    RemoveClass "remove-class" Parent;
    /// The poststop hooks.
    Poststop "poststop" Parent;
    /// The files of the record go.
    RemoveRecord "remove-record" Parent;
    /// The last file of the record has gone.
    RemoveDirectory "remove-directory" Parent;
}

/// Fails, kills or stops if the environment names this step.
///
/// # Errors
/// The errno that the environment names.
#[cfg(feature = "testing")]
pub fn at(step: Step) -> Result<()> {
    errno_at(step).map_err(|errno| Error::step(Code::Unsupported, "fault at", step.name(), errno))
}

/// Nothing, in every other build. No errors.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) const fn at(_: Step) -> Result<()> {
    Ok(())
}

/// [`at`] where an errno is the error.
///
/// # Errors
/// The errno that the environment names.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) const fn errno_at(_: Step) -> nix::Result<()> {
    Ok(())
}

/// [`at`] where an errno is the error.
///
/// # Errors
/// The errno that the environment names.
#[cfg(feature = "testing")]
pub fn errno_at(step: Step) -> nix::Result<()> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);

    let Ok(told) = std::env::var("CASULO_FAULT") else {
        return Ok(());
    };
    let mut parts = told.split(':');
    if parts.next() != Some(step.name()) {
        return Ok(());
    }
    let what = parts.next().unwrap_or_default();
    let time = parts.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    if SEEN.fetch_add(1, Ordering::Relaxed) + 1 != time {
        return Ok(());
    }
    match what {
        "kill" => die(),
        "stop" => stop(),
        name => Err(errno_of(name)),
    }
}

/// What [`crate::process::last_steps`] does at this step, if the environment names it.
#[cfg(feature = "testing")]
pub(crate) fn last(step: Step) -> Option<Fault> {
    let at = match step {
        Step::StartHooks => FaultPlace::Hooks,
        _ => FaultPlace::Execute,
    };
    let told = std::env::var("CASULO_FAULT").ok()?;
    let mut parts = told.split(':');
    if parts.next() != Some(step.name()) {
        return None;
    }
    let how = match parts.next().unwrap_or_default() {
        "kill" => FaultKind::Kill,
        "stop" => FaultKind::Stop,
        name => FaultKind::Errno(errno_of(name)),
    };
    Some(Fault { at, how })
}

/// Nothing, in every other build.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) const fn last(_: Step) -> Option<Fault> {
    None
}

/// SIGKILL, or what comes next to it: pid 1 of a namespace cannot be killed from inside.
#[cfg(feature = "testing")]
fn die() -> ! {
    // For pid 1 the kernel drops the signal.
    let _ = signal_self(nix::sys::signal::Signal::SIGKILL);
    crate::sys::child::leave(137)
}

/// SIGSTOP. Pid 1 of a namespace cannot be stopped from inside: it sleeps until it is killed.
#[cfg(feature = "testing")]
fn stop() -> nix::Result<()> {
    if nix::unistd::getpid().as_raw() == 1 {
        loop {
            nix::unistd::pause();
        }
    }
    signal_self(nix::sys::signal::Signal::SIGSTOP)
}

/// Not raise(3): after clone3 the C library takes the parent's thread for ours.
#[cfg(feature = "testing")]
fn signal_self(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    nix::sys::signal::kill(nix::unistd::getpid(), signal)
}

#[cfg(feature = "testing")]
fn errno_of(name: &str) -> Errno {
    match name {
        "EIO" => Errno::EIO,
        "EPERM" => Errno::EPERM,
        "EINTR" => Errno::EINTR,
        "ENOSPC" => Errno::ENOSPC,
        _ => Errno::ENOMEM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Step::ALL.iter().map(|step| step.name()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
