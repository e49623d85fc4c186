//! What a parent hears of a last process until that executes its program, and when it looks for itself. Parent.
//!
//! A container may trace the process by then: it can flood the pipe, hold its end, or say what it likes. So few words
//! are heard at a time, and /proc is looked at whether or not anything wakes casulo.

use super::pipes::{Ends, Heard};
use crate::binary::landing::Told;
use std::time::{Duration, Instant};

/// The longest time between two looks at what nobody wakes casulo for.
const LONGEST_LOOK: Duration = Duration::from_millis(100);
/// So many words are heard at a time: whoever traces the process can write more than casulo reads.
const MOST_WORDS: usize = 16;

/// The state of that.
#[derive(Debug)]
pub(crate) struct Hearing {
    pipe: Pipe,
    /// The time to the next look at whether the program was executed, and the last.
    look: Duration,
    looked: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pipe {
    Open,
    /// Nobody holds the other end: the process executes its program now, or has ended.
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

    /// Whether there may be more to hear.
    pub(crate) fn goes_on(&self) -> bool {
        self.pipe == Pipe::Open
    }

    /// The words that have come, or the first of them. What is no word is left out.
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

    /// Whether to look now. A tracer can hold or flood the other end of the pipe, so the end of file may not come.
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
