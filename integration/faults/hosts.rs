//! Hosts that have no more room, callers that go, and signals that rain: one clear error at the most, and
//! nothing left.

use super::kills::child_of;
use super::many_or_few;
use super::steps::{Attempt, Way, errors, way};
use crate::support::{Bundle, HostCgroup, Lab, Output, Running, cases, finish, wait_until};
use casulo::step::Step;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    [Root, Casulo] => state_directory_without_room, state_directory_that_is_full_later,
        signals_that_rain_interrupt_nothing, caller_that_reads_nothing, caller_without_stdio,
        console_that_hangs_up, descriptors_that_run_out;
    [Root, Casulo, TestBuild] => runtime_in_a_frozen_cgroup;
    [Root, Casulo, Controller("pids")] => callers_cgroup_without_room_for_a_process,
        containers_cgroup_without_room_for_a_process;
    [Root, Casulo, Controller("memory")] => callers_cgroup_without_memory;
    [Root, Casulo, NoController("pids")] => limit_without_its_controller;
    [Root, Casulo, Systemd] => systemd_that_does_not_answer;
}

#[track_caller]
fn one_error(out: &Output, words: &[&str]) {
    assert_ne!(out.code, 0, "{out:?}");
    assert_eq!(errors(out), 1, "{out:?}");
    assert!(
        words.iter().any(|word| out.stderr.contains(word)),
        "{out:?}"
    );
}

/// A tmpfs of this size over a directory, in the tests' mount namespace.
struct SmallFs(PathBuf);

impl SmallFs {
    fn over(path: &Path, options: &str) -> SmallFs {
        fs::create_dir_all(path).unwrap();
        mount(
            Some("small"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options),
        )
        .unwrap();
        SmallFs(path.to_owned())
    }
}

impl Drop for SmallFs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn state_directory_without_room(lab: &Lab) {
    // From no room at all to enough, for bytes and for files: every write of create meets the end.
    let mut failed = 0;
    for (limit, sizes) in [
        ("size", [1, 2, 3, 4, 5, 8]),
        ("nr_inodes", [2, 3, 4, 5, 6, 12]),
    ] {
        for size in sizes {
            let options = match limit {
                "size" => format!("size={}", size * 4096),
                _ => format!("nr_inodes={size}"),
            };
            let _small = SmallFs::over(&lab.root(), &options);
            let attempt = Attempt::new(lab, Way::Create);
            let out = finish(attempt.command(), b"");
            if out.code != 0 {
                failed += 1;
                one_error(&out, &["No space left on device"]);
                lab.assert_nothing_left(attempt.bundle.id());
            }
            attempt.clear_away(&options);
        }
    }
    assert!((2..12).contains(&failed), "{failed} failed");
}

fn state_directory_that_is_full_later(lab: &Lab) {
    // A container that is there can be used, or the command says why not; it can always be deleted.
    let _small = SmallFs::over(&lab.root(), "size=256k");
    for way in [
        Way::Start,
        Way::ExecTerminal,
        Way::Pause,
        Way::Resume,
        Way::Kill,
        Way::Update,
        Way::Delete,
    ] {
        let attempt = Attempt::new(lab, way);
        let filler = lab.root().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let out = finish(attempt.command(), b"");
        if out.code != 0 {
            one_error(&out, &["No space left on device"]);
        }
        let deleted = lab.casulo(&["delete", "--force", attempt.bundle.id()]);
        assert_eq!(deleted.code, 0, "{way:?}: {deleted:?}");
        fs::remove_file(&filler).unwrap();
        attempt.clear_away(&format!("{way:?}"));
    }
}

fn descriptors_that_run_out(lab: &Lab) {
    let mut failed = 0;
    for most in (3..40).step_by(many_or_few(1, 6)) {
        let attempt = Attempt::new(lab, Way::Create);
        let inner = attempt.command();
        let out = lab.through_shell(&format!("ulimit -n {most}; exec \"$@\""), &inner);
        if out.code != 0 {
            failed += 1;
            // A poststop hook that cannot be run either is a warning (spec, "Lifecycle", step 13).
            let warns = |line: &&str| line.contains("error running poststop hook #0: ");
            let errors = out.stderr.lines().filter(|line| !warns(line));
            assert_eq!(errors.count(), 1, "{most}: {out:?}");
        }
        attempt.clear_away(&format!("{most} descriptors"));
    }
    assert!(failed > 0, "{failed} failed");
}

fn signals_that_rain_interrupt_nothing(lab: &Lab) {
    // Stopped and run on again and again, which interrupts more calls than a handler does (signal(7),
    // "Interruption of system calls and library functions by stop signals"), and told of windows and children.
    for way in [
        Way::Create,
        Way::CreateTerminal,
        Way::RunDetached,
        Way::Start,
        Way::ExecTerminal,
        Way::Update,
        Way::Pause,
        Way::Resume,
        Way::Kill,
        Way::Delete,
    ] {
        let attempt = Attempt::new(lab, way);
        let running = Running::new(attempt.command(), b"");
        let stat = format!("/proc/{}/stat", running.pid());
        let end = Instant::now() + Duration::from_secs(20);
        let mut on_children = 0;
        // Until it is a zombie, which nobody but us will wait for.
        while !fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z ")) {
            assert!(Instant::now() < end, "{way:?} does not end");
            // Its child as well: init, until it is the program, or a hook.
            let child = child_of(running.pid());
            on_children += usize::from(child.is_some());
            for signal in [
                Signal::SIGSTOP,
                Signal::SIGWINCH,
                Signal::SIGCHLD,
                Signal::SIGCONT,
            ] {
                for pid in [Some(running.pid()), child].into_iter().flatten() {
                    let _ = kill(pid, signal);
                }
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        running.wait().ok();
        assert!(on_children > 0 || !way.makes(), "{way:?}: no child was hit");
        attempt.clear_away(&format!("{way:?}"));
    }
}

fn caller_that_reads_nothing(lab: &Lab) {
    // The reader of stdout and stderr has gone: no command hangs or panics, and what fails without a word to
    // say it to fails by its exit code.
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let deaf = |args: &[&str]| {
        let mut command = lab.command();
        command.args(args);
        let script = "{ \"$@\"; echo $? >code; } 2>&1 | true; while ! test -s code; do sleep 0.05; done; cat code; rm code";
        lab.through_shell(script, &command).ok().text().to_owned()
    };
    assert_ne!(deaf(&["state", "nobody-knows-it"]), "0");
    // What it prints may have been written before the reader left.
    deaf(&["list"]);
    let mut list = lab.command();
    list.arg("list");
    let late = "{ sleep 0.5; \"$@\"; echo $? >code; } | true; while ! test -s code; do sleep 0.05; done; cat code; rm code";
    let code = lab.through_shell(late, &list).ok().text().to_owned();
    assert_eq!(code, "1", "an error, not SIGPIPE");
    deaf(&["state", bundle.id()]);
    assert_eq!(deaf(&["pause", bundle.id()]), "0");
    assert_eq!(deaf(&["resume", bundle.id()]), "0");
    assert_eq!(deaf(&["delete", "--force", bundle.id()]), "0");
    lab.assert_nothing_left(bundle.id());

    let loud = lab.bundle().sh("yes | head -c 200000; yes >&2");
    let inner = loud.command(&[], "run", &[]);
    lab.through_shell("\"$@\" 2>&1 | head -c 10 >/dev/null", &inner);
    wait_until("the container has ended", || {
        lab.leftovers(loud.id()).is_empty()
    });
}

fn caller_without_stdio(lab: &Lab) {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let bundle = lab
            .bundle()
            .sh("echo words >/said; ls -l /proc/$$/fd >/fds & wait");
        let inner = bundle.command(&[], "run", &[]);
        lab.through_shell(&format!("\"$@\" {closed}"), &inner).ok();
        let said = fs::read_to_string(bundle.rootfs().join("said")).unwrap();
        assert_eq!(said, "words\n", "{closed}");
        let fds = fs::read_to_string(bundle.rootfs().join("fds")).unwrap();
        assert!(!fds.contains("state"), "{closed}: {fds}");
        for (number, name) in [("<&", "0"), (" >&", "1"), ("2>&", "2")] {
            let is_null = fds.contains(&format!(" {name} -> /dev/null"));
            assert!(
                is_null || !format!(" {closed}").contains(number),
                "{closed}: {fds}"
            );
        }
        lab.assert_nothing_left(bundle.id());
    }
}

fn console_that_hangs_up(lab: &Lab) {
    // Nobody listens; somebody did, and has gone; somebody hangs up at once.
    for how in ["missing", "closed", "hangs up"] {
        let socket = lab.join("console");
        let _ = fs::remove_file(&socket);
        let listener = (how != "missing").then(|| UnixListener::bind(&socket).unwrap());
        let listener = listener.filter(|_| how == "hangs up");
        let bundle = terminal(lab);
        let options = ["--console-socket", socket.to_str().unwrap()];
        let running = Running::new(bundle.command(&[], "create", &options), b"");
        if let Some(listener) = listener {
            drop(listener.accept().unwrap());
            drop(listener);
            // The master may be on its way, or refused: the pty is gone in both cases.
            running.wait();
        } else {
            one_error(&running.wait(), &["no such file", "Connection refused"]);
            lab.assert_nothing_left(bundle.id());
        }
        bundle.call("delete", &["--force"], &[]).ok();
        lab.assert_nothing_left(bundle.id());
    }
}

fn terminal(lab: &Lab) -> Bundle<'_> {
    lab.bundle()
        .set("/process/terminal", json!(true))
        .args(&["/bin/sleep", "1000"])
}

/// A cgroup of the caller's with this limit.
fn limited(lab: &Lab, file: &str, value: &str) -> HostCgroup {
    // Another test may have been the first to need them.
    let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids");
    let cgroup = HostCgroup::new(&format!("casulo-caller-{}", lab.new_id()));
    fs::write(cgroup.path().join(file), value).unwrap();
    cgroup
}

/// A script that becomes its arguments, in this cgroup.
fn enter(cgroup: &HostCgroup) -> String {
    let procs = cgroup.path().join("cgroup.procs");
    format!("echo $$ >{} && exec \"$@\"", procs.display())
}

/// The command, called by a process in this cgroup.
fn called_in(cgroup: &HostCgroup, lab: &Lab, inner: &Command) -> Output {
    lab.through_shell(&enter(cgroup), inner)
}

fn runtime_in_a_frozen_cgroup(lab: &Lab) {
    // Whoever freezes a service freezes the runtimes that it has called, at any point; and no signal thaws them.
    for step in [
        Step::Record,
        Step::RuntimeHooks,
        Step::PidFile,
        Step::RemoveCgroup,
    ] {
        let what = step.name();
        let cgroup = HostCgroup::new(&format!("casulo-frozen-{}", lab.new_id()));
        let attempt = Attempt::new(lab, way(step));
        let told = attempt.told(step, "stop");
        let mut shell = Command::new("sh");
        shell.args(["-c", &enter(&cgroup), "sh"]);
        shell.arg(told.get_program()).args(told.get_args());
        shell.envs(
            told.get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        let running = Running::new(shell, b"");
        let stat = format!("/proc/{}/stat", running.pid());
        wait_until(what, || {
            fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "))
        });
        let freeze = cgroup.path().join("cgroup.freeze");
        fs::write(&freeze, "1").unwrap();
        running.signal(Signal::SIGCONT);
        wait_until("the runtime is frozen", || {
            let events = fs::read_to_string(cgroup.path().join("cgroup.events"));
            events.is_ok_and(|text| text.contains("frozen 1"))
        });
        let deleted = lab.casulo(&["delete", "--force", attempt.bundle.id()]);
        assert_eq!(deleted.code, 0, "{what}: {deleted:?}");
        fs::write(&freeze, "0").unwrap();
        let out = running.wait();
        assert!(errors(&out) <= 1, "{what}: {out:?}");
        attempt.clear_away(what);
    }
}

fn callers_cgroup_without_room_for_a_process(lab: &Lab) {
    for most in 1..4 {
        let cgroup = limited(lab, "pids.max", &most.to_string());
        for way in [
            Way::Create,
            Way::RunDetached,
            Way::Start,
            Way::Exec,
            Way::Delete,
        ] {
            let attempt = Attempt::new(lab, way);
            let mut inner = attempt.command();
            if way == Way::Exec {
                inner = lab.command();
                inner.args(["exec", attempt.bundle.id(), "/bin/true"]);
            }
            let out = called_in(&cgroup, lab, &inner);
            if out.code != 0 {
                one_error(&out, &["Resource temporarily unavailable"]);
            }
            attempt.clear_away(&format!("{most} processes, {way:?}"));
        }
    }
}

fn containers_cgroup_without_room_for_a_process(lab: &Lab) {
    // For init alone, and for what enters beside it but not for the process that is born of that.
    for (limit, hint) in [
        (1, "Resource temporarily unavailable"),
        (2, "takes room for two for a moment"),
    ] {
        let bundle = lab
            .bundle()
            .args(&["/bin/sleep", "1000"])
            .set("/linux/resources/pids/limit", json!(limit));
        bundle.run_detached();
        one_error(&bundle.call("exec", &[], &["/bin/true"]), &[hint]);
        assert_eq!(bundle.status(), "running");
        bundle.call("delete", &["--force"], &[]).ok();
        lab.assert_nothing_left(bundle.id());
    }
}

fn callers_cgroup_without_memory(lab: &Lab) {
    // The kernel kills the runtime, or refuses it memory; what it left is found.
    for kilobytes in [100, 300, 600, 1000, 2000] {
        let cgroup = limited(lab, "memory.max", &(kilobytes * 1024).to_string());
        let _ = fs::write(cgroup.path().join("memory.swap.max"), "0");
        let attempt = Attempt::new(lab, Way::Create);
        let out = called_in(&cgroup, lab, &attempt.command());
        assert!(out.stderr.lines().count() <= 1, "{out:?}");
        attempt.clear_away(&format!("{kilobytes} kB"));
    }
}

fn limit_without_its_controller(lab: &Lab) {
    let bundle = lab.bundle().set("/linux/resources/pids/limit", json!(100));
    let out = bundle.create(&[]);
    one_error(&out, &["pids"]);
    lab.assert_nothing_left(bundle.id());
}

/// What is wrong with the socket on which systemd should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody listens.
    Refuses,
    /// The connection is closed at once.
    HangsUp,
    /// It is closed after the handshake.
    HangsUpInTheMiddle,
    /// Somebody listens, and says nothing.
    SaysNothing,
}

fn systemd_that_does_not_answer(lab: &Lab) {
    for trouble in [
        Trouble::Refuses,
        Trouble::HangsUp,
        Trouble::HangsUpInTheMiddle,
        Trouble::SaysNothing,
    ] {
        let what = format!("{trouble:?}");
        let attempt = Attempt::new(lab, Way::CreateInScope);
        one_error(
            &without_systemd(lab, trouble, &attempt.command()),
            &["systemd"],
        );
        lab.assert_nothing_left(attempt.bundle.id());
        attempt.clear_away(&what);

        if trouble != Trouble::SaysNothing {
            let attempt = Attempt::new(lab, Way::UpdateInScope);
            let id = attempt.bundle.id();
            let file = format!("/sys/fs/cgroup/system.slice/faults-{id}.scope/container/pids.max");
            let limit = || fs::read_to_string(&file).unwrap();
            let before = limit();
            let out = without_systemd(lab, trouble, &attempt.command());
            one_error(&out, &["systemd"]);
            assert_eq!(limit(), before, "{what}");
            attempt.clear_away(&what);
        }

        // Its scope is not forgotten: a later delete stops it.
        let attempt = Attempt::new(lab, Way::DeleteInScope);
        let out = without_systemd(lab, trouble, &attempt.command());
        if out.code != 0 {
            one_error(&out, &["systemd"]);
        }
        attempt.clear_away(&what);
    }
}

/// The command in a mount namespace of its own, where the sockets of systemd are somebody else's.
fn without_systemd(lab: &Lab, trouble: Trouble, inner: &Command) -> Output {
    let socket = lab.join("systemd");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let script = format!(
        "unshare --mount --propagation private sh -c 'mount --bind {0} /run/systemd/private; \
         mount --bind {0} /run/dbus/system_bus_socket; exec \"$@\"' sh \"$@\"",
        socket.display()
    );
    match trouble {
        Trouble::Refuses => drop(listener),
        // It waits for the next connection as long as the tests run.
        _ => drop(std::thread::spawn(move || answer(&listener, trouble))),
    }
    lab.through_shell(&script, inner)
}

fn answer(listener: &UnixListener, trouble: Trouble) {
    let mut kept = Vec::new();
    while let Ok((mut stream, _)) = listener.accept() {
        match trouble {
            Trouble::HangsUpInTheMiddle => {
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n");
                std::thread::sleep(Duration::from_millis(200));
            }
            Trouble::SaysNothing => kept.push(stream),
            Trouble::Refuses | Trouble::HangsUp => {}
        }
    }
}
