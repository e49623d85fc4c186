//! The cgroup's place in the tree: where it may be, who else is there, who may write it, and how a
//! process gets into it. What is written into its files is in `cgroups`.

use crate::support::{Bundle, HostCgroup, Lab, Output, cases, finish, wait_until};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

cases! {
    [Root] => absolute_path_starts_at_the_mount, directories_above_are_made_and_removed, directories_of_others_stay,
        an_empty_cgroup_is_used, a_cgroup_of_the_callers_that_is_below_another,
        with_a_cgroup_namespace_the_own_cgroup_is_the_root, read_only_mount_is_not_writable, writable_mount_is_the_containers_alone,
        user_namespace_without_cgroup_namespace_cannot_write, exec_finds_threads_in_their_cgroup,
        exec_into_a_cgroup_that_was_killed,
        processes_deeper_than_a_path_can_be_are_found;
    [Root, Casulo] => relative_path_starts_at_the_mount_too, a_cgroup_with_processes_is_refused, a_cgroup_with_processes_below_is_refused,
        a_threaded_cgroup_above_is_named, a_read_only_hierarchy_is_named, disabled_manager_refuses_limits, disabled_manager_spares_the_caller,
        exec_into_a_cgroup_that_was_named_says_why, inside_a_cgroup_namespace_the_mount_is_the_top;
    [Root, Controller("pids"), Program("/usr/bin/strace")] => exec_while_init_moves;
    [Root, Casulo] => exec_when_init_has_left_a_cgroup_that_is_gone;
    [Root, Casulo, Controller("pids"), Program("/usr/bin/strace")] => limits_take_at_most_24_system_calls;
    [Root, Controller("pids")] => controllers_are_enabled_along_the_path, every_controller_is_passed_on,
        processes_above_stay_a_domain, processes_in_the_cgroup_above_are_named,
        exec_follows_init_into_a_nested_cgroup;
    [Root, Casulo, Program("/usr/bin/setpriv")] => an_ordinary_users_cgroups_are_not_writable_from_inside;
    [Root, Casulo, Controller("pids"), Program("/usr/bin/setpriv")] => delegated_cgroup_of_an_ordinary_user, rights_that_the_container_took_away;
}

const MOUNT: &str = "/sys/fs/cgroup";

fn at(path: &str) -> PathBuf {
    Path::new(MOUNT).join(path.trim_start_matches('/'))
}

/// The container's own v2 cgroup as `/proc/self/cgroup` names it.
const OWN: &str = "sed -n s/^0:://p /proc/self/cgroup";

fn sleeping(bundle: Bundle<'_>) -> Bundle<'_> {
    let bundle = bundle.args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// A bundle whose container may write its own cgroup.
fn writable(lab: &Lab) -> Bundle<'_> {
    lab.bundle()
        .without_mount(MOUNT)
        .mount(MOUNT, "cgroup", "cgroup", &["rw"])
}

fn run_in(bundle: &Bundle<'_>, cgroup: &Path) -> Output {
    let command = bundle.command(&[], "run", &[]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo $$ >\"$0\"/cgroup.procs && exec \"$@\""])
        .arg(cgroup)
        .arg(command.get_program())
        .args(command.get_args());
    finish(shell, b"")
}

// ---- where it is -----------------------------------------------------------------------------------

fn absolute_path_starts_at_the_mount(lab: &Lab) {
    let out = lab.bundle().without_namespace("cgroup").sh(OWN);
    assert_eq!(out.run().ok().text(), format!("/casulo-test/{}", out.id()));
}

fn relative_path_starts_at_the_mount_too(lab: &Lab) {
    // Wherever the caller is; so the same value is the same place for every call.
    let elsewhere = HostCgroup::new("casulo-test/elsewhere/deep");
    let bundle = lab.bundle().without_namespace("cgroup").sh(OWN);
    let path = format!("casulo-test/{}", bundle.id());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    let out = run_in(&bundle, elsewhere.path()).ok();
    assert_eq!(out.text(), format!("/{path}"));
}

fn directories_above_are_made_and_removed(lab: &Lab) {
    let bundle = lab.bundle().without_namespace("cgroup").sh(OWN);
    let top = format!("/casulo-test/above-{}", bundle.id());
    let path = format!("{top}/a/b");
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    assert_eq!(bundle.run().ok().text(), path);
    assert!(!at(&top).exists());

    bundle.create(&[]).ok();
    assert!(at(&path).exists());
    bundle.call("delete", &["--force"], &[]).ok();
    assert!(!at(&top).exists());
}

fn directories_of_others_stay(lab: &Lab) {
    // An orchestrator makes the pod's cgroup, and keeps it when a container of it ends.
    let pod = HostCgroup::new("casulo-test/pod");
    let bundle = lab.bundle();
    let path = format!("/casulo-test/pod/{}", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path)).run().ok();
    assert!(pod.path().exists());
    assert!(!at(&path).exists());
}

fn a_cgroup_of_the_callers_that_is_below_another(lab: &Lab) {
    // casulo runs in a cgroup that is not the root: the container is not born in that one.
    let callers = HostCgroup::new("casulo-test/callers");
    let bundle = lab.bundle().without_namespace("cgroup").sh(OWN);
    let out = run_in(&bundle, callers.path()).ok();
    assert_eq!(out.text(), format!("/casulo-test/{}", bundle.id()));
}

fn inside_a_cgroup_namespace_the_mount_is_the_top(lab: &Lab) {
    let home = HostCgroup::new("casulo-test/home");
    let bundle = lab.bundle().without_namespace("cgroup").sh(OWN);
    let command = bundle.command(&[], "run", &[]);
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "echo $$ >\"$0\"/cgroup.procs && exec unshare --cgroup --mount sh -c \
             'umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"' sh \"$@\"",
        ])
        .arg(home.path())
        .arg(command.get_program())
        .args(command.get_args());
    assert_eq!(
        finish(shell, b"").ok().text(),
        format!("/casulo-test/{}", bundle.id())
    );
    // What casulo made there is gone, whoever looks.
    let inner = home.path().join("casulo-test");
    assert!(!inner.exists());
}

// ---- who else is there -----------------------------------------------------------------------------

fn an_empty_cgroup_is_used(lab: &Lab) {
    let bundle = lab.bundle();
    fs::create_dir_all(bundle.cgroup()).unwrap();
    bundle.run().ok();
}

fn a_cgroup_with_processes_is_refused(lab: &Lab) {
    let bundle = lab.bundle();
    let occupied = HostCgroup::new(&format!("casulo-test/{}", bundle.id()));
    let mut sleeper = occupied.sleeper();
    finish(bundle.command(&[], "run", &[]), b"")
        .fails_with(&["container's cgroup is not empty", "cgroupsPath"]);
    // Nothing was done to whoever is there.
    assert!(sleeper.is_alive());
}

fn a_cgroup_with_processes_below_is_refused(lab: &Lab) {
    let bundle = lab.bundle();
    let _outer = HostCgroup::new(&format!("casulo-test/{}", bundle.id()));
    let inner = HostCgroup::new(&format!("casulo-test/{}/inner", bundle.id()));
    let mut sleeper = inner.sleeper();
    finish(bundle.command(&[], "run", &[]), b"").fails_with(&["container's cgroup is not empty"]);
    assert!(sleeper.is_alive());
}

fn a_threaded_cgroup_above_is_named(lab: &Lab) {
    let above = HostCgroup::new("casulo-test/threads");
    let threaded = HostCgroup::new("casulo-test/threads/one");
    fs::write(threaded.path().join("cgroup.type"), "threaded").unwrap();
    for place in [above.path(), threaded.path()] {
        let bundle = lab.bundle();
        let path = place.join(bundle.id());
        let path = path.strip_prefix(MOUNT).unwrap();
        let bundle = bundle.set("/linux/cgroupsPath", json!(Path::new("/").join(path)));
        bundle.run().fails_with(&["threaded", "cgroup"]);
        assert!(!place.join(bundle.id()).exists());
    }
}

fn controllers_are_enabled_along_the_path(lab: &Lab) {
    let top = HostCgroup::new("casulo-test/levels");
    let bundle = lab.bundle();
    let path = format!("/casulo-test/levels/a/{}", bundle.id());
    let bundle = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources/pids", json!({"limit": 7}))
        .args(&["/bin/cat", "/sys/fs/cgroup/pids.max"]);
    assert_eq!(bundle.run().ok().text(), "7");
    let given = fs::read_to_string(top.path().join("cgroup.subtree_control")).unwrap();
    assert!(given.split_whitespace().any(|name| name == "pids"));
}

/// A kubelet, an engine or systemd in the container asks for them.
fn every_controller_is_passed_on(lab: &Lab) {
    let top = HostCgroup::new("casulo-test/whole");
    let bundle = lab.bundle();
    let path = format!("/casulo-test/whole/a/{}", bundle.id());
    let bundle = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources", json!({}))
        .args(&["/bin/cat", "/sys/fs/cgroup/cgroup.controllers"]);
    let names = |text: &str| {
        let mut names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let of = |path: &Path| names(&fs::read_to_string(path.join("cgroup.controllers")).unwrap());
    let all = of(Path::new(MOUNT));
    assert_eq!(names(bundle.run().ok().text()), all);
    assert_eq!(of(top.path()), all);
}

/// Without a limit nothing needs controllers there, and threaded ones alone would leave no place for a container.
fn processes_above_stay_a_domain(lab: &Lab) {
    let above = HostCgroup::new("casulo-test/peopled");
    let mut sleeper = above.sleeper();
    let bundle = lab.bundle();
    let path = format!("/casulo-test/peopled/{}", bundle.id());
    let bundle = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources", json!({}))
        .args(&["/bin/cat", "/sys/fs/cgroup/cgroup.type"]);
    assert_eq!(bundle.run().ok().text(), "domain");
    let said = |file: &str| fs::read_to_string(above.path().join(file)).unwrap();
    assert_eq!(said("cgroup.type").trim(), "domain");
    assert_eq!(said("cgroup.subtree_control").trim(), "");
    assert!(sleeper.is_alive());
}

fn limits_take_at_most_24_system_calls(lab: &Lab) {
    let above = HostCgroup::new("casulo-test/counted");
    let parent = above.path().parent().unwrap();
    for parent in [Path::new(MOUNT), parent, above.path()] {
        let all = fs::read_to_string(parent.join("cgroup.controllers")).unwrap();
        let all: Vec<String> = all.split_whitespace().map(|it| format!("+{it}")).collect();
        fs::write(parent.join("cgroup.subtree_control"), all.join(" ")).unwrap();
    }
    let bundle = lab.bundle();
    let path = format!("/casulo-test/counted/{}", bundle.id());
    let bundle = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set(
            "/linux/resources/cpu",
            json!({"shares": 512, "quota": 50_000, "period": 100_000}),
        )
        .set("/linux/resources/memory", json!({"limit": 64 << 20}))
        .set("/linux/resources/pids", json!({"limit": 100}));
    let trace = lab.join("trace");
    let script = format!("exec strace -qq -o {} \"$@\"", trace.display());
    lab.through_shell(&script, &bundle.command(&[], "create", &[]))
        .ok();
    bundle.call("delete", &["--force"], &[]).ok();

    // Those before the directory is made that name the hierarchy's directories, all from there to the first that
    // has to do with what comes next, the FIFO for `start`, and later the device rules.
    let text = fs::read_to_string(&trace).unwrap();
    let is_made = |call: &&str| call.starts_with("mkdir(\"/sys/fs/cgroup");
    let before = text.lines().take_while(|call| !is_made(call));
    let making = text.lines().skip_while(|call| !is_made(call));
    let calls: Vec<&str> = before
        .filter(|call| call.contains("/sys/fs/cgroup/casulo-test"))
        .chain(making.take_while(|call| !call.starts_with("mknodat(")))
        .chain(text.lines().filter(|call| call.starts_with("bpf")))
        .collect();
    let of_device_rules = calls.iter().filter(|call| call.starts_with("bpf")).count();
    assert_eq!(of_device_rules, 2, "{text}");
    assert!(calls.len() <= 24, "{} calls: {calls:#?}", calls.len());
}

fn processes_in_the_cgroup_above_are_named(lab: &Lab) {
    let above = HostCgroup::new("casulo-test/occupied");
    let mut sleeper = above.sleeper();
    let bundle = lab.bundle();
    let path = format!("/casulo-test/occupied/{}", bundle.id());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path)).set(
        "/linux/resources",
        json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 7}}),
    );
    bundle.run().fails_with(&[
        "enable memory, pids below",
        "casulo-test/occupied",
        "a cgroup with processes of its own cannot give controllers",
    ]);
    assert!(!at(&path).exists());
    assert!(sleeper.is_alive());
}

fn a_read_only_hierarchy_is_named(lab: &Lab) {
    let bundle = lab.bundle();
    let script = "exec unshare --mount sh -c 'mount -o remount,bind,ro /sys/fs/cgroup && exec \"$@\"' sh \"$@\"";
    lab.through_shell(script, &bundle.command(&[], "run", &[]))
        .fails_with(&["cgroup", "mounted read-only"]);
}

// ---- what the container sees and may write ---------------------------------------------------------

fn with_a_cgroup_namespace_the_own_cgroup_is_the_root(lab: &Lab) {
    let out = lab
        .bundle()
        .sh(&format!(
            "{OWN}; cat /sys/fs/cgroup/cgroup.procs | head -n 1"
        ))
        .run()
        .ok();
    assert_eq!(out.lines(), ["/", "1"]);
}

fn read_only_mount_is_not_writable(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("mkdir /sys/fs/cgroup/x; echo max >/sys/fs/cgroup/cgroup.max.depth; true");
    let out = bundle.run().ok();
    assert_eq!(out.stderr.matches("ead-only file system").count(), 2);
}

fn writable_mount_is_the_containers_alone(lab: &Lab) {
    let out = writable(lab)
        .sh("mkdir /sys/fs/cgroup/x && ls -d /sys/fs/cgroup/casulo-test")
        .run();
    assert!(out.stderr.contains("No such file"), "{out:?}");
}

/// Tries to make a directory in every cgroup that it sees, and to move itself about.
const INTRUDE: &str = "find /sys/fs/cgroup -type d | while read -r directory; do \
     mkdir $directory/intruder 2>/dev/null && echo $directory; \
     echo 1 2>/dev/null >$directory/cgroup.procs && echo $directory; done; \
     mount -o remount,rw /sys/fs/cgroup 2>/dev/null; \
     find /sys/fs/cgroup -type d | while read -r directory; do mkdir $directory/intruder 2>/dev/null && echo $directory; done; echo tried";

fn user_namespace_without_cgroup_namespace_cannot_write(lab: &Lab) {
    // CVE-2023-25809. A user namespace that does not own the cgroup namespace cannot mount the
    // hierarchy; it must not get the host's own mount writable instead.
    let bundle = writable(lab)
        .in_user_namespace()
        .without_namespace("cgroup")
        .sh(&format!(
            "grep -c casulo-test /proc/self/cgroup; ls -d /sys/fs/cgroup/casulo-test; {INTRUDE}"
        ));
    let out = bundle.run().ok();
    assert_eq!(out.lines(), ["1", "/sys/fs/cgroup/casulo-test", "tried"]);
}

// ---- no cgroup of its own --------------------------------------------------------------------------

fn disabled_manager_refuses_limits(lab: &Lab) {
    for (key, value) in [
        ("pids", json!({"limit": 7})),
        ("memory", json!({"limit": 64 << 20})),
        ("unified", json!({"pids.max": "7"})),
    ] {
        let bundle = lab.bundle().set("/linux/resources", json!({key: value}));
        let command = bundle.command(&["--cgroup-manager", "disabled"], "run", &[]);
        finish(command, b"").fails_with(&["linux.resources", "the cgroup manager is disabled"]);
        lab.assert_nothing_left(bundle.id());
    }
}

fn disabled_manager_spares_the_caller(lab: &Lab) {
    // The container's processes are in the caller's cgroup: what acts on a cgroup would act on the
    // caller and its neighbours.
    let callers = HostCgroup::new("casulo-test/spared");
    let mut neighbour = callers.sleeper();
    for (namespace, refuses) in [("pid", true), ("ipc", false)] {
        let bundle = lab
            .bundle()
            .without_namespace(namespace)
            .args(&["/bin/sleep", "1000"])
            .remove("/linux/resources");
        let inner = bundle.command(&["--cgroup-manager", "disabled"], "run", &["--detach"]);
        let script = format!(
            "echo $$ >{}/cgroup.procs && exec \"$@\"",
            callers.path().display()
        );
        lab.through_shell(&script, &inner).ok();
        let procs = fs::read_to_string(callers.path().join("cgroup.procs")).unwrap();
        assert!(procs.contains(&bundle.pid().to_string()), "{procs}");

        let all = bundle.call("kill", &["--all"], &["TERM"]);
        if refuses {
            all.fails_with(&["neither a cgroup nor a pid namespace"]);
            assert_eq!(bundle.status(), "running");
        } else {
            all.ok();
        }
        bundle.call("delete", &["--force"], &[]).ok();
        lab.assert_nothing_left(bundle.id());
        assert!(neighbour.is_alive() && callers.path().exists());
    }
}

// ---- an ordinary user ------------------------------------------------------------------------------

/// The tests' ordinary user.
const USER: u32 = 65534;

/// A cgroup that was delegated to the user, as a service manager does it, and one below it for the
/// user's own processes.
fn delegated(name: &str) -> (HostCgroup, HostCgroup) {
    let given = HostCgroup::new(&format!("casulo-test/{name}"));
    for file in [
        "",
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
    ] {
        std::os::unix::fs::chown(given.path().join(file), Some(USER), Some(USER)).unwrap();
    }
    let shell = HostCgroup::new(&format!("casulo-test/{name}/shell"));
    for file in ["", "cgroup.procs"] {
        std::os::unix::fs::chown(shell.path().join(file), Some(USER), Some(USER)).unwrap();
    }
    (given, shell)
}

/// Runs the container as the ordinary user, from a process in `cgroup`.
fn run_as_user(lab: &Lab, bundle: &Bundle<'_>, cgroup: &HostCgroup) -> Output {
    let bundle_option = [
        "run",
        "--bundle",
        bundle.path().to_str().unwrap(),
        bundle.id(),
    ];
    as_user(lab, bundle, cgroup, &bundle_option)
}

/// A command of the runtime's as the ordinary user, from a process in `cgroup`.
fn as_user(lab: &Lab, bundle: &Bundle<'_>, cgroup: &HostCgroup, words: &[&str]) -> Output {
    let state = lab.directory("users-state");
    let id = USER.to_string();
    for path in [state.as_path(), bundle.path(), &bundle.rootfs()] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
    }
    bundle.write();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .arg(lab.runtime())
        .arg("--root")
        .arg(&state)
        .args(words)
        .env_remove("XDG_RUNTIME_DIR");
    let script = format!(
        "echo $$ >{}/cgroup.procs && exec \"$@\"",
        cgroup.path().display()
    );
    lab.through_shell(&script, &command)
}

/// A bundle that an ordinary user can run.
fn rootless(lab: &Lab) -> Bundle<'_> {
    let map = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    let rootfs_only = lab.bundle();
    for dir in [
        "bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "var",
    ] {
        std::os::unix::fs::lchown(rootfs_only.rootfs().join(dir), Some(USER), Some(USER)).unwrap();
    }
    rootfs_only
        .with_namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set(
            "/mounts/2/options",
            json!([
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620"
            ]),
        )
        .remove("/linux/cgroupsPath")
        .remove("/linux/resources")
}

fn delegated_cgroup_of_an_ordinary_user(lab: &Lab) {
    let (given, shell) = delegated("user");
    let bundle = rootless(lab).set("/linux/resources/pids", json!({"limit": 7}));
    let own = given.path().join(bundle.id());
    let bundle = bundle
        .without_namespace("cgroup")
        .sh(&format!("{OWN}; cat {}/pids.max", own.display()));
    let out = run_as_user(lab, &bundle, &shell).ok();
    assert_eq!(
        out.lines(),
        [&format!("/casulo-test/user/{}", bundle.id()), "7"]
    );
    assert!(!own.exists());
}

fn rights_that_the_container_took_away(lab: &Lab) {
    let (given, shell) = delegated("rights");
    for (taken, verb) in [
        (
            "chmod 0 cgroup.kill cgroup.procs .",
            &["delete", "--force"][..],
        ),
        ("chmod 0 cgroup.kill cgroup.procs .", &["kill", "--all"]),
        ("mkdir -p a/b && chmod 0 a", &["delete", "--force"]),
    ] {
        let bundle = rootless(lab)
            .without_mount(MOUNT)
            .mount(MOUNT, "cgroup", "cgroup", &["rw"])
            .sh(&format!(
                "cd {MOUNT} && {taken} && touch /tmp/taken && exec sleep 1000"
            ));
        let run = [
            "run",
            "--detach",
            "--bundle",
            bundle.path().to_str().unwrap(),
            bundle.id(),
        ];
        as_user(lab, &bundle, &shell, &run).ok();
        wait_until("the rights are gone", || {
            bundle.rootfs().join("tmp/taken").exists()
        });
        let own = given.path().join(bundle.id());
        let words = [
            verb,
            &[bundle.id()],
            if verb[0] == "kill" { &["KILL"] } else { &[] },
        ]
        .concat();
        as_user(lab, &bundle, &shell, &words).ok();
        if verb[0] == "kill" {
            let procs = fs::read_to_string(own.join("cgroup.procs")).unwrap();
            assert_eq!(procs, "", "{taken}");
            as_user(lab, &bundle, &shell, &["delete", bundle.id()]).ok();
        }
        assert!(!own.exists(), "{taken}, {verb:?}");
    }
}

fn an_ordinary_users_cgroups_are_not_writable_from_inside(lab: &Lab) {
    // Root of the user namespace is the owner of all that was delegated to the user.
    let (_given, shell) = delegated("owned");
    let bundle = rootless(lab)
        .without_namespace("cgroup")
        .without_mount(MOUNT)
        .mount(MOUNT, "cgroup", "cgroup", &["rw"])
        .sh(INTRUDE);
    let out = run_as_user(lab, &bundle, &shell).ok();
    assert_eq!(out.lines(), ["tried"]);
}

// ---- exec ------------------------------------------------------------------------------------------

fn exec_follows_init_into_a_nested_cgroup(lab: &Lab) {
    // As systemd and Docker do it inside a container: init moves down, so that controllers can be
    // given to the cgroups below. Then no process may be in the container's own any more.
    let bundle = writable(lab)
        .set("/linux/resources/pids", json!({"limit": 100}))
        .sh(
            "cd /sys/fs/cgroup && mkdir -p init && echo 1 >init/cgroup.procs && \
             echo +pids >cgroup.subtree_control && touch /ready && exec sleep 1000",
        );
    bundle.run_detached();
    wait_until("init has moved", || bundle.rootfs().join("ready").exists());
    assert_eq!(bundle.exec(OWN).ok().text(), "/init");
}

fn exec_into_a_cgroup_that_was_named_says_why(lab: &Lab) {
    let bundle = sleeping(writable(lab));
    for (name, kind) in [
        ("root", ""),
        ("root/threaded", "threaded"),
        ("root/invalid", ""),
    ] {
        let directory = bundle.cgroup().join(name);
        fs::create_dir(&directory).unwrap();
        if !kind.is_empty() {
            fs::write(directory.join("cgroup.type"), kind).unwrap();
        }
    }
    bundle
        .call("exec", &["--cgroup", "root/invalid"], &["/bin/true"])
        .fails_with(&["a cgroup above is threaded"]);
}

fn exec_finds_threads_in_their_cgroup(lab: &Lab) {
    let bundle = writable(lab).sh(
        "cd /sys/fs/cgroup && mkdir -p threads && echo threaded >threads/cgroup.type && \
         echo 1 >threads/cgroup.procs && touch /ready && exec sleep 1000",
    );
    bundle.run_detached();
    wait_until("init has moved", || bundle.rootfs().join("ready").exists());
    bundle.exec("true").ok();
}

/// Since Linux 6.14 whatever is cloned into a cgroup that was killed at any time is killed, too.
fn exec_into_a_cgroup_that_was_killed(lab: &Lab) {
    // Process 1 survives: nobody inside can kill it.
    let bundle = writable(lab).sh("sleep 1000 & sleeper=$!
         while kill -0 $sleeper; do echo 1 >/sys/fs/cgroup/cgroup.kill; sleep 0.1; done 2>/dev/null
         wait $sleeper; echo $? >/new; mkdir /sys/fs/cgroup/below; mv /new /ready
         while :; do sleep 0.1; done");
    bundle.run_detached();
    wait_until("it is killed", || bundle.rootfs().join("ready").exists());
    let said = fs::read_to_string(bundle.rootfs().join("ready")).unwrap();
    assert_eq!(said, "137\n");
    for _ in 0..2 {
        let script = format!("{OWN}; {}; exit 3", OWN.replace("self", "1"));
        let out = bundle.exec(&script);
        assert_eq!(out.code, 3, "{out:?}");
        assert_eq!(out.lines(), ["/", "/"]);
    }
    fs::write(bundle.cgroup().join("below/cgroup.kill"), "1").unwrap();
    let out = bundle.call("exec", &["--cgroup", "below"], &["/bin/sh", "-c", OWN]);
    assert_eq!(out.ok().text(), "/below");
    assert_eq!(bundle.status(), "running");
}

/// What enters is where init is, though the cgroup that the record names is gone.
fn exec_when_init_has_left_a_cgroup_that_is_gone(lab: &Lab) {
    let bundle = sleeping(lab.bundle().without_namespace("cgroup"));
    let other = HostCgroup::new(&format!("casulo-test/moved-{}", bundle.id()));
    let init = bundle.pid().to_string();
    fs::write(other.path().join("cgroup.procs"), &init).unwrap();
    fs::remove_dir(bundle.cgroup()).unwrap();
    let place = format!("/casulo-test/moved-{}", bundle.id());
    let out = bundle.exec(&format!("{OWN}; {}", OWN.replace("self", "1")));
    assert_eq!(out.ok().lines(), [&place, &place]);
    assert!(!bundle.cgroup().exists());
    bundle.call("delete", &["--force"], &[]).ok();
}

fn exec_while_init_moves(lab: &Lab) {
    // A container that moves its init about, gives controllers away where it has just been, makes
    // neighbours threaded and removes what it has left.
    let bundle = writable(lab)
        .set("/linux/resources/pids", json!({"limit": 1000}))
        .sh("cd /sys/fs/cgroup; exec 2>/dev/null
             hop() {
                 mkdir -p $1; echo >/dev/null -pids >$1/cgroup.subtree_control
                 echo 1 >$1/cgroup.procs; echo +pids >cgroup.subtree_control
                 mkdir -p $2/below; echo +pids >$2/cgroup.subtree_control
                 echo threaded >$2/below/cgroup.type
                 touch /moves
                 rmdir $2/below $2
             }
             while :; do hop a b; hop b a; done");
    bundle.run_detached();
    wait_until("init moves", || bundle.rootfs().join("moves").exists());
    for _ in 0..50 {
        bundle.exec("true").ok();
    }
    // The same where init has surely moved since casulo looked.
    let mut exec = lab.command();
    exec.args(["exec", bundle.id(), "/bin/true"]);
    for milliseconds in [60, 75, 90, 120] {
        let inject = format!("inject=clone3:delay_enter={milliseconds}000");
        let script = format!("exec strace -qq -o /dev/null -e trace=clone3 -e {inject} \"$@\"");
        lab.through_shell(&script, &exec).ok();
    }
    assert_eq!(bundle.status(), "running");
}

// ---- how deep it is --------------------------------------------------------------------------------

fn processes_deeper_than_a_path_can_be_are_found(lab: &Lab) {
    use nix::fcntl::{OFlag, open, openat};
    use nix::sys::stat::{Mode, mkdirat};
    let bundle = lab.bundle().sh("/bin/sleep 1001 & exec /bin/sleep 1000");
    bundle.run_detached();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut here = open(&bundle.cgroup(), flags, Mode::empty()).unwrap();
    let name = "n".repeat(250);
    for _ in 0..17 {
        mkdirat(&here, name.as_str(), Mode::from_bits_retain(0o755)).unwrap();
        here = openat(&here, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let listed = || {
        let out = bundle.call("ps", &["--format", "json"], &[]).ok();
        serde_json::from_str::<Vec<i32>>(&out.stdout).unwrap()
    };
    wait_until("both run", || listed().len() == 2);
    let second = listed().into_iter().find(|pid| *pid != bundle.pid());
    let second = second.unwrap().to_string();
    let procs = openat(&here, "cgroup.procs", OFlag::O_WRONLY, Mode::empty()).unwrap();
    nix::unistd::write(&procs, second.as_bytes()).unwrap();
    assert_eq!(listed().len(), 2);
    // Pid 1 does not hear of it.
    bundle.call("kill", &["--all"], &["TERM"]).ok();
    wait_until("the other has ended", || listed() == [bundle.pid()]);
    bundle.call("delete", &["--force"], &[]).ok();
}
