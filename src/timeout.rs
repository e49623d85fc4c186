//! How long casulo waits for what others have to do: every limit, with its name. docs/threat-model.md says for each place
//! that waits whom it waits for, and what comes after the limit.

use std::time::Duration;

/// For a process that was killed to be gone: enough for anything but a system call that does not return.
pub(crate) const KILL: Duration = Duration::from_secs(10);
/// For a killed child of casulo's own to be reaped.
pub(crate) const REAP: Duration = Duration::from_millis(700);
/// For whoever has a container's lock.
pub(crate) const LOCK: Duration = Duration::from_secs(10);
/// For a `create` that is told to end to notice, and to undo what it has made.
pub(crate) const UNDO: Duration = Duration::from_secs(2);
/// For the program to run, which then gets the signal that asks casulo to end.
pub(crate) const SIGNAL: Duration = Duration::from_secs(1);
/// For a process that is visible in a container to execute its program.
pub(crate) const EXECVE: Duration = Duration::from_secs(60);
/// For a container to freeze while a process is born into it.
pub(crate) const FREEZE: Duration = Duration::from_secs(2);
/// For the maker of a procfs to open its context: what has been seen inside can be stopped.
pub(crate) const PROCFS: Duration = Duration::from_secs(5);
/// For systemd to do everything that a command wants of it. Starting a scope is a matter of milliseconds; a loaded host
/// has been seen to take seconds.
pub(crate) const SYSTEMD: Duration = Duration::from_secs(30);
/// For systemd to give a unit that it knows an invocation.
pub(crate) const INVOCATION: Duration = Duration::from_secs(1);
/// For whoever listens on a socket of the caller's to accept a connection, and to read what is sent.
pub(crate) const CALLER_SOCKET: Duration = Duration::from_secs(10);
/// For the child that binds the notify socket: it looks a path up in the image.
pub(crate) const NOTIFY_SOCKET: Duration = Duration::from_secs(10);
/// For what came with a message of the container's to be closed.
pub(crate) const NOTIFY_MESSAGE: Duration = Duration::from_millis(500);
/// For a service manager to read what it was sent (sd_notify_barrier(3)).
pub(crate) const NOTIFY_MANAGER: Duration = Duration::from_secs(5);
