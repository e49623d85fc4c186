//! `probe attack PID WORDS NEEDLE…`: does the same to one process that is there: `look`, and what the words say.
//! `probe stopper FILE WORDS NEEDLE…`: stops what is born in its pid namespace, as early as it can.
//!
//! It says `stops`, then one JSON object a line for each process that it stopped (see `look.rs`), until FILE is
//! there; at last `done`. WORDS, with commas between:
//!
//! | word | does |
//! |---|---|
//! | `seize` | PTRACE_SEIZE and PTRACE_INTERRUPT with TRACEEXEC and TRACEEXIT; where it may not, SIGSTOP as without the word |
//! | `userns` | all from a user namespace of its own |
//! | `inject` | makes it call: mount, kill, open of its terminal and through its descriptors (seized ones only) |
//! | `memory` | searches its memory for the needles |
//! | `peers` | asks its sockets for their peers, and the peers for their descriptors |
//! | `exe` | keeps its program, and writes it when it has gone on |
//! | `pipes` | opens both directions of its pipes, and keeps them |
//! | `drain` | empties the pipes that it reads from, for a while |
//! | `fill` | fills the pipes that it writes to, for a while |
//! | `forge` | writes records into its pipes and sockets, and reads from them |
//! | `hold` | does not let go before FILE`.go` is there; then says when it was gone, `{"gone": MS}`, or that it is `alive`, and whether it has come to `execve` |

use super::inject;
use super::look::{Stat, look};
use super::take::{self, Kept, Pipes, Unlocker};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const OPTIONS: i32 = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACEEXIT;

struct Stopper<'a> {
    file: &'a str,
    words: Vec<&'a str>,
    needles: &'a [&'a str],
    unlocker: Option<Unlocker>,
    kept: Vec<(i32, Kept)>,
    pipes: Vec<Pipes>,
    loadavg: File,
}

pub(in crate::support) fn stopper(file: &str, words: &str, needles: &[&str]) {
    let mut it = Stopper::new(file, words, needles);
    it.stop_all();
    println!("done");
}

pub(in crate::support) fn attack(pid: &str, words: &str, needles: &[&str]) {
    let mut it = Stopper::new("", words, needles);
    let number = pid.parse().unwrap();
    let seized = it.stop(number) == Some(true);
    let stopped = Stopper::has_stopped(number, seized);
    let kept = it.keep(number);
    let mut seen = look(pid);
    seen["kept"] = kept;
    seen["seized"] = (seized && stopped).into();
    seen["may_trace"] = it.may_trace().into();
    it.attack(number, seized && stopped, &mut seen);
    println!("{seen}");
    let_go(number, seized);
}

pub(in crate::support) fn look_at(pid: &str) {
    println!("{}", look(pid));
}

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        if let Some(unlocker) = &self.unlocker {
            let _ = kill(Pid::from_raw(unlocker.pid), Signal::SIGKILL);
        }
    }
}

impl<'a> Stopper<'a> {
    fn new(file: &'a str, words: &'a str, needles: &'a [&'a str]) -> Stopper<'a> {
        let mut it = Stopper {
            file,
            words: words.split(',').collect(),
            needles,
            unlocker: None,
            kept: Vec::new(),
            pipes: Vec::new(),
            loadavg: File::open("/proc/loadavg").unwrap(),
        };
        if it.is_told("userns") {
            unshare(CloneFlags::CLONE_NEWUSER).unwrap();
        }
        if it.is_told("exe") {
            it.unlocker = Some(Unlocker::new());
        }
        it
    }

    fn is_told(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// Whether we have CAP_SYS_PTRACE over what casulo's program was executed as: not in a user namespace below.
    fn may_trace(&self) -> bool {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let has_all_ids = map.split_whitespace().eq(["0", "0", "4294967295"]);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let sets = crate::support::field(&status, "CapEff");
        has_all_ids && u64::from_str_radix(&sets, 16).is_ok_and(|set| set >> 19 & 1 == 1)
    }

    /// The number of whom this pid namespace got last.
    fn last(&self) -> i32 {
        let mut text = [0; 128];
        let length = self.loadavg.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..length]);
        text.split_whitespace()
            .last()
            .and_then(|it| it.parse().ok())
            .unwrap_or(0)
    }

    fn stop_all(&mut self) {
        let mut last = self.last();
        println!("stops");
        let mut rounds = 0_u32;
        while !Path::new(self.file).exists() {
            for _ in 0..64 {
                let now = self.last();
                // The next ones may be there before the number says so.
                for pid in last + 1..=now.max(last) + 4 {
                    if let Some(seized) = self.stop(pid) {
                        self.use_held(pid, seized);
                        last = last.max(pid);
                    }
                }
                last = last.max(now);
            }
            rounds += 1;
            if rounds.is_multiple_of(64) {
                self.write_kept();
            }
        }
        for _ in 0..20 {
            self.write_kept();
            sleep(Duration::from_millis(10));
        }
    }

    /// Stops it if it is there: Some(true) by tracing it.
    fn stop(&self, pid: i32) -> Option<bool> {
        if self.is_told("seize") && ptrace(libc::PTRACE_SEIZE, pid, OPTIONS) {
            ptrace(libc::PTRACE_INTERRUPT, pid, 0);
            return Some(true);
        }
        kill(Pid::from_raw(pid), Signal::SIGSTOP)
            .ok()
            .map(|()| false)
    }

    /// Whether it has stopped, after a moment at most.
    fn has_stopped(pid: i32, seized: bool) -> bool {
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            if seized {
                let mut status = 0;
                // SAFETY: the kernel fills a live int.
                let waited =
                    unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
                if waited == pid {
                    return libc::WIFSTOPPED(status);
                }
            } else if Stat::of(&pid.to_string()).is_stopped() {
                return true;
            }
            // Others are born meanwhile.
            if Stat::of(&pid.to_string()).has_ended() {
                return false;
            }
        }
        false
    }

    fn use_held(&mut self, pid: i32, seized: bool) {
        let stopped = Self::has_stopped(pid, seized);
        let name = pid.to_string();
        let stat = Stat::of(&name);
        if stopped && stat.before_execve() && stat.is_from_outside() {
            // First of all: whoever holds its mount lets go soon.
            let kept = self.keep(pid);
            let mut seen = look(&name);
            seen["kept"] = kept;
            seen["seized"] = seized.into();
            seen["may_trace"] = self.may_trace().into();
            self.attack(pid, seized, &mut seen);
            println!("{seen}");
            if self.is_told("hold") {
                return self.hold(pid, seized);
            }
        } else {
            // Too late, or a child of somebody in here.
            println!(
                "{}",
                json!({"missed": pid, "stopped": stopped, "seized": seized,
                "before": stat.before_execve(), "outside": stat.is_from_outside()})
            );
        }
        let_go(pid, seized);
        // No thread of ours, which we would stop ourselves.
        self.pipes.drain(..).for_each(Pipes::work);
    }

    fn attack(&mut self, pid: i32, seized: bool, seen: &mut Value) {
        if self.is_told("memory") {
            seen["memory"] = take::search(pid, self.needles);
        }
        if self.is_told("peers") {
            seen["peers"] = take::peers(pid);
        }
        if seized && self.is_told("inject") {
            seen["calls"] = inject::all(pid);
        }
        if self.is_told("pipes") {
            seen["pipes"] = take::pipes(pid).into();
        }
        for (word, fills) in [("drain", false), ("fill", true)] {
            if self.is_told(word) {
                let pipes = Pipes::of(pid, fills);
                seen[word] = pipes.count().into();
                self.pipes.push(pipes);
            }
        }
        if self.is_told("forge") {
            seen["forged"] = take::forge(pid, pid as u32);
        }
    }

    /// Keeps its program; what came of it.
    fn keep(&mut self, pid: i32) -> Value {
        let Some(unlocker) = &mut self.unlocker else {
            return Value::Null;
        };
        let (kept, said) = take::keep(pid, unlocker);
        self.kept.extend(kept.map(|kept| (pid, kept)));
        said
    }

    /// Keeps it, whatever is done to it outside, until we are told to let it go.
    fn hold(&self, pid: i32, seized: bool) {
        let go = format!("{}.go", self.file);
        while !Path::new(&go).exists() {
            sleep(Duration::from_millis(1));
        }
        let_go(pid, seized);
        let begin = Instant::now();
        let mut stat = Stat::of(&pid.to_string());
        while !stat.has_ended() && begin.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(1));
            stat = Stat::of(&pid.to_string());
        }
        let took = begin.elapsed().as_millis() as u64;
        let said = match stat.state {
            '-' => json!({"gone": took}),
            'Z' | 'X' => json!({"gone": took, "execve": !stat.before_execve()}),
            _ => json!({"alive": pid, "execve": !stat.before_execve()}),
        };
        println!("{said}");
    }

    fn write_kept(&mut self) {
        if let Some(unlocker) = &mut self.unlocker {
            for (pid, kept) in &self.kept {
                let written = kept.write(unlocker);
                if written == "written" {
                    println!("{}", json!({"written": pid, "by": written}));
                }
            }
        }
    }
}

fn let_go(pid: i32, seized: bool) {
    // Only a stopped one can be detached; left traced it would stop at its end, and we with it.
    let end = Instant::now() + Duration::from_millis(500);
    while seized && !ptrace(libc::PTRACE_DETACH, pid, 0) && Instant::now() < end {
        let mut status = 0;
        // SAFETY: the kernel fills a live int.
        unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            break;
        }
        ptrace(libc::PTRACE_INTERRUPT, pid, 0);
        sleep(Duration::from_millis(1));
    }
    let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
}

fn ptrace(request: impl TryInto<i32>, pid: i32, data: i32) -> bool {
    let request = request.try_into().unwrap_or(-1);
    // SAFETY: these requests take no memory.
    unsafe { libc::ptrace(request, pid, 0_usize, data as usize) == 0 }
}
