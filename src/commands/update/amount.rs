//! Amounts of bytes as people type them.

/// Bytes: `1048576`, `1m`, `1.5 GiB`. A unit is a power of 1024, in any case, with or without `b`
/// or `ib`. -1 is unlimited. None for anything else, and for more than an i64 holds.
pub(super) fn amount(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let factor = factor(unit.strip_prefix(' ').unwrap_or(unit))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // More digits than bytes can matter for are cut off.
    let fraction = fraction.get(..15).unwrap_or(fraction);
    let digits = u32::try_from(fraction.len()).ok()?;
    let whole = whole.parse::<i128>().ok()?.checked_mul(factor)?;
    let part = fraction.parse::<i128>().ok()? * factor / 10_i128.pow(digits);
    i64::try_from(whole + part).ok()
}

/// What a unit stands for.
fn factor(unit: &str) -> Option<i128> {
    let unit = unit.to_ascii_lowercase();
    let letter = unit.strip_suffix('b').unwrap_or(&unit);
    let letter = match letter.strip_suffix('i') {
        // `ib` alone is no unit, and neither is `ki`.
        Some(letter) if !letter.is_empty() && unit.ends_with('b') => letter,
        _ => letter,
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(1024_i128.pow(power))
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_have_units_in_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("4096", 4096),
            ("32b", 32),
            ("32B", 32),
            ("1k", 1 << 10),
            ("1K", 1 << 10),
            ("1kb", 1 << 10),
            ("1KiB", 1 << 10),
            ("64m", 64 << 20),
            ("64 mb", 64 << 20),
            ("1.5g", 3 << 29),
            ("0.25k", 256),
            ("2t", 2 << 40),
            ("3P", 3 << 50),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(amount(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "-2",
            "-1k",
            "k",
            "1x",
            "1kk",
            "1ki",
            "1ib",
            "1.2.3",
            ".5",
            "1.",
            "1  m",
            "+1",
            "9223372036854775808",
            "8192p",
            "ü",
            "1ü",
            "max",
        ] {
            assert_eq!(amount(text), None, "{text:?}");
        }
    }
}
