use super::*;

#[test]
fn an_error_crosses_unchanged() {
    let (parent, init) = Channel::pair().expect("socketpair");
    let error = Error::step(Code::Mount, "mount", "/data", Errno::ENOTDIR)
        .hint("mount a directory on a directory")
        .because("the source is a directory");
    init.send(&Message::Failed(error.clone())).expect("sent");
    match parent.receive().expect("received") {
        Some(Message::Failed(got)) => assert_eq!(got, error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_long_error_is_cut_not_lost() {
    let (parent, init) = Channel::pair().expect("socketpair");
    let error = Error::new(Code::Hook, "x".repeat(3 * MAX));
    init.send(&Message::Failed(error)).expect("sent");
    assert!(matches!(parent.receive(), Ok(Some(Message::Failed(_)))));
}

#[test]
fn who_leaves_without_listening_is_still_heard() {
    let (parent, init) = Channel::pair().expect("socketpair");
    parent.send(&Message::HooksDone).expect("sent");
    let cause = Error::new(Code::Mount, "why");
    init.send(&Message::Failed(cause.clone())).expect("sent");
    drop(init);
    match parent.receive().expect("received") {
        Some(Message::Failed(got)) => assert_eq!(got, cause),
        other => panic!("{other:?}"),
    }
    assert!(parent.receive().expect("no error").is_none());
}

#[test]
fn the_reason_of_a_failure_is_what_the_other_has_said() {
    let (parent, init) = Channel::pair().expect("socketpair");
    let broken = Error::new(Code::Sync, "broken pipe");
    assert_eq!(parent.reason_or(broken.clone()), broken);
    let cause = Error::new(Code::Mount, "why");
    init.send(&Message::Populated).expect("sent");
    init.send(&Message::Failed(cause.clone())).expect("sent");
    drop(init);
    assert_eq!(parent.reason_or(broken.clone()), cause);
    assert_eq!(parent.reason_or(broken.clone()), broken);
}

#[test]
fn a_closed_peer_is_noticed() {
    let (parent, init) = Channel::pair().expect("pair");
    parent.send(&Message::HooksDone).expect("sent");
    assert!(!init.is_closed());
    drop(parent);
    assert!(init.is_closed());
}

#[test]
fn descriptors_come_in_order_with_their_bytes() {
    let (parent, init) = Channel::pair().expect("pair");
    let (one, two) = nix::unistd::pipe().expect("pipe");
    parent
        .send_with(b"xy", &[one.as_fd(), two.as_fd()])
        .expect("sent");
    let mut buffer = [0; 8];
    let (length, fds) = init.receive_with::<4>(&mut buffer).expect("received");
    assert_eq!((&buffer[..length], fds.len()), (b"xy".as_slice(), 2));
    nix::unistd::write(&fds[1], b"!").expect("the end to write to");
    assert_eq!(nix::unistd::read(&one, &mut buffer), Ok(1));
    drop(parent);
    let (length, fds) = init.receive_with::<4>(&mut buffer).expect("received");
    assert_eq!((length, fds.len()), (0, 0));
}

#[test]
fn a_closed_peer_is_an_end_of_file() {
    let (parent, init) = Channel::pair().expect("socketpair");
    drop(init);
    assert!(parent.receive().expect("no error").is_none());
}

#[test]
fn a_descriptor_arrives_with_its_message() {
    let (parent, init) = Channel::pair().expect("socketpair");
    let null = nix::fcntl::open(
        "/dev/null",
        nix::fcntl::OFlag::O_RDWR,
        nix::sys::stat::Mode::empty(),
    );
    init.send(&Message::Terminal(null.expect("open")))
        .expect("sent");
    assert!(matches!(parent.receive(), Ok(Some(Message::Terminal(_)))));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
        let _ = decode(&bytes, None);
    }
}
