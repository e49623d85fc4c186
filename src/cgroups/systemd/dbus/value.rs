//! D-Bus values, and their bytes by the rules of "Marshaling (Wire Format)". Pure.

/// How deep containers may be nested in what is read ("Valid Signatures": 64 in all).
const DEPTH: usize = 64;

/// A value of one complete type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`: no NUL inside.
    String(String),
    /// `o`
    ObjectPath(String),
    /// `g`
    Signature(String),
    /// `a` with the signature of the elements, which all have it.
    Array(String, Vec<Value>),
    /// `(…)`, with at least one member.
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub(crate) fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    /// A variant that holds `value`.
    pub(crate) fn variant(value: Value) -> Value {
        Value::Variant(Box::new(value))
    }

    /// An array of bytes.
    pub(crate) fn bytes(bytes: &[u8]) -> Value {
        let bytes = bytes.iter().copied().map(Value::Byte);
        Value::Array("y".to_owned(), bytes.collect())
    }

    /// The type.
    pub(crate) fn signature(&self) -> String {
        let letter = match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::Int16(_) => "n",
            Value::Uint16(_) => "q",
            Value::Int32(_) => "i",
            Value::Uint32(_) => "u",
            Value::Int64(_) => "x",
            Value::Uint64(_) => "t",
            Value::Double(_) => "d",
            Value::String(_) => "s",
            Value::ObjectPath(_) => "o",
            Value::Signature(_) => "g",
            Value::Variant(_) => "v",
            Value::Array(element, _) => return format!("a{element}"),
            Value::Struct(members) => return format!("({})", signature_of(members)),
        };
        letter.to_owned()
    }
}

/// The types of several values, one after the other.
pub(crate) fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// At which multiples a value of the type that begins with `letter` starts.
fn alignment(letter: u8) -> usize {
    match letter {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

/// Appends `value` to a message; `bytes` begins where the message or its body does.
pub(crate) fn encode(value: &Value, bytes: &mut Vec<u8>) {
    let signature = value.signature();
    pad(bytes, alignment_of(&signature));
    match value {
        Value::Byte(it) => bytes.push(*it),
        Value::Bool(it) => bytes.extend(u32::from(*it).to_le_bytes()),
        Value::Int16(it) => bytes.extend(it.to_le_bytes()),
        Value::Uint16(it) => bytes.extend(it.to_le_bytes()),
        Value::Int32(it) => bytes.extend(it.to_le_bytes()),
        Value::Uint32(it) => bytes.extend(it.to_le_bytes()),
        Value::Int64(it) => bytes.extend(it.to_le_bytes()),
        Value::Uint64(it) => bytes.extend(it.to_le_bytes()),
        Value::Double(it) => bytes.extend(it.to_le_bytes()),
        Value::String(it) | Value::ObjectPath(it) => {
            bytes.extend(length(it.len()));
            bytes.extend(it.as_bytes());
            bytes.push(0);
        }
        Value::Signature(it) => encode_signature(it, bytes),
        Value::Array(element, values) => {
            let at = bytes.len();
            bytes.extend([0; 4]);
            // The padding before the first element does not count.
            pad(bytes, alignment_of(element));
            let start = bytes.len();
            values.iter().for_each(|value| encode(value, bytes));
            let written = length(bytes.len() - start);
            bytes.splice(at..at + 4, written);
        }
        Value::Struct(members) => members.iter().for_each(|value| encode(value, bytes)),
        Value::Variant(value) => {
            encode_signature(&value.signature(), bytes);
            encode(value, bytes);
        }
    }
}

fn encode_signature(signature: &str, bytes: &mut Vec<u8>) {
    bytes.push(u8::try_from(signature.len()).expect("a signature of casulo's own"));
    bytes.extend(signature.as_bytes());
    bytes.push(0);
}

/// Fills up with zeros to a multiple of `alignment`.
pub(crate) fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

fn alignment_of(signature: &str) -> usize {
    alignment(signature.bytes().next().unwrap_or_default())
}

fn length(length: usize) -> [u8; 4] {
    let length = u32::try_from(length).expect("a config is far shorter than 4 GB");
    length.to_le_bytes()
}

/// Splits the first complete type off a signature. None where there is none.
pub(crate) fn split_type(signature: &str) -> Option<(&str, &str)> {
    let length = type_length(signature.as_bytes(), 0)?;
    signature.split_at_checked(length)
}

fn type_length(signature: &[u8], depth: usize) -> Option<usize> {
    if depth > DEPTH {
        return None;
    }
    match signature.split_first()? {
        (b'a', rest) => Some(1 + type_length(rest, depth + 1)?),
        (open @ (b'(' | b'{'), mut rest) => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut length = 1;
            while *rest.first()? != close {
                let member = type_length(rest, depth + 1)?;
                length += member;
                rest = rest.get(member..)?;
            }
            Some(length + 1)
        }
        (letter, _) if b"ybnqiuxtdsogvh".contains(letter) => Some(1),
        _ => None,
    }
}

/// Reads values one after the other. Each method returns None where the bytes are not such a value.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of a message or of its body.
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// All values of a signature.
    pub(crate) fn values(&mut self, mut signature: &str) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (one, rest) = split_type(signature)?;
            values.push(self.value(one)?);
            signature = rest;
        }
        Some(values)
    }

    /// A value of one complete type; an entry of a dictionary is a struct. Descriptors are not read: nothing that
    /// casulo asks for has any.
    pub(crate) fn value(&mut self, signature: &str) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let (letter, rest) = signature.as_bytes().split_first()?;
        self.align(alignment(*letter))?;
        let value = match letter {
            b'y' => Value::Byte(u8::from_le_bytes(self.array()?)),
            b'b' => Value::Bool(match u32::from_le_bytes(self.array()?) {
                0 => false,
                1 => true,
                _ => return None,
            }),
            b'n' => Value::Int16(i16::from_le_bytes(self.array()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.array()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.array()?)),
            b'u' => Value::Uint32(u32::from_le_bytes(self.array()?)),
            b'x' => Value::Int64(i64::from_le_bytes(self.array()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.array()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.array()?)),
            b's' => Value::String(self.string()?),
            b'o' => Value::ObjectPath(self.string()?),
            b'g' => Value::Signature(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                let (one, "") = split_type(&inner)? else {
                    return None;
                };
                Value::variant(self.value(one)?)
            }
            b'a' => {
                let element = std::str::from_utf8(rest).ok()?;
                let length = u32::from_le_bytes(self.array()?);
                self.align(alignment_of(element))?;
                let end = self.at.checked_add(usize::try_from(length).ok()?)?;
                if end > self.bytes.len() {
                    return None;
                }
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.value(element)?);
                }
                if self.at != end {
                    return None;
                }
                Value::Array(element.to_owned(), values)
            }
            b'(' | b'{' => {
                let members = signature.get(1..signature.len() - 1)?;
                // Without a member it would have no length, and an array of them no end.
                let members = Some(members).filter(|it| !it.is_empty())?;
                Value::Struct(self.values(members)?)
            }
            _ => return None,
        };
        self.depth -= 1;
        Some(value)
    }

    /// Skips to a multiple of `alignment`.
    pub(crate) fn align(&mut self, alignment: usize) -> Option<()> {
        let at = self.at.next_multiple_of(alignment);
        self.bytes.get(self.at..at)?;
        self.at = at;
        Some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn string(&mut self) -> Option<String> {
        let length = u32::from_le_bytes(self.array()?);
        self.terminated(usize::try_from(length).ok()?)
    }

    fn signature(&mut self) -> Option<String> {
        let length = u8::from_le_bytes(self.array()?);
        self.terminated(usize::from(length))
    }

    fn terminated(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.take(1)? == [0]).then_some(text)
    }
}

#[cfg(test)]
mod tests;
