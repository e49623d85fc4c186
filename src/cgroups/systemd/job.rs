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
    let (mut started, mut invocation) = (None, None);
    // A job may end before the call that made it is answered.
    let mut ended: Vec<(Job, String)> = Vec::new();
    loop {
        let message = connection.receive()?;
        if let Some(answer) = answer(&message, serial) {
            match answer?.into_iter().next() {
                Some(Value::ObjectPath(path)) => {
                    let teller = message.sender.clone();
                    started = Some(Job { path, teller });
                }
                _ => return Err(Failure::Protocol),
            }
        }
        ended.extend(removed_job(&message));
        // Before the answer the name may have been another's.
        if started.is_some() && !connection.is_bus {
            invocation = told_invocation(&message, object).or(invocation);
        }
        if let Some(job) = &started
            && let Some((_, result)) = ended.iter().find(|(ended, _)| ended == job)
        {
            let result = result.clone();
            return Ok(Ended { result, invocation });
        }
    }
}

/// A job, and who tells of it: on a bus anybody may send a signal, and only systemd an answer.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    path: String,
    teller: Option<String>,
}

/// `JobRemoved(u id, o job, s unit, s result)`: the job and its result.
fn removed_job(message: &Message) -> Option<(Job, String)> {
    if message.kind != Kind::Signal || message.member.as_deref() != Some("JobRemoved") {
        return None;
    }
    match message.values()?.as_slice() {
        [_, Value::ObjectPath(job), _, Value::String(result)] => {
            let (path, teller) = (job.clone(), message.sender.clone());
            Some((Job { path, teller }, result.clone()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::systemd::dbus::connection::tests::told;
    use crate::cgroups::systemd::dbus::message::encode_message;

    const RETURN: u8 = 2;
    const SIGNAL: u8 = 4;

    fn path(text: &str) -> Value {
        Value::ObjectPath(text.to_owned())
    }

    fn answer_of(sender: &str) -> Vec<u8> {
        let fields = vec![(5, Value::Uint32(1)), (7, Value::text(sender))];
        encode_message(RETURN, 1, fields, &[path("/job/7")])
    }

    fn removed(sender: &str, result: &str) -> Vec<u8> {
        let fields = vec![(3, Value::text("JobRemoved")), (7, Value::text(sender))];
        let unit = Value::text("web.scope");
        let body = [Value::Uint32(7), path("/job/7"), unit, Value::text(result)];
        encode_message(SIGNAL, 2, fields, &body)
    }

    #[test]
    fn who_has_not_answered_the_call_does_not_end_the_job() {
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "StartTransientUnit",
            body: &[],
        };
        let all = [
            removed(":1.66", "failed"),
            answer_of(":1.0"),
            removed(":1.66", "canceled"),
            removed(":1.0", "done"),
        ];
        let (mut connection, _other) = told(&all.concat());
        let ended = run(&mut connection, &call, "/unit/web", Step::ScopeStarts);
        assert_eq!(ended.expect("an end").result, "done");
        // Before the answer, by who answers then.
        let (mut connection, _other) =
            told(&[removed(":1.0", "failed"), answer_of(":1.0")].concat());
        let ended = run(&mut connection, &call, "/unit/web", Step::ScopeStarts);
        assert_eq!(ended.expect("an end").result, "failed");
    }
}
