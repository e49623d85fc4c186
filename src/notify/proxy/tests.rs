use super::*;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::fstat;
use std::os::unix::net::UnixDatagram;

const TEXT: Passed = Passed::Message(Readiness::NotYet, Brings::Text);

fn pair() -> (UnixDatagram, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (one, other) =
        socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).expect("a pair");
    (UnixDatagram::from(one), other)
}

/// Makes the service's socket, the proxy, and the manager's socket.
fn all() -> (UnixDatagram, Proxy, UnixDatagram) {
    let ((service, container), (systemd, manager)) = (pair(), pair());
    let proxy = Proxy::between(Queue::of(container), Some(manager), Pid::from_raw(4711));
    (service, proxy, systemd)
}

fn next(systemd: &UnixDatagram) -> String {
    let mut buffer = [0; 64];
    let length = systemd.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn readiness_comes_with_the_pid_that_the_host_knows() {
    let (service, mut proxy, systemd) = all();
    assert_eq!(proxy.pass_on(), Ok(Passed::Nothing), "nothing waits");
    service.send(b"MAINPID=7\nREADY=1").expect("sent");
    let ready = Passed::Message(Readiness::Ready, Brings::Text);
    assert_eq!(proxy.pass_on(), Ok(ready));
    assert_eq!(
        [next(&systemd), next(&systemd)],
        ["READY=1", "MAINPID=4711"]
    );
    service
        .send(&[b'x'; super::super::queue::LONGEST + 10])
        .expect("sent");
    assert_eq!(proxy.pass_on(), Ok(TEXT), "too long");
    assert!(systemd.recv(&mut [0; 64]).is_err());
}

#[test]
fn a_barrier_is_one_of_our_own_and_is_answered_when_the_manager_has_read() {
    let (service, mut proxy, systemd) = all();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
    let theirs = fstat(&writer).expect("its number").st_ino;
    service.send(b"STATUS=before").expect("sent");
    scm::send_fd(service.as_fd(), b"BARRIER=1", writer.as_fd()).expect("sent");
    drop(writer);
    service.send(b"STATUS=behind").expect("sent");
    assert_eq!(proxy.pass_on(), Ok(TEXT));
    for _ in 0..3 {
        assert_eq!(proxy.pass_on(), Ok(Passed::Nothing), "it is held");
    }
    assert_eq!(next(&systemd), "STATUS=before");
    let mut buffer = [0; 64];
    let (length, fd) = scm::receive(systemd.as_fd(), &mut buffer).expect("received");
    assert_eq!(buffer[..length], *b"BARRIER=1");
    let fd = fd.expect("with a descriptor");
    assert_ne!(fstat(&fd).expect("its number").st_ino, theirs, "our own");
    let waits = Err(Errno::EAGAIN);
    assert_eq!(nix::unistd::read(&reader, &mut buffer), waits, "not yet");
    drop(fd);
    let taken_out = Passed::Message(Readiness::NotYet, Brings::Descriptors);
    assert_eq!(proxy.pass_on(), Ok(taken_out));
    assert_eq!(nix::unistd::read(&reader, &mut buffer), Ok(0), "answered");
    assert_eq!(proxy.pass_on(), Ok(TEXT));
    assert_eq!(next(&systemd), "STATUS=behind");
}

#[test]
fn no_descriptor_of_the_containers_is_passed_on() {
    let (service, mut proxy, systemd) = all();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    scm::send_fd(service.as_fd(), b"READY=1", writer.as_fd()).expect("sent");
    drop(writer);
    let taken_out = Passed::Message(Readiness::Ready, Brings::Descriptors);
    assert_eq!(proxy.pass_on(), Ok(taken_out));
    let mut buffer = [0; 64];
    assert_eq!(nix::unistd::read(&reader, &mut buffer), Ok(0), "closed");
    for expected in ["READY=1", "MAINPID=4711"] {
        let (length, fd) = scm::receive(systemd.as_fd(), &mut buffer).expect("received");
        assert_eq!(buffer[..length], *expected.as_bytes());
        assert!(fd.is_none());
    }
}

#[test]
fn what_a_manager_without_room_was_to_hear_is_said_later() {
    let (service, mut proxy, systemd) = all();
    let said = || {
        (0..2000)
            .map(|_| service.send(b"STATUS=x"))
            .take_while(std::io::Result::is_ok)
            .count()
    };
    let (mut sent, mut heard) = (0, 0);
    while !matches!(
        proxy.held,
        Some(Held {
            until: Until::Room,
            ..
        })
    ) {
        sent += said();
        while proxy.pass_on().expect("passed on") != Passed::Nothing {}
    }
    while systemd.recv(&mut [0; 64]).is_ok() {
        heard += 1;
        let _ = proxy.pass_on().expect("passed on");
    }
    assert_eq!(heard, sent);
}
