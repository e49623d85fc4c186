//! What the kernel itself offers: the more of it a process may call, the more of its bugs it can reach.

use super::{Group, Probe, Proof, done, permitted};
use crate::isolation::facts::{Facts, Finding};
use crate::sys;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::fs::OpenOptions;

probes! { PROBES, Kernel:
    "bpf", "load a BPF program", Answer => bpf;
    "io-uring", "make an io_uring", Answer => io_uring;
    "userfaultfd", "make a userfaultfd for the kernel's faults", Answer => userfaultfd;
    "user-namespace", "make a user namespace, and be root in it", Answer => user_namespace;
    "sysctl", "open a sysctl of the host for writing", Answer => sysctl;
}

probes! { DANGEROUS, Danger:
    "module", "load a kernel module", Answer => module;
    "kexec", "load another kernel", Answer => kexec;
    "reboot", "reboot", Answer => reboot;
    "sysrq", "open /proc/sysrq-trigger for writing", Answer => sysrq;
}

fn bpf(_: &Facts) -> Finding {
    done("BPF_PROG_LOAD", sys::load_bpf())
}

fn io_uring(_: &Facts) -> Finding {
    done("io_uring_setup", sys::io_uring())
}

fn userfaultfd(_: &Facts) -> Finding {
    done("userfaultfd", sys::userfaultfd())
}

fn user_namespace(_: &Facts) -> Finding {
    done(
        "unshare of a user namespace",
        unshare(CloneFlags::CLONE_NEWUSER),
    )
}

/// The file is opened and not written to: opening is what is checked.
fn opened_for_writing(path: &str) -> Finding {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Finding::leaked(format!("{path} is open for writing")),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            Finding::not_applicable(format!("there is no {path}"))
        }
        Err(error) => Finding::held(format!("{path}: {error}")),
    }
}

fn sysctl(_: &Facts) -> Finding {
    opened_for_writing("/proc/sys/kernel/core_pattern")
}

fn sysrq(_: &Facts) -> Finding {
    opened_for_writing("/proc/sysrq-trigger")
}

fn module(_: &Facts) -> Finding {
    permitted(
        "init_module of no bytes",
        sys::empty_module(),
        Errno::ENOEXEC,
    )
}

fn kexec(_: &Facts) -> Finding {
    permitted(
        "kexec_load with unknown flags",
        sys::impossible_kexec(),
        Errno::EINVAL,
    )
}

fn reboot(_: &Facts) -> Finding {
    let finding = permitted(
        "reboot with a wrong magic number",
        sys::impossible_reboot(),
        Errno::EINVAL,
    );
    // pid_namespaces(7): in any but the first it would end that namespace's init, and no more.
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if namespace.to_string_lossy() == FIRST_PID_NAMESPACE {
        finding
    } else {
        Finding::held(format!(
            "{}; in a pid namespace of its own",
            finding.evidence
        ))
    }
}

/// PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
