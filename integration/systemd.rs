//! The systemd driver: what systemd makes and knows of it, what is below, and that all of it goes.

use crate::support::{Bundle, Lab, Output, Running, WEIGHTS, cases, finish, wait_until, wrapped};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

cases! {
    [Root, Casulo, Systemd] => slices_are_made_by_name, missing_path_has_a_default, limits_are_on_the_scope_and_inside,
        what_systemd_does_not_know_is_on_the_scope_too, one_process_is_a_possible_limit,
        device_rules_survive_a_daemon_reload, annotations_of_cri_o, annotations_become_properties, bad_annotations_are_named,
        a_name_that_is_taken, a_frozen_scope_is_refused, a_unit_that_failed_gives_way, subgroup_is_renamed, without_a_subgroup,
        a_delegated_cgroup_in_a_scope, namespaces_are_joined_in_a_scope, later_commands_need_no_flag,
        an_update_is_told_to_systemd, a_refused_update_changes_nothing,
        run_leaves_nothing, a_failed_create_leaves_nothing, a_failed_scope_does_not_stay,
        without_systemd_nothing_is_left, delete_without_systemd_removes_the_cgroups, the_scope_goes_with_a_killed_runtime;
    [Root, Casulo, Systemd, Program("/usr/bin/unshare")] => systemd_that_never_answers, other_pid_namespaces_are_refused;
    [Root, Casulo, Systemd, Program("/usr/bin/strace")] => one_connection_and_one_call, the_bus_will_do;
    [Root, Casulo, Systemd, Program("/usr/sbin/modprobe")] => a_weight_is_what_systemd_makes_of_it;
    [Root, Casulo, TestBuild, Systemd, Program("/usr/bin/strace")] => a_scope_that_nothing_proves_ours_is_not_stopped;
    [Root, Casulo, Systemd, UserSystemd, Program("/usr/bin/setpriv")] => an_ordinary_users_own_systemd;
}

const DRIVER: &[&str] = &["--systemd-cgroup"];

/// A bundle in a scope of its own in system.slice, which sleeps.
fn bundle(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let path = format!("system.slice:casulotest:{}", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path))
}

fn unit(bundle: &Bundle<'_>) -> String {
    format!("casulotest-{}.scope", bundle.id())
}

fn scope_directory(bundle: &Bundle<'_>) -> PathBuf {
    Path::new("/sys/fs/cgroup/system.slice").join(unit(bundle))
}

/// Runs it detached by the driver.
#[track_caller]
fn start(bundle: &Bundle<'_>) {
    finish(bundle.command(DRIVER, "run", &["--detach"]), b"").ok();
}

#[track_caller]
fn delete(bundle: &Bundle<'_>) {
    bundle.call("delete", &["--force"], &[]).ok();
    assert_gone(bundle);
}

/// Fails unless systemd has forgotten the scope, and its cgroup is gone.
#[track_caller]
fn assert_gone(bundle: &Bundle<'_>) {
    let unit = unit(bundle);
    wait_until("systemd forgets the scope", || !is_loaded(&unit));
    assert!(!scope_directory(bundle).exists());
}

/// Whether systemd knows a unit.
pub(crate) fn is_loaded(unit: &str) -> bool {
    show(unit, "LoadState") != "not-found"
}

fn systemctl(args: &[&str]) -> Output {
    let mut command = Command::new("systemctl");
    command.args(args);
    finish(command, b"")
}

/// What systemd says of a property.
#[track_caller]
fn show(unit: &str, property: &str) -> String {
    let out = systemctl(&["show", "--value", "--property", property, unit]).ok();
    out.text().to_owned()
}

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file))
        .unwrap()
        .trim()
        .to_owned()
}

fn slices_are_made_by_name(lab: &Lab) {
    let bundle = bundle(lab).without_namespace("cgroup");
    let path = format!("casulotest-a-b.slice::{}", bundle.id());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    start(&bundle);
    let out = bundle.exec("grep ^0 /proc/1/cgroup").ok();
    let slices = "casulotest.slice/casulotest-a.slice/casulotest-a-b.slice";
    let expected = format!("0::/{slices}/{}.scope/container", bundle.id());
    assert_eq!(out.text(), expected);
    let unit = format!("{}.scope", bundle.id());
    assert_eq!(show(&unit, "Slice"), "casulotest-a-b.slice");
    assert_eq!(show(&unit, "Delegate"), "yes");
    bundle.call("delete", &["--force"], &[]).ok();
    wait_until("systemd forgets the scope", || !is_loaded(&unit));
    systemctl(&["stop", "casulotest.slice"]).ok();
}

fn missing_path_has_a_default(lab: &Lab) {
    let bundle = bundle(lab)
        .without_namespace("cgroup")
        .remove("/linux/cgroupsPath");
    start(&bundle);
    let out = bundle.exec("grep ^0 /proc/self/cgroup").ok();
    let expected = format!("0::/system.slice/casulo-{}.scope/container", bundle.id());
    assert_eq!(out.text(), expected);
}

fn limits_are_on_the_scope_and_inside(lab: &Lab) {
    let bundle = bundle(lab).set(
        "/linux/resources",
        json!({
            "memory": {"limit": 256 << 20, "reservation": 32 << 20, "swap": 300 << 20},
            "cpu": {"quota": 25_000, "period": 75_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 50},
            "unified": {"memory.high": "200000000", "cpu.weight": "17"}
        }),
    );
    start(&bundle);
    let files = [
        ("memory.max", (256 << 20).to_string()),
        ("memory.low", (32 << 20).to_string()),
        ("memory.swap.max", (44 << 20).to_string()),
        ("memory.high", "199999488".to_owned()), // whole pages
        ("cpu.max", "25000 75000".to_owned()),
        ("cpu.weight", "17".to_owned()),
        ("cpuset.cpus", "0".to_owned()),
        ("cpuset.mems", "0".to_owned()),
        ("pids.max", "50".to_owned()),
    ];
    for (file, expected) in &files {
        let out = bundle.exec(&format!("cat /sys/fs/cgroup/{file}")).ok();
        assert_eq!(out.text(), expected, "{file} inside");
        if *file != "cpu.max" {
            assert_eq!(&read(&scope_directory(&bundle), file), expected, "{file}");
        }
    }
    let unit = unit(&bundle);
    for (property, expected) in [
        ("MemoryMax", (256 << 20).to_string().as_str()),
        ("MemoryLow", &(32 << 20).to_string()),
        ("MemorySwapMax", &(44 << 20).to_string()),
        ("MemoryHigh", "200000000"),
        // A third of a CPU, in whole percents.
        ("CPUQuotaPerSecUSec", "340ms"),
        ("CPUQuotaPeriodUSec", "75ms"),
        ("CPUWeight", "17"),
        ("AllowedCPUs", "0"),
        ("AllowedMemoryNodes", "0"),
        ("TasksMax", "50"),
        ("Description", &format!("casulo container {}", bundle.id())),
    ] {
        assert_eq!(show(&unit, property), expected, "{property}");
    }
    let quota = read(&scope_directory(&bundle), "cpu.max");
    assert_eq!(quota, "25500 75000", "not tighter than inside");
}

fn what_systemd_does_not_know_is_on_the_scope_too(lab: &Lab) {
    let cpu = json!({"quota": 50_000, "period": 100_000, "burst": 20_000});
    let bundle = bundle(lab).set("/linux/resources/cpu", cpu);
    start(&bundle);
    assert_eq!(read(&scope_directory(&bundle), "cpu.max.burst"), "20000");
    let inside = bundle.exec("cat /sys/fs/cgroup/cpu.max.burst").ok();
    assert_eq!(inside.text(), "20000");
}

fn one_process_is_a_possible_limit(lab: &Lab) {
    let bundle = bundle(lab)
        .set("/linux/resources/pids", json!({"limit": 1}))
        .args(&["/bin/cat", "/sys/fs/cgroup/pids.max"]);
    let out = finish(bundle.command(DRIVER, "run", &[]), b"").ok();
    assert_eq!(out.text(), "1");
}

fn device_rules_survive_a_daemon_reload(lab: &Lab) {
    let bundle = bundle(lab)
        .capabilities(&["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYSLOG"])
        .set(
            "/linux/resources/devices",
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"}
            ]),
        );
    start(&bundle);
    // kmsg is allowed here, full everywhere; mem and the disks are not.
    let script = "cd /dev; mknod mem c 1 1; mknod disk b 254 0; mknod kmsg c 1 11; \
        for node in mem disk kmsg full; do true 2>/dev/null <$node && echo $node; done; rm mem disk kmsg";
    let before = bundle.exec(script).lines().join(" ");
    assert_eq!(before, "kmsg full");
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(bundle.exec(script).lines().join(" "), before);
    systemctl(&["set-property", "--runtime", &unit(&bundle), "TasksMax=99"]).ok();
    assert_eq!(bundle.exec(script).lines().join(" "), before);
}

fn annotations_become_properties(lab: &Lab) {
    let bundle = bundle(lab).set(
        "/annotations",
        json!({
            // As Podman sets them.
            "org.systemd.property.KillSignal": "15",
            "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
            "org.systemd.property.RuntimeMaxSec": "1000.5",
            "org.systemd.property.Documentation": "['man:casulo(8)', \"https://x.test/?a='b'\"]",
            "org.systemd.property.SendSIGHUP": "true",
            "org.systemd.property.Description": "'it\\'s \"quoted\"'"
        }),
    );
    start(&bundle);
    let unit = unit(&bundle);
    for (property, expected) in [
        ("KillSignal", "15"),
        ("TimeoutStopUSec", "7s"),
        ("RuntimeMaxUSec", "16min 40.500000s"),
        ("SendSIGHUP", "yes"),
        ("Description", "it's \"quoted\""),
    ] {
        assert_eq!(show(&unit, property), expected, "{property}");
    }
    assert!(show(&unit, "Documentation").contains("man:casulo(8)"));
}

/// CRI-O writes these into every config.
fn annotations_of_cri_o(lab: &Lab) {
    let bundle = bundle(lab).set(
        "/annotations",
        json!({
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.DefaultDependencies": "true",
            "org.systemd.property.After": "['dbus.service']"
        }),
    );
    start(&bundle);
    let unit = unit(&bundle);
    assert_eq!(show(&unit, "DefaultDependencies"), "yes");
    // No tenant delays the end of a unit of the host.
    assert!(!show(&unit, "After").contains("dbus.service"));
}

fn bad_annotations_are_named(lab: &Lab) {
    for (name, value, words) in [
        ("Slice", "'x.slice'", "concerns the scope alone"),
        ("PIDs", "[uint32 1]", "concerns the scope alone"),
        ("Delegate", "false", "concerns the scope alone"),
        ("Before", "['x.service']", "concerns the scope alone"),
        ("OnSuccess", "['x.service']", "concerns the scope alone"),
        ("NoSuchProperty", "1", "concerns the scope alone"),
        ("K", "1", "concerns the scope alone"),
        ("Kill=Signal", "1", "concerns the scope alone"),
        ("KillSignal", "SIGTERM", "needs quotes"),
        ("Description", "'a\nExecStop=/bin/sh'", "control characters"),
        ("Description", "'a", "closing quote"),
    ] {
        let key = format!("org.systemd.property.{name}");
        let bundle = bundle(lab).set("/annotations", json!({key: value}));
        finish(bundle.command(DRIVER, "run", &[]), b"")
            .fails_with(&[&format!("org.systemd.property.{name}"), words]);
    }
    // What is well-formed is systemd's to judge.
    for (name, value) in [("MemoryZSwapWriteback", "'x'"), ("KillSignal", "'x'")] {
        let key = format!("org.systemd.property.{name}");
        let bundle = bundle(lab).set("/annotations", json!({key: value}));
        let out = finish(bundle.command(DRIVER, "run", &[]), b"");
        out.fails_with(&["systemd says", &unit(&bundle)]);
        assert_gone(&bundle);
        lab.assert_nothing_left(bundle.id());
    }
}

fn a_name_that_is_taken(lab: &Lab) {
    let first = bundle(lab);
    start(&first);
    let path = format!("system.slice:casulotest:{}", first.id());
    let second = lab.bundle().set("/linux/cgroupsPath", json!(path));
    let out = finish(second.command(DRIVER, "run", &[]), b"");
    out.fails_with(&[&unit(&first), "UnitExists", "linux.cgroupsPath"]);
    lab.assert_nothing_left(second.id());
    assert_eq!(first.status(), "running");
    assert_eq!(show(&unit(&first), "ActiveState"), "active");
}

fn a_frozen_scope_is_refused(lab: &Lab) {
    let bundle = bundle(lab);
    let directory = scope_directory(&bundle);
    fs::create_dir(&directory).expect("a cgroup of the scope's name");
    fs::write(directory.join("cgroup.freeze"), "1").expect("frozen");
    let begun = std::time::Instant::now();
    finish(bundle.command(DRIVER, "run", &[]), b"").fails_with(&[
        "container's cgroup unexpectedly frozen",
        &directory.display().to_string(),
    ]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    wait_until("systemd forgets the scope", || !is_loaded(&unit(&bundle)));
    lab.assert_nothing_left(bundle.id());
    // systemd may have removed it with the scope.
    let _ = fs::remove_dir(&directory);
}

fn a_unit_that_failed_gives_way(lab: &Lab) {
    let bundle = bundle(lab);
    let unit = unit(&bundle);
    let mut failing = Command::new("systemd-run");
    failing.args([
        "--scope",
        "--unit",
        &unit,
        "-p",
        "RuntimeMaxSec=1",
        "sleep",
        "100",
    ]);
    finish(failing, b"");
    wait_until("the scope fails", || show(&unit, "ActiveState") == "failed");
    start(&bundle);
    assert_eq!(show(&unit, "ActiveState"), "active");
    delete(&bundle);
}

fn subgroup_is_renamed(lab: &Lab) {
    let bundle = bundle(lab)
        .without_namespace("cgroup")
        .set("/annotations/run.oci.systemd.subgroup", json!("pod/inner"));
    start(&bundle);
    let path = bundle.exec("grep ^0 /proc/self/cgroup").ok();
    assert!(path.text().ends_with(".scope/pod/inner"), "{path:?}");
    delete(&bundle);
}

fn without_a_subgroup(lab: &Lab) {
    let bundle = bundle(lab)
        .without_namespace("cgroup")
        .set("/annotations/run.oci.systemd.subgroup", json!(""))
        .set("/linux/resources/pids", json!({"limit": 9}));
    start(&bundle);
    let path = bundle.exec("grep ^0 /proc/self/cgroup").ok();
    assert!(path.text().ends_with(&unit(&bundle)), "{path:?}");
    assert_eq!(read(&scope_directory(&bundle), "pids.max"), "9");
    let procs = read(&scope_directory(&bundle), "cgroup.procs");
    assert_eq!(procs, bundle.pid().to_string(), "the bridge is gone");
    delete(&bundle);
}

fn a_delegated_cgroup_in_a_scope(lab: &Lab) {
    let bundle = bundle(lab)
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .set("/linux/resources/pids", json!({"limit": 30}))
        .set("/annotations/run.oci.delegate-cgroup", json!("payload"));
    start(&bundle);
    let script = "cat /proc/1/cgroup /proc/self/cgroup /sys/fs/cgroup/pids.max /sys/fs/cgroup/payload/pids.max; \
        mkdir /sys/fs/cgroup/payload/below";
    let out = bundle.exec(script).ok();
    assert_eq!(out.lines(), ["0::/payload", "0::/payload", "30", "max"]);
    delete(&bundle);
}

fn namespaces_are_joined_in_a_scope(lab: &Lab) {
    let first = bundle(lab);
    start(&first);
    let links = |bundle: &Bundle<'_>, kinds: &[&str]| -> Vec<PathBuf> {
        let link =
            |kind: &&str| fs::read_link(format!("/proc/{}/ns/{kind}", bundle.pid())).unwrap();
        kinds.iter().map(link).collect()
    };
    let join = |kinds: &[(&str, &str)]| {
        kinds.iter().fold(bundle(lab), |bundle, (kind, file)| {
            bundle.join_namespace(kind, &format!("/proc/{}/ns/{file}", first.pid()))
        })
    };
    for kinds in [
        &[("network", "net"), ("pid", "pid")][..],
        &[("ipc", "ipc"), ("cgroup", "cgroup")][..],
    ] {
        let second = join(kinds);
        start(&second);
        let files: Vec<&str> = kinds.iter().map(|(_, file)| *file).collect();
        assert_eq!(links(&second, &files), links(&first, &files));
        let procs = read(&scope_directory(&second).join("container"), "cgroup.procs");
        assert!(
            procs.lines().any(|pid| pid == second.pid().to_string()),
            "{procs}"
        );
        delete(&second);
    }
    let second = bundle(lab).in_user_namespace();
    start(&second);
    let user = second.pid();
    let third = bundle(lab)
        .in_user_namespace()
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
        .join_namespace("user", &format!("/proc/{user}/ns/user"))
        .join_namespace("network", &format!("/proc/{user}/ns/net"));
    start(&third);
    assert_eq!(
        links(&third, &["user", "net"]),
        links(&second, &["user", "net"])
    );
    delete(&third);
    delete(&second);
    assert_eq!(first.status(), "running");
}

fn later_commands_need_no_flag(lab: &Lab) {
    let bundle = bundle(lab);
    finish(bundle.command(DRIVER, "create", &[]), b"").ok();
    assert_eq!(bundle.status(), "created");
    assert_eq!(bundle.state()["systemd-scope"], unit(&bundle));
    let procs = read(&scope_directory(&bundle).join("container"), "cgroup.procs");
    assert_eq!(procs, bundle.pid().to_string());
    assert_eq!(read(&scope_directory(&bundle), "cgroup.procs"), "");
    assert_eq!(
        fs::read_dir(scope_directory(&bundle))
            .unwrap()
            .flatten()
            .filter(|it| it.path().is_dir())
            .count(),
        1
    );
    bundle.verb("start").ok();
    assert_eq!(bundle.status(), "running");
    let script = "cat /proc/self/cgroup";
    assert_eq!(bundle.exec(script).ok().text(), "0::/");
    bundle.call("kill", &["--all"], &["KILL"]).ok();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    assert_gone(&bundle);
}

/// The limits of the scope: in its files, and as systemd knows them.
fn limits(bundle: &Bundle<'_>) -> Vec<String> {
    let directory = scope_directory(bundle);
    let inner = directory.join("container");
    let mut found = Vec::new();
    for file in [
        "memory.max",
        "pids.max",
        "cpu.weight",
        "cpuset.cpus",
        "cpu.max.burst",
    ] {
        found.push(read(&inner, file));
        assert_eq!(read(&directory, file), read(&inner, file), "{file}");
    }
    let properties = ["MemoryMax", "TasksMax", "CPUWeight", "AllowedCPUs"];
    found.extend(properties.map(|property| show(&unit(bundle), property)));
    found
}

fn an_update_is_told_to_systemd(lab: &Lab) {
    let bundle = bundle(lab).set(
        "/linux/resources/unified",
        json!({"memory.max": "67108864", "pids.max": "20"}),
    );
    start(&bundle);
    let resources = json!({
        "memory": {"limit": 128 << 20},
        "pids": {"limit": 30},
        "cpu": {"quota": 50_000, "period": 100_000, "burst": 20_000},
        "unified": {"cpu.weight": "50", "cpuset.cpus": "0"},
        "devices": [{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"}]
    });
    let mut command = lab.command();
    command.args(["update", "--resources", "-", bundle.id()]);
    finish(command, resources.to_string().as_bytes()).ok();
    let memory = (128 << 20).to_string();
    let expected = [&memory, "30", "50", "0", "20000", &memory, "30", "50", "0"];
    assert_eq!(limits(&bundle), expected);
    assert_eq!(show(&unit(&bundle), "CPUQuotaPerSecUSec"), "500ms");
    systemctl(&["daemon-reload"]).ok();
    assert_eq!(limits(&bundle), expected);
    delete(&bundle);
}

/// systemd writes the scope's weights for both of the kernel's schedulers, and converts one into the other.
fn a_weight_is_what_systemd_makes_of_it(lab: &Lab) {
    let _bfq = Bfq::load();
    let weight = |weight: u16| json!({"blockIO": {"weight": weight}});
    let bundle = bundle(lab).set("/linux/resources", weight(111));
    start(&bundle);
    let scope = scope_directory(&bundle);
    let agreed = || {
        let of_scope = read(&scope, "io.bfq.weight");
        assert_eq!(of_scope, read(&scope.join("container"), "io.bfq.weight"));
        of_scope
    };
    assert_eq!(agreed(), "default 111");
    // systemd writes all of the scope's weights again.
    let property = format!("IOWeight={}", show(&unit(&bundle), "IOWeight"));
    systemctl(&["set-property", "--runtime", &unit(&bundle), &property]).ok();
    assert_eq!(agreed(), "default 111");
    let update = |resources: &Value| {
        let mut command = lab.command();
        command.args(["update", "--resources", "-", bundle.id()]);
        finish(command, resources.to_string().as_bytes())
    };
    update(&weight(222)).ok();
    assert_eq!(agreed(), "default 222");
    let told = show(&unit(&bundle), "IOWeight");
    let refused = json!({"blockIO": {"weight": 333}, "unified": {"cpu.weight": "0"}});
    update(&refused).fails_with(&["cpu.weight"]);
    assert_eq!(agreed(), "default 222");
    assert_eq!(show(&unit(&bundle), "IOWeight"), told);
    delete(&bundle);
}

/// The scheduler with weights of its own is there while this value is. A container's file for weights is another then.
struct Bfq(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Bfq {
    fn load() -> Bfq {
        let alone = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
        modprobe(&["bfq"]).ok();
        Bfq(alone)
    }
}

impl Drop for Bfq {
    fn drop(&mut self) {
        modprobe(&["--remove", "bfq"]);
    }
}

fn modprobe(args: &[&str]) -> Output {
    let mut command = Command::new("modprobe");
    command.args(args);
    finish(command, b"")
}

fn a_refused_update_changes_nothing(lab: &Lab) {
    let bundle = bundle(lab).set(
        "/linux/resources/unified",
        json!({"memory.max": "67108864", "pids.max": "20", "cpu.weight": "60", "cpuset.cpus": "0"}),
    );
    start(&bundle);
    let before = limits(&bundle);
    // The kernel refuses the last one; systemd has been told of none then.
    let resources =
        json!({"pids": {"limit": 30}, "unified": {"cpu.weight": "50", "memory.oom.group": "7"}});
    let update = |resources: Value| {
        let mut command = lab.command();
        command.args(["update", "--resources", "-", bundle.id()]);
        (command, resources.to_string())
    };
    let (command, text) = update(resources);
    finish(command, text.as_bytes()).fails_with(&["memory.oom.group"]);
    assert_eq!(limits(&bundle), before);
    // systemd cannot be told.
    let empty = lab.directory("empty");
    let directories = [(empty.as_path(), "/run/systemd"), (&empty, "/run/dbus")];
    let (command, text) =
        update(json!({"pids": {"limit": 30}, "unified": {"memory.oom.group": "1"}}));
    finish(with_directories(&command, &directories), text.as_bytes())
        .fails_with(&["/run/systemd/private"]);
    assert_eq!(limits(&bundle), before);
    delete(&bundle);
}

fn run_leaves_nothing(lab: &Lab) {
    let bundle = bundle(lab).sh("mkdir /tmp/x; exit 7");
    let out = finish(bundle.command(DRIVER, "run", &[]), b"");
    assert_eq!(out.code, 7, "{out:?}");
    assert_gone(&bundle);
    lab.assert_nothing_left(bundle.id());
}

fn a_failed_create_leaves_nothing(lab: &Lab) {
    let no_program = bundle(lab).args(&["/no/such/program"]);
    finish(no_program.command(DRIVER, "create", &[]), b"").fails_with(&["/no/such/program"]);
    let bad_mount = bundle(lab).mount("/x", "nosuchfs", "x", &[]);
    finish(bad_mount.command(DRIVER, "create", &[]), b"").fails_with(&["nosuchfs"]);
    let bad_limit = bundle(lab).set("/linux/resources/unified", json!({"pids.nosuch": "1"}));
    finish(bad_limit.command(DRIVER, "create", &[]), b"").fails_with(&["pids.nosuch"]);
    for bundle in [no_program, bad_mount, bad_limit] {
        assert_gone(&bundle);
        lab.assert_nothing_left(bundle.id());
    }
}

fn a_failed_scope_does_not_stay(lab: &Lab) {
    let bundle = bundle(lab)
        .set(
            "/linux/resources/memory",
            json!({"limit": 16 << 20, "swap": 16 << 20}),
        )
        .sh("x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done");
    finish(bundle.command(DRIVER, "run", &["--detach"]), b"").ok();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    assert_gone(&bundle);
}

/// `command` in a mount namespace in which other directories lie over these.
fn with_directories(command: &Command, directories: &[(&Path, &str)]) -> Command {
    let mut script = String::new();
    for (source, target) in directories {
        script += &format!("mount --bind {} {target} && ", source.display());
    }
    let mut shell = Command::new("unshare");
    shell
        .args([
            "--mount",
            "sh",
            "-c",
            &format!("{script} exec \"$@\""),
            "sh",
        ])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

fn without_systemd_nothing_is_left(lab: &Lab) {
    let bundle = bundle(lab);
    let empty = lab.directory("empty");
    let directories = [(empty.as_path(), "/run/systemd"), (&empty, "/run/dbus")];
    let command = with_directories(&bundle.command(DRIVER, "run", &[]), &directories);
    let out =
        finish(command, b"").fails_with(&["/run/systemd/private", "cgroupfs", &unit(&bundle)]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    lab.assert_nothing_left(bundle.id());
    // A socket that nobody listens at.
    let dead = lab.directory("dead");
    drop(UnixListener::bind(dead.join("private")).unwrap());
    let directories = [(dead.as_path(), "/run/systemd"), (&empty, "/run/dbus")];
    let command = with_directories(&bundle.command(DRIVER, "run", &[]), &directories);
    finish(command, b"").fails_with(&["/run/systemd/private", "Connection refused"]);
    lab.assert_nothing_left(bundle.id());
}

fn delete_without_systemd_removes_the_cgroups(lab: &Lab) {
    let bundle = bundle(lab);
    start(&bundle);
    let empty = lab.directory("empty");
    let directories = [(empty.as_path(), "/run/systemd"), (&empty, "/run/dbus")];
    let mut command = lab.command();
    command.args(["delete", "--force", bundle.id()]);
    finish(with_directories(&command, &directories), b"")
        .fails_with(&["/run/systemd/private", &unit(&bundle)]);
    assert!(!scope_directory(&bundle).join("container").exists());
    delete(&bundle);
}

/// The command, with what it says to systemd in the file.
fn traced(command: &Command, trace: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args([
        "-s",
        "4096",
        "-e",
        "trace=connect,write,sendto,sendmsg,read,recvfrom,recvmsg",
        "-o",
    ]);
    strace.arg(trace);
    wrapped(strace, command)
}

fn the_bus_will_do(lab: &Lab) {
    let bundle = bundle(lab);
    let empty = lab.directory("empty");
    let directories = [(empty.as_path(), "/run/systemd")];
    let call = |command: &Command| {
        let trace = lab.join("trace");
        finish(
            with_directories(&traced(command, &trace), &directories),
            b"",
        )
        .ok();
        fs::read_to_string(trace).unwrap()
    };
    let create = call(&bundle.command(DRIVER, "create", &[]));
    assert_eq!(show(&unit(&bundle), "ActiveState"), "active");
    let at = |word: &str| {
        create
            .lines()
            .position(|line| line.contains(word))
            .unwrap_or_else(|| panic!("{word}: {create}"))
    };
    // All in one go: the bus keeps the order, and no answer is waited for.
    let said: Vec<&str> = create
        .lines()
        .take(at("StartTransientUnit"))
        .skip(at("Hello"))
        .collect();
    assert!(
        said.iter().any(|line| line.contains("AddMatch")),
        "{create}"
    );
    assert!(
        !said.iter().any(|line| line.starts_with("recvfrom(")),
        "{create}"
    );
    // Who waits for no job needs no signals.
    let mut command = lab.command();
    command.args(["update", "--pids-limit", "50", bundle.id()]);
    let update = call(&command);
    let of = |word: &str| update.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        ["Hello", "SetProperties", "AddMatch", "Subscribe"].map(of),
        [1, 1, 0, 0],
        "{update}"
    );
    assert_eq!(show(&unit(&bundle), "TasksMax"), "50");
    let mut command = lab.command();
    command.args(["delete", "--force", bundle.id()]);
    call(&command);
    assert_gone(&bundle);
}

fn systemd_that_never_answers(lab: &Lab) {
    let bundle = bundle(lab);
    let silent = lab.directory("silent");
    let listener = UnixListener::bind(silent.join("private")).unwrap();
    let directories = [(silent.as_path(), "/run/systemd")];
    let command = with_directories(&bundle.command(DRIVER, "run", &[]), &directories);
    let out = finish(command, b"").fails_with(&[
        "no answer",
        "30 seconds",
        &unit(&bundle),
        "systemctl status",
    ]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    drop(listener);
    lab.assert_nothing_left(bundle.id());
}

fn other_pid_namespaces_are_refused(lab: &Lab) {
    // systemd would move whoever has the number on the host.
    let bundle = bundle(lab);
    let command = bundle.command(DRIVER, "run", &[]);
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]);
    inside.arg(command.get_program()).args(command.get_args());
    finish(inside, b"").fails_with(&["pid namespace", &unit(&bundle)]);
    assert_gone(&bundle);
    lab.assert_nothing_left(bundle.id());
}

fn the_scope_goes_with_a_killed_runtime(lab: &Lab) {
    for delay in [5, 20, 60, 120, 200, 300, 450, 600] {
        let bundle = bundle(lab);
        let runtime = Running::new(bundle.command(DRIVER, "create", &[]), b"");
        std::thread::sleep(Duration::from_millis(delay));
        runtime.signal(nix::sys::signal::Signal::SIGKILL);
        runtime.wait();
        lab.casulo(&["delete", "--force", bundle.id()]).ok();
        assert_gone(&bundle);
        lab.assert_nothing_left(bundle.id());
    }
}

fn one_connection_and_one_call(lab: &Lab) {
    let bundle = bundle(lab);
    let trace = lab.join("trace");
    finish(traced(&bundle.command(DRIVER, "create", &[]), &trace), b"").ok();
    let trace = fs::read_to_string(trace).unwrap();
    let count = |words: &[&str]| {
        let has = |line: &&str| words.iter().all(|word| line.contains(word));
        trace.lines().filter(has).count()
    };
    assert_eq!(count(&["connect(", "systemd"]), 1, "{trace}");
    assert_eq!(count(&["connect(", "dbus"]), 0, "{trace}");
    // The handshake and the call are all that is said; which invocation that made is among what systemd tells.
    assert_eq!(count(&["AUTH EXTERNAL"]), 1, "{trace}");
    assert_eq!(
        count(&["sendto(", "org.freedesktop.systemd1"]),
        1,
        "{trace}"
    );
    assert_eq!(count(&["sendto(", "StartTransientUnit"]), 1, "{trace}");
    let state = fs::read(lab.root().join(bundle.id()).join("state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let invocation = &state["systemd_scope"]["invocation"];
    assert_eq!(*invocation, show(&unit(&bundle), "InvocationID"));
    // Two lines of a handshake, an answer, ten signals: a read takes what is there, and not a byte.
    assert!((1..30).contains(&count(&["recvfrom("])), "{trace}");
    delete(&bundle);
}

/// Of a `create` that was killed before it knew which it is: its own, then one of the host's that has no process.
fn a_scope_that_nothing_proves_ours_is_not_stopped(lab: &Lab) {
    let bundle = bundle(lab);
    lab.use_test_build("CASULO_FAULT", "scope-starts:kill");
    let out = finish(bundle.command(DRIVER, "create", &[]), b"");
    lab.use_runtime();
    assert_eq!(out.code, 137, "{out:?}");
    let unit = unit(&bundle);
    let path = lab.root().join(bundle.id()).join("state.json");
    let record = fs::read(&path).unwrap();
    let state: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(state["systemd_scope"]["invocation"], "");
    bundle.call("delete", &["--force"], &[]).ok();
    assert_gone(&bundle);
    lab.assert_nothing_left(bundle.id());
    // One that fails stays.
    let mut other = Command::new("systemd-run");
    other.args(["--quiet", "--scope", "--unit", &unit]);
    other.args(["--property=RuntimeMaxSec=1", "sleep", "1000"]);
    finish(other, b"");
    wait_until("the other has failed", || {
        show(&unit, "ActiveState") == "failed"
    });
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, record).unwrap();
    let trace = lab.join("trace");
    let mut delete = Command::new("strace");
    delete.args(["-s", "4096", "-e", "trace=write,sendto,sendmsg", "-o"]);
    let runtime = lab.command();
    delete
        .arg(&trace)
        .arg(runtime.get_program())
        .args(runtime.get_args());
    delete.args(["delete", "--force", bundle.id()]);
    finish(delete, b"").ok();
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("Documentation"), "{trace}");
    assert!(!trace.contains("Stop"), "{trace}");
    assert_eq!(show(&unit, "ActiveState"), "failed");
    systemctl(&["reset-failed", &unit]).ok();
    lab.assert_nothing_left(bundle.id());
}

/// The user of the host who has a systemd of their own.
pub(crate) const USER: u32 = 1000;

/// That systemd, which runs as long as this value is there. One test at a time has it.
pub(crate) struct UsersSystemd(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl UsersSystemd {
    pub(crate) fn start() -> UsersSystemd {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        systemctl(&["start", &format!("user@{USER}.service")]).ok();
        UsersSystemd(alone)
    }
}

impl Drop for UsersSystemd {
    fn drop(&mut self) {
        systemctl(&["stop", &format!("user@{USER}.service")]);
    }
}

/// What that user calls in `directory`, by arguments that are still to come; `groups` is setpriv's option.
pub(crate) fn of_user(directory: &Path, groups: &str) -> Command {
    let id = USER.to_string();
    // The tests' mount namespace is older than the user's directory below /run.
    let mut command = Command::new("nsenter");
    command
        .args(["--target=1", "--mount"])
        .args(["sh", "-c", "cd \"$0\" && exec \"$@\""])
        .arg(directory)
        .args(["setpriv", "--reuid", &id, "--regid", &id])
        .args([groups, "--inh-caps=-all"])
        .env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
    command
}

/// A container of that user's, in a scope of their systemd.
pub(crate) struct UsersContainer<'lab> {
    lab: &'lab Lab,
    pub(crate) bundle: Bundle<'lab>,
    state: PathBuf,
    _systemd: UsersSystemd,
}

impl<'lab> UsersContainer<'lab> {
    pub(crate) fn new(lab: &'lab Lab) -> UsersContainer<'lab> {
        let systemd = UsersSystemd::start();
        let bundle = lab.bundle();
        let state = lab.directory("users-state");
        for path in [bundle.path(), &bundle.rootfs(), &state] {
            std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
        }
        let container = UsersContainer {
            lab,
            bundle,
            state,
            _systemd: systemd,
        };
        container.call(&["spec", "--rootless"]).ok();
        let file = container.bundle.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/sleep", "1000"]);
        config["root"]["readonly"] = json!(false);
        config["linux"]["resources"] =
            json!({"pids": {"limit": 40}, "memory": {"limit": 64 << 20}});
        fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
        container
    }

    /// The runtime, called by the user.
    pub(crate) fn call(&self, args: &[&str]) -> Output {
        let mut command = of_user(self.bundle.path(), "--clear-groups");
        let runtime = self.lab.command();
        command
            .arg(runtime.get_program())
            .arg("--root")
            .arg(&self.state)
            .args(args);
        let told = runtime.get_envs();
        command.envs(told.filter_map(|(key, value)| Some((key, value?))));
        finish(command, b"")
    }

    /// Creates and starts it.
    pub(crate) fn run(&self) {
        // This process is not in the user's part of the tree, as one of an ssh session is not.
        self.call(&["--systemd-cgroup", "run", "--detach", self.bundle.id()])
            .ok();
    }

    /// The directory of its scope.
    pub(crate) fn scope(&self) -> PathBuf {
        let id = self.bundle.id();
        format!(
            "/sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service/user.slice/casulo-{id}.scope"
        )
        .into()
    }

    /// The numbers of its processes.
    pub(crate) fn processes(&self) -> Vec<String> {
        let list = read(&self.scope().join("container"), "cgroup.procs");
        list.lines().map(str::to_owned).collect()
    }

    /// Deletes it: nothing is left.
    pub(crate) fn delete(&self) {
        self.call(&["delete", "--force", self.bundle.id()]).ok();
        wait_until("the scope is gone", || !self.scope().exists());
        self.lab.assert_nothing_left(self.bundle.id());
    }
}

fn an_ordinary_users_own_systemd(lab: &Lab) {
    let container = UsersContainer::new(lab);
    container.run();
    let out = container.call(&[
        "exec",
        container.bundle.id(),
        "cat",
        "/sys/fs/cgroup/pids.max",
        "/sys/fs/cgroup/memory.max",
        "/proc/self/cgroup",
    ]);
    assert_eq!(out.ok().lines(), ["40", &(64 << 20).to_string(), "0::/"]);
    assert_eq!(read(&container.scope(), "pids.max"), "40");
    assert_eq!(container.processes().len(), 1);
    container.delete();
}
