//! As much of D-Bus (dbus.freedesktop.org, "D-Bus Specification") as calls to systemd need:
//! [`value`] holds what is sent, [`message`] puts it into bytes and back, both pure; [`connection`]
//! talks to a socket, with a deadline. Parent; blocking, without a thread.
//!
//! Both machines that casulo is built for are little-endian, and so are all messages here: who
//! answers runs on the same machine.

pub(super) mod connection;
pub(super) mod message;
pub(super) mod value;
