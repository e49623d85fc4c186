//! Calls that a seized process is made to do, by its registers: x86-64 only, elsewhere none is done.

use super::look;
use nix::errno::Errno;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Makes `pid`, which has stopped for us, mount, signal its process group, open its terminal and the parents
/// of its descriptors; returns the answers by name: `0` and more is success.
#[cfg(target_arch = "x86_64")]
pub(super) fn all(pid: i32) -> Value {
    let Some(mut held) = Seized::new(pid) else {
        return json!({"errno": "no registers"});
    };
    let mut said = json!({});
    let tmp = held.text(0, "/home");
    let tmpfs = held.text(64, "tmpfs");
    said["mount"] = held.call(libc::SYS_mount, [tmpfs, tmp, tmpfs, 0, 0]);
    if said["mount"] == 0 {
        held.call(libc::SYS_umount2, [tmp, 0, 0, 0, 0]);
    }
    said["getsid"] = held.call(libc::SYS_getsid, [0; 5]);
    said["kill"] = held.call(libc::SYS_kill, [0, libc::SIGURG as u64, 0, 0, 0]);
    let tty = held.text(128, "/dev/tty");
    let flags = (libc::O_RDWR | libc::O_NOCTTY) as u64;
    said["tty"] = held.call(libc::SYS_open, [tty, flags, 0, 0, 0]);
    if let Some(fd) = said["tty"].as_i64().filter(|fd| *fd >= 0) {
        let letter = held.text(192, "#");
        said["sti"] = held.call(
            libc::SYS_ioctl,
            [fd as u64, libc::TIOCSTI as u64, letter, 0, 0],
        );
        held.call(libc::SYS_close, [fd as u64, 0, 0, 0, 0]);
    }
    said["through"] = json!({});
    let up = held.text(0, "..");
    for fd in 0..32_u64 {
        let flags = (libc::O_PATH | libc::O_DIRECTORY) as u64;
        let opened = held.call(libc::SYS_openat, [fd, up, flags, 0, 0]);
        if let Some(new) = opened.as_i64().filter(|new| *new >= 0) {
            said["through"][fd.to_string()] = fs::read_link(format!("/proc/{pid}/fd/{new}"))
                .map_or_else(|e| look::name_of(&e), |it| it.display().to_string())
                .into();
            held.call(libc::SYS_close, [new as u64, 0, 0, 0, 0]);
        }
    }
    held.restore();
    said
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn all(_pid: i32) -> Value {
    json!({})
}

/// A stopped tracee, with what its registers and its scratch memory were.
#[cfg(target_arch = "x86_64")]
struct Seized {
    pid: i32,
    memory: File,
    before: libc::user_regs_struct,
    /// An instruction `syscall` of its text.
    instruction: u64,
    scratch: u64,
    kept: [u8; 256],
    is_dead: bool,
}

#[cfg(target_arch = "x86_64")]
impl Seized {
    fn new(pid: i32) -> Option<Seized> {
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))
            .ok()?;
        let before = registers(pid)?;
        let instruction = instruction(pid, &memory, before.rip)?;
        let scratch = (before.rsp - 2048) & !15;
        let mut kept = [0; 256];
        memory.read_exact_at(&mut kept, scratch).ok()?;
        Some(Seized {
            pid,
            memory,
            before,
            instruction,
            scratch,
            kept,
            is_dead: false,
        })
    }

    /// Puts a string into its memory; returns the address there.
    fn text(&mut self, offset: u64, text: &str) -> u64 {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        let _ = self.memory.write_all_at(&bytes, self.scratch + offset);
        self.scratch + offset
    }

    /// The call's answer, or its errno as a name.
    fn call(&mut self, number: libc::c_long, args: [u64; 5]) -> Value {
        if self.is_dead {
            return "dead".into();
        }
        let mut now = self.before;
        now.rip = self.instruction;
        // Nothing is to be restarted.
        now.orig_rax = u64::MAX;
        now.rax = number as u64;
        [now.rdi, now.rsi, now.rdx, now.r10, now.r8] = args;
        set_registers(self.pid, &now);
        // It may stop for something else before it has made the step.
        let mut after = now;
        for _ in 0..8 {
            if after.rip != self.instruction {
                break;
            }
            // SAFETY: PTRACE_SINGLESTEP takes no memory.
            unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0_usize, 0_usize) };
            let mut status = 0;
            // SAFETY: the kernel fills a live int.
            unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
            let Some(registers) = registers(self.pid).filter(|_| libc::WIFSTOPPED(status)) else {
                self.is_dead = true;
                return "dead".into();
            };
            after = registers;
        }
        if after.rip == self.instruction {
            return "not made".into();
        }
        match after.rax as i64 {
            error @ -4095..0 => format!("{:?}", Errno::from_raw(-error as i32)).into(),
            result => result.into(),
        }
    }

    fn restore(&mut self) {
        let _ = self.memory.write_all_at(&self.kept, self.scratch);
        set_registers(self.pid, &self.before);
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(pid: i32) -> Option<libc::user_regs_struct> {
    let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    // SAFETY: the kernel fills the structure, which is all zero and valid before that.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0_usize, registers.as_mut_ptr()) };
    // SAFETY: zero is a value of each of its numbers.
    (result == 0).then(|| unsafe { registers.assume_init() })
}

#[cfg(target_arch = "x86_64")]
fn set_registers(pid: i32, registers: &libc::user_regs_struct) {
    // SAFETY: the structure is live and of the kernel's layout.
    unsafe {
        libc::ptrace(
            libc::PTRACE_SETREGS,
            pid,
            0_usize,
            std::ptr::from_ref(registers),
        )
    };
}

/// Where its text has `syscall`: before its own position, or anywhere.
#[cfg(target_arch = "x86_64")]
fn instruction(pid: i32, memory: &File, position: u64) -> Option<u64> {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let mut here = [0; 2];
    if memory.read_exact_at(&mut here, position - 2).is_ok() && here == SYSCALL {
        return Some(position - 2);
    }
    super::take::regions(pid)
        .into_iter()
        .filter(|it| it.words.contains("r-x") && !it.words.contains("[v"))
        .find_map(|region| {
            let mut bytes = vec![0; (region.end - region.start) as usize];
            memory.read_exact_at(&mut bytes, region.start).ok()?;
            let at = bytes.windows(2).position(|pair| pair == SYSCALL)?;
            Some(region.start + at as u64)
        })
}
