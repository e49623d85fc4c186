//! Records: those that name what is another's by now, those of another user, those that are broken.

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, HostCgroup, Lab, Output, cases, finish, wait_until};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

cases! {
    [Root, TestBuild] => a_path_that_is_another_cgroups_by_now, a_record_of_another_users,
        a_record_that_names_directories_elsewhere, a_root_of_another_users;
    [Root, Casulo] => a_cgroup_of_another_container_is_refused, a_cgroup_of_a_record_that_is_gone_is_used,
        the_cgroup_of_others_stays_after_a_failure, creates_at_once_have_a_winner,
        broken_records_are_listed_and_deleted, records_that_are_no_files, records_that_no_casulo_writes;
    [Root, Casulo, Program("/usr/bin/setpriv")] => a_cgroup_that_an_ordinary_user_has_locked;
    [Root, Casulo, Program("/usr/bin/strace")] => a_cgroup_that_cannot_be_held_is_refused;
}

/// A container that has ended, whose cgroup was removed, and a cgroup of the host at its path.
fn ended_and_replaced<'lab>(lab: &'lab Lab) -> (Bundle<'lab>, HostCgroup) {
    let bundle = lab.bundle().args(&["/bin/true"]);
    bundle.run_detached();
    bundle.wait_stopped();
    fs::remove_dir(bundle.cgroup()).expect("the cgroup is empty");
    let path = bundle.cgroup();
    let path = path
        .strip_prefix("/sys/fs/cgroup")
        .expect("below the mount");
    let other = HostCgroup::new(&path.to_string_lossy());
    (bundle, other)
}

fn a_path_that_is_another_cgroups_by_now(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a cgroup of the host takes the path of an ended container's, whose commands act on it",
        without: "own-cgroup",
    };
    zoo(lab, &attack, |lab| {
        let (bundle, other) = ended_and_replaced(lab);
        let mut sleeper = other.sleeper();
        let listed = bundle
            .call("ps", &["--format", "json"], &[])
            .stdout
            .contains(&sleeper.pid());
        bundle.call("kill", &["--all"], &["KILL"]);
        let killed = !sleeper.is_alive();
        let out = bundle.verb("delete");
        let got_through = listed || killed || !sleeper.is_alive() || !other.path().exists();
        Outcome::of(&out, got_through)
    });
}

/// As root, with the container's directory given to another user, who has forged what is in it.
fn a_record_of_another_users(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "root deletes the forged record of another user, whose hook runs as root",
        without: "own-records",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab.bundle().args(&["/bin/true"]);
        let id = bundle.id().to_owned();
        let forged = lab.directory(&format!("forged-{id}"));
        let dir = forged.join(&id);
        fs::create_dir(&dir).expect("directory");
        let victim = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let mut victim = Ended(victim);
        let ran = lab.join(&format!("ran-{id}"));
        let start = start_time(victim.0.id());
        let state = json!({
            "id": id, "init_process_pid": victim.0.id(), "init_process_start": start, "has_poststop": true,
        });
        let config = json!({
            "ociVersion": "1.2.0",
            "hooks": {"poststop": [{"path": "/bin/touch", "args": ["touch", ran]}]},
        });
        for (name, document) in [("state.json", state), ("config.json", config)] {
            fs::write(dir.join(name), document.to_string()).expect("written");
            chown(dir.join(name), Some(54321), Some(54321)).expect("given away");
        }
        chown(&dir, Some(54321), Some(54321)).expect("given away");
        chown(&forged, Some(54321), Some(54321)).expect("given away");
        let mut command = lab.command();
        command
            .arg("--root")
            .arg(&forged)
            .args(["delete", "--force", &id]);
        let out = finish(command, b"");
        let got_through = ran.exists() || victim.0.try_wait().expect("waited").is_some();
        if !got_through {
            for words in ["belongs to uid 54321", "run casulo as that user"] {
                assert!(out.stderr.contains(words), "{out:?}");
            }
            assert!(dir.join("state.json").exists());
        }
        Outcome::of(&out, got_through)
    });
}

/// As root, in a directory that another user may fill as he likes.
fn a_root_of_another_users(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "root makes a container in another user's directory, whose record that user can replace",
        without: "own-records",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab.bundle().args(&["/bin/true"]);
        let root = lab.directory(&format!("root-{}", bundle.id()));
        chown(&root, Some(54321), Some(54321)).expect("given away");
        bundle.write();
        let call = |args: &[&str]| {
            let mut command = lab.command();
            command.arg("--root").arg(&root).args(args);
            command.stdout(std::process::Stdio::null());
            finish(command, b"")
        };
        let path = bundle.path().to_string_lossy();
        let out = call(&["run", "--bundle", &path, bundle.id()]);
        let left = fs::read_dir(&root).expect("listed").count();
        let outcome = Outcome::of(&out, out.code == 0 || left > 0);
        if !matches!(outcome, Outcome::GotThrough(_)) {
            out.fails_with(&["belongs to uid 54321", "run casulo as that user"]);
        }
        outcome
    });
}

/// As root, with a record of root's own, which names directories of the host that are no cgroups and no RDT groups.
fn a_record_that_names_directories_elsewhere(lab: &Lab) {
    for is_complete in [false, true] {
        let attack = Attack {
            cve: "(hardening)",
            name: "root deletes a forged record of its own, which names empty directories of the host",
            without: "own-cgroup",
        };
        zoo(lab, &attack, |lab| {
            let bundle = lab.bundle();
            let id = bundle.id().to_owned();
            let elsewhere = lab.directory(&format!("elsewhere-{id}"));
            let directory = |name: &str| {
                let directory = elsewhere.join(name);
                fs::create_dir(&directory).expect("made");
                directory
            };
            let (cgroup, class) = (directory("cgroup"), directory("class"));
            let (parent, upper) = (directory("parent"), directory("upper"));
            let through = format!("/sys/fs/cgroup/../../..{}", upper.display());
            let mut state = json!({
                "id": id, "finished": true,
                "cgroup_paths": {"": cgroup}, "cgroup_parents": [parent, through], "intel_rdt_paths": [class],
            });
            if is_complete {
                let inode = |directory: &Path| fs::metadata(directory).expect("there").ino();
                let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("an id");
                state["identity"] = json!({
                    "boot": boot.trim(), "cgroup": inode(&cgroup),
                    "parents": [inode(&parent), inode(&upper)], "resctrl": [inode(&class)],
                });
            }
            let dir = lab.root().join(&id);
            fs::create_dir_all(&dir).expect("directory");
            fs::write(dir.join("state.json"), state.to_string()).expect("written");
            let log = elsewhere.join("log");
            let mut command = lab.command();
            command.args(["--log-level", "warning", "--log"]).arg(&log);
            command.args(["delete", "--force", &id]);
            let out = finish(command, b"").ok();
            assert!(!dir.exists(), "the record is gone");
            let directories = [&cgroup, &parent, &upper, &class];
            let gone: Vec<_> = directories.iter().filter(|it| !it.exists()).collect();
            if gone.is_empty() {
                let said = fs::read_to_string(&log).expect("a log");
                assert_eq!(
                    said.matches("it stays").count(),
                    directories.len(),
                    "{said}"
                );
                assert!(said.contains(&cgroup.display().to_string()), "{said}");
            }
            Outcome::of(&out, !gone.is_empty())
        });
    }
}

/// A process that ends with this value.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Field 22 of proc_pid_stat(5).
fn start_time(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, fields) = text.rsplit_once(')').expect("a command");
    fields
        .split_ascii_whitespace()
        .nth(19)
        .expect("field 22")
        .parse()
        .expect("a number")
}

/// Another container in the cgroup of the first, run to its end.
fn run_in_the_same(lab: &Lab, first: &Bundle<'_>) -> Output {
    let path = first.cgroup();
    let path = path
        .strip_prefix("/sys/fs/cgroup")
        .expect("below the mount");
    let second = lab
        .bundle()
        .args(&["/bin/true"])
        .set("/linux/cgroupsPath", json!(format!("/{}", path.display())));
    finish(second.command(&[], "run", &[]), b"")
}

fn a_cgroup_of_another_container_is_refused(lab: &Lab) {
    let first = lab.bundle().args(&["/bin/true"]);
    first.run_detached();
    first.wait_stopped();
    let record = lab.root().join(first.id());
    run_in_the_same(lab, &first).fails_with(&[
        "is that of the container in",
        &record.display().to_string(),
        "cgroupsPath",
    ]);
    assert!(first.cgroup().exists(), "it is still the first one's");
    first.verb("delete").ok();
    run_in_the_same(lab, &first).ok();
}

fn a_cgroup_of_a_record_that_is_gone_is_used(lab: &Lab) {
    let first = lab.bundle().args(&["/bin/true"]);
    first.run_detached();
    first.wait_stopped();
    fs::remove_dir_all(lab.root().join(first.id())).expect("the record is lost");
    run_in_the_same(lab, &first).ok();
    assert!(!first.cgroup().exists());
}

fn the_cgroup_of_others_stays_after_a_failure(lab: &Lab) {
    let bundle = lab.bundle().args(&["/no/such/program"]);
    fs::create_dir_all(bundle.cgroup()).expect("made before");
    finish(bundle.command(&[], "run", &[]), b"").fails_with(&["/no/such/program"]);
    assert!(bundle.cgroup().exists(), "casulo did not make it");
    // Nobody holds it any more.
    let again = lab.bundle().args(&["/bin/true"]);
    let path = bundle.cgroup();
    let path = path
        .strip_prefix("/sys/fs/cgroup")
        .expect("below the mount");
    let again = again.set("/linux/cgroupsPath", json!(format!("/{}", path.display())));
    again.run().ok();
}

/// What the kernel says of the attribute decides: one that it does not know, or not from this caller, is done without.
fn a_cgroup_that_cannot_be_held_is_refused(lab: &Lab) {
    for (errno, words) in [
        ("ENOSPC", Some("No space left")),
        ("ENOMEM", Some("Cannot allocate memory")),
        ("EOPNOTSUPP", None),
        ("EPERM", None),
        ("EACCES", None),
    ] {
        let bundle = lab.bundle().sh("echo ran");
        let script = format!("exec strace -qq -o trace -e inject=setxattr:error={errno} \"$@\"");
        let out = lab.through_shell(&script, &bundle.command(&[], "run", &[]));
        let trace = fs::read_to_string(lab.join("trace")).expect("a trace");
        assert!(trace.contains("(INJECTED)"), "{errno}: {trace}");
        match words {
            Some(words) => {
                out.fails_with(&["hold cgroup", bundle.id(), words]);
                lab.assert_nothing_left(bundle.id());
            }
            None => assert_eq!(out.ok().text(), "ran", "{errno}"),
        }
    }
}

fn creates_at_once_have_a_winner(lab: &Lab) {
    let mut won_in_all = 0;
    for _ in 0..10 {
        let shared = lab.bundle();
        let path = shared.cgroup();
        let path = format!(
            "/{}",
            path.strip_prefix("/sys/fs/cgroup")
                .expect("below")
                .display()
        );
        let bundles: Vec<Bundle<'_>> = (0..4)
            .map(|_| {
                lab.bundle()
                    .args(&["/bin/sleep", "1000"])
                    .set("/linux/cgroupsPath", json!(path))
            })
            .collect();
        let creates: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                let mut command = bundle.command(&[], "run", &["--detach"]);
                command.stdin(std::process::Stdio::null());
                command.stdout(std::process::Stdio::null());
                command.stderr(std::process::Stdio::null());
                command.spawn().expect("casulo runs")
            })
            .collect();
        let codes: Vec<_> = creates
            .into_iter()
            .map(|mut create| create.wait().expect("ended").success())
            .collect();
        let winners = codes.iter().filter(|won| **won).count();
        assert!(winners <= 1, "{winners} share a cgroup");
        won_in_all += winners;
        for (bundle, won) in bundles.iter().zip(codes) {
            if won {
                assert_eq!(bundle.status(), "running");
                bundle.call("delete", &["--force"], &[]).ok();
            }
        }
        assert!(!shared.cgroup().exists(), "nobody's cgroup is left");
    }
    assert!(won_in_all > 0, "nobody ever gets it");
}

fn broken_records_are_listed_and_deleted(lab: &Lab) {
    for broken in [
        Some(""),
        Some("{\"id\": \"cut"),
        Some("[]"),
        Some("\0\0\0"),
        None,
    ] {
        // Without a pid namespace of its own: nothing but the cgroup leads to all of it.
        let bundle = lab
            .bundle()
            .without_namespace("pid")
            .sh("sleep 1000 & exec sleep 1001");
        bundle.run_detached();
        let record = lab.root().join(bundle.id()).join("state.json");
        match broken {
            Some(text) => fs::write(&record, text).expect("broken"),
            None => fs::remove_file(&record).expect("removed"),
        }
        let out = lab.casulo(&["list", "--format", "json"]).ok();
        let list: Value = serde_json::from_str(&out.stdout).expect("JSON");
        let row = list
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["id"] == bundle.id()));
        let row = row.unwrap_or_else(|| panic!("{broken:?}: {out:?}"));
        assert_eq!(row["status"], "running", "{broken:?}");
        let procs = || fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap_or_default();
        wait_until("both run", || procs().lines().count() == 2);
        bundle.call("delete", &["--force"], &[]).ok();
        lab.assert_nothing_left(bundle.id());
    }
    // Nothing at all is known: that is said.
    let bundle = lab.bundle().args(&["/bin/true"]);
    bundle.run_detached();
    bundle.wait_stopped();
    let dir = lab.root().join(bundle.id());
    fs::remove_file(dir.join("identity")).expect("removed");
    fs::write(dir.join("state.json"), "").expect("broken");
    let log = lab.join("log");
    let mut command = lab.command();
    command.args(["--log-level", "warning", "--log"]).arg(&log);
    command.args(["delete", "--force", bundle.id()]);
    finish(command, b"").ok();
    let said = fs::read_to_string(&log).expect("a log");
    assert!(said.contains("is not known, and stays"), "{said}");
    fs::remove_dir(bundle.cgroup()).expect("it stayed");
}

fn records_that_are_no_files(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let record = lab.root().join(bundle.id()).join("state.json");
    let kept = lab.join("kept");
    fs::rename(&record, &kept).expect("moved away");
    for kind in ["fifo", "link", "directory"] {
        match kind {
            "fifo" => {
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
                nix::unistd::mkfifo(&record, mode).expect("a FIFO");
            }
            "link" => std::os::unix::fs::symlink(&kept, &record).expect("a link"),
            _ => fs::create_dir(&record).expect("a directory"),
        }
        let mut list = Command::new("timeout");
        let inner = lab.command();
        list.arg("10")
            .arg(inner.get_program())
            .args(inner.get_args())
            .arg("list");
        let out = finish(list, b"").ok();
        assert!(out.stdout.contains(bundle.id()), "{kind}: {out:?}");
        bundle.verb("state").fails_with(&["state.json"]);
        match kind {
            "directory" => fs::remove_dir(&record),
            _ => fs::remove_file(&record),
        }
        .expect("removed");
    }
    fs::rename(&kept, &record).expect("moved back");
    bundle.call("delete", &["--force"], &[]).ok();
}

/// Everybody may open a cgroup's directory, and lock it.
fn a_cgroup_that_an_ordinary_user_has_locked(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/true"]);
    let directory = bundle.cgroup();
    fs::create_dir_all(&directory).expect("made before");
    let kill = directory.join("cgroup.kill");
    let locked = |path: &Path, write: bool| {
        let file = fs::OpenOptions::new().read(!write).write(write).open(path);
        Flock::lock(file.expect("open"), FlockArg::LockExclusiveNonblock).expect("locked")
    };
    let of_root = locked(&kill, true);
    finish(bundle.command(&[], "create", &[]), b"")
        .fails_with(&["is just being taken by another container"]);
    drop(of_root);
    // What casulo locks no ordinary user can open.
    for open in ["<", ">"] {
        let mut ordinary = Command::new("setpriv");
        ordinary.args([
            "--reuid",
            "54321",
            "--regid",
            "54321",
            "--clear-groups",
            "sh",
            "-c",
        ]);
        ordinary.arg(format!("exec 3{open}{}", kill.display()));
        finish(ordinary, b"").fails_with(&["Permission denied"]);
    }
    let _of_anybody = locked(&directory, false);
    bundle.run();
}

fn records_that_no_casulo_writes(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let file = lab.root().join(bundle.id()).join("state.json");
    let good = fs::read_to_string(&file).expect("a record");
    for (field, value) in [
        ("namespaces", json!(1u64 << 31)),
        ("namespaces", json!(u64::MAX)),
        ("created", json!("x".repeat(100_000))),
        ("delegate_cgroup", json!("../../..")),
        ("bundle", json!("x".repeat(100_000))),
    ] {
        let mut forged: Value = serde_json::from_str(&good).expect("JSON");
        forged[field] = value;
        fs::write(&file, forged.to_string()).expect("written");
        for verb in ["state", "ps", "pause", "start"] {
            bundle
                .verb(verb)
                .fails_with(&["no casulo writes this", field]);
        }
        bundle
            .call("exec", &[], &["/bin/true"])
            .fails_with(&["no casulo writes this", field]);
        let out = lab.casulo(&["list"]).ok();
        assert!(out.stdout.contains(bundle.id()), "{field}: {out:?}");
    }
    fs::write(&file, good).expect("written");
    assert_eq!(bundle.status(), "running");
    bundle.call("delete", &["--force"], &[]).ok();
}
