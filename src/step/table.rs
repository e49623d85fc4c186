//! The steps of every command: a test build makes one of them fail ([`super::fault`]), and a trace shows some
//! ([`super::trace`]).

use super::phase::{Phase, Side};

/// The steps with their names, their sides and the phases that some begin, in the order in which a command goes
/// through them.
macro_rules! steps {
    ($( $(#[doc = $doc:literal])+ $step:ident $name:literal $side:ident $(begins $phase:ident)?; )+) => {
        /// A step of a command. Each is marked before it is done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step { $( $(#[doc = $doc])+ $step, )+ }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Step] = &[$(Step::$step),+];

            /// The step's name in `CASULO_FAULT`.
            pub fn name(self) -> &'static str {
                match self { $(Step::$step => $name),+ }
            }

            /// The process whose step it is.
            pub fn side(self) -> Side {
                match self { $(Step::$step => Side::$side),+ }
            }

            /// The phase of the trace that begins with this step.
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
    /// The record is there and locked; its facts are written.
    Record "record" Parent;
    /// The record takes the container's name.
    NameRecord "name-record" Parent;
    /// The filter is compiled, or found compiled.
    CompileFilter "compile-filter" Parent;
    /// A connection to the seccomp agent is made.
    ConnectAgent "connect-agent" Parent;
    /// The new facts of the record replace the old ones.
    ReplaceRecord "replace-record" Parent;
    /// The cgroup's directory is made.
    Cgroup "cgroup" Parent begins Cgroup;
    /// The cgroup is there, and does not name its record yet.
    HoldCgroup "hold-cgroup" Parent;
    /// The cgroup gets its limits.
    Limits "limits" Parent;
    /// The cgroup gets its owner.
    CgroupOwner "cgroup-owner" Parent;
    /// The RDT class is made.
    RdtClass "rdt-class" Parent;
    /// The RDT class gets its schemata.
    RdtSchemata "rdt-schemata" Parent;
    /// The monitoring group is made.
    RdtMonitor "rdt-monitor" Parent;
    /// The namespaces to join are opened.
    OpenNamespaces "open-namespaces" Parent begins Open;
    /// The FIFOs on which init waits for start are made.
    StartFifos "start-fifos" Parent;
    /// The files for the hooks' output are made.
    HookOutput "hook-output" Parent;
    /// The bridge, which holds systemd's scope, is made.
    Bridge "bridge" Parent;
    /// systemd is asked for the scope.
    Scope "scope" Parent;
    /// systemd has been asked to start the scope, and casulo waits for it.
    ScopeStarts "scope-starts" Parent;
    /// The cgroups in the scope are made.
    FillScope "fill-scope" Parent;
    /// The bridge makes init.
    Cross "cross" Child;
    /// Init is made.
    Clone "clone" Parent begins Clone;
    /// Init is there. Its maps are written, and all else that only the parent can do to it is done.
    Maps "maps" Parent begins Outside;
    /// The process that holds the maps of an id-mapped mount waits.
    MapHolder "map-holder" Child;
    /// The container's network namespace is entered, for devices of the host that it takes over.
    EnterNetwork "enter-network" Parent;
    /// The container's network namespace is entered; a socket is opened there.
    LookInside "look-inside" Parent;
    /// A device is moved.
    MoveDevice "move-device" Parent;
    /// The device has moved; it gets its addresses.
    DressDevice "dress-device" Parent;
    /// The device is set up.
    SetUpDevice "set-up-device" Parent;
    /// Init gets the settings that need the host's privileges.
    Grant "grant" Parent;
    /// Init joins the RDT class, and then the monitoring group.
    RdtJoin "rdt-join" Parent;
    /// Init is told to go on.
    Go "go" Parent;
    /// The device program is loaded.
    DeviceProgram "device-program" Parent;
    /// The device program is attached.
    DeviceRules "device-rules" Parent;
    /// The rootfs and the bind sources are cloned and sent.
    OpenSources "open-sources" Parent;
    /// The copy of config.json is written.
    KeepConfig "keep-config" Parent;
    /// The facts with init's pid are written.
    RecordInit "record-init" Parent;
    /// The parent waits for init until it is ready.
    Hear "hear" Parent begins Wait;
    /// The prestart and createRuntime hooks run.
    RuntimeHooks "runtime-hooks" Parent;
    /// A hook's process is made.
    ForkHook "fork-hook" Parent;
    /// A hook's process, before it is bound to the life of its parent.
    BecomeHook "become-hook" Child;
    /// The terminal goes to the console socket.
    SendTerminal "send-terminal" Parent;
    /// The pid file is written.
    PidFile "pid-file" Parent;
    /// The pid file that is written takes its name.
    NamePidFile "name-pid-file" Parent;
    /// The pidfd goes to the pidfd socket.
    SendPidfd "send-pidfd" Parent;
    /// Init is told that it is recorded.
    Release "release" Parent;
    /// All is done; the record says so.
    Finish "finish" Parent;
    /// The parent prepares to look after init in the foreground.
    Attend "attend" Parent;
    /// `run` tells init to start.
    SayStart "say-start" Parent;
    /// The program runs; the poststart hooks follow.
    RunPoststart "run-poststart" Parent;
    /// `run` waits for the end of the process.
    WaitForEnd "wait-for-end" Parent begins Running;

    // init
    /// Init makes the namespaces that the clone has not made.
    Unshare "unshare" Child begins Enter;
    /// Inherited descriptors are marked close-on-exec.
    MarkDescriptors "mark-descriptors" Child;
    /// Init takes the last steps into its namespaces.
    EnterNamespaces "enter-namespaces" Child;
    /// Init gets a procfs of its own.
    PrivateProc "private-proc" Child;
    /// The mount namespace is cut off from the host's.
    EnterRoot "enter-root" Child;
    /// The mounts are made.
    Mounts "mounts" Child begins Mounts;
    /// Device nodes and links are made.
    Devices "devices" Child;
    /// The mounts and nodes are in place; init says so.
    Populated "populated" Child;
    /// The createContainer hooks run.
    ContainerHooks "container-hooks" Child;
    /// The rootfs becomes the root.
    Pivot "pivot" Child begins Pivot;
    /// The old root is detached.
    DetachOldRoot "detach-old-root" Child;
    /// The session is made.
    Session "session" Child;
    /// The pty is made.
    Terminal "terminal" Child;
    /// The working directory is made.
    MakeCwd "make-cwd" Child;
    /// Kernel parameters are set.
    Sysctl "sysctl" Child;
    /// Paths are masked or made read-only.
    Masks "masks" Child begins Finish;
    /// The parts of the process that need root's privileges are set up.
    Prepare "prepare" Child begins Identity;
    /// The process becomes the config's user.
    User "user" Child;
    /// The program is looked up.
    Locate "locate" Child;
    /// All is set up.
    Ready "ready" Child begins LastSteps;
    /// Init was started; the startContainer hooks run.
    StartHooks "start-hooks" Child;
    /// Signals, descriptors and resource limits are set.
    ResourceLimits "resource-limits" Child;
    /// The filter is loaded.
    LoadFilter "load-filter" Child;
    /// The program is executed.
    Execute "execute" Child begins Execute;

    // start
    /// The container is locked, and casulo connects to init.
    ConnectToInit "connect-to-init" Parent;
    /// Init is told to start.
    TellStart "tell-start" Parent;
    /// Init has started; the FIFOs are removed.
    ForgetFifos "forget-fifos" Parent;
    /// The poststart hooks run.
    Poststart "poststart" Parent;

    // exec
    /// The entrant is made.
    ExecClone "exec-clone" Parent begins Clone;
    /// The entrant is there, and the parent looks after it.
    ExecSupervise "exec-supervise" Parent begins Outside;
    /// systemd moves the entrant into the container's cgroup, if only systemd may (an ordinary user's).
    ExecAttach "exec-attach" Parent;
    /// The entrant has been moved, and is told.
    ExecAttached "exec-attached" Parent;
    /// The entrant is told to go on.
    ExecGo "exec-go" Parent begins Wait;
    /// The process runs.
    ExecRuns "exec-runs" Parent;
    /// The parent prepares to look after the process in the foreground.
    ExecAttend "exec-attend" Parent begins Running;
    /// The entrant leaves the caller's session.
    ExecEnter "exec-enter" Child begins Enter;
    /// The entrant takes the settings that need the host's privileges.
    ExecGrant "exec-grant" Child;
    /// The entrant joins the namespaces.
    ExecJoin "exec-join" Child;
    /// The process's terminal is made.
    ExecTerminal "exec-terminal" Child;
    /// The parts of the process that need root's privileges are set up.
    ExecPrepare "exec-prepare" Child begins Identity;
    /// The process becomes the config's user.
    ExecUser "exec-user" Child;
    /// The entrant has found its program.
    ExecReady "exec-ready" Child begins LastSteps;
    /// The filter is loaded.
    ExecFilter "exec-filter" Child;
    /// The entrant waits until it may be seen.
    ExecWait "exec-wait" Child;
    /// The program is executed.
    ExecExecute "exec-execute" Child begins Execute;

    // pause, resume, kill, update
    /// The cgroup is told to freeze.
    Freeze "freeze" Parent;
    /// The cgroup has been told to freeze, and casulo waits for it.
    Frozen "frozen" Parent;
    /// The cgroup is told to thaw.
    Thaw "thaw" Parent;
    /// The signal is sent.
    Signal "signal" Parent;
    /// A limit is changed.
    UpdateLimit "update-limit" Parent;
    /// The properties of the scope are changed.
    UpdateScope "update-scope" Parent;
    /// systemd has changed them.
    ScopeUpdated "scope-updated" Parent;
    /// The schemata of the RDT class are changed.
    UpdateSchemata "update-schemata" Parent;
    /// The device rules are changed.
    UpdateDevices "update-devices" Parent;

    // delete, and the end of run
    /// The processes are killed.
    KillAll "kill-all" Parent;
    /// The cgroup is removed.
    RemoveCgroup "remove-cgroup" Parent begins CleanUp;
    /// The directories above the cgroup are removed.
    RemoveParents "remove-parents" Parent;
    /// The scope is stopped.
    StopScope "stop-scope" Parent;
    /// systemd has been asked to stop the scope, and casulo waits for it.
    ScopeStops "scope-stops" Parent;
    /// The RDT class and the monitoring group are removed.
    RemoveClass "remove-class" Parent;
    /// The poststop hooks run.
    Poststop "poststop" Parent;
    /// The files of the record are removed.
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
