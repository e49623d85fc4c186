//! A job of systemd's: from the call that starts it to its end, and what systemd tells meanwhile. Parent.

use super::dbus::connection::{Connection, Failure, Result as Answer, answer};
use super::dbus::message::{Call, Kind, Message};
use super::dbus::value::Value;
use crate::step::{self, Step};

/// The interface that all units have, and its property that tells one start of a unit from another.
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const INVOCATION: &str = "InvocationID";

/// A job that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `done`, or why not.
    pub(super) result: String,
    /// InvocationID of the unit, where systemd has told it without being asked: on its own socket it tells of
    /// every change. On a bus others may tell such things, too, so there it is asked.
    pub(super) invocation: Option<String>,
}

/// Calls a method that starts a job of the unit at `object`, and waits for the job's end. `sent` is what there is to
/// do once systemd knows.
pub(super) fn run(
    connection: &mut Connection,
    call: &Call<'_>,
    object: &str,
    sent: Step,
) -> Answer<Ended> {
    let serial = connection.send(call)?;
    step::begin_or_errno(sent).map_err(Failure::Broken)?;
    let (mut job, mut invocation) = (None, None);
    // A job may end before the call that made it is answered.
    let mut ended: Vec<(String, String)> = Vec::new();
    loop {
        let message = connection.receive()?;
        if let Some(answer) = answer(&message, serial) {
            match answer?.into_iter().next() {
                Some(Value::ObjectPath(path)) => job = Some(path),
                _ => return Err(Failure::Protocol),
            }
        }
        ended.extend(removed_job(&message));
        // Before the answer the name may have been another's.
        if job.is_some() && !connection.is_bus {
            invocation = told_invocation(&message, object).or(invocation);
        }
        if let Some(path) = &job
            && let Some((_, result)) = ended.iter().find(|(ended, _)| ended == path)
        {
            let result = result.clone();
            return Ok(Ended { result, invocation });
        }
    }
}

/// `JobRemoved(u id, o job, s unit, s result)`: the job and its result.
fn removed_job(message: &Message) -> Option<(String, String)> {
    if message.kind != Kind::Signal || message.member.as_deref() != Some("JobRemoved") {
        return None;
    }
    match message.values()?.as_slice() {
        [_, Value::ObjectPath(job), _, Value::String(result)] => {
            Some((job.clone(), result.clone()))
        }
        _ => None,
    }
}

/// `PropertiesChanged(s interface, a{sv} changed, as invalidated)` of this unit: its invocation.
fn told_invocation(message: &Message, object: &str) -> Option<String> {
    let is_of_unit = message.kind == Kind::Signal && message.path.as_deref() == Some(object);
    if !is_of_unit || message.member.as_deref() != Some("PropertiesChanged") {
        return None;
    }
    match message.values()?.as_slice() {
        [Value::String(interface), Value::Array(_, changed), _] if interface == UNIT => {
            changed.iter().find_map(|entry| match entry {
                Value::Struct(pair) => match pair.as_slice() {
                    [Value::String(name), Value::Variant(value)] if name == INVOCATION => {
                        hexadecimal(value)
                    }
                    _ => None,
                },
                _ => None,
            })
        }
        _ => None,
    }
}

/// An invocation as text, from its 16 bytes.
pub(super) fn hexadecimal(value: &Value) -> Option<String> {
    let digits = |byte: &Value| match byte {
        Value::Byte(byte) => Some(format!("{byte:02x}")),
        _ => None,
    };
    match value {
        Value::Array(_, bytes) if bytes.len() == 16 => bytes.iter().map(digits).collect(),
        _ => None,
    }
}
