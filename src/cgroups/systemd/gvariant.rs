//! GVariant text (docs.gtk.org, "GVariant Text Format") → a D-Bus value: how the values of
//! `org.systemd.property.*` are written. Pure.
//!
//! Not all of it: what no property of a unit has is refused (dictionaries, maybe types, handles).
//! A number without a type is an int32 if it is whole, else a double; the first element of an
//! array decides the type of the others.

use super::dbus::value::{Value, split_type};
use std::iter::Peekable;
use std::str::Chars;

/// How deep values may be nested.
const DEPTH: usize = 16;

/// The words that give the value behind them a type.
const WORDS: [(&str, &str); 11] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
];

/// Reads one value.
///
/// # Errors
/// Why the text is not one.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser {
        rest: text.chars().peekable(),
    };
    let value = parser.value(None, 0)?;
    parser.blanks();
    match parser.rest.next() {
        None => Ok(value),
        Some(c) => Err(format!("{c:?} behind the value")),
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| is_part(*c)) {
            word.push(c);
        }
        word
    }

    /// A value; `wanted` is its signature, where one is known.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err("nested too deep".to_owned());
        }
        self.blanks();
        match self.rest.peek() {
            None => Err("a value is missing".to_owned()),
            Some('\'' | '"') => text(self.quoted()?, wanted),
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('<') => {
                expect(wanted, "v")?;
                self.rest.next();
                let value = self.value(None, depth + 1)?;
                self.close('>')?;
                Ok(Value::variant(value))
            }
            Some('@') => {
                self.rest.next();
                let signature = self.word(|c| c.is_ascii_alphabetic() || "(){}".contains(c));
                match split_type(&signature) {
                    Some((_, "")) => self.typed(&signature, wanted, depth),
                    _ => Err(format!("{signature:?} is not a type")),
                }
            }
            Some('+' | '-' | '0'..='9' | '.') => {
                let word = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                number(&word, wanted)
            }
            Some(c) if c.is_ascii_alphabetic() => {
                let word = self.word(|c| c.is_ascii_alphanumeric());
                match word.as_str() {
                    "true" | "false" => {
                        expect(wanted, "b")?;
                        Ok(Value::Bool(word == "true"))
                    }
                    _ => match WORDS.iter().find(|(name, _)| *name == word) {
                        Some((_, signature)) => self.typed(signature, wanted, depth),
                        None => Err(format!("{word:?} is not a value: text needs quotes")),
                    },
                }
            }
            Some(c) => Err(format!("{c:?} begins no value")),
        }
    }

    /// The value behind a type.
    fn typed(
        &mut self,
        signature: &str,
        wanted: Option<&str>,
        depth: usize,
    ) -> Result<Value, String> {
        expect(wanted, signature)?;
        self.value(Some(signature), depth + 1)
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let mut element = match wanted {
            None => None,
            Some(signature) => match signature.strip_prefix('a') {
                Some(element) => Some(element.to_owned()),
                None => return Err(format!("an array, where the type is {signature:?}")),
            },
        };
        let values = self.list(']', |parser, _| {
            let value = parser.value(element.as_deref(), depth + 1)?;
            element.get_or_insert_with(|| value.signature());
            Ok(value)
        })?;
        match element {
            Some(element) => Ok(Value::Array(element, values)),
            None => Err("an empty array needs its type, as in @as []".to_owned()),
        }
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let mut types = Vec::new();
        if let Some(signature) = wanted {
            let members = signature
                .strip_prefix('(')
                .and_then(|it| it.strip_suffix(')'));
            let mut rest =
                members.ok_or_else(|| format!("a tuple, where the type is {signature:?}"))?;
            while let Some((one, others)) = split_type(rest) {
                types.push(one);
                rest = others;
            }
        }
        let values = self.list(')', |parser, index| match (wanted, types.get(index)) {
            (Some(_), None) => Err("the tuple has too many members".to_owned()),
            (_, signature) => parser.value(signature.copied(), depth + 1),
        })?;
        if values.is_empty() {
            return Err("D-Bus has no empty tuple".to_owned());
        }
        if values.len() < types.len() {
            return Err("the tuple has too few members".to_owned());
        }
        Ok(Value::Struct(values))
    }

    /// Values between the bracket that comes now and `end`, with commas between them and perhaps
    /// one behind the last.
    fn list(
        &mut self,
        end: char,
        mut item: impl FnMut(&mut Self, usize) -> Result<Value, String>,
    ) -> Result<Vec<Value>, String> {
        self.rest.next();
        let mut values = Vec::new();
        loop {
            self.blanks();
            if self.rest.next_if_eq(&end).is_some() {
                return Ok(values);
            }
            values.push(item(self, values.len())?);
            self.blanks();
            if self.rest.next_if_eq(&',').is_none() {
                self.close(end)?;
                return Ok(values);
            }
        }
    }

    fn close(&mut self, end: char) -> Result<(), String> {
        self.blanks();
        match self.rest.next() {
            Some(c) if c == end => Ok(()),
            Some(c) => Err(format!("{c:?} where {end:?} was expected")),
            None => Err(format!("{end:?} is missing")),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = self.rest.next();
        let mut text = String::new();
        loop {
            let c = match self.rest.next() {
                None => return Err("the closing quote is missing".to_owned()),
                c if c == quote => return Ok(text),
                Some('\\') => self.escaped()?,
                Some(c) => c,
            };
            // No property has a use for them, and systemd writes properties into unit files, where
            // a newline ends one.
            if c.is_control() {
                return Err("control characters are not allowed".to_owned());
            }
            text.push(c);
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let digits = match self.rest.next() {
            Some(c @ ('\\' | '\'' | '"')) => return Ok(c),
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v') => return Ok('\n'),
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("an unknown escape behind a backslash".to_owned()),
        };
        let code: String = self.rest.by_ref().take(digits).collect();
        let code = Some(code).filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
        code.and_then(|code| u32::from_str_radix(&code, 16).ok())
            .and_then(char::from_u32)
            .ok_or_else(|| "an escape that is no character".to_owned())
    }
}

fn expect(wanted: Option<&str>, signature: &str) -> Result<(), String> {
    match wanted {
        Some(wanted) if wanted != signature => {
            Err(format!("type {signature:?}, where it is {wanted:?}"))
        }
        _ => Ok(()),
    }
}

fn text(text: String, wanted: Option<&str>) -> Result<Value, String> {
    match wanted {
        None | Some("s") => Ok(Value::String(text)),
        Some("o") if text.starts_with('/') => Ok(Value::ObjectPath(text)),
        Some(signature) => Err(format!("text, where the type is {signature:?}")),
    }
}

fn number(word: &str, wanted: Option<&str>) -> Result<Value, String> {
    let is_whole = word.starts_with("0x") || !word.contains(['.', 'e', 'E']);
    let signature = wanted.unwrap_or(if is_whole { "i" } else { "d" });
    if signature == "d" {
        let number: f64 = word
            .parse()
            .map_err(|_not_a_number| format!("{word:?} is not a number"))?;
        return Ok(Value::Double(number));
    }
    let number = whole(word).ok_or_else(|| format!("{word:?} is not a whole number"))?;
    let value = match signature {
        "y" => number.try_into().map(Value::Byte),
        "n" => number.try_into().map(Value::Int16),
        "q" => number.try_into().map(Value::Uint16),
        "i" => number.try_into().map(Value::Int32),
        "u" => number.try_into().map(Value::Uint32),
        "x" => number.try_into().map(Value::Int64),
        "t" => number.try_into().map(Value::Uint64),
        _ => return Err(format!("a number, where the type is {signature:?}")),
    };
    value.map_err(|_range| match wanted {
        None => format!("{word} does not fit into an int32: write its type, as in uint64 {word}"),
        Some(_) => format!("{word} does not fit into its type"),
    })
}

/// A whole number as C writes it: 0x is hexadecimal, a leading 0 octal.
fn whole(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => (16, rest.get(1..)?),
        Some(rest) if !rest.is_empty() => (8, rest),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    Some(sign * i128::from(u64::from_str_radix(digits, radix).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_have_the_type_that_is_written_or_the_usual_one() {
        let strings = |list: &[&str]| {
            Value::Array("s".into(), list.iter().map(|it| Value::text(it)).collect())
        };
        for (written, value) in [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("15", Value::Int32(15)),
            ("-1", Value::Int32(-1)),
            ("0x10", Value::Int32(16)),
            ("010", Value::Int32(8)),
            ("0", Value::Int32(0)),
            ("1.5", Value::Double(1.5)),
            ("1e3", Value::Double(1000.0)),
            ("uint64 10000000", Value::Uint64(10_000_000)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("int32 -1", Value::Int32(-1)),
            ("byte 0x1", Value::Byte(1)),
            ("int64 -5", Value::Int64(-5)),
            ("double 2", Value::Double(2.0)),
            ("@t 5", Value::Uint64(5)),
            ("'it\\'s'", Value::text("it's")),
            ("\"a 'b' \\u00fc\"", Value::text("a 'b' ü")),
            ("string 'x'", Value::text("x")),
            ("objectpath '/a'", Value::ObjectPath("/a".into())),
            ("@as []", strings(&[])),
            ("['a', \"b\",]", strings(&["a", "b"])),
            (
                "[uint64 1, 2]",
                Value::Array("t".into(), vec![Value::Uint64(1), Value::Uint64(2)]),
            ),
            ("@ay [0x1, 2]", Value::bytes(&[1, 2])),
            (
                "('/dev/null', uint64 7)",
                Value::Struct(vec![Value::text("/dev/null"), Value::Uint64(7)]),
            ),
            (
                "@a(st) [('a', 1)]",
                Value::Array(
                    "(st)".into(),
                    vec![Value::Struct(vec![Value::text("a"), Value::Uint64(1)])],
                ),
            ),
            ("<uint32 1>", Value::variant(Value::Uint32(1))),
        ] {
            assert_eq!(parse(written), Ok(value), "{written}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_reason() {
        let deep = "[".repeat(40);
        for (written, why) in [
            ("", "missing"),
            ("SIGTERM", "needs quotes"),
            ("15 Slice='x'", "behind the value"),
            ("'a' 'b'", "behind the value"),
            ("'a", "closing quote"),
            ("'a\\'", "closing quote"),
            ("'a\nExecStart=/bin/sh'", "control characters"),
            ("'a\\nb'", "control characters"),
            ("'a\0b'", "control characters"),
            ("'\\u0000'", "control characters"),
            ("'\\ud800'", "no character"),
            ("[]", "needs its type"),
            ("[1, 'a']", "text, where"),
            ("[1, 2", "']' is missing"),
            ("()", "no empty tuple"),
            ("@(st) ('a')", "too few"),
            ("@(s) ('a', 1)", "too many"),
            ("@s 5", "a number, where"),
            ("uint64 'x'", "text, where"),
            ("uint64 int32 5", "type \"i\""),
            ("byte 256", "does not fit"),
            ("4294967296", "uint64 4294967296"),
            ("uint64 -1", "does not fit"),
            ("--1", "not a whole number"),
            ("0x", "not a whole number"),
            ("@e 5", "not a type"),
            ("{'a': 1}", "begins no value"),
            (deep.as_str(), "too deep"),
        ] {
            let error = parse(written).expect_err(written);
            assert!(error.contains(why), "{written}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_of_its_characters_is_parsed_or_refused(
            text in "[\\[\\](){}<>@,'\"\\\\ a-z0-9x.+-]{0,40}"
        ) {
            let _ = parse(&text);
        }
    }
}
