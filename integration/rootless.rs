//! Containers of an ordinary user.

use crate::support::{Bundle, Lab, Output, Running, cases, finish, wait_until};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

cases! {
    [Root, Casulo, Program("/usr/bin/setpriv")] => bundle_of_spec_rootless_runs, setgroups_is_denied, denying_group_cannot_be_dropped, limits_need_a_delegated_cgroup,
        create_start_kill_delete, exec_works, state_directory_defaults_to_the_users, the_users_own_binary_is_protected;
    [Root, Casulo, TestBuild, Program("/usr/bin/setpriv")] => what_enters_is_not_dumpable;
    [Root, Casulo, Program("/usr/bin/setpriv"), NewUidMap] => subordinate_ids_through_newuidmap;
}

/// `nobody`, who owns no process of the host and has subordinate ids in the tests' view.
const USER: u32 = 65534;

/// The runtime as the ordinary user, with a state directory that is the user's.
pub(crate) fn as_user(lab: &Lab, cwd: &Path, args: &[&str]) -> Command {
    program_as_user(&lab.runtime(), lab, cwd, args)
}

fn program_as_user(program: &Path, lab: &Lab, cwd: &Path, args: &[&str]) -> Command {
    let state = lab.directory("users-state");
    give(&state);
    let mut command = Command::new("setpriv");
    let id = USER.to_string();
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--inh-caps=-all",
    ]);
    command.arg(program).arg("--root").arg(&state).args(args);
    command
        .current_dir(cwd)
        .env_remove("XDG_RUNTIME_DIR")
        .env("HOME", "/nonexistent");
    command
}

pub(crate) fn call(lab: &Lab, cwd: &Path, args: &[&str]) -> Output {
    finish(as_user(lab, cwd, args), b"")
}

/// Makes the user the owner of a tree.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            // The rootfs's files are hard links that other tests share.
            if kind.is_dir() || kind.is_symlink() {
                give(&entry.path());
            }
        }
    }
}

/// A bundle whose config `casulo spec --rootless` wrote, changed by `edit`.
pub(crate) fn bundle<'lab>(
    lab: &'lab Lab,
    script: &str,
    edit: impl FnOnce(&mut Value),
) -> Bundle<'lab> {
    let bundle = lab.bundle();
    give(bundle.path());
    call(lab, bundle.path(), &["spec", "--rootless"]).ok();
    let file = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    config["root"]["readonly"] = json!(false);
    edit(&mut config);
    fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
    bundle
}

fn bundle_of_spec_rootless_runs(lab: &Lab) {
    let bundle = bundle(
        lab,
        "id -u; id -g; echo $$; cat /proc/self/uid_map; touch /mine; hostname",
        |_| {},
    );
    let out = call(lab, bundle.path(), &["run", bundle.id()]).ok();
    let lines = out.lines();
    assert_eq!(&lines[..3], ["0", "0", "1"]);
    assert_eq!(
        lines[3].split_whitespace().collect::<Vec<_>>(),
        ["0", "65534", "1"]
    );
    let mine = fs::metadata(bundle.rootfs().join("mine")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&mine), USER);
    assert_eq!(out.stderr, "");
}

fn setgroups_is_denied(lab: &Lab) {
    let bundle = bundle(lab, "cat /proc/self/setgroups", |_| {});
    assert_eq!(
        call(lab, bundle.path(), &["run", bundle.id()]).ok().text(),
        "deny"
    );
}

fn denying_group_cannot_be_dropped(lab: &Lab) {
    // CVE-2014-8989: to be in the group is what keeps the user out of the file.
    const GROUP: u32 = 2000;
    let script = "cat /denied || echo kept out; su root -c 'cat /denied' || echo kept out";
    let run = |groups: &[&str]| {
        let bundle = bundle(lab, script, |_| {});
        let file = bundle.rootfs().join("denied");
        fs::write(&file, "secret\n").unwrap();
        std::os::unix::fs::chown(&file, Some(0), Some(GROUP)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        let user = as_user(lab, bundle.path(), &["run", bundle.id()]);
        let mut command = Command::new(user.get_program());
        for arg in user.get_args() {
            if arg == "--clear-groups" {
                command.args(groups)
            } else {
                command.arg(arg)
            };
        }
        command.current_dir(bundle.path());
        finish(command, b"")
    };
    // Who is not in it may read.
    assert_eq!(run(&["--clear-groups"]).lines()[0], "secret");
    let out = run(&["--groups", "2000"]);
    assert_eq!(out.lines(), ["kept out", "kept out"], "{out:?}");
}

fn limits_need_a_delegated_cgroup(lab: &Lab) {
    let bundle = bundle(lab, "true", |config| {
        config["linux"]["resources"] = json!({"pids": {"limit": 5}});
    });
    call(lab, bundle.path(), &["run", bundle.id()]).fails_with(&["cgroup"]);
}

fn create_start_kill_delete(lab: &Lab) {
    let bundle = bundle(lab, "exec sleep 1000", |_| {});
    let call = |args: &[&str]| call(lab, bundle.path(), args);
    call(&["create", bundle.id()]).ok();
    call(&["start", bundle.id()]).ok();
    let status = || -> String {
        let state: Value =
            serde_json::from_str(&call(&["state", bundle.id()]).ok().stdout).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(), "running");
    call(&["kill", bundle.id(), "KILL"]).ok();
    crate::support::wait_until("it stops", || status() == "stopped");
    call(&["delete", bundle.id()]).ok();
    assert_eq!(call(&["list", "--quiet"]).ok().stdout, "");
}

fn exec_works(lab: &Lab) {
    let bundle = bundle(lab, "exec sleep 1000", |_| {});
    let call = |args: &[&str]| call(lab, bundle.path(), args);
    call(&["run", "--detach", bundle.id()]).ok();
    let out = call(&[
        "exec",
        bundle.id(),
        "/bin/sh",
        "-c",
        "id -u; [ $(readlink /proc/self/ns/user) = $(readlink /proc/1/ns/user) ] && echo same",
    ]);
    let out = out.ok();
    call(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(out.lines(), ["0", "same"]);
}

fn what_enters_is_not_dumpable(lab: &Lab) {
    let bundle = bundle(lab, "exec sleep 1000", |_| {});
    let call = |args: &[&str]| call(lab, bundle.path(), args).ok();
    call(&["run", "--detach", bundle.id()]);
    let state: Value = serde_json::from_str(&call(&["state", bundle.id()]).stdout).unwrap();
    let init = format!("/proc/{}", state["pid"]);
    let inside = |process: &str| {
        let link = |process: &str| fs::read_link(format!("{process}/ns/pid")).ok();
        link(process) == link(&init)
    };
    let exec = ["exec", bundle.id(), "/bin/true"];
    let mut exec = program_as_user(&lab.test_build(), lab, bundle.path(), &exec);
    exec.env("CASULO_FAULT", "exec-execute:stop");
    let exec = Running::new(exec, b"");
    let children = format!("/proc/{0}/task/{0}/children", exec.pid());
    let mut entered = None;
    wait_until("it is in the container, before execve", || {
        let children = fs::read_to_string(&children).unwrap_or_default();
        let mut children = children.split_whitespace().map(|it| format!("/proc/{it}"));
        entered = children.find(|child| inside(child));
        entered.is_some()
    });
    // proc(5): what is not dumpable belongs to root there.
    let owner = |process: &str| fs::metadata(format!("{process}/fd")).unwrap().uid();
    let owners = (owner(&init), owner(&entered.unwrap()));
    exec.signal(Signal::SIGKILL);
    exec.wait();
    call(&["delete", "--force", bundle.id()]);
    assert_eq!(owners, (USER, 0));
}

fn state_directory_defaults_to_the_users(lab: &Lab) {
    let bundle = bundle(lab, "exec sleep 1000", |_| {});
    let runtime_dir = lab.directory("run-user");
    give(&runtime_dir);
    let id = USER.to_string();
    let call = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--inh-caps=-all",
        ]);
        command
            .arg(lab.runtime())
            .args(args)
            .current_dir(bundle.path());
        command.env("XDG_RUNTIME_DIR", &runtime_dir);
        finish(command, b"")
    };
    call(&["run", "--detach", bundle.id()]).ok();
    let there = runtime_dir.join("casulo").join(bundle.id()).exists();
    call(&["delete", "--force", bundle.id()]).ok();
    assert!(there);
}

fn subordinate_ids_through_newuidmap(lab: &Lab) {
    let map = |host: u32| {
        json!([
            {"containerID": 0, "hostID": host, "size": 1},
            {"containerID": 1, "hostID": 100_000, "size": 65536}
        ])
    };
    let bundle = bundle(
        lab,
        "cat /proc/self/uid_map; cat /proc/self/setgroups",
        |config| {
            config["linux"]["uidMappings"] = map(USER);
            config["linux"]["gidMappings"] = map(USER);
        },
    );
    let out = call(lab, bundle.path(), &["run", bundle.id()]).ok();
    let lines: Vec<Vec<&str>> = out
        .lines()
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["0", "65534", "1"]);
    assert_eq!(lines[1], ["1", "100000", "65536"]);
}

fn the_users_own_binary_is_protected(lab: &Lab) {
    // What runs inside before execve is a sealed memfd or a read-only mount: "exe" never names
    // a file that the container's root could write.
    let waiting = bundle(lab, "true", |_| {});
    call(lab, waiting.path(), &["create", waiting.id()]).ok();
    let text = call(lab, waiting.path(), &["state", waiting.id()]).ok();
    let state: Value = serde_json::from_str(&text.stdout).unwrap();
    let exe = format!("/proc/{}/exe", state["pid"]);
    assert_ne!(fs::read_link(&exe).unwrap(), lab.runtime());
    assert!(is_unchangeable(&fs::File::open(exe).unwrap()));
    // The file that all of them run is none of these.
    assert!(!is_unchangeable(&fs::File::open(lab.runtime()).unwrap()));
    call(lab, waiting.path(), &["delete", "--force", waiting.id()]).ok();

    let entry = bundle(lab, "true", |config| {
        config["process"]["args"] = json!(["/proc/self/exe", "--version"])
    });
    let before = fs::read(lab.runtime()).unwrap();
    call(lab, entry.path(), &["run", entry.id()]).fails_with(&["/proc/self/exe"]);
    assert!(fs::read(lab.runtime()).unwrap() == before);
}

/// True if nobody can write what is open here, now or later: each way to change it is sealed, or its mount is
/// read-only.
fn is_unchangeable(file: &fs::File) -> bool {
    let all = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).unwrap_or(0);
    let flags = fstatvfs(file).unwrap().flags();
    SealFlag::from_bits_retain(seals).contains(all) || flags.contains(FsFlags::ST_RDONLY)
}
