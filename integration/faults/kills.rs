//! The runtime, or its child, is killed at random instants of every command.
//!
//! | variable | meaning |
//! |---|---|
//! | `CASULO_KILLS` | how many instants (default 40, in the test host 10) |
//! | `CASULO_SEED` | the seed of a run that failed, to repeat it |

use super::many_or_few;
use super::steps::{Attempt, Way};
use crate::cycles::Dice;
use crate::support::{Lab, Running, cases};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

cases! {
    [Root, Casulo] => random_kills_leave_nothing;
}

/// The commands, those with the most steps first.
const WAYS: [Way; 9] = [
    Way::Create,
    Way::RunDetached,
    Way::Start,
    Way::Exec,
    Way::Update,
    Way::Delete,
    Way::CreateTerminal,
    Way::Pause,
    Way::Resume,
];

fn random_kills_leave_nothing(lab: &Lab) {
    let asked = std::env::var("CASULO_KILLS").ok();
    let count = asked.map_or(many_or_few(40, 10), |text| text.parse().unwrap());
    let mut dice = Dice::new("kills");
    let mut usual = [Duration::ZERO; WAYS.len()];
    let mut children = 0;
    for number in 0..count {
        // Half of what can be left halfway is that of create and run.
        let place = match dice.below(2) {
            0 => dice.below(2),
            _ => dice.below(WAYS.len() as u64),
        } as usize;
        if usual[place].is_zero() {
            usual[place] = duration(lab, WAYS[place]);
        }
        let longest = usual[place].as_micros() as u64 * 11 / 10;
        let after = Duration::from_micros(dice.below(longest));
        let victim = if dice.below(2) == 0 {
            "the child"
        } else {
            "the runtime"
        };
        let what = format!(
            "kill {number}: {victim} after {after:?} of {:?}",
            WAYS[place]
        );

        let attempt = Attempt::new(lab, WAYS[place]);
        let running = Running::new(attempt.command(), b"");
        std::thread::sleep(after);
        let child = child_of(running.pid()).filter(|_| victim == "the child");
        children += usize::from(child.is_some());
        // Either may have ended, but not been waited for.
        let _ = kill(child.unwrap_or(running.pid()), Signal::SIGKILL);
        // An entrant may have ended just before, and have left a process that would run for long.
        while let (Way::Exec, Some(_), Some(left)) = (WAYS[place], child, child_of(running.pid())) {
            let _ = kill(left, Signal::SIGKILL);
            std::thread::sleep(Duration::from_millis(1));
        }
        running.wait();
        attempt.clear_away(&what);
    }
    println!("kills: {children} of {count} were of a child");
}

/// How long the command takes here.
fn duration(lab: &Lab, way: Way) -> Duration {
    let attempt = Attempt::new(lab, way);
    let begin = Instant::now();
    let running = Running::new(attempt.command(), b"");
    if way == Way::Exec {
        // It would wait for the process.
        std::thread::sleep(Duration::from_millis(50));
        running.signal(Signal::SIGKILL);
    }
    running.wait();
    let took = begin.elapsed();
    attempt.clear_away("nothing was killed");
    took
}

pub(super) fn child_of(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let child = children.split_whitespace().next()?.parse().ok()?;
    Some(Pid::from_raw(child))
}
