//! Runs compiled filters: in the interpreter, against the profile's plain meaning, and in the
//! kernel, by child processes that end with the test.

mod abis;
mod kernel;
mod rules;
mod tree;

use super::arch::ABIS;
use super::machine::{Data, run};
use super::numbers::number;
use super::profile::Filter;
use super::reference::{Meaning, holds, verdict};
use super::{Bpf, compile};
use crate::error::{Code, Problems};
use crate::sys::clone::{Parent, Side, clone3};
use crate::sys::kind::Kinds;
use crate::sys::seccomp::probe;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

/// Docker's default profile, as an engine writes it into a config.
fn docker_profile() -> Value {
    let config = include_str!("../../bundles/limited/config.json");
    let mut config: Value = serde_json::from_str(config).unwrap();
    config["linux"]["seccomp"].take()
}

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL_THREAD: u32 = 0;

fn filter(profile: &Value) -> Filter {
    let profile: LinuxSeccomp = serde_json::from_value(profile.clone()).unwrap();
    let mut problems = Problems::default();
    let filter = super::profile::filter(&profile, None, &mut problems);
    problems.into_result("profile").unwrap();
    filter
}

fn docker() -> Filter {
    filter(&docker_profile())
}

fn bpf(filter: &Filter) -> Bpf {
    compile(filter).unwrap()
}

/// Every number of every ABI of this kernel means what the profile says.
fn means_what_it_says(filter: &Filter) {
    let bpf = bpf(filter);
    let values = [0, 8, 16, 38, 40, 0x1000_0000, 0x7e02_0000, 0xffff_ffff];
    for abi in ABIS {
        let meaning = Meaning::new(filter, ABIS, abi);
        for nr in (0..600).chain([1000, 100_000, 0x3fff_ffff]) {
            for low in values {
                for high in [0, 1] {
                    let args = [high << 32 | low, low];
                    assert_eq!(
                        verdict(bpf.program(), abi, nr | abi.bit, &args),
                        meaning.of(nr | abi.bit, &args),
                        "{:?} {nr} {args:x?}",
                        abi.name
                    );
                }
            }
        }
    }
}

#[test]
fn dockers_profile_means_what_it_says_on_every_abi() {
    means_what_it_says(&docker());
}

#[test]
fn an_uncovered_abi_kills() {
    let mut profile = docker_profile();
    profile["architectures"] = json!([]);
    means_what_it_says(&filter(&profile));
}

#[test]
fn few_rules_need_no_tree() {
    for rules in 0..10 {
        let names: Vec<&str> = ["read", "write", "mseal", "ioctl", "close", "dup", "pipe"]
            .into_iter()
            .chain(["getpid", "gettid"])
            .take(rules)
            .collect();
        let syscalls: Vec<Value> = names
            .iter()
            .map(|name| json!({"names": [name], "action": "SCMP_ACT_ALLOW"}))
            .collect();
        means_what_it_says(&filter(&json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"],
            "syscalls": syscalls,
        })));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn known_numbers_under_dockers_profile() {
    let bpf = bpf(&docker());
    let [x86_64, x86, x32] = ABIS else {
        panic!("three ABIs")
    };
    let bit = 0x4000_0000;
    for (abi, nr, args, expected) in [
        (x86_64, 0, &[][..], ALLOW),          // read
        (x86_64, 165, &[], EPERM),            // mount: old, unlisted
        (x86_64, 246, &[], EPERM),            // kexec_load
        (x86_64, 334, &[], ALLOW),            // rseq
        (x86_64, 335, &[], ALLOW),            // uretprobe: newer than the library
        (x86_64, 400, &[], EPERM),            // a hole
        (x86_64, 435, &[], ENOSYS),           // clone3: a rule says so
        (x86_64, 451, &[], ALLOW),            // cachestat: newer than the library
        (x86_64, 462, &[], ALLOW),            // mseal
        (x86_64, 466, &[], ALLOW),            // removexattrat: the newest listed
        (x86_64, 461, &[], EPERM),            // lsm_list_modules: older, unlisted
        (x86_64, 467, &[], ENOSYS),           // open_tree_attr: newer than all listed
        (x86_64, 500, &[], ENOSYS),           // not yet invented
        (x86_64, 41, &[2], ALLOW),            // socket(AF_INET)
        (x86_64, 41, &[38], EPERM),           // socket(AF_ALG)
        (x86_64, 41, &[40], EPERM),           // socket(AF_VSOCK)
        (x86_64, 56, &[0x11], ALLOW),         // clone(SIGCHLD)
        (x86_64, 56, &[0x1000_0011], EPERM),  // clone(CLONE_NEWUSER)
        (x86_64, 135, &[0xffff_ffff], ALLOW), // personality: query
        (x86_64, 135, &[0x4_0000], EPERM),    // personality(ADDR_NO_RANDOMIZE)
        (x86, 3, &[], ALLOW),                 // read
        (x86, 21, &[], EPERM),                // mount
        (x86, 462, &[], ALLOW),               // mseal
        (x86, 500, &[], ENOSYS),
        (x32, bit, &[], ALLOW),       // read
        (x32, bit | 165, &[], EPERM), // mount
        (x32, bit | 462, &[], ALLOW), // mseal
        (x32, bit | 500, &[], EPERM), // below x32's own 512 to 547
        (x32, bit | 545, &[], ALLOW), // execveat, x32's own number
        (x32, bit | 548, &[], ENOSYS),
        (x32, u32::MAX, &[], ENOSYS),
    ] {
        assert_eq!(
            verdict(bpf.program(), abi, nr, args),
            expected,
            "{:?} {nr:#x} {args:x?}",
            abi.name
        );
    }
    let aarch64 = Data {
        arch: 0xc000_00b7,
        ..Data::default()
    };
    assert_eq!(run(bpf.program(), &aarch64), Some(KILL_THREAD));
}

#[test]
fn only_an_errno_default_answers_enosys() {
    for (default, errno, expected) in [
        ("SCMP_ACT_ERRNO", None, ENOSYS),
        ("SCMP_ACT_ERRNO", Some(13), ENOSYS),
        ("SCMP_ACT_ERRNO", Some(38), ENOSYS),
        ("SCMP_ACT_ALLOW", None, ALLOW),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_TRACE", Some(7), 0x7ff0_0007),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
    ] {
        let mut profile = json!({
            "defaultAction": default,
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2}],
        });
        if let Some(errno) = errno {
            profile["defaultErrnoRet"] = json!(errno);
        }
        let bpf = bpf(&filter(&profile));
        assert_eq!(
            verdict(bpf.program(), &ABIS[0], 500, &[]),
            expected,
            "{default}"
        );
        let read = number("read", &ABIS[0]).unwrap();
        assert_eq!(
            verdict(bpf.program(), &ABIS[0], read, &[]),
            0x0005_0002,
            "{default}"
        );
    }
}

#[test]
fn notify_as_the_default_reaches_unlisted_calls_old_and_new() {
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_NOTIFY",
        "listenerPath": "/run/agent",
        "syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_ALLOW"}],
    })));
    let sendmsg = number("sendmsg", &ABIS[0]).unwrap();
    for (nr, expected) in [(sendmsg, ALLOW), (0, 0x7fc0_0000), (500, 0x7fc0_0000)] {
        assert_eq!(verdict(bpf.program(), &ABIS[0], nr, &[]), expected);
    }
}

#[test]
fn names_of_other_machines_are_left_out() {
    let alone = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    let foreign = json!({"names": ["s390_runtime_instr", "riscv_hwprobe", "no_such", "a\u{0}b", ""],
        "action": "SCMP_ACT_ALLOW"});
    let program = |syscalls: Value| {
        bpf(&filter(
            &json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls}),
        ))
    };
    assert_eq!(program(json!([alone, foreign])), program(json!([alone])));
}

#[test]
fn a_program_the_kernel_would_not_take_is_an_error() {
    let args: Vec<Value> = (0u64..1500)
        .map(|value| json!({"index": 1, "value": value << 33, "op": "SCMP_CMP_EQ"}))
        .collect();
    let filter = filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["mseal"], "action": "SCMP_ACT_ALLOW", "args": args}],
    }));
    let error = compile(&filter).unwrap_err();
    assert_eq!(error.code, Code::Seccomp);
    assert!(error.detail.contains("kernel accepts 4096"), "{error}");
}

#[test]
fn an_unknown_flag_is_refused_before_anything_is_compiled() {
    let mut filter = docker();
    filter.flags = 1 << 30;
    assert!(compile(&filter).is_err());
}

#[test]
fn the_flags_of_the_specification_are_those_of_the_kernel_table() {
    let mut known = super::known_flags();
    known.sort_unstable();
    assert_eq!(known, crate::config::names::SECCOMP_FLAGS);
    assert!(
        super::supported_flags()
            .iter()
            .all(|flag| known.contains(flag))
    );
}

#[test]
fn two_answers_to_one_question_are_an_error_that_names_the_call() {
    for name in ["splice", "mseal"] {
        let rule = |action: &str| {
            json!({"names": [name], "action": action, "args": [
                {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"},
            ]})
        };
        let filter = |second: &str| {
            filter(&json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [rule("SCMP_ACT_ALLOW"), rule(second)],
            }))
        };
        assert!(compile(&filter("SCMP_ACT_ALLOW")).is_ok());
        let error = compile(&filter("SCMP_ACT_TRAP")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "add the seccomp rule for {name}: an earlier rule has another action under the \
                 same conditions"
            )
        );
    }
}
