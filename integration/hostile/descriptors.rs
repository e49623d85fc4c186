//! Descriptors: the caller's that it forgot, the runtime's own, and the standard streams.

use super::{Attack, Outcome, PRECIOUS, Prey, zoo};
use crate::support::{Lab, cases, finish, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

cases! {
    [Root, TestBuild] => forgotten_directory_of_run, forgotten_directory_of_exec, working_directory_is_moved_out,
        file_on_a_standard_stream, output_file_of_hooks, words_to_the_service_manager, descriptors_to_the_service_manager,
        a_socket_that_lingers_in_a_message;
    [Root, TestBuild, Quick] => cwd_through_a_descriptor_of_run, cwd_through_a_descriptor_of_exec;
    [Root, Casulo] => a_waiting_init_holds_no_directory_of_the_host, the_notify_socket_cannot_be_replaced, the_state_directory_cannot_be_filled;
}

/// A caller that has left the prey's directory open under these numbers.
fn with_directory_open(
    lab: &Lab,
    prey: &Prey,
    numbers: impl Iterator<Item = u32>,
    inner: &Command,
) -> crate::support::Output {
    // Numbers above 9 are not every shell's; they are bash's.
    let directory = prey.directory.display();
    let redirections: String = numbers
        .map(|number| format!(" {number}<'{directory}'"))
        .collect();
    let script = format!("exec \"$@\" {redirections}");
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script, "bash"])
        .arg(inner.get_program())
        .args(inner.get_args());
    shell.envs(
        inner
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    shell.current_dir(lab.path());
    finish(shell, b"")
}

/// Reads the prey through each descriptor that a process of the container has.
const READ_ALL: &str = "for fd in /proc/self/fd/*; do cat $fd/file; done 2>/dev/null; true";

fn forgotten_directory_of_run(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-21626",
        name: "a directory that the caller of `run` left open is read through `/proc/self/fd`",
        without: "close-on-exec,descriptors-closed",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let bundle = lab.bundle().sh(READ_ALL);
        let out = with_directory_open(lab, &prey, 3..20, &bundle.command(&[], "run", &[]));
        Outcome::of(&out, out.stdout.contains(PRECIOUS))
    });
}

fn forgotten_directory_of_exec(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-21626",
        name: "a directory that the caller of `exec` left open is read through `/proc/self/fd`",
        without: "descriptors-closed",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
        bundle.run_detached();
        let mut exec = lab.command();
        exec.args(["exec", bundle.id(), "/bin/sh", "-c", READ_ALL]);
        let out = with_directory_open(lab, &prey, 3..20, &exec);
        Outcome::of(&out, out.stdout.contains(PRECIOUS))
    });
}

/// Tries `/proc/self/fd/3` to `64` as the working directory, where the caller has left a directory of the host open.
fn cwd_through_a_descriptor(lab: &Lab, call: impl Fn(&str) -> Command) -> Outcome {
    let prey = Prey::new(lab);
    let mut ended = Outcome::Refused(String::new());
    for number in 3..=64 {
        let command = call(&format!("/proc/self/fd/{number}"));
        let out = with_directory_open(lab, &prey, 3..=64, &command);
        match Outcome::of(&out, out.stdout.contains(PRECIOUS)) {
            Outcome::Refused(_) => {}
            Outcome::Held => ended = Outcome::Held,
            won @ Outcome::GotThrough(_) => return won,
        }
    }
    ended
}

fn cwd_through_a_descriptor_of_run(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-21626",
        name: "`process.cwd` is `/proc/self/fd/N`",
        without: "in-root,cwd-inside",
    };
    zoo(lab, &attack, |lab| {
        cwd_through_a_descriptor(lab, |cwd| {
            lab.bundle()
                .set("/process/cwd", json!(cwd))
                .args(&["/bin/cat", "file"])
                .command(&[], "run", &[])
        })
    });
}

fn cwd_through_a_descriptor_of_exec(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-21626",
        name: "`exec --cwd /proc/self/fd/N`",
        // An entrant has no /proc/self in the container.
        without: "",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
        bundle.run_detached();
        cwd_through_a_descriptor(lab, |cwd| {
            let mut command = lab.command();
            command.args(["exec", "--cwd", cwd, bundle.id(), "/bin/cat", "file"]);
            command
        })
    });
}

fn working_directory_is_moved_out(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-21626",
        name: "between create and start the working directory is moved out of its volume",
        without: "cwd-inside",
    };
    zoo(lab, &attack, |lab| {
        let (volume, outside) = (Prey::new(lab).directory, Prey::new(lab).directory);
        fs::create_dir(volume.join("directory")).unwrap();
        let bundle = lab
            .bundle()
            .bind(&volume, "/volume", &[])
            .set("/process/cwd", json!("/volume/directory"))
            .sh("echo here >made");
        bundle.create(&[]).ok();
        fs::rename(volume.join("directory"), outside.join("directory")).unwrap();
        let out = bundle.verb("start");
        if out.code == 0 {
            bundle.wait_stopped();
        }
        Outcome::of(&out, outside.join("directory/made").exists())
    });
}

fn file_on_a_standard_stream(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2026-88265",
        name: "a file of the host on a standard stream gets the user of the container as its owner",
        without: "own-stdio",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let file = prey.directory.join("file");
        let bundle = lab
            .bundle()
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let script = format!("exec \"$@\" <'{}'", file.display());
        let out = lab.through_shell(&script, &bundle.command(&[], "run", &[]));
        Outcome::of(&out, fs::metadata(file).unwrap().uid() != 0)
    });
}

fn output_file_of_hooks(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "the image's startContainer hook reads, by its own standard output, the host's file that gets its words",
        without: "hook-pipes",
    };
    zoo(lab, &attack, |lab| {
        let file = Prey::new(lab).directory.join("file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        // A pipe would be waited for.
        let script = "exec 3>&1; /bin/timeout 1 /bin/cat /proc/self/fd/3 >/stolen; true";
        let bundle = lab
            .bundle()
            .set("/annotations", json!({"run.oci.hooks.stdout": file}))
            .push(
                "/hooks/startContainer",
                json!({"path": "/bin/sh", "args": ["sh", "-c", script]}),
            );
        let out = bundle.run();
        let stolen = fs::read_to_string(bundle.rootfs().join("stolen")).unwrap();
        Outcome::of(&out, stolen.contains(PRECIOUS))
    });
}

fn a_waiting_init_holds_no_directory_of_the_host(lab: &Lab) {
    // CVE-2016-9962, CVE-2024-21626: whatever looks into init finds nothing there but its own root.
    let bundle = lab.bundle().bind(&Prey::new(lab).directory, "/volume", &[]);
    bundle.create(&[]).ok();
    let root = fs::metadata(bundle.rootfs()).unwrap();
    let fds = fs::read_dir(format!("/proc/{}/fd", bundle.pid())).unwrap();
    let mut directories = 0;
    for fd in fds {
        let fd = fd.unwrap().path();
        let about = fs::metadata(&fd).unwrap();
        if about.is_dir() {
            directories += 1;
            assert_eq!(
                (about.dev(), about.ino()),
                (root.dev(), root.ino()),
                "{:?}",
                fs::read_link(&fd)
            );
        }
    }
    assert!(directories <= 1, "{directories}");
}

/// A service manager's socket, and what a container's words become there.
fn said_to_manager(lab: &Lab, words: &str) -> (crate::support::Output, String) {
    let path = lab.join("manager.sock");
    let _ = fs::remove_file(&path);
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let bundle = lab.bundle().sh(&format!("/bin/probe notify '{words}'"));
    let mut command = bundle.command(&[], "run", &[]);
    command.env("NOTIFY_SOCKET", &path);
    let out = finish(command, b"");
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(length) = manager.recv(&mut buffer) {
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        heard.push('\n');
    }
    (out, heard)
}

fn words_to_the_service_manager(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "the container tells the service manager that the service is another process",
        without: "notify-words",
    };
    zoo(lab, &attack, |lab| {
        let (out, heard) = said_to_manager(lab, "STATUS=here\nMAINPID=1\nFDSTORE=1");
        Outcome::of(
            &out,
            heard
                .lines()
                .any(|line| line == "MAINPID=1" || line == "FDSTORE=1"),
        )
    });
}

fn descriptors_to_the_service_manager(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a descriptor of the container's goes to the service manager",
        without: "notify-descriptors",
    };
    zoo(lab, &attack, |lab| {
        let path = lab.join("manager.sock");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let script = "/bin/probe notify-file STATUS=here /bin/probe";
        let mut command = lab.bundle().sh(script).command(&[], "run", &[]);
        command.env("NOTIFY_SOCKET", &path);
        let out = finish(command, b"");
        assert_eq!(out.text(), "sent");
        let heard = crate::support::received(&manager);
        assert_eq!(heard.text, "STATUS=here");
        Outcome::of(&out, !heard.fds.is_empty())
    });
}

fn a_socket_that_lingers_in_a_message(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "`run` is deaf to signals, busy with closing a socket of the container's",
        without: "notify-apart",
    };
    zoo(lab, &attack, |lab| {
        let path = lab.join("manager.sock");
        let _ = fs::remove_file(&path);
        let _manager = UnixDatagram::bind(&path).unwrap();
        let bundle = lab.bundle().sh(
            "trap 'exit 7' TERM; echo waits; while ! [ -e /go ]; do sleep 0.05; done; \
                 /bin/probe notify-linger STATUS=here 6 & wait",
        );
        let mut command = bundle.command(&[], "run", &[]);
        command.env("NOTIFY_SOCKET", &path);
        let running = crate::support::Running::new(command, b"");
        wait_until("it waits", || running.stdout().contains("waits"));
        // So that the attacker's own descriptor is closed first: the one in the message is the last.
        running.signal(Signal::SIGSTOP);
        fs::write(bundle.rootfs().join("go"), "").unwrap();
        wait_until("it is sent", || running.stdout().contains("sent"));
        running.signal(Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(100));
        let began = std::time::Instant::now();
        running.signal(Signal::SIGTERM);
        let out = running.wait();
        assert_eq!(out.code, 7, "{out:?}");
        if began.elapsed() > Duration::from_secs(3) {
            Outcome::GotThrough(format!("after {:?}", began.elapsed()))
        } else {
            Outcome::Held
        }
    });
}

fn the_notify_socket_cannot_be_replaced(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_DAC_OVERRIDE"])
        .sh("rm -f $NOTIFY_SOCKET; touch $(dirname $NOTIFY_SOCKET)/new; cat /proc/self/mountinfo; sleep 1000");
    let path = lab.join("manager.sock");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let mut command = bundle.command(&[], "run", &[]);
    command.env("NOTIFY_SOCKET", &path);
    let running = crate::support::Running::new(command, b"");
    wait_until("it has tried", || running.stdout().contains("mqueue"));
    let mounts = crate::support::mounts(&running.stdout());
    let directory = mounts
        .iter()
        .find(|mount| mount.target == path.to_string_lossy())
        .unwrap();
    // A mount of its own that hears of nothing and tells nobody.
    assert!(
        directory.has("ro") && directory.propagation.is_empty(),
        "{directory:?}"
    );
    let listing = bundle.exec(&format!("ls {}", path.display())).ok();
    assert_eq!(listing.text(), "notify");
    bundle.call("kill", &[], &["KILL"]).ok();
    running.wait();
}

/// What the runtime keeps of a container on the host, however deep.
fn kept(lab: &Lab, bundle: &crate::support::Bundle<'_>) -> Vec<String> {
    let entries = fs::read_dir(lab.root().join(bundle.id())).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            assert!(!entry.file_type().unwrap().is_dir(), "{entry:?}");
            entry.file_name().into_string().unwrap()
        })
        .collect()
}

fn the_state_directory_cannot_be_filled(lab: &Lab) {
    // In a user namespace of its own a container that keeps CAP_SYS_ADMIN may remount what it sees.
    let script = "dir=$(dirname $NOTIFY_SOCKET); mount -o remount,bind,rw $dir && echo remounted; cd $dir; \
        for n in 1 2 3 4 5 6 7 8; do mkdir d && cd d; done 2>/dev/null; dd if=/dev/zero of=f bs=64k count=1 2>/dev/null; \
        find $dir | wc -l; /bin/probe notify STATUS=filled; echo over; sleep 1000";
    let path = lab.join("manager.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for in_user_namespace in [true, false] {
        let bundle = lab
            .bundle()
            .capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"])
            .sh(script);
        let bundle = if in_user_namespace {
            bundle.in_user_namespace()
        } else {
            bundle
        };
        let mut command = bundle.command(&[], "run", &[]);
        command.env("NOTIFY_SOCKET", &path);
        let running = crate::support::Running::new(command, b"");
        wait_until("it has tried", || running.stdout().contains("over"));
        let said = running.stdout();
        let said: Vec<&str> = said.lines().collect();
        let [remounted, entries, sent, _] = said[..] else {
            panic!("{said:?}");
        };
        assert_eq!((remounted, sent), ("remounted", "sent"));
        // The directory, the socket, and what is left of four inodes.
        assert!(entries.trim().parse::<u32>().unwrap() <= 4, "{entries}");
        assert_eq!(crate::support::received(&manager).text, "STATUS=filled");
        let kept = kept(lab, &bundle);
        assert!(
            kept.iter()
                .all(|it| it.ends_with(".json") || it == "identity"),
            "{kept:?}"
        );
        bundle.call("delete", &["--force"], &[]).ok();
        running.wait();
        lab.assert_nothing_left(bundle.id());
    }
}
