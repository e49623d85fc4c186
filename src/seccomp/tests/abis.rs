//! Calls that an ABI can make in another way, and numbers of foreign ABIs.

use super::*;

#[cfg(target_arch = "x86_64")]
#[test]
fn i386s_later_numbers_of_socket_calls_are_not_newer_than_the_profile() {
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read", "socket"], "action": "SCMP_ACT_ALLOW"}],
    })));
    for (nr, args, expected) in [
        (359, &[][..], ALLOW),
        (102, &[1], ALLOW),
        (102, &[2], EPERM),
        (374, &[], ENOSYS),
    ] {
        assert_eq!(verdict(bpf.program(), &ABIS[1], nr, args), expected, "{nr}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn conditions_that_socketcall_hides_let_nothing_through() {
    let sometimes = |action: &str| {
        json!({"names": ["socket"], "action": action, "args": [
            {"index": 0, "value": 38, "op": "SCMP_CMP_EQ"},
        ]})
    };
    let socketcall = json!({"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"});
    let always = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW"});
    for (default, syscalls, expected) in [
        // Through socketcall(2): socket, bind. Directly: socket(38), socket(2).
        (
            "SCMP_ACT_ALLOW",
            json!([sometimes("SCMP_ACT_ERRNO")]),
            [EPERM, ALLOW, EPERM, ALLOW],
        ),
        (
            "SCMP_ACT_ERRNO",
            json!([sometimes("SCMP_ACT_ALLOW")]),
            [EPERM, EPERM, ALLOW, EPERM],
        ),
        (
            "SCMP_ACT_ERRNO",
            json!([sometimes("SCMP_ACT_ALLOW"), socketcall]),
            [ALLOW, ALLOW, ALLOW, EPERM],
        ),
        (
            "SCMP_ACT_ERRNO",
            json!([sometimes("SCMP_ACT_KILL"), always]),
            [ALLOW, EPERM, ALLOW, ALLOW],
        ),
    ] {
        let bpf = bpf(&filter(&json!({
            "defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": syscalls,
        })));
        let verdicts = [(102, 1), (102, 2), (359, 38), (359, 2)]
            .map(|(nr, arg)| verdict(bpf.program(), &ABIS[1], nr, &[arg]));
        assert_eq!(verdicts, expected, "{default} {syscalls}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_version_that_ipc_takes_hides_no_call() {
    let always = |name: &str, action: &str| json!({"names": [name], "action": action});
    let bpf = |default: &str, syscalls: Value| {
        bpf(&filter(&json!({
            "defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": syscalls,
        })))
    };
    // ipc(SEMOP), also with a version, which the kernel ignores: ipc/syscall.c.
    let verdicts =
        |bpf: &Bpf| [1, 0x1_0001, 0x7_0001].map(|it| verdict(bpf.program(), &ABIS[1], 117, &[it]));
    let refused = bpf("SCMP_ACT_ALLOW", json!([always("semop", "SCMP_ACT_ERRNO")]));
    assert_eq!(verdicts(&refused), [EPERM; 3]);
    let allowed = bpf("SCMP_ACT_ERRNO", json!([always("semop", "SCMP_ACT_ALLOW")]));
    assert_eq!(verdicts(&allowed), [ALLOW; 3]);
    let through = bpf(
        "SCMP_ACT_ERRNO",
        json!([
            always("semop", "SCMP_ACT_KILL"),
            always("ipc", "SCMP_ACT_ALLOW")
        ]),
    );
    assert_eq!(verdicts(&through), [ALLOW; 3]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn x32_numbers_are_foreign_to_a_filter_without_x32() {
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read", "mseal"], "action": "SCMP_ACT_ALLOW"}],
    })));
    for (nr, expected) in [
        (0x4000_0000, KILL_THREAD),
        (0x4000_0000 | 462, KILL_THREAD),
        (0x3fff_ffff, ENOSYS),
        (462, ALLOW),
    ] {
        assert_eq!(
            verdict(bpf.program(), &ABIS[0], nr, &[]),
            expected,
            "{nr:#x}"
        );
    }
}
