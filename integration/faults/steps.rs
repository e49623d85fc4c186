//! Every named step of every command fails, and the process that is at it is killed (docs/testing.md,
//! "Faults").

use super::many_or_few;
use crate::cycles::everything;
use crate::support::{
    Bundle, Lab, Need, Output, OwnNamespace, RESCTRL, Resctrl, Running, cases, finish, wait_until,
    wrapped,
};
use casulo::step::{Side, Step};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

cases! {
    [Root, Casulo, TestBuild] => every_step_fails_once, every_step_is_killed_once, facts_are_never_half_written,
        container_without_a_record_is_never_seen, what_enters_holds_no_directory_of_the_host,
        every_step_is_frozen_once, a_signal_ends_a_run_whose_child_is_stopped, started_container_is_running_though_start_was_killed,
        hook_that_is_not_bound_yet_ends_with_its_runtime;
    [Root, Casulo, TestBuild, Systemd] => every_step_with_systemd_fails_or_is_killed;
    [Root, Casulo] => no_fault_is_in_the_program, unrecorded_init_ends_with_its_runtime;
}

/// Files in the bundle's directory.
const PID_FILE: &str = "pid";
pub(super) const RESOURCES: &str = "resources";

/// How a step is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Create,
    /// `create` with a console socket.
    CreateTerminal,
    /// `create` that joins a user namespace, over a bridge.
    CreateJoined,
    /// `create` with a network device of the host's.
    CreateWithDevice,
    /// `create` in an RDT class.
    CreateInClass,
    RunDetached,
    /// `run`, in the foreground.
    Run,
    Start,
    Exec,
    ExecTerminal,
    Pause,
    Resume,
    Kill,
    Update,
    UpdateInClass,
    Delete,
    DeleteInClass,
    /// In a scope of systemd's.
    CreateInScope,
    UpdateInScope,
    DeleteInScope,
    /// In a scope of an ordinary user's systemd; `borrowed.rs` has it.
    ExecInUsersScope,
}

/// A step that is added has to find its way here.
pub(super) fn way(step: Step) -> Way {
    match step {
        Step::Reserve
        | Step::CompileFilter
        | Step::ConnectAgent
        | Step::Record
        | Step::NameRecord
        | Step::ReplaceRecord
        | Step::Cgroup
        | Step::HoldCgroup
        | Step::Limits
        | Step::DeviceProgram
        | Step::DeviceRules
        | Step::CgroupOwner
        | Step::OpenNamespaces
        | Step::OpenSources
        | Step::StartFifos
        | Step::HookOutput
        | Step::Clone
        | Step::Maps
        | Step::MapHolder
        | Step::Grant
        | Step::Go
        | Step::KeepConfig
        | Step::RecordInit
        | Step::Hear
        | Step::RuntimeHooks
        | Step::ForkHook
        | Step::BecomeHook
        | Step::PidFile
        | Step::NamePidFile
        | Step::SendPidfd
        | Step::Finish
        | Step::Release
        | Step::Unshare
        | Step::MarkDescriptors
        | Step::EnterNamespaces
        | Step::PrivateProc
        | Step::EnterRoot
        | Step::Mounts
        | Step::Devices
        | Step::Populated
        | Step::ContainerHooks
        | Step::Pivot
        | Step::DetachOldRoot
        | Step::Session
        | Step::MakeCwd
        | Step::Sysctl
        | Step::Masks
        | Step::Prepare
        | Step::User
        | Step::Locate
        | Step::Ready => Way::Create,
        Step::SendTerminal | Step::Terminal => Way::CreateTerminal,
        Step::Cross => Way::CreateJoined,
        Step::EnterNetwork
        | Step::LookInside
        | Step::MoveDevice
        | Step::DressDevice
        | Step::SetUpDevice => Way::CreateWithDevice,
        Step::RdtClass | Step::RdtSchemata | Step::RdtMonitor | Step::RdtJoin => Way::CreateInClass,
        Step::SayStart
        | Step::RunPoststart
        | Step::StartHooks
        | Step::ResourceLimits
        | Step::LoadFilter
        | Step::Execute => Way::RunDetached,
        Step::Attend | Step::WaitForEnd => Way::Run,
        Step::ConnectToInit | Step::TellStart | Step::ForgetFifos | Step::Poststart => Way::Start,
        Step::ExecClone
        | Step::ExecSupervise
        | Step::ExecEnter
        | Step::ExecGrant
        | Step::ExecGo
        | Step::ExecRuns
        | Step::ExecAttend
        | Step::ExecJoin
        | Step::ExecWait
        | Step::ExecPrepare
        | Step::ExecUser
        | Step::ExecReady
        | Step::ExecFilter
        | Step::ExecExecute => Way::Exec,
        Step::ExecTerminal => Way::ExecTerminal,
        Step::Freeze | Step::Frozen => Way::Pause,
        Step::Thaw => Way::Resume,
        Step::Signal => Way::Kill,
        Step::UpdateLimit | Step::UpdateDevices => Way::Update,
        Step::UpdateSchemata => Way::UpdateInClass,
        Step::KillAll
        | Step::RemoveCgroup
        | Step::RemoveParents
        | Step::Poststop
        | Step::RemoveRecord
        | Step::RemoveDirectory => Way::Delete,
        Step::RemoveClass => Way::DeleteInClass,
        Step::Bridge | Step::Scope | Step::ScopeStarts | Step::FillScope => Way::CreateInScope,
        Step::UpdateScope | Step::ScopeUpdated => Way::UpdateInScope,
        Step::StopScope | Step::ScopeStops => Way::DeleteInScope,
        Step::ExecAttach | Step::ExecAttached => Way::ExecInUsersScope,
    }
}

impl Way {
    fn is_of_systemd(self) -> bool {
        matches!(
            self,
            Way::CreateInScope | Way::UpdateInScope | Way::DeleteInScope
        )
    }

    fn is_in_class(self) -> bool {
        matches!(
            self,
            Way::CreateInClass | Way::UpdateInClass | Way::DeleteInClass
        )
    }

    /// True if the command makes the container: where it fails, nothing is left.
    pub(super) fn makes(self) -> bool {
        matches!(
            self,
            Way::Create
                | Way::CreateTerminal
                | Way::CreateJoined
                | Way::CreateWithDevice
                | Way::CreateInClass
                | Way::CreateInScope
                | Way::RunDetached
                | Way::Run
        )
    }
}

/// One container on which a step fails.
pub(super) struct Attempt<'a> {
    pub(super) lab: &'a Lab,
    pub(super) bundle: Bundle<'a>,
    way: Way,
    before: BTreeSet<String>,
    files: BTreeSet<String>,
    /// Of a container whose user namespace is joined.
    other: Option<Bundle<'a>>,
    _console: Option<UnixListener>,
}

impl<'a> Attempt<'a> {
    /// The container as the command needs it.
    pub(super) fn new(lab: &'a Lab, way: Way) -> Attempt<'a> {
        let mut other = None;
        let bundle = match way {
            Way::CreateJoined => {
                let first = lab
                    .bundle()
                    .in_user_namespace()
                    .args(&["/bin/sleep", "1000"]);
                first.run_detached();
                let path = format!("/proc/{}/ns/user", first.pid());
                other = Some(first);
                full(lab, way).join_namespace("user", &path)
            }
            _ => full(lab, way),
        };
        bundle.write();
        fs::write(bundle.path().join(RESOURCES), resources().to_string()).unwrap();
        if way == Way::CreateWithDevice {
            Device::of(&bundle).make();
        }
        let console = matches!(way, Way::CreateTerminal | Way::ExecTerminal)
            .then(|| UnixListener::bind(bundle.path().join("console")).unwrap());
        let attempt = Attempt {
            before: everything(lab, bundle.id()),
            files: files(&bundle),
            lab,
            bundle,
            way,
            other,
            _console: console,
        };
        if way.is_in_class() {
            // No other build takes what stands in for resctrl.
            lab.use_test_build("CASULO_FAULT", "none");
        }
        match way {
            Way::Start => drop(finish(attempt.create(), b"").ok()),
            Way::Exec
            | Way::ExecTerminal
            | Way::Pause
            | Way::Kill
            | Way::Update
            | Way::UpdateInClass
            | Way::Delete
            | Way::DeleteInClass
            | Way::UpdateInScope
            | Way::DeleteInScope => {
                finish(attempt.create(), b"").ok();
                attempt.bundle.verb("start").ok();
            }
            Way::Resume => {
                finish(attempt.create(), b"").ok();
                attempt.bundle.verb("start").ok();
                attempt.bundle.verb("pause").ok();
            }
            _ => {}
        }
        lab.use_runtime();
        attempt
    }

    fn create(&self) -> Command {
        let mut command = self.lab.command();
        if self.way.is_of_systemd() {
            command.arg("--systemd-cgroup");
        }
        command
            .args(["create", "--pid-file"])
            .arg(self.bundle.path().join(PID_FILE))
            .arg("--bundle")
            .arg(self.bundle.path());
        command.arg(self.bundle.id());
        command
    }

    /// The container will be in this network namespace.
    pub(super) fn join_network(mut self, path: &str) -> Attempt<'a> {
        self.bundle = self.bundle.join_namespace("network", path);
        self.bundle.write();
        self
    }

    /// The container will be in the pid namespace of the caller, or of another container.
    fn without_own_pids(mut self, joins: bool) -> Attempt<'a> {
        self.bundle = match joins {
            false => self.bundle.without_namespace("pid"),
            true => {
                let other = self.lab.bundle().args(&["/bin/sleep", "1000"]);
                other.run_detached();
                let path = format!("/proc/{}/ns/pid", other.pid());
                self.other = Some(other);
                self.bundle.join_namespace("pid", &path)
            }
        };
        self.bundle.write();
        self
    }

    /// The command that reaches the step.
    pub(super) fn command(&self) -> Command {
        let id = self.bundle.id();
        let mut command = self.lab.command();
        match self.way {
            Way::Create
            | Way::CreateJoined
            | Way::CreateWithDevice
            | Way::CreateInClass
            | Way::CreateInScope => return self.create(),
            Way::CreateTerminal => {
                let socket = self.bundle.path().join("console");
                command
                    .args(["create", "--console-socket"])
                    .arg(socket)
                    .arg("--bundle")
                    .arg(self.bundle.path())
                    .arg(id)
            }
            Way::RunDetached => command
                .args(["run", "--detach", "--bundle"])
                .arg(self.bundle.path())
                .arg(id),
            Way::Run => command
                .args(["run", "--bundle"])
                .arg(self.bundle.path())
                .arg(id),
            Way::Start => command.args(["start", id]),
            Way::Exec | Way::ExecInUsersScope => command.args(["exec", id, "/bin/sleep", "1000"]),
            Way::ExecTerminal => command
                .args(["exec", "--tty", "--console-socket"])
                .arg(self.bundle.path().join("console"))
                .args(["--detach", id, "/bin/sleep", "1000"]),
            Way::Pause => command.args(["pause", id]),
            Way::Resume => command.args(["resume", id]),
            Way::Kill => command.args(["kill", id, "KILL"]),
            Way::Update | Way::UpdateInScope => {
                let resources = self.bundle.path().join(RESOURCES);
                command
                    .args(["update", "--resources"])
                    .arg(resources)
                    .arg(id)
            }
            Way::UpdateInClass => command.args(["update", "--l3-cache-schema", "L3:0=1;1=1", id]),
            Way::Delete | Way::DeleteInClass | Way::DeleteInScope => {
                command.args(["delete", "--force", id])
            }
        };
        command
    }

    /// The command, told to fail.
    pub(super) fn told(&self, step: Step, what: &str) -> Command {
        self.lab
            .use_test_build("CASULO_FAULT", &format!("{}:{what}", step.name()));
        let command = self.command();
        self.lab.use_runtime();
        command
    }

    /// Whatever has happened: the container is listed or not, can be deleted, and leaves nothing.
    #[track_caller]
    pub(super) fn clear_away(self, what: &str) {
        let Attempt { lab, bundle, .. } = &self;
        // What failed early has made no root, and list wants the one that is named.
        fs::create_dir_all(lab.root()).unwrap();
        let listed = lab.casulo(&["list"]);
        assert_eq!((listed.code, listed.stderr.as_str()), (0, ""), "{what}");
        let deleted = lab.casulo(&["delete", "--force", bundle.id()]);
        assert_eq!(deleted.code, 0, "{what}: {deleted:?}");
        self.assert_nothing_left(what);
        if let Some(other) = &self.other {
            other.call("delete", &["--force"], &[]).ok();
        }
    }

    /// Nothing that was not there before, a moment later at the latest: what is killed needs one to end.
    #[track_caller]
    fn assert_nothing_left(&self, what: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            // Other attempts may be under way beside this one.
            let id = self.bundle.id();
            let now = everything(self.lab, id);
            let is_ours = |it: &&String| it.contains(id);
            let mut left: Vec<String> = self.lab.leftovers(id);
            left.extend(now.difference(&self.before).filter(is_ours).cloned());
            left.extend(files(&self.bundle).difference(&self.files).cloned());
            let class = Path::new(RESCTRL).join(id);
            left.extend(class.exists().then(|| class.display().to_string()));
            if self.way == Way::CreateWithDevice && Device::of(&self.bundle).is_elsewhere() {
                left.push("a network device".to_owned());
            }
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "{what}: left behind: {left:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A bundle that goes through as many steps as one can.
fn full<'a>(lab: &'a Lab, way: Way) -> Bundle<'a> {
    // No two have the same filter, so that each is compiled.
    static FILTERS: AtomicUsize = AtomicUsize::new(1);
    let errno = FILTERS.fetch_add(1, Ordering::Relaxed) % 1000;
    let hook = |name: &str| json!({"path": "/bin/true", "args": ["true", name]});
    let mut bundle = lab
        .bundle()
        .args(&["/bin/sleep", "1000"])
        .set("/process/cwd", json!("/made/anew"))
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]}),
        )
        .bind(lab.path(), "/bound", &["ro"])
        .push("/hooks/createRuntime", hook("one"))
        .push("/hooks/createContainer", hook("two"))
        .push("/hooks/startContainer", hook("three"))
        .push("/hooks/poststart", hook("four"))
        .push("/hooks/poststop", hook("five"));
    if Need::Controller("pids").check().is_ok() {
        bundle = bundle.set("/linux/resources/pids/limit", json!(100));
    }
    if Need::IdMounts.check().is_ok() && way == Way::Create {
        let map = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
        bundle = bundle.push(
            "/mounts",
            json!({"destination": "/mapped", "type": "bind", "source": lab.path(), "options": ["bind", "idmap"],
                "uidMappings": map, "gidMappings": map}),
        );
    }
    if way.is_in_class() {
        let rdt = json!({"schemata": ["L3:0=f"], "enableMonitoring": true});
        bundle = bundle.set("/linux/intelRdt", rdt);
    }
    if way == Way::CreateWithDevice {
        let devices = json!({Device::of(&bundle).name: {"name": "moved"}});
        bundle = bundle.set("/linux/netDevices", devices);
    }
    match way {
        Way::CreateTerminal => bundle.set("/process/terminal", json!(true)),
        Way::CreateInScope | Way::UpdateInScope | Way::DeleteInScope => {
            let path = format!("system.slice:faults:{}", bundle.id());
            bundle.set("/linux/cgroupsPath", json!(path))
        }
        // Directories above it that come and go as well.
        _ => {
            let path = format!("/casulo-faults-{0}/{0}/container", bundle.id());
            bundle.set("/linux/cgroupsPath", json!(path))
        }
    }
}

/// What `update` is asked for.
fn resources() -> Value {
    match Need::Controller("pids").check() {
        Ok(()) => json!({"pids": {"limit": 50}, "devices": []}),
        Err(_) => json!({"unified": {"cgroup.max.depth": "3"}, "devices": []}),
    }
}

/// The files in the bundle. The pid file is the caller's, once the container was made.
fn files(bundle: &Bundle<'_>) -> BTreeSet<String> {
    let names = names(bundle.path()).into_iter();
    names.filter(|name| name != PID_FILE).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Steps whose failure the command does without.
fn is_tolerated(step: Step) -> bool {
    // What an id-mapped mount needs of the holder is there as long as nobody has waited for it.
    step == Step::MapHolder
}

/// True if this host lets the command come to the step.
pub(super) fn is_reached(step: Step) -> bool {
    let need = match way(step) {
        Way::CreateWithDevice => Need::Veth,
        way if way.is_in_class() => Need::Fuse,
        Way::ExecInUsersScope => return false,
        _ if step == Step::MapHolder => Need::IdMounts,
        _ => return true,
    };
    need.check().is_ok()
}

/// Network devices and an RDT file system that no other test sees, as far as this host has them.
pub(super) struct OwnHost {
    _network: OwnNamespace,
    _resctrl: Option<Resctrl>,
}

impl OwnHost {
    pub(super) fn new() -> OwnHost {
        OwnHost {
            _network: OwnNamespace::of_network(),
            _resctrl: Need::Fuse.check().ok().map(|()| Resctrl::mount()),
        }
    }
}

/// One end of a pair, which is set up and has an address; the other stays, and goes when this one is destroyed.
pub(super) struct Device {
    pub(super) name: String,
    peer: String,
}

impl Device {
    /// The one that the container takes over.
    pub(super) fn of(bundle: &Bundle<'_>) -> Device {
        Device {
            name: bundle.id().to_owned(),
            peer: format!("p{}", bundle.id()),
        }
    }

    pub(super) fn make(&self) {
        let Device { name, peer } = self;
        for line in [
            format!("link add {name} type veth peer name {peer}"),
            format!("addr add 10.1.2.3/24 dev {name}"),
            format!("link set {name} up"),
        ] {
            ip(&line).ok();
        }
    }

    /// True if it is there as it was made.
    pub(super) fn is_at_home(&self) -> bool {
        let out = ip(&format!("addr show dev {}", self.name));
        out.stdout.contains("10.1.2.3/24") && out.stdout.contains(",UP")
    }

    /// True if it is neither on the host nor destroyed.
    pub(super) fn is_elsewhere(&self) -> bool {
        let is_there = |name: &str| ip(&format!("link show dev {name}")).code == 0;
        is_there(&self.peer) && !is_there(&self.name)
    }
}

fn ip(arguments: &str) -> Output {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    finish(command, b"")
}

/// The steps that this host can come to; of those without systemd only some in the test host.
fn steps(of_systemd: bool) -> impl Iterator<Item = Step> {
    let all = Step::ALL.iter().copied();
    let those =
        all.filter(move |step| way(*step).is_of_systemd() == of_systemd && is_reached(*step));
    those.step_by(if of_systemd { 1 } else { many_or_few(1, 5) })
}

fn every_step_fails_once(lab: &Lab) {
    let _host = OwnHost::new();
    steps(false).for_each(|step| fail(lab, step));
}

fn fail(lab: &Lab, step: Step) {
    let attempt = Attempt::new(lab, way(step));
    let what = format!("{} fails", step.name());
    let out = finish(attempt.told(step, "ENOMEM"), b"");
    if is_tolerated(step) {
        assert_eq!(out.code, 0, "{what}: {out:?}");
    } else {
        assert_one_error(&what, &out);
        if attempt.way.makes() {
            attempt.assert_nothing_left(&what);
            assert!(!attempt.bundle.path().join(PID_FILE).exists(), "{what}");
        }
        if attempt.way == Way::CreateWithDevice {
            assert!(Device::of(&attempt.bundle).is_at_home(), "{what}");
        }
    }
    attempt.clear_away(&what);
}

#[track_caller]
fn assert_one_error(what: &str, out: &Output) {
    assert_ne!(out.code, 0, "{what}: {out:?}");
    assert_eq!(errors(out), 1, "{what}: {out:?}");
    assert!(
        out.stderr.contains("Cannot allocate memory"),
        "{what}: {out:?}"
    );
}

/// The lines of error but those of poststop hooks, which are logged and change nothing.
pub(super) fn errors(out: &Output) -> usize {
    let lines = out.stderr.lines();
    lines
        .filter(|line| !line.contains("hooks.poststop"))
        .count()
}

fn every_step_is_killed_once(lab: &Lab) {
    let _host = OwnHost::new();
    steps(false).for_each(|step| kill(lab, step));
}

fn kill(lab: &Lab, step: Step) {
    let attempt = Attempt::new(lab, way(step));
    let what = format!("killed at {}", step.name());
    let out = finish(attempt.told(step, "kill"), b"");
    match step.side() {
        Side::Parent => assert_eq!((out.code, out.stderr.as_str()), (137, ""), "{what}"),
        // The runtime says so, or the process counts as one that has ended: then nothing needs to be said.
        Side::Child if attempt.way.makes() && out.code != 0 => {
            assert_eq!(errors(&out), 1, "{what}: {out:?}");
            attempt.assert_nothing_left(&what);
        }
        Side::Child => assert!(errors(&out) <= 1, "{what}: {out:?}"),
    }
    attempt.clear_away(&what);
}

fn every_step_with_systemd_fails_or_is_killed(lab: &Lab) {
    for step in steps(true) {
        fail(lab, step);
        kill(lab, step);
    }
}

fn every_step_is_frozen_once(lab: &Lab) {
    let _host = OwnHost::new();
    let parents = steps(false).filter(|step| step.side() == Side::Parent);
    // Side by side: most of it is waiting.
    let started: Vec<_> = parents
        .map(|step| {
            let attempt = Attempt::new(lab, way(step));
            let running = Running::new(attempt.told(step, "stop"), b"");
            let stat = format!("/proc/{}/stat", running.pid());
            wait_until(step.name(), || {
                fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "))
            });
            let mut delete = lab.command();
            delete.args(["delete", "--force", attempt.bundle.id()]);
            (step, attempt, running, Running::new(delete, b""))
        })
        .collect();
    for (step, attempt, running, delete) in started {
        let what = format!("frozen at {}", step.name());
        let deleted = delete.wait();
        assert_eq!(deleted.code, 0, "{what}: {deleted:?}");
        running.signal(Signal::SIGCONT);
        // It may have been faster, or find nothing to act on; it ends in any case.
        let out = running.wait();
        assert!(errors(&out) <= 1, "{what}: {out:?}");
        if out.code != 0 || !attempt.way.makes() {
            attempt.assert_nothing_left(&what);
        }
        attempt.clear_away(&what);
    }
}

/// Whatever init waits for, or an entrant: a file system that does not answer, a cgroup that somebody has frozen.
fn a_signal_ends_a_run_whose_child_is_stopped(lab: &Lab) {
    let is_inits = |step: &Step| step.side() == Side::Child && way(*step) == Way::Create;
    // Not a hook, nor who holds maps.
    let steps = Step::ALL.iter().copied().filter(is_inits);
    let others = [Step::BecomeHook, Step::MapHolder];
    let steps: Vec<Step> = steps.filter(|step| !others.contains(step)).collect();
    for joins in [false, true] {
        // Side by side: most of it is waiting.
        let started: Vec<_> = steps
            .iter()
            .map(|step| {
                // A process 1 that stops itself goes on.
                let attempt = Attempt::new(lab, Way::Run).without_own_pids(joins);
                let running = Running::new(attempt.told(*step, "stop"), b"");
                wait_until(step.name(), || stopped_child(running.pid()).is_some());
                (step, attempt, running)
            })
            .collect();
        let sent = Instant::now();
        for (_, _, running) in &started {
            running.signal(Signal::SIGTERM);
        }
        for (step, attempt, running) in started {
            let what = format!("stopped at {}, joins: {joins}", step.name());
            let out = running.wait();
            assert_ne!(out.code, 0, "{what}: {out:?}");
            assert!(out.stderr.contains("signal 15 came"), "{what}: {out:?}");
            attempt.assert_nothing_left(&what);
            attempt.clear_away(&what);
        }
        let took = sent.elapsed();
        assert!(took < Duration::from_secs(60), "joins: {joins}: {took:?}");
    }
}

/// CVE-2016-9962, CVE-2024-21626: what enters a container may be stopped at any moment, and whatever it holds then is
/// within the container's reach.
fn what_enters_holds_no_directory_of_the_host(lab: &Lab) {
    let steps = Step::ALL.iter().copied();
    let mut stopped = 0;
    for step in steps.filter(|step| way(*step) == Way::Exec && step.side() == Side::Child) {
        let attempt = Attempt::new(lab, Way::Exec);
        let root = fs::metadata(format!("/proc/{}/root/", attempt.bundle.pid())).unwrap();
        let running = Running::new(attempt.told(step, "stop"), b"");
        let mut entering = None;
        wait_until(step.name(), || {
            entering = stopped_child(running.pid());
            entering.is_some()
        });
        let pid = entering.unwrap();
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let fd = fd.unwrap().path();
            let (name, about) = (fs::read_link(&fd).unwrap(), fs::metadata(&fd).unwrap());
            let what = format!("{name:?} is open at {}", step.name());
            assert!(!name.starts_with(lab.root()), "{what}");
            // Before it joins, nobody inside sees it, and it has the host's procfs.
            let joins = matches!(step, Step::ExecEnter | Step::ExecGrant | Step::ExecJoin);
            let is_root = (about.dev(), about.ino()) == (root.dev(), root.ino());
            assert!(!about.is_dir() || is_root || joins, "{what}");
        }
        stopped += 1;
        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
        running.wait();
        attempt.clear_away(step.name());
    }
    assert!(stopped > 0);
}

/// The child of `parent` that a signal has stopped, or that waits for good in its last steps.
fn stopped_child(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let is_stopped = |pid: &&str| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        let waits = format!("{} 0x0 ", libc::SYS_ppoll);
        read("stat").is_ok_and(|text| text.contains(") T "))
            || read("syscall").is_ok_and(|text| text.starts_with(&waits))
    };
    let pid = children.split_whitespace().find(is_stopped)?;
    pid.parse().ok().map(Pid::from_raw)
}

fn facts_are_never_half_written(lab: &Lab) {
    // With init's pid, and when all is done: the record before that stays.
    for time in 1..=2 {
        let attempt = Attempt::new(lab, Way::Create);
        let what = format!("kill:{time}");
        let out = finish(attempt.told(Step::ReplaceRecord, &what), b"");
        assert_eq!(out.code, 137, "{out:?}");
        let directory = lab.root().join(attempt.bundle.id());
        assert!(directory.join("state.json.new").exists());
        assert!(directory.join("state.json").exists());
        assert_eq!(attempt.bundle.status(), "stopped");
        attempt.clear_away(&what);
    }
}

fn container_without_a_record_is_never_seen(lab: &Lab) {
    for step in [Step::Record, Step::NameRecord] {
        let attempt = Attempt::new(lab, Way::Create);
        let out = finish(attempt.told(step, "kill"), b"");
        assert_eq!(out.code, 137, "{out:?}");
        let unnamed = || {
            let names = names(&lab.root()).into_iter();
            names.filter(|name| name.starts_with(".new-")).count()
        };
        assert_eq!(unnamed(), 1, "{}", step.name());
        let id = attempt.bundle.id();
        attempt.bundle.verb("state").fails_with(&["does not exist"]);
        assert_eq!(lab.casulo(&["list", "--quiet"]).ok().text(), "");
        lab.casulo(&["delete", "--force", id]).ok();
        assert_eq!(unnamed(), 0, "{}", step.name());
        attempt.clear_away(step.name());
    }
}

fn started_container_is_running_though_start_was_killed(lab: &Lab) {
    let attempt = Attempt::new(lab, Way::Start);
    // Killed before init is told, a start can be repeated; killed after that, it has happened.
    for (step, status) in [
        (Step::ConnectToInit, "created"),
        (Step::TellStart, "created"),
        (Step::ForgetFifos, "running"),
    ] {
        assert_eq!(attempt.bundle.status(), "created");
        let out = finish(attempt.told(step, "kill"), b"");
        assert_eq!(out.code, 137, "{out:?}");
        assert_eq!(attempt.bundle.status(), status, "{}", step.name());
    }
    attempt.bundle.verb("start").fails_with(&["it is running"]);
    attempt.clear_away("start killed");
}

fn hook_that_is_not_bound_yet_ends_with_its_runtime(lab: &Lab) {
    // The runtime is killed between the fork of a hook and the hook's asking for a death signal.
    let slow = json!({"path": "/bin/sleep", "args": ["sleep", "1000"]});
    let bundle = lab.bundle().push("/hooks/createRuntime", slow);
    lab.use_test_build("CASULO_FAULT", "become-hook:stop");
    let create = bundle.command(&[], "create", &[]);
    // The group of a stopped hook is orphaned with its runtime's end, so the kernel sends it SIGHUP
    // and SIGCONT (_exit(2)). Who ignores SIGHUP has to end by itself.
    let running = Running::new(wrapped(Command::new("nohup"), &create), b"");
    lab.use_runtime();
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let mut hook = None;
    wait_until("the hook is there, and stopped", || {
        let children = fs::read_to_string(&children).unwrap_or_default();
        hook = children
            .split_whitespace()
            .map(str::to_owned)
            .find(|child| {
                fs::read_to_string(format!("/proc/{child}/stat"))
                    .is_ok_and(|it| it.contains(") T "))
            });
        hook.is_some()
    });
    running.signal(Signal::SIGKILL);
    running.wait();
    let hook = Pid::from_raw(hook.unwrap().parse().unwrap());
    // Where its new parent is in its session, the group has no kernel's SIGCONT; else it may be gone.
    let _ = nix::sys::signal::kill(hook, Signal::SIGCONT);
    bundle.call("delete", &["--force"], &[]).ok();
    wait_until("nothing is left", || lab.leftovers(bundle.id()).is_empty());
}

fn unrecorded_init_ends_with_its_runtime(lab: &Lab) {
    // No cgroup holds it, and it is busy with a hook.
    let ready = lab.join("ready");
    let script = format!("touch {}; sleep 1000", ready.display());
    let slow = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let bundle = lab
        .bundle()
        .remove("/linux/cgroupsPath")
        .push("/hooks/createContainer", slow);
    let command = bundle.command(&["--cgroup-manager", "disabled"], "create", &[]);
    let running = Running::new(command, b"");
    wait_until("the hook runs", || ready.exists());
    running.signal(Signal::SIGKILL);
    running.wait();
    wait_until("init and its hook have ended", || {
        let left = lab.leftovers(bundle.id());
        !left.iter().any(|it| it.starts_with("process "))
    });
}

fn no_fault_is_in_the_program(lab: &Lab) {
    let holds = |program: &Path, word: &str| {
        let bytes = fs::read(program).unwrap();
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    for word in ["CASULO_FAULT", "CASULO_WITHOUT"] {
        assert!(!holds(&lab.runtime(), word), "{word}");
    }
}
