//! The scope of a `create` that was killed before systemd had said which invocation it is. Parent.
//!
//! By its name alone it may be anybody's: the name may have been taken, or have come to another since. So each
//! scope says itself of which record it is, as its documentation. It has to be stopped: whoever is put into a scope
//! while it is being killed has never been in it for the kernel, and systemd waits for an end that was.

use super::dbus::connection::{Connection, Failure, Result as Answer};
use super::dbus::value::Value;
use super::unit::{self, manager_call};
use super::{Property, Scope};
use crate::cgroups::hold::Holder;
use crate::error::Result;
use crate::timeout;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

const DOCUMENTATION: &str = "Documentation";

/// The property that says of which record the scope is.
pub(super) fn mark(holder: &Holder) -> Property {
    let list = Value::Array("s".to_owned(), vec![Value::text(&address(holder))]);
    (DOCUMENTATION.to_owned(), list)
}

/// The record's directory as a URL of ASCII characters, which is all that systemd takes.
fn address(holder: &Holder) -> String {
    let mut url = "file:".to_owned();
    for byte in holder.path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                url.push(char::from(*byte));
            }
            byte => url += &format!("%{byte:02X}"),
        }
    }
    let (device, inode) = holder.directory;
    format!("{url}#{device}-{inode}")
}

/// Stops the scope if it is the one that was begun for this record, as [`unit::stop`] does.
///
/// # Errors
/// `E_SYSTEMD`
pub(super) fn stop(scope: &Scope, holder: &Holder) -> Result<()> {
    let mut connection = unit::connect("look at", scope, unit::Signals::Wanted)?;
    match find(&mut connection, scope, holder) {
        Ok(Some(ours)) => unit::stop_over(&mut connection, &ours),
        Ok(None) => Ok(()),
        Err(failure) => Err(unit::failed("look at", scope, None, failure)),
    }
}

/// The scope of this name, with its invocation, if it is of this record.
fn find(connection: &mut Connection, scope: &Scope, holder: &Holder) -> Answer<Option<Scope>> {
    let begin = Instant::now();
    let name = [Value::text(&scope.unit)];
    loop {
        // A look at the unit's object would have systemd load one that it does not know.
        match connection.call(&manager_call("GetUnit", &name)) {
            Err(Failure::Refused(name, _)) if unit::is_gone(&name) => return Ok(None),
            answer => answer?,
        };
        match unit::invocation(connection, scope)? {
            Some(invocation) => {
                let scope = Scope {
                    invocation,
                    ..scope.clone()
                };
                return Ok(is_of(connection, &scope, holder)?.then_some(scope));
            }
            None if begin.elapsed() < timeout::INVOCATION => {
                std::thread::sleep(Duration::from_millis(10));
            }
            None => return Ok(None),
        }
    }
}

fn is_of(connection: &mut Connection, scope: &Scope, holder: &Holder) -> Answer<bool> {
    let path = unit::object(&scope.invocation);
    match unit::property(connection, &path, DOCUMENTATION) {
        Ok(Value::Array(_, urls)) => Ok(urls.contains(&Value::text(&address(holder)))),
        Ok(_) => Err(Failure::Protocol),
        Err(Failure::Refused(name, _)) if unit::is_gone(&name) => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_address_is_plain_ascii() {
        let holder = Holder {
            path: "/run/o'kä #1/web_1.2+3".into(),
            directory: (26, 7),
        };
        let expected = "file:/run/o%27k%C3%A4%20%231/web_1.2%2B3#26-7";
        assert_eq!(address(&holder), expected);
    }
}
