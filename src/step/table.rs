//! The steps of every command: what a test build makes fail ([`super::fault`]), and what a trace shows
//! ([`super::trace`]).

use super::phase::{Phase, Side};

/// The steps with their names, their sides and the phases that some begin, in the order in which a command goes
/// through them.
macro_rules! steps {
    ($( $(#[doc = $doc:literal])+ $step:ident $name:literal $side:ident $(begins $phase:ident)?; )+) => {
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

            /// The phase of the trace that begins with it.
            #[inline(always)]
            pub(super) const fn phase(self) -> Option<Phase> {
                match self { $(Step::$step => phase!($($phase)?)),+ }
            }
        }
    };
}

macro_rules! phase {
    () => {
        None
    };
    ($phase:ident) => {
        Some(Phase::$phase)
    };
}

steps! {
    // create and run, the parent
    /// The id is reserved: a directory that has no name yet is made.
    Reserve "reserve" Parent begins Record;
    /// It is there and locked; the facts are written.
    Record "record" Parent;
    /// It takes the container's name.
    NameRecord "name-record" Parent;
    /// The filter is compiled, or found compiled.
    CompileFilter "compile-filter" Parent;
    /// A connection to the seccomp agent.
    ConnectAgent "connect-agent" Parent;
    /// The facts that are written replace the old ones.
    ReplaceRecord "replace-record" Parent;
    /// The cgroup's directory.
    Cgroup "cgroup" Parent begins Cgroup;
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
    OpenNamespaces "open-namespaces" Parent begins Open;
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
    Clone "clone" Parent begins Clone;
    /// Init is there; its maps and all else that only the parent can do to it.
    Maps "maps" Parent begins Outside;
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
    /// Init is heard until it is what it will be.
    Hear "hear" Parent begins Wait;
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
    WaitForEnd "wait-for-end" Parent begins Running;

    // init
    /// The namespaces that the clone has not made.
    Unshare "unshare" Child begins Enter;
    /// Inherited descriptors are marked.
    MarkDescriptors "mark-descriptors" Child;
    /// The last steps into the namespaces.
    EnterNamespaces "enter-namespaces" Child;
    /// A procfs of its own.
    PrivateProc "private-proc" Child;
    /// The mount namespace is cut off from the host's.
    EnterRoot "enter-root" Child;
    /// The mounts.
    Mounts "mounts" Child begins Mounts;
    /// Device nodes and links.
    Devices "devices" Child;
    /// The mounts and nodes are in place; init says so.
    Populated "populated" Child;
    /// createContainer hooks.
    ContainerHooks "container-hooks" Child;
    /// The new root.
    Pivot "pivot" Child begins Pivot;
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
    Masks "masks" Child begins Finish;
    /// What needs root's privileges of the process.
    Prepare "prepare" Child begins Identity;
    /// The user.
    User "user" Child;
    /// The program is looked up.
    Locate "locate" Child;
    /// All is set up.
    Ready "ready" Child begins LastSteps;
    /// Init was started; startContainer hooks.
    StartHooks "start-hooks" Child;
    /// Signals, descriptors and resource limits.
    ResourceLimits "resource-limits" Child;
    /// The filter.
    LoadFilter "load-filter" Child;
    /// The program.
    Execute "execute" Child begins Execute;

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
    ExecClone "exec-clone" Parent begins Clone;
    /// It is there, and is looked after.
    ExecSupervise "exec-supervise" Parent begins Outside;
    /// systemd moves it into the container's cgroup, where only that may (an ordinary user's).
    ExecAttach "exec-attach" Parent;
    /// It has been moved, and is told.
    ExecAttached "exec-attached" Parent;
    /// It may go on.
    ExecGo "exec-go" Parent begins Wait;
    /// It runs.
    ExecRuns "exec-runs" Parent;
    /// What it takes to look after it in the foreground.
    ExecAttend "exec-attend" Parent begins Running;
    /// The entrant leaves what is the caller's.
    ExecEnter "exec-enter" Child begins Enter;
    /// It takes what only the host's privileges grant.
    ExecGrant "exec-grant" Child;
    /// It joins the namespaces.
    ExecJoin "exec-join" Child;
    /// Its terminal.
    ExecTerminal "exec-terminal" Child;
    /// What needs root's privileges of the process.
    ExecPrepare "exec-prepare" Child begins Identity;
    /// Its user.
    ExecUser "exec-user" Child;
    /// It has found its program.
    ExecReady "exec-ready" Child begins LastSteps;
    /// Its filter.
    ExecFilter "exec-filter" Child;
    /// It waits until it may be seen.
    ExecWait "exec-wait" Child;
    /// The process's program.
    ExecExecute "exec-execute" Child begins Execute;

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
    RemoveCgroup "remove-cgroup" Parent begins CleanUp;
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

    #[test]
    fn a_step_and_the_phase_that_it_begins_are_of_one_process() {
        let phases = Step::ALL.iter().filter_map(|it| Some((it, it.phase()?)));
        for (step, phase) in phases {
            assert_eq!(step.side(), phase.side(), "{step:?}");
        }
    }

    #[test]
    fn every_phase_but_the_first_begins_with_a_step() {
        let begun: Vec<Phase> = Step::ALL.iter().filter_map(|it| it.phase()).collect();
        let missing = Phase::ALL.iter().filter(|it| !begun.contains(it));
        assert_eq!(missing.collect::<Vec<_>>(), [&Phase::Plan]);
    }
}
