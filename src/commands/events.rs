//! `events`

use crate::cli::{Events, Global};
use crate::container::events::{self, Event, Watch};
use crate::error::{Code, Error, Result};
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

/// `casulo events`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Events) -> Result<u8> {
    let interval = duration(&args.interval)?;
    let dir = super::open(global, &args.id)?;
    let print = |event: &Event| super::print(event.line(&dir.id).as_bytes());
    let told = if args.stats {
        print(&events::stats(&dir)?)
    } else {
        let stdout = std::io::stdout();
        Watch::new(&dir, interval, stdout.as_fd())?.try_for_each(|event| print(&event?))
    };
    match told {
        // Whoever read has seen enough.
        Err(error) if error.errno == Some(Errno::EPIPE) => Ok(0),
        result => result.map(|()| 0),
    }
}

/// A length of time as Go's time.ParseDuration takes it: numbers with fractions, each with a unit.
fn duration(text: &str) -> Result<Duration> {
    let wrong = |why: &str| {
        let text = format!("--interval {text}: {why}");
        Error::new(Code::Usage, text).hint("a number with a unit, like 5s, 500ms or 1m30s")
    };
    let malformed = || wrong("not a duration");
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        let (number, unit) = rest
            .split_at_checked(end.unwrap_or(0))
            .ok_or_else(malformed)?;
        let number: f64 = number.parse().map_err(|_not_a_number| malformed())?;
        let end = unit.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, next) = unit
            .split_at_checked(end.unwrap_or(unit.len()))
            .ok_or_else(malformed)?;
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(malformed()),
            };
        rest = next;
    }
    // Go counts nanoseconds in 63 bits.
    match Duration::try_from_secs_f64(seconds) {
        Ok(it) if it.is_zero() => Err(wrong("must be more than 0")),
        Ok(it) if it.as_nanos() < 1 << 63 => Ok(it),
        _ => Err(wrong("too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            (".5s", 500),
            ("2h", 7_200_000),
            ("1000us", 1),
            ("1000\u{b5}s", 1),
            ("1000000ns", 1),
        ] {
            assert_eq!(
                duration(text).ok(),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for (text, why) in [
            ("0", "not a duration"),
            ("5", "not a duration"),
            ("s", "not a duration"),
            ("-1s", "not a duration"),
            ("1e3s", "not a duration"),
            ("1d", "not a duration"),
            ("1.2.3s", "not a duration"),
            ("\u{e9}", "not a duration"),
            ("", "must be more than 0"),
            ("0s", "must be more than 0"),
            ("0h0.0ms", "must be more than 0"),
            ("9999999h", "too long"),
        ] {
            let error = duration(text).expect_err(text);
            assert!(error.to_string().ends_with(why), "{text}: {error}");
        }
    }
}
