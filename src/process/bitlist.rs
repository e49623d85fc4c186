//! Lists like `0-3,7`, which the config uses for CPUs and for memory nodes. Pure.

/// Parses `list` into a bit mask, least bit first, cut after the last set bit. An empty list has no
/// bits. Numbers must be below `limit`.
///
/// # Errors
/// Why the list is not one.
pub(crate) fn parse(list: &str, limit: usize) -> Result<Vec<u64>, String> {
    let mut words = Vec::new();
    if list.is_empty() {
        return Ok(words);
    }
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, part, limit)?, number(last, part, limit)?);
        if first > last {
            return Err(format!("the range {part:?} runs backwards"));
        }
        for bit in first..=last {
            if words.len() <= bit / 64 {
                words.resize(bit / 64 + 1, 0_u64);
            }
            if let Some(word) = words.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }
    Ok(words)
}

fn number(digits: &str, part: &str, limit: usize) -> Result<usize, String> {
    // `parse` alone would take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{part:?} is neither a number nor a range like 0-3"));
    }
    match digits.parse() {
        Ok(number) if number < limit => Ok(number),
        _ => Err(format!("{digits} is not below {limit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_bits() {
        let rows: [(&str, &[u64]); 7] = [
            ("", &[]),
            ("0", &[1]),
            ("0-3,7", &[0b1000_1111]),
            ("7,0-3", &[0b1000_1111]),
            ("63-64", &[1 << 63, 1]),
            ("128", &[0, 0, 1]),
            ("0-0", &[1]),
        ];
        for (list, expected) in rows {
            assert_eq!(parse(list, 8192).as_deref(), Ok(expected), "{list:?}");
        }
        assert_eq!(parse("8191", 8192).map(|it| it.len()), Ok(128));
    }

    #[test]
    fn what_is_no_list_says_why() {
        let rows = [
            ("3-1", "the range \"3-1\" runs backwards"),
            ("1,,2", "\"\" is neither a number nor a range like 0-3"),
            ("-1", "\"-1\" is neither a number nor a range like 0-3"),
            ("+1", "\"+1\" is neither a number nor a range like 0-3"),
            ("a", "\"a\" is neither a number nor a range like 0-3"),
            ("0-", "\"0-\" is neither a number nor a range like 0-3"),
            ("8192", "8192 is not below 8192"),
            (
                "99999999999999999999",
                "99999999999999999999 is not below 8192",
            ),
        ];
        for (list, why) in rows {
            assert_eq!(parse(list, 8192), Err(why.to_owned()), "{list:?}");
        }
    }
}
