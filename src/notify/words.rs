//! Decides which lines of a message are passed on. Pure.

use crate::defence::{Defence, without};

/// The names that a container may send. `MAINPID` is missing, because the container does not know the host's
/// number. The manager's store of descriptors is missing too, and `BARRIER`, which the proxy answers.
const PASSED_ON: [&str; 10] = [
    "BUSERROR",
    "ERRNO",
    "EXIT_STATUS",
    "EXTEND_TIMEOUT_USEC",
    "MONOTONIC_USEC",
    "READY",
    "RELOADING",
    "STATUS",
    "STOPPING",
    "WATCHDOG",
];

/// What a message says about the start of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NotYet,
}

/// A message after the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    /// The lines that are passed on.
    pub(super) text: Vec<u8>,
    /// Whether these lines say that the service is ready.
    pub(super) readiness: Readiness,
    /// True if the sender waits until the manager has read what came before (sd_notify_barrier(3)).
    pub(super) asks_for_barrier: bool,
}

/// Returns the lines of a message that are passed on, and what they mean to the proxy.
pub(super) fn filtered(message: &[u8]) -> Filtered {
    let mut kept: Vec<&[u8]> = Vec::new();
    let (mut readiness, mut asks_for_barrier) = (Readiness::NotYet, false);
    for line in message.split(|byte| *byte == b'\n') {
        let Some(end) = line.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = line.split_at(end);
        asks_for_barrier |= line == b"BARRIER=1";
        let passed_on = PASSED_ON.iter().any(|known| known.as_bytes() == name);
        if !passed_on && !without(Defence::NotifyWords) {
            continue;
        }
        if name == b"READY" && value == b"=1" {
            readiness = Readiness::Ready;
        }
        kept.push(line);
    }
    Filtered {
        text: kept.join(&b'\n'),
        readiness,
        asks_for_barrier,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_container_may_say_are_kept_in_order() {
        use Readiness::{NotYet, Ready};
        for (message, kept, readiness, barrier) in [
            ("READY=1", "READY=1", Ready, false),
            ("STATUS=x=y\nREADY=1\n", "STATUS=x=y\nREADY=1", Ready, false),
            ("READY=0", "READY=0", NotYet, false),
            ("MAINPID=1\nWATCHDOG=1", "WATCHDOG=1", NotYet, false),
            ("FDSTORE=1\nFDNAME=x", "", NotYet, false),
            ("BARRIER=1", "", NotYet, true),
            ("BARRIER=0", "", NotYet, false),
            ("STATUS=x\nBARRIER=1", "STATUS=x", NotYet, true),
            ("READY", "", NotYet, false),
            ("", "", NotYet, false),
        ] {
            let found = filtered(message.as_bytes());
            let text = String::from_utf8_lossy(&found.text);
            let found = (&*text, found.readiness, found.asks_for_barrier);
            assert_eq!(found, (kept, readiness, barrier), "{message:?}");
        }
    }
}
