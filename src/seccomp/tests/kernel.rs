//! Filters that are loaded into the kernel.

use super::*;

/// Loads the filter in a child process, lets it do `work` and returns how it ended. The child
/// must not allocate: a thread of the harness that held a lock is not there to release it.
fn under(profile: &Value, work: fn(Option<std::os::fd::OwnedFd>) -> u8) -> WaitStatus {
    let bpf = bpf(&filter(profile));
    match clone3(Kinds::NONE, Parent::This, None).unwrap() {
        Side::Parent(pid) => waitpid(pid, None).unwrap(),
        Side::Child => {
            if nix::sys::prctl::set_no_new_privs().is_err() {
                probe::leave(100);
            }
            match bpf.load() {
                Ok(listener) => probe::leave(work(listener)),
                Err(_) => probe::leave(101),
            }
        }
    }
}

fn exited(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

/// The errno of a call as an exit code, 0 for success.
fn outcome(number: i64, args: [u64; 3]) -> u8 {
    match probe::call(number, args) {
        Ok(_) => 0,
        Err(errno) => u8::try_from(errno as i32).unwrap_or(255),
    }
}

#[test]
fn the_kernel_gives_enosys_for_the_unknown_eperm_for_the_unlisted_and_makes_the_listed() {
    let profile = docker_profile();
    for (work, errno) in [
        (
            (|_| outcome(500, [0; 3])) as fn(Option<std::os::fd::OwnedFd>) -> u8,
            Errno::ENOSYS as i32,
        ),
        (|_| outcome(libc::SYS_acct, [0; 3]), Errno::EPERM as i32),
        (|_| outcome(libc::SYS_clone3, [0; 3]), Errno::ENOSYS as i32),
        (|_| outcome(libc::SYS_getpid, [0; 3]), 0),
        // mseal, newer than the library, here with a flag that does not exist.
        (|_| outcome(462, [0, 0, 1]), Errno::EINVAL as i32),
    ] {
        assert_eq!(exited(under(&profile, work)), errno);
    }
}

#[test]
fn the_kernel_kills_and_traps() {
    for action in [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
    ] {
        let status = under(
            &json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["getppid"], "action": action}],
            }),
            |_| outcome(libc::SYS_getppid, [0; 3]),
        );
        assert!(
            matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)),
            "{action}: {status:?}"
        );
    }
}

#[test]
fn the_kernel_returns_a_listener_exactly_for_notify_and_takes_all_flags() {
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": crate::seccomp::known_flags(),
        "listenerPath": "/run/agent",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    if crate::seccomp::supported_flags() != crate::seccomp::known_flags() {
        profile["flags"] = json!(["SECCOMP_FILTER_FLAG_TSYNC"]);
    }
    let status = under(&profile, |listener| {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        match listener.map(|fd| fcntl(&fd, FcntlArg::F_GETFD)) {
            Some(Ok(flags)) if flags == FdFlag::FD_CLOEXEC.bits() => 0,
            Some(_) => 1,
            None => 2,
        }
    });
    assert_eq!(exited(status), 0);
    profile["syscalls"][0]["action"] = json!("SCMP_ACT_KILL");
    let status = under(&profile, |listener| u8::from(listener.is_some()));
    assert_eq!(exited(status), 0);
}
