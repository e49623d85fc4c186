//! How long casulo waits for what other processes have to do: every limit, with its name. For each place that waits,
//! docs/threat-model.md says whom it waits for and what comes after the limit.

use std::time::Duration;

/// For a killed process to be gone. This is enough for anything except a system call that does not return.
pub(crate) const KILL: Duration = Duration::from_secs(10);
/// For a killed child of casulo's own to be reaped.
pub(crate) const REAP: Duration = Duration::from_millis(700);
/// For a container's lock while another process holds it.
pub(crate) const LOCK: Duration = Duration::from_secs(10);
/// For a `create` at work to finish before `state` answers `creating`: without hooks it takes milliseconds.
pub(crate) const CREATION: Duration = Duration::from_millis(250);
/// For a `create` that is told to end to notice it, and to undo what it has made.
pub(crate) const UNDO: Duration = Duration::from_secs(2);
/// For the program to run; then the signal that asks casulo to end is sent to it.
pub(crate) const SIGNAL: Duration = Duration::from_secs(1);
/// For a process that is visible in a container to execute its program.
pub(crate) const EXECVE: Duration = Duration::from_secs(60);
/// For a container to freeze while a process is born into it.
pub(crate) const FREEZE: Duration = Duration::from_secs(2);
/// For the maker of a procfs to open its context. A process of the container may stop it, once it is visible inside.
pub(crate) const PROCFS: Duration = Duration::from_secs(5);
/// For systemd to do all that a command asks of it. A scope starts within milliseconds; on a loaded host it was seen
/// to take seconds.
pub(crate) const SYSTEMD: Duration = Duration::from_secs(30);
/// For systemd to give an invocation to a unit that it knows.
pub(crate) const INVOCATION: Duration = Duration::from_secs(1);
/// For the listener on a socket of the caller's to accept a connection, and to read what is sent.
pub(crate) const CALLER_SOCKET: Duration = Duration::from_secs(10);
/// For the child that binds the notify socket: it resolves a path in the image.
pub(crate) const NOTIFY_SOCKET: Duration = Duration::from_secs(10);
/// For the descriptors of a container's message to be closed.
pub(crate) const NOTIFY_MESSAGE: Duration = Duration::from_millis(500);
/// For a service manager to read what it was sent (sd_notify_barrier(3)).
pub(crate) const NOTIFY_MANAGER: Duration = Duration::from_secs(5);
