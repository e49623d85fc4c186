//! Verbs of `/bin/probe` that send descriptors to the service manager's socket.

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg, setsockopt, sockopt};
use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

fn send(text: &str, fd: BorrowedFd<'_>) -> String {
    let socket = UnixDatagram::unbound().unwrap();
    let name = std::env::var("NOTIFY_SOCKET").unwrap();
    let fds = [fd.as_raw_fd()];
    let sent = sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(text.as_bytes())],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        Some(&UnixAddr::new(Path::new(&name)).unwrap()),
    );
    sent.map_or_else(|errno| format!("errno {errno:?}"), |_| "sent".into())
}

pub(super) fn notify_file(text: &str, file: &str) -> String {
    send(text, File::open(file).unwrap().as_fd())
}

/// Whoever closes the socket last waits for what can never be sent: nobody reads at the other end.
pub(super) fn notify_linger(text: &str, seconds: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 4096]).is_ok() {}
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: seconds.parse().unwrap(),
    };
    setsockopt(&stream, sockopt::Linger, &linger).unwrap();
    let sent = send(text, stream.as_fd());
    drop(stream);
    println!("{sent}");
    loop {
        std::thread::park();
    }
}
