//! How a parent hears a last process until that executes its program, and when it looks for itself. Runs in the
//! parent.
//!
//! A container may trace the process by then. It can flood the pipe, hold its end, or send any words. So few words
//! are read at a time, and casulo looks at /proc whether or not it is woken.

use super::pipes::{Ends, Heard};
use crate::binary::landing::Told;
use std::time::{Duration, Instant};

/// The longest time between two looks at /proc.
const LONGEST_LOOK: Duration = Duration::from_millis(100);
/// The most words read at a time: a tracer of the process can write more than casulo reads.
const MOST_WORDS: usize = 16;

/// The state of hearing one last process.
#[derive(Debug)]
pub(crate) struct Hearing {
    pipe: Pipe,
    /// The time until casulo looks again whether the program was executed, and when it looked last.
    look: Duration,
    looked: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pipe {
    Open,
    /// The other end is closed in every process: the process executes its program now, or has ended.
    Closed,
}

impl Hearing {
    pub(crate) fn begin() -> Hearing {
        Hearing {
            pipe: Pipe::Open,
            look: LONGEST_LOOK,
            looked: Instant::now(),
        }
    }

    /// The longest wait until the next look.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.look
    }

    /// True while the process may send more words.
    pub(crate) fn goes_on(&self) -> bool {
        self.pipe == Pipe::Open
    }

    /// Returns the words that have come, at most [`MOST_WORDS`]. Leaves out bytes that are no word.
    pub(crate) fn hear(&mut self, ends: &Ends) -> Vec<Told> {
        let mut words = Vec::new();
        if self.pipe == Pipe::Closed {
            return words;
        }
        for _ in 0..MOST_WORDS {
            match ends.hear() {
                Heard::Word(told) => words.push(told),
                Heard::Junk => {}
                Heard::Nothing => break,
                Heard::End => {
                    self.pipe = Pipe::Closed;
                    self.look = Duration::from_millis(1);
                    break;
                }
            }
        }
        words
    }

    /// True if casulo is to look now. A tracer can hold or flood the other end of the pipe, so the end of file may
    /// not come.
    pub(crate) fn is_time_to_look(&self) -> bool {
        self.pipe == Pipe::Closed || self.looked.elapsed() >= LONGEST_LOOK
    }

    /// The program was not executed yet: the next look comes later.
    pub(crate) fn has_looked(&mut self) {
        self.looked = Instant::now();
        if self.pipe == Pipe::Closed {
            self.look = (self.look * 2).min(LONGEST_LOOK);
        }
    }
}
