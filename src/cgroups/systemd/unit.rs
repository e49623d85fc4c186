//! What systemd is asked: to start the scope, to stop it (org.freedesktop.systemd1(5), "The Manager
//! Object"). Parent. One connection a command.

use super::dbus::connection::{Connection, Failure, Result as Answer};
use super::dbus::message::Call;
use super::dbus::value::Value;
use super::job::{self, INVOCATION, UNIT, hexadecimal};
use super::{Manager, Property, Scope};
use crate::defence::{Defence, without};
use crate::error::{Code, Error, Result};
use crate::step::Step;
use crate::timeout;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// A method of the manager.
pub(super) fn manager_call<'a>(member: &'a str, body: &'a [Value]) -> Call<'a> {
    Call {
        destination: SYSTEMD,
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member,
        body,
    }
}

/// A method of the scope that casulo has started, and of no later one with its name: systemd knows units by
/// their invocation, too.
fn scope_call<'a>(
    path: &'a str,
    interface: &'a str,
    member: &'a str,
    body: &'a [Value],
) -> Call<'a> {
    Call {
        destination: SYSTEMD,
        path,
        interface,
        member,
        body,
    }
}

const SCOPE: &str = "org.freedesktop.systemd1.Scope";

/// The object of a unit, by its name or its invocation. All but letters and digits is escaped, and so is a
/// digit at the beginning (`sd_bus_path_encode(3)`).
pub(super) fn object(name: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'0'..=b'9' if index == 0 => path += &format!("_{byte:02x}"),
            byte if byte.is_ascii_alphanumeric() => path.push(char::from(byte)),
            byte => path += &format!("_{byte:02x}"),
        }
    }
    path
}

/// InvocationID of the scope that has this name; `None` before it has one.
pub(super) fn invocation(connection: &mut Connection, scope: &Scope) -> Answer<Option<String>> {
    match property(connection, &object(&scope.unit), INVOCATION)? {
        Value::Array(_, bytes) if bytes.is_empty() => Ok(None),
        value => hexadecimal(&value).map(Some).ok_or(Failure::Protocol),
    }
}

/// A property of the unit at this object.
pub(super) fn property(connection: &mut Connection, path: &str, name: &str) -> Answer<Value> {
    let body = [Value::text(UNIT), Value::text(name)];
    let get = scope_call(path, "org.freedesktop.DBus.Properties", "Get", &body);
    match connection.call(&get)?.into_iter().next() {
        Some(Value::Variant(value)) => Ok(*value),
        _ => Err(Failure::Protocol),
    }
}

/// What systemd says of a unit that it does not know, or knows no more, by its object.
pub(super) fn is_gone(name: &str) -> bool {
    matches!(
        name,
        NO_SUCH_UNIT
            | "org.freedesktop.systemd1.NoUnitForInvocationID"
            | "org.freedesktop.DBus.Error.UnknownObject"
    )
}

fn bus_call<'a>(member: &'a str, body: &'a [Value]) -> Call<'a> {
    Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member,
        body,
    }
}

/// Starts the scope with these properties and waits until systemd has done it; returns its invocation. One that
/// has failed and is still there under this name makes place.
///
/// # Errors
/// `E_SYSTEMD` naming the unit, what systemd says and what to look at.
pub(super) fn start(scope: &Scope, properties: &[Property]) -> Result<String> {
    let mut connection = connect("start", scope, Signals::Wanted)?;
    let body = [
        Value::text(&scope.unit),
        Value::text("fail"),
        list(properties),
        Value::Array("(sa(sv))".to_owned(), Vec::new()),
    ];
    let start = manager_call("StartTransientUnit", &body);
    let mut started = job::run(
        &mut connection,
        &start,
        &object(&scope.unit),
        Step::ScopeStarts,
    );
    if let Err(Failure::Refused(name, _)) = &started
        && name == UNIT_EXISTS
    {
        let unit = [Value::text(&scope.unit)];
        // It only helps a unit that has failed; of any other the next call says what this one did.
        let _ = connection.call(&manager_call("ResetFailedUnit", &unit));
        started = job::run(
            &mut connection,
            &start,
            &object(&scope.unit),
            Step::ScopeStarts,
        );
    }
    let ended = started.map_err(|failure| failed("start", scope, None, failure))?;
    match (ended.result.as_str(), ended.invocation) {
        ("done", Some(invocation)) => Ok(invocation),
        ("done", None) => invocation(&mut connection, scope)
            .and_then(|it| it.ok_or(Failure::Protocol))
            .map_err(|failure| failed("look at", scope, None, failure)),
        (result, _) => Err(Error::new(
            Code::Systemd,
            format!("start {}: its job ended with result {result}", scope.unit),
        )
        .hint(look_at(scope))),
    }
}

/// `a(sv)`
fn list(properties: &[Property]) -> Value {
    let pairs = properties
        .iter()
        .map(|(name, value)| Value::Struct(vec![Value::text(name), Value::variant(value.clone())]));
    Value::Array("(sv)".to_owned(), pairs.collect())
}

/// Changes properties, all or none, for as long as the scope is there.
///
/// # Errors
/// `E_SYSTEMD`
pub(super) fn set(scope: &Scope, properties: &[Property]) -> Result<()> {
    let mut connection = connect("update", scope, Signals::Unwanted)?;
    let body = [Value::Bool(true), list(properties)];
    let path = object(&scope.invocation);
    connection
        .call(&scope_call(&path, UNIT, "SetProperties", &body))
        .map(drop)
        .map_err(|failure| failed("update", scope, None, failure))
}

/// Stops the scope, which kills what is still in it, and waits until it is gone. No error when it
/// is gone already: systemd forgets a scope once its last process has ended.
///
/// # Errors
/// `E_SYSTEMD`
pub(super) fn stop(scope: &Scope) -> Result<()> {
    stop_over(&mut connect("stop", scope, Signals::Wanted)?, scope)
}

/// The same over a connection that is there.
///
/// # Errors
/// `E_SYSTEMD`
pub(super) fn stop_over(connection: &mut Connection, scope: &Scope) -> Result<()> {
    let body = [Value::text("replace")];
    let path = object(if without(Defence::OwnCgroup) {
        &scope.unit
    } else {
        &scope.invocation
    });
    let stop = scope_call(&path, UNIT, "Stop", &body);
    match job::run(connection, &stop, &path, Step::ScopeStops) {
        Err(Failure::Refused(name, _)) if is_gone(&name) => Ok(()),
        // Whatever became of the job: a later one of somebody else may have taken its place.
        result => result
            .map(drop)
            .map_err(|failure| failed("stop", scope, None, failure)),
    }
}

/// Has systemd move a process to the cgroup `below` the scope's.
///
/// # Errors
/// `E_SYSTEMD`
pub(super) fn attach(scope: &Scope, below: &Path, process: Pid) -> Result<()> {
    let mut connection = connect("enter", scope, Signals::Unwanted)?;
    let body = [Value::text(&below.to_string_lossy()), super::pids(process)];
    let path = object(&scope.invocation);
    connection
        .call(&scope_call(&path, SCOPE, "AttachProcesses", &body))
        .map(drop)
        .map_err(|failure| failed("enter", scope, None, failure))
}

/// The sockets of a manager: its own first, which needs no bus and on which it tells of its jobs
/// without being asked to.
fn sockets(manager: &Manager) -> [PathBuf; 2] {
    match manager {
        Manager::System => [
            "/run/systemd/private".into(),
            "/run/dbus/system_bus_socket".into(),
        ],
        Manager::User { runtime_dir } => {
            [runtime_dir.join("systemd/private"), runtime_dir.join("bus")]
        }
    }
}

/// Whether a command waits for the end of a job, which is a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signals {
    Wanted,
    Unwanted,
}

/// Connects for `verb`, which an error names.
pub(super) fn connect(verb: &str, scope: &Scope, signals: Signals) -> Result<Connection> {
    let [private, bus] = sockets(&scope.manager);
    let failed = |socket: &Path, failure| failed(verb, scope, Some(socket), failure);
    match Connection::open(&private, timeout::SYSTEMD) {
        Err(Failure::Connect(errno)) => match over_bus(&bus, signals) {
            // The first one is what is missing; that there is no bus either is no news.
            Err(Failure::Connect(_)) => Err(failed(&private, Failure::Connect(errno))),
            result => result.map_err(|failure| failed(&bus, failure)),
        },
        result => result.map_err(|failure| failed(&private, failure)),
    }
}

/// A message bus wants to be greeted, and passes on signals only to those who ask. It keeps the order of what it is
/// sent, so nothing of this is waited for.
fn over_bus(path: &Path, signals: Signals) -> Answer<Connection> {
    let mut connection = Connection::open(path, timeout::SYSTEMD)?;
    connection.is_bus = true;
    connection.send_unheard(&bus_call("Hello", &[]))?;
    if signals == Signals::Wanted {
        let rule = "type='signal',sender='org.freedesktop.systemd1',\
                    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        connection.send_unheard(&bus_call("AddMatch", &[Value::text(rule)]))?;
        connection.send_unheard(&manager_call("Subscribe", &[]))?;
    }
    Ok(connection)
}

fn look_at(scope: &Scope) -> String {
    let user = match scope.manager {
        Manager::System => "",
        Manager::User { .. } => "--user ",
    };
    format!(
        "see systemctl {user}status {} and journalctl {user}-b",
        scope.unit
    )
}

/// An error for one line: what systemd says, or where it could not be reached.
pub(super) fn failed(verb: &str, scope: &Scope, socket: Option<&Path>, failure: Failure) -> Error {
    let error = |detail: String| Error {
        step: verb.to_owned(),
        object: scope.unit.clone(),
        ..Error::new(Code::Systemd, detail)
    };
    let socket = socket.map_or_else(
        || "systemd".to_owned(),
        |path| format!("systemd at {}", path.display()),
    );
    match failure {
        Failure::Connect(errno) => Error {
            errno: Some(errno),
            ..error(format!("connect to {socket}"))
        }
        .hint(match (&scope.manager, errno) {
            (Manager::User { .. }, Errno::ENOENT | Errno::ECONNREFUSED) => {
                "is XDG_RUNTIME_DIR right, and does the user's systemd run (loginctl enable-linger)?"
            }
            _ => "does systemd run here? Without it use --cgroup-manager cgroupfs",
        }),
        Failure::Broken(errno) => Error {
            errno: Some(errno),
            ..error(format!("the connection to {socket} broke"))
        },
        Failure::OtherPids => error(format!("{socket} counts processes in another pid namespace"))
            .hint("run casulo in that one, or use --cgroup-manager cgroupfs"),
        Failure::TimedOut => error(format!(
            "no answer from {socket} within {} seconds",
            timeout::SYSTEMD.as_secs()
        ))
        .hint(look_at(scope)),
        Failure::AskedToEnd => Error {
            errno: Some(Errno::EINTR),
            ..error(format!("a signal came before {socket} had answered"))
        },
        Failure::Protocol => error(format!("{socket} does not speak D-Bus as systemd does")),
        Failure::Refused(name, text) => {
            let kind = name.rsplit('.').next().unwrap_or_default();
            let error = error(format!("systemd says: {} ({name})", one_line(&text)));
            match kind {
                "UnitExists" => error.hint(
                    "another container or service has this name: give linux.cgroupsPath another",
                ),
                "AccessDenied" | "InteractiveAuthorizationRequired" => {
                    error.hint("this systemd serves another user")
                }
                "PropertyReadOnly" | "UnknownProperty" | "InvalidArgs" => {
                    error.hint("see the org.systemd.property annotations and linux.resources")
                }
                _ => error,
            }
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_systemd_names_them() {
        let prefix = "/org/freedesktop/systemd1/unit/";
        for (name, expected) in [
            ("a-1.scope", "a_2d1_2escope"),
            ("0a9f", "_30a9f"),
            ("f09f", "f09f"),
        ] {
            assert_eq!(object(name), format!("{prefix}{expected}"));
        }
    }
}
