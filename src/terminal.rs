//! The container's terminal: a pty of the container's own devpts, and `/dev/console`.
//!
//! The child opens the pair after the pivot, so that the pty belongs to the container and not to
//! the host. The master then goes to the parent, which hands it to the console socket or relays it
//! (`foreground`). Every step uses descriptors: a name in `/dev/pts` could lead to another file by
//! the time it is opened (CVE-2025-52565).

use crate::caller_socket;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::root::Root;
use crate::sys::mount::{move_mount, open_tree};
use crate::sys::tty::{self, Size};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fstat, major, minor};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Both ends of a pty.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The end that a terminal emulator holds; it goes to the parent.
    pub master: OwnedFd,
    /// The end that becomes the process's standard streams.
    pub slave: OwnedFd,
}

/// Child, after the pivot (or after joining, for exec): opens a new pty of the container's devpts.
/// `root` is the container's root, `size` is `process.consoleSize`.
///
/// # Errors
/// E_TERMINAL if the container has no devpts; E_UNSAFE_PATH if its ptmx is another kind of file.
pub(crate) fn open(root: &Root, size: Option<Size>) -> Result<Terminal> {
    let master = open_master(root)?;
    let shown = "/dev/pts/ptmx";
    tty::unlock(master.as_fd()).context(Code::Terminal, "unlock the pty of", shown)?;
    let slave =
        tty::open_slave(master.as_fd()).context(Code::Terminal, "open the pty of", shown)?;
    let is_char = fstat(&slave).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFCHR);
    let is_devpts = fstatfs(&slave).is_ok_and(|fs| fs.filesystem_type() == DEVPTS_SUPER_MAGIC);
    if !is_char || !is_devpts {
        return Err(not_a_pty());
    }
    if let Some(size) = size {
        tty::set_size(slave.as_fd(), size).context(
            Code::Terminal,
            "set the size of",
            "the terminal",
        )?;
    }
    Ok(Terminal { master, slave })
}

fn not_a_pty() -> Error {
    Error::new(
        Code::UnsafePath,
        "open a terminal: ptmx of the container is not the one of a devpts",
    )
}

/// Opens the container's ptmx. The file is checked before it is used. Until then the flags keep a
/// wrong file harmless: the open makes and truncates nothing, does not wait, and takes no
/// controlling terminal.
fn open_master(root: &Root) -> Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let master = match root.open(Path::new("/dev/pts/ptmx"), flags, Mode::empty()) {
        // A /dev that is bound from elsewhere may have its devpts in another place.
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            root.open(Path::new("/dev/ptmx"), flags, Mode::empty())
        }
        result => result,
    }
    .context(Code::Terminal, "open", "/dev/ptmx")?;
    let stat = fstat(&master).context(Code::Terminal, "look at", "/dev/ptmx")?;
    let is_char = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
    if !is_char || (major(stat.st_rdev), minor(stat.st_rdev)) != (5, 2) {
        return Err(not_a_pty());
    }
    let blocking = FcntlArg::F_SETFL(OFlag::O_RDWR);
    fcntl(&master, blocking).context(Code::Terminal, "set up", "/dev/ptmx")?;
    Ok(master)
}

impl Terminal {
    /// Child, after the pivot, with CAP_SYS_ADMIN over its mount namespace: binds the slave on
    /// `/dev/console`, which is made if it is missing. Not for exec: the console is that of the
    /// first process.
    ///
    /// # Errors
    /// E_UNSAFE_PATH if `/dev` or `/dev/console` is a symlink (CVE-2026-88264); E_TERMINAL with the
    /// errno.
    pub(crate) fn mount_console(&self, root: &Root) -> Result<()> {
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let dev = root
            .open(Path::new("/dev"), directory, Mode::empty())
            .map(Root::from_fd)
            .map_err(|errno| match errno {
                Errno::ELOOP | Errno::ENOTDIR => {
                    Error::step(Code::UnsafePath, "open", "/dev", errno)
                }
                _ => Error::step(Code::Terminal, "open", "/dev", errno),
            })?;
        let place = console(&dev)?;
        let here = libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH.cast_unsigned();
        let (from, name) = if without(Defence::ConsoleByFd) {
            (root.as_fd(), c"dev/pts/0")
        } else {
            (self.slave.as_fd(), c"")
        };
        open_tree(from, name, here)
            .and_then(|tree| move_mount(tree.as_fd(), place.as_fd()))
            .context(Code::Terminal, "bind the terminal on", "/dev/console")
    }

    /// Child, before it becomes the user, with CAP_CHOWN over its user namespace: makes the user (a
    /// container's uid) the owner of the slave, so that it may open `/dev/tty` and its own pty. The
    /// group stays as the devpts mount says.
    ///
    /// # Errors
    /// E_TERMINAL; EINVAL for a uid that the user namespace does not map.
    pub(crate) fn give_to(&self, uid: u32) -> Result<()> {
        let owner = fstat(&self.slave).context(Code::Terminal, "look at", "the terminal")?;
        if owner.st_uid == uid {
            return Ok(());
        }
        fchown(&self.slave, Some(Uid::from_raw(uid)), None).context(
            Code::Terminal,
            "give to the process",
            "the terminal",
        )
    }
}

/// Returns the file on which the console is bound. It is not followed or truncated, and made only
/// if it is missing.
fn console(dev: &Root) -> Result<OwnedFd> {
    let name = Path::new("console");
    let shown = "/dev/console";
    if without(Defence::ConsoleNoFollow) {
        return dev.create_file(name).context(Code::Terminal, "make", shown);
    }
    let there = match dev.resolve_no_follow(name) {
        Ok(there) => there,
        Err(Errno::ENOENT) => {
            let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_RDONLY;
            let mode = Mode::from_bits_truncate(0o600);
            return dev
                .open(name, new, mode)
                .context(Code::Terminal, "make", shown);
        }
        Err(errno) => return Err(Error::step(Code::Terminal, "open", shown, errno)),
    };
    let stat = fstat(&there).context(Code::Terminal, "look at", shown)?;
    let refuse = |code, why| {
        Err(Error::new(
            code,
            format!("bind the terminal on {shown}: {why}"),
        ))
    };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFLNK => refuse(Code::UnsafePath, "a symbolic link is in its place"),
        libc::S_IFDIR => refuse(Code::Terminal, "a directory is in its place"),
        _ => Ok(there),
    }
}

/// Child, as leader of a new session: makes the slave its controlling terminal and its standard
/// streams.
///
/// # Errors
/// E_TERMINAL; EPERM if the process leads no session.
pub(crate) fn attach(slave: BorrowedFd<'_>) -> Result<()> {
    tty::make_controlling(slave).context(Code::Terminal, "take over", "the terminal")?;
    take_streams(slave)
}

/// Child: makes the slave its standard streams.
///
/// # Errors
/// E_TERMINAL with the errno of dup2(2).
pub(crate) fn take_streams(slave: BorrowedFd<'_>) -> Result<()> {
    dup2_stdin(slave)
        .and_then(|()| dup2_stdout(slave))
        .and_then(|()| dup2_stderr(slave))
        .context(Code::Terminal, "take over", "the terminal")
}

/// Parent: sends the master to the process that listens on the unix socket at `path`
/// (`--console-socket`; relative to the working directory), in one message that holds the slave's
/// name. The terminal's modes stay as the kernel made them: the receiver sets them.
///
/// # Errors
/// E_TERMINAL with the path; ENOENT or ECONNREFUSED if nobody listens.
pub(crate) fn send_to_console_socket(path: &Path, master: BorrowedFd<'_>) -> Result<()> {
    let name = tty::number(master).map_or_else(
        |_| "console".to_owned(),
        |number| format!("/dev/pts/{number}"),
    );
    caller_socket::send_fd(path, name.as_bytes(), master).context(
        Code::Terminal,
        "send the terminal to",
        path.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip;
    use crate::sys::fd::STREAMS;
    use crate::sys::forked::check_in_child;
    use crate::sys::scm::receive;
    use nix::fcntl::open as open_path;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::{pipe, setsid, write};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::UnixListener;

    type Outcome = std::result::Result<(), String>;

    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }

    fn truth(holds: bool, what: &str) -> Outcome {
        if holds { Ok(()) } else { Err(what.to_owned()) }
    }

    /// Runs `body` in a mount namespace with a root that has a devpts of its own.
    fn in_a_root(body: impl FnOnce(&Path, &Root) -> Outcome) {
        if skip::unless_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("temporary directory");
        check_in_child(|| {
            let none = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).map_err(text)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).map_err(text)?;
            let top = directory.path();
            mount(none, top, Some("tmpfs"), MsFlags::empty(), none).map_err(text)?;
            let pts = top.join("dev/pts");
            fs::create_dir_all(&pts).map_err(text)?;
            let options = Some("newinstance,ptmxmode=0666,mode=0620");
            mount(none, &pts, Some("devpts"), MsFlags::empty(), options).map_err(text)?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let fd = open_path(top, flags, Mode::empty()).map_err(text)?;
            body(top, &Root::from_fd(fd))
        });
    }

    #[test]
    fn a_terminal_has_its_size_owner_and_console() {
        in_a_root(|top, root| {
            let terminal = open(
                root,
                Some(Size {
                    rows: 25,
                    columns: 132,
                }),
            )
            .map_err(text)?;
            let size = tty::size(terminal.master.as_fd()).map_err(text)?;
            truth((size.rows, size.columns) == (25, 132), "the size")?;
            terminal.give_to(1000).map_err(text)?;
            terminal.mount_console(root).map_err(text)?;
            let slave = fs::metadata(top.join("dev/pts/0")).map_err(text)?;
            let console = fs::metadata(top.join("dev/console")).map_err(text)?;
            truth(slave.uid() == 1000, "the owner")?;
            truth(console.rdev() == slave.rdev(), "the console is the slave")?;
            // Closing the last master would hang up this session.
            std::mem::forget(terminal.master.try_clone().map_err(text)?);
            setsid().map_err(text)?;
            attach(terminal.slave.as_fd()).map_err(text)?;
            truth(
                nix::unistd::isatty(STREAMS[0]) == Ok(true),
                "stdin is a terminal",
            )?;
            let tty = OFlag::O_RDWR;
            let own = open_path("/dev/tty", tty, Mode::empty()).map_err(text)?;
            write(&own, b"hello\n").map_err(text)?;
            let mut line = [0; 16];
            let n = nix::unistd::read(&terminal.master, &mut line).map_err(text)?;
            truth(
                line.get(..n) == Some(b"hello\r\n"),
                "it is the controlling terminal",
            )
        });
    }

    #[test]
    fn a_console_that_is_a_link_is_refused_and_its_target_not_made() {
        in_a_root(|top, root| {
            symlink("/made", top.join("dev/console")).map_err(text)?;
            let terminal = open(root, None).map_err(text)?;
            match terminal.mount_console(root) {
                Err(error) if error.code == Code::UnsafePath => {}
                other => return Err(format!("{other:?}")),
            }
            truth(fs::symlink_metadata(top.join("made")).is_err(), "made")
        });
    }

    #[test]
    fn a_ptmx_that_is_something_else_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(directory.path().join("dev/pts")).expect("directories");
        fs::write(directory.path().join("dev/pts/ptmx"), "kept").expect("a file");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let fd = open_path(directory.path(), flags, Mode::empty()).expect("open");
        let error = open(&Root::from_fd(fd), None).expect_err("a file");
        assert_eq!(error.code, Code::UnsafePath);
        let kept = fs::read_to_string(directory.path().join("dev/pts/ptmx")).expect("read");
        assert_eq!(kept, "kept");
    }

    #[test]
    fn a_console_socket_gets_one_fd_however_long_its_path() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let deep = directory.path().join("d".repeat(120));
        fs::create_dir(&deep).expect("a directory");
        let listener = {
            // bind(2) has the same limit as connect(2), so the socket is made at a short path and then moved.
            let short = directory.path().join("s");
            let listener = UnixListener::bind(&short).expect("bind");
            fs::rename(&short, deep.join("s")).expect("move");
            listener
        };
        let (reader, _writer) = pipe().expect("a pipe");
        send_to_console_socket(&deep.join("s"), reader.as_fd()).expect("sent");
        let (stream, _) = listener.accept().expect("a caller");
        let mut payload = [0; 4096];
        let (n, fd) = receive(stream.as_fd(), &mut payload).expect("a message");
        let fd = fd.expect("one fd");
        assert_eq!(payload.get(..n), Some(b"console".as_slice()));
        let (sent, got) = (fstat(&reader).expect("stat"), fstat(&fd).expect("stat"));
        assert_eq!(sent.st_ino, got.st_ino);
        let (n, fd) = receive(stream.as_fd(), &mut payload).expect("an end");
        assert!(n == 0 && fd.is_none(), "no second message");
        let error = send_to_console_socket(&deep.join("t"), reader.as_fd()).expect_err("none");
        assert_eq!(error.errno, Some(Errno::ENOENT));
    }
}
