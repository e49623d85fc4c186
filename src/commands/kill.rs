//! `kill`

use crate::cli::{Global, Kill};
use crate::container::{self, KillTarget};
use crate::error::{Code, Error, Result};
use nix::sys::signal::Signal;
use std::str::FromStr;

/// `casulo kill`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Kill) -> Result<u8> {
    let signal = parse(&args.signal)?;
    let whom = if args.all {
        KillTarget::All
    } else {
        KillTarget::Init
    };
    let kill = |id: &str| container::kill(&super::open(global, id)?, signal, whom);
    if args.regex {
        super::each_matching(global, &args.id, |id| kill(id))?;
    } else {
        kill(&args.id)?;
    }
    Ok(0)
}

/// A signal by number (0 to 64) or by name, with or without `SIG`, in any case; `RTMIN+3` and
/// `RTMAX-2` are names too (signal(7)).
fn parse(text: &str) -> Result<i32> {
    let unknown = || Error::new(Code::Usage, format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    for (base, start) in [("RTMIN", 34), ("RTMAX", 64)] {
        if let Some(offset) = name.strip_prefix(base) {
            let offset: i32 = if offset.is_empty() {
                0
            } else {
                offset.parse().map_err(|_not_a_number| unknown())?
            };
            let number = start + offset;
            return if (34..=64).contains(&number) {
                Ok(number)
            } else {
                Err(unknown())
            };
        }
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    Signal::from_str(&format!("SIG{name}"))
        .map(|signal| signal as i32)
        .map_err(|_unknown| unknown())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("0", 0),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGIO", 29),
            ("37", 37),
        ] {
            assert_eq!(parse(text).ok(), Some(number), "{text}");
        }
        for text in ["", "SIG", "SIGNOPE", "65", "-1", "RTMIN+40", "9x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
