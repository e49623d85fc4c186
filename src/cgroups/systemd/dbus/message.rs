//! D-Bus messages: calls that are sent, and what comes back ("Message Protocol"). Pure.

use super::value::{Reader, Value, encode, pad, signature_of};

/// The fixed part of the header, with the length of the header fields behind it.
pub(crate) const FIXED: usize = 16;

/// No message may be longer. The specification allows 128 MiB, but what systemd says to casulo has a few kilobytes.
const LONGEST: usize = 1 << 20;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer to a call.
    Return,
    /// The answer to a call that failed.
    Error,
    /// An event.
    Signal,
    /// A call, or what a later version of the protocol has.
    Other,
}

/// A method to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The name of who is called, on a bus.
    pub(crate) destination: &'a str,
    /// The object.
    pub(crate) path: &'a str,
    /// The interface of the method.
    pub(crate) interface: &'a str,
    /// The method.
    pub(crate) member: &'a str,
    /// Its arguments.
    pub(crate) body: &'a [Value],
}

impl Call<'_> {
    /// The call's bytes. `serial` is not 0; the answer names it.
    pub(crate) fn encode(&self, serial: u32) -> Vec<u8> {
        const METHOD_CALL: u8 = 1;
        let fields = [
            (1, Value::ObjectPath(self.path.to_owned())),
            (2, Value::text(self.interface)),
            (3, Value::text(self.member)),
            (6, Value::text(self.destination)),
        ];
        encode_message(METHOD_CALL, serial, fields.to_vec(), self.body)
    }
}

/// A message of this type, with these header fields by their codes, and that of its arguments' types if it has any.
pub(in crate::cgroups::systemd) fn encode_message(
    kind: u8,
    serial: u32,
    mut fields: Vec<(u8, Value)>,
    arguments: &[Value],
) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|value| encode(value, &mut body));
    if !arguments.is_empty() {
        fields.push((8, Value::Signature(signature_of(arguments))));
    }
    let field = |(code, value)| Value::Struct(vec![Value::Byte(code), Value::variant(value)]);
    let fields = fields.into_iter().map(field).collect();
    let length = u32::try_from(body.len()).expect("a config is far shorter than 4 GB");
    // Little-endian, no flags, version 1.
    let mut bytes = vec![b'l', kind, 0, 1];
    bytes.extend(length.to_le_bytes());
    bytes.extend(serial.to_le_bytes());
    encode(&Value::Array("(yv)".to_owned(), fields), &mut bytes);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it is.
    pub(crate) kind: Kind,
    /// The serial of the call that it answers.
    pub(crate) answers: Option<u32>,
    /// The object that a signal is about.
    pub(crate) path: Option<String>,
    /// The name of a signal.
    pub(crate) member: Option<String>,
    /// The name of an error.
    pub(crate) error: Option<String>,
    /// Who has sent it, as a bus knows; None on a socket with one peer.
    pub(crate) sender: Option<String>,
    signature: String,
    body: Vec<u8>,
}

/// How long the message is that begins with these bytes; None where it is none for us.
pub(crate) fn length(fixed: [u8; FIXED]) -> Option<usize> {
    let [b'l', _, _, 1, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = fixed else {
        return None;
    };
    let body = usize::try_from(u32::from_le_bytes([b0, b1, b2, b3])).ok()?;
    let fields = usize::try_from(u32::from_le_bytes([f0, f1, f2, f3])).ok()?;
    let header = FIXED.checked_add(fields)?.checked_next_multiple_of(8)?;
    header.checked_add(body).filter(|length| *length <= LONGEST)
}

impl Message {
    /// Reads a whole message of the length that [`length`] told.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Message> {
        let kind = match bytes.get(1)? {
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Other,
        };
        let mut reader = Reader::new(bytes);
        reader.values("yyyyuu")?;
        let Value::Array(_, fields) = reader.value("a(yv)")? else {
            return None;
        };
        reader.align(8)?;
        let mut message = Message {
            kind,
            answers: None,
            path: None,
            member: None,
            error: None,
            sender: None,
            signature: String::new(),
            body: bytes.get(reader.position()..)?.to_vec(),
        };
        for field in fields {
            let Value::Struct(pair) = field else {
                return None;
            };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else {
                return None;
            };
            match (code, value.as_ref()) {
                (1, Value::ObjectPath(path)) => message.path = Some(path.clone()),
                (3, Value::String(name)) => message.member = Some(name.clone()),
                (4, Value::String(name)) => message.error = Some(name.clone()),
                (5, Value::Uint32(serial)) => message.answers = Some(*serial),
                (7, Value::String(name)) => message.sender = Some(name.clone()),
                (8, Value::Signature(signature)) => message.signature.clone_from(signature),
                _ => {}
            }
        }
        Some(message)
    }

    /// Its arguments; None where they are not what the message says, or have a type that casulo
    /// never asks for.
    pub(crate) fn values(&self) -> Option<Vec<Value>> {
        Reader::new(&self.body).values(&self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALL: Call<'_> = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StopUnit",
        body: &[],
    };

    #[test]
    fn the_length_is_that_of_the_whole_message() {
        let body = [Value::text("web.scope"), Value::text("replace")];
        for body in [&[], body.as_slice()] {
            let bytes = Call { body, ..CALL }.encode(7);
            let fixed = bytes[..FIXED].try_into().expect("16 bytes");
            assert_eq!(length(fixed), Some(bytes.len()));
        }
    }

    #[test]
    fn an_error_is_read_with_its_name_and_text() {
        // As systemd sends it, written down by hand from the specification.
        let mut bytes = vec![b'l', 3, 1, 1, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        let name = "org.freedesktop.systemd1.NoSuchUnit";
        let start = bytes.len();
        bytes.extend([4, 1, b's', 0, 35, 0, 0, 0]);
        bytes.extend(name.as_bytes());
        bytes.push(0);
        pad(&mut bytes, 8);
        bytes.extend([5, 1, b'u', 0, 3, 0, 0, 0]);
        bytes.extend([8, 1, b'g', 0, 1, b's', 0]);
        let fields = u8::try_from(bytes.len() - start).expect("short");
        bytes[12] = fields;
        pad(&mut bytes, 8);
        bytes.extend([4, 0, 0, 0]);
        bytes.extend(b"gone\0");
        let message = Message::decode(&bytes).expect("a message");
        assert_eq!(message.kind, Kind::Error);
        assert_eq!(message.error.as_deref(), Some(name));
        assert_eq!(message.answers, Some(3));
        assert_eq!(message.values(), Some(vec![Value::text("gone")]));
        let fixed = bytes[..FIXED].try_into().expect("16 bytes");
        assert_eq!(length(fixed), Some(bytes.len()));
    }

    #[test]
    fn what_is_no_message_for_us_has_no_length() {
        let mut big = CALL.encode(1);
        big[0] = b'B';
        let mut later = CALL.encode(1);
        later[3] = 2;
        let mut endless = CALL.encode(1);
        endless[7] = 0xff;
        for bytes in [big, later, endless] {
            assert_eq!(length(bytes[..FIXED].try_into().expect("16 bytes")), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
            if let Some(message) = Message::decode(&bytes) {
                let _ = message.values();
            }
        }

        #[test]
        fn any_change_of_a_message_is_decoded_or_refused(at in 0usize..160, byte: u8) {
            let mut bytes = CALL.encode(1);
            if let Some(it) = bytes.get_mut(at) {
                *it = byte;
            }
            if let Some(message) = Message::decode(&bytes) {
                let _ = message.values();
            }
        }
    }
}
