//! The proxy of sd_notify(3): what the container says about itself reaches the service manager.
//!
//! A service manager names its socket in `NOTIFY_SOCKET`. The container does not get that socket,
//! over which it could speak for the whole service, but one of its own: a folder of the state
//! directory is mounted at the path of the manager's socket, read-only, and the socket in it is
//! bound by whoever starts the container. So `create`, which only makes the folder, has nothing to
//! wait for. `start` and a detached `run` stay until the container is ready; `run` in the
//! foreground passes messages on until the process ends. All of it runs in the parent, with the
//! caller's privileges.

use crate::caller_socket;
use crate::error::{Code, Context, Result};
use crate::state::Dir;
use crate::sys::scm;
use crate::testing::without::{Defence, without};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::unistd::{Pid, pipe2};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, MountBuilder, Spec};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The socket's name in its folder, in the container and in the state directory.
pub(crate) const SOCKET: &str = "notify";

/// Where the folder is mounted when the manager's socket has no path (an abstract one).
const FOLDER_WITHOUT_PATH: &str = "/run/notify";

/// The longest message that systemd takes (`PIPE_BUF`), and room to see that one is longer.
const LONGEST: usize = 4097;

/// What a container may say. Not here: `MAINPID`, which it does not know as the host does, and the
/// manager's store of descriptors.
const PASSED_ON: [&str; 11] = [
    "BARRIER",
    "BUSERROR",
    "ERRNO",
    "EXIT_STATUS",
    "EXTEND_TIMEOUT_USEC",
    "MONOTONIC_USEC",
    "READY",
    "RELOADING",
    "STATUS",
    "STOPPING",
    "WATCHDOG",
];

/// How many messages are passed on at a time.
const AT_ONCE: usize = 64;

/// How long a manager may take to read what it was sent, in milliseconds (sd_notify_barrier(3)).
const BARRIER_PATIENCE: u16 = 5000;

/// The manager's socket, where there is one: an absolute path, or `@` and an abstract name.
pub fn manager_socket() -> Option<OsString> {
    let name = std::env::var_os("NOTIFY_SOCKET")?;
    match name.as_encoded_bytes().first() {
        Some(b'/' | b'@') => Some(name),
        None => None,
        Some(_) => {
            log::warn!("NOTIFY_SOCKET is neither a path nor an abstract socket: it is ignored");
            None
        }
    }
}

/// Whether the container has a notify socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It has: its folder is to be made.
    Own,
    /// It has not.
    None,
}

/// Adds the mount and the variable to what the config asks for. `folder` is where
/// [`Dir::make_notify_folder`] will make it. Pure.
///
/// A container that shares or joins a mount namespace gets none: what is mounted there would stay.
pub fn add_to(spec: &mut Spec, manager: &OsStr, folder: PathBuf) -> Socket {
    let namespaces = spec.linux().as_ref().and_then(|it| it.namespaces().clone());
    let is_new_mount =
        |it: &LinuxNamespace| it.typ() == LinuxNamespaceType::Mount && it.path().is_none();
    if !namespaces.iter().flatten().any(is_new_mount) {
        return Socket::None;
    }
    let inside = match manager.to_str() {
        Some(path) if path.starts_with('/') => path,
        _ => FOLDER_WITHOUT_PATH,
    };
    let options = ["bind", "ro", "nosuid", "nodev", "noexec", "private"].map(str::to_owned);
    let mount = MountBuilder::default()
        .destination(inside)
        .typ("bind")
        .source(folder)
        .options(options)
        .build();
    let (Ok(mount), Some(mut process)) = (mount, spec.process().clone()) else {
        return Socket::None;
    };
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    let mut env = process.env().clone().unwrap_or_default();
    env.push(format!("NOTIFY_SOCKET={inside}/{SOCKET}"));
    process.set_env(Some(env));
    spec.set_process(Some(process));
    Socket::Own
}

/// The container's socket and the manager's.
#[derive(Debug)]
pub struct Proxy {
    container: OwnedFd,
    /// None: nobody listens there, and what the container says is heard by nobody.
    manager: Option<OwnedFd>,
    init: Pid,
}

/// What a message said about the start of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotYet,
}

impl Proxy {
    /// Binds the container's socket; before the program runs. None where the container was created
    /// without one, or casulo was not given a manager's now. `init` is the pid that the manager is
    /// told.
    ///
    /// A manager that does not answer is only warned of: the variable outlives managers in the
    /// environment of what they have started.
    ///
    /// # Errors
    /// `E_IO` where the container's socket cannot be bound.
    pub fn listen(dir: &Dir, init: Pid) -> Result<Option<Proxy>> {
        let Some(name) = manager_socket() else {
            return Ok(None);
        };
        let folder = match dir.notify_folder() {
            Err(Errno::ENOENT) => return Ok(None),
            result => result.context(Code::State, "open notify folder of", &dir.id)?,
        };
        let manager = caller_socket::connect_datagram(&name)
            .map_err(|errno| {
                log::warn!(
                    "nobody listens at NOTIFY_SOCKET {}: {}",
                    name.display(),
                    errno.desc()
                );
            })
            .ok();
        let container = bound_in(&folder).context(Code::Io, "bind notify socket of", &dir.id)?;
        Ok(Some(Proxy {
            container,
            manager,
            init,
        }))
    }

    /// Passes on one message. Nothing is waited for; None where none is there.
    fn pass_on(&self) -> Result<Option<Readiness>> {
        let mut buffer = [0; LONGEST];
        let (length, fd) = match scm::receive(self.container.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => return Ok(None),
            result => result.context(Code::Io, "receive from", "notify socket")?,
        };
        let text = buffer.get(..length).filter(|text| text.len() < LONGEST);
        let (message, readiness) = filtered(text.unwrap_or_default());
        if message.is_empty() {
            return Ok(Some(Readiness::NotYet));
        }
        self.tell(&message, fd.as_ref().map(AsFd::as_fd))?;
        if readiness == Readiness::Ready {
            self.tell(format!("MAINPID={}", self.init).as_bytes(), None)?;
        }
        Ok(Some(readiness))
    }

    fn tell(&self, message: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let Some(manager) = &self.manager else {
            return Ok(());
        };
        match fd {
            Some(fd) => scm::send_fd(manager.as_fd(), message, fd),
            None => scm::send(manager.as_fd(), message),
        }
        .context(Code::Io, "send to", "NOTIFY_SOCKET")
    }

    /// `start` and a detached `run`: returns when the container has said `READY=1` and the manager
    /// has read it, when init (`pidfd`) has ended, or at once if nobody waits for that. The manager finds out for which service a
    /// message is by the cgroup of its sender, who must still live.
    ///
    /// # Errors
    /// `E_IO`.
    pub fn wait_until_ready(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        while self.manager.is_some() {
            let mut fds = [
                PollFd::new(self.container.as_fd(), PollFlags::POLLIN),
                PollFd::new(pidfd, PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(Code::Io, "wait for", "READY=1"),
            }
            let [message, end] = fds.map(|fd| fd.any() == Some(true));
            if message && self.pass_on()? == Some(Readiness::Ready) {
                return self.barrier();
            }
            if end && !message {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until the manager has read everything: it closes the descriptor that comes with
    /// `BARRIER=1` when it gets there, or drops it because it knows no barrier.
    fn barrier(&self) -> Result<()> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).context(Code::Io, "make", "a pipe")?;
        self.tell(b"BARRIER=1", Some(writer.as_fd()))?;
        drop(writer);
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::empty())];
        // A manager that does not answer has been told all the same.
        let _ = poll(&mut fds, PollTimeout::from(BARRIER_PATIENCE));
        Ok(())
    }

    /// For a poll loop: readable when [`Proxy::serve`] has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// `run` in the foreground: passes on what waits, but does not let a flood of messages keep it
    /// from everything else. A manager that is gone is no reason to end the container.
    pub fn serve(&self) {
        for _ in 0..AT_ONCE {
            match self.pass_on() {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

/// A datagram socket bound in `folder`. Every user of the container may send to it.
fn bound_in(folder: &OwnedFd) -> nix::Result<OwnedFd> {
    use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
    let fd = socket(
        AddressFamily::Unix,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    bind(fd.as_raw_fd(), &UnixAddr::new(Path::new(&path))?)?;
    let everybody = Mode::from_bits_truncate(0o777);
    fchmodat(folder, SOCKET, everybody, FchmodatFlags::FollowSymlink)?;
    Ok(fd)
}

/// The lines of a message that are passed on, and whether they say that the service is ready. Pure.
fn filtered(message: &[u8]) -> (Vec<u8>, Readiness) {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut readiness = Readiness::NotYet;
    for line in message.split(|byte| *byte == b'\n') {
        let Some(end) = line.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = line.split_at(end);
        let passed_on = PASSED_ON.iter().any(|known| known.as_bytes() == name);
        if !passed_on && !without(Defence::NotifyWords) {
            continue;
        }
        if name == b"READY" && value == b"=1" {
            readiness = Readiness::Ready;
        }
        kept.push(line);
    }
    (kept.join(&b'\n'), readiness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::socketpair;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn lines_that_a_container_may_say_are_kept_in_order() {
        for (message, kept, readiness) in [
            ("READY=1", "READY=1", Readiness::Ready),
            (
                "STATUS=x=y\nREADY=1\n",
                "STATUS=x=y\nREADY=1",
                Readiness::Ready,
            ),
            ("READY=0", "READY=0", Readiness::NotYet),
            ("MAINPID=1\nWATCHDOG=1", "WATCHDOG=1", Readiness::NotYet),
            ("FDSTORE=1\nFDNAME=x", "", Readiness::NotYet),
            ("BARRIER=1", "BARRIER=1", Readiness::NotYet),
            ("READY", "", Readiness::NotYet),
            ("", "", Readiness::NotYet),
        ] {
            let (text, found) = filtered(message.as_bytes());
            assert_eq!(String::from_utf8_lossy(&text), kept, "{message:?}");
            assert_eq!(found, readiness, "{message:?}");
        }
    }

    fn pair() -> (UnixDatagram, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).expect("a pair");
        (UnixDatagram::from(one), other)
    }

    #[test]
    fn readiness_comes_with_the_pid_that_the_host_knows() {
        let (service, container) = pair();
        let (systemd, manager) = pair();
        let proxy = Proxy {
            container,
            manager: Some(manager),
            init: Pid::from_raw(4711),
        };
        assert_eq!(proxy.pass_on(), Ok(None), "nothing waits");
        service.send(b"MAINPID=7\nREADY=1").expect("sent");
        assert_eq!(proxy.pass_on(), Ok(Some(Readiness::Ready)));
        let mut buffer = [0; 64];
        for expected in ["READY=1", "MAINPID=4711"] {
            let length = systemd.recv(&mut buffer).expect("received");
            assert_eq!(buffer[..length], *expected.as_bytes());
        }
        service.send(&[b'x'; LONGEST + 10]).expect("sent");
        assert_eq!(proxy.pass_on(), Ok(Some(Readiness::NotYet)), "too long");
        assert!(systemd.recv(&mut buffer).is_err());
    }

    #[test]
    fn a_barrier_is_passed_on_with_its_descriptor() {
        let (service, container) = pair();
        let (systemd, manager) = pair();
        let proxy = Proxy {
            container,
            manager: Some(manager),
            init: Pid::from_raw(1),
        };
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        scm::send_fd(service.as_fd(), b"BARRIER=1", writer.as_fd()).expect("sent");
        drop(writer);
        proxy.pass_on().expect("passed on");
        let mut buffer = [0; 64];
        let (length, fd) = scm::receive(systemd.as_fd(), &mut buffer).expect("received");
        assert_eq!(buffer[..length], *b"BARRIER=1");
        drop(fd.expect("with the descriptor"));
        assert_eq!(nix::unistd::read(&reader, &mut buffer), Ok(0), "all closed");
    }

    #[test]
    fn the_mount_has_the_path_of_the_managers_socket() {
        for (manager, inside) in [("/run/x/sock", "/run/x/sock"), ("@abstract", "/run/notify")] {
            let json = r#"{"ociVersion":"1.0.2","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},"env":["A=1"]},"linux":{"namespaces":[{"type":"mount"}]}}"#;
            let mut spec: Spec = serde_json::from_str(json).expect("a spec");
            let socket = add_to(&mut spec, manager.as_ref(), "/state/notify".into());
            assert_eq!(socket, Socket::Own);
            let mounts = spec.mounts().clone().unwrap_or_default();
            let last = mounts.last().expect("a mount");
            assert_eq!(last.destination(), Path::new(inside));
            let env = spec.process().as_ref().and_then(|it| it.env().clone());
            let expected = ["A=1".to_owned(), format!("NOTIFY_SOCKET={inside}/notify")];
            assert_eq!(env.as_deref(), Some(&expected[..]));
        }
    }
}
