//! FUSE servers (fuse(4)), and with one of them a file system on which whoever looks for a name waits and
//! cannot be killed: it takes the request and never answers (the kernel's `request_wait_answer` waits
//! uninterruptibly for a request that was read).

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use opcode::{BATCH_FORGET, FORGET, GETATTR, INIT, INTERRUPT, LOOKUP};

/// `enum fuse_opcode` of linux/fuse.h, as far as the servers here are asked.
pub(super) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const BATCH_FORGET: u32 = 42;
}

/// The name that is never found and never missing.
pub(crate) const STUCK: &str = "stuck";

/// True if the kernel has FUSE, perhaps as a module.
pub(crate) fn is_there() -> bool {
    if !Path::new("/dev/fuse").exists() {
        let _ = std::process::Command::new("modprobe").arg("fuse").status();
    }
    Path::new("/dev/fuse").exists()
}

/// What the kernel asks.
pub(super) struct Request<'a> {
    pub(super) opcode: u32,
    /// The number of the directory or file.
    pub(super) node: u64,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

impl Request<'_> {
    /// The name that begins here in the body.
    pub(super) fn name(&self, at: usize) -> String {
        let bytes = self.body.get(at..).unwrap_or_default();
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// The number that begins here in the body.
    pub(super) fn number(&self, at: usize) -> u32 {
        number(self.body, at)
    }
}

/// What it is told.
pub(super) enum Answer {
    Bytes(Vec<u8>),
    /// An errno.
    Error(i32),
    /// Nothing, ever.
    Silence,
}

/// A mounted file system whose every request a function answers. Whoever waits in it is let go when this value
/// is dropped.
pub(super) struct Server {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Mounts it at `path`, an empty directory.
    pub(super) fn mount(
        path: &Path,
        answer: impl FnMut(&Request<'_>) -> Answer + Send + 'static,
    ) -> Server {
        let device = open("/dev/fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        mount(
            Some("test"),
            path,
            Some("fuse"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap();
        Server {
            path: path.to_owned(),
            thread: Some(std::thread::spawn(move || serve(&device, answer))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By force: every request fails, the server's read, too. Detached: a container may still be in it.
        for flags in [MntFlags::MNT_FORCE, MntFlags::MNT_DETACH] {
            let _ = umount2(&self.path, flags);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The file system that does not answer.
pub(crate) struct StuckFs {
    _server: Server,
    asked: Arc<AtomicBool>,
}

impl StuckFs {
    /// Mounts it at `path`, an empty directory.
    pub(crate) fn mount(path: &Path) -> StuckFs {
        let asked = Arc::new(AtomicBool::new(false));
        let was_asked = Arc::clone(&asked);
        let server = Server::mount(path, move |request| match request.opcode {
            LOOKUP if request.body.starts_with(STUCK.as_bytes()) => {
                was_asked.store(true, Ordering::Release);
                Answer::Silence
            }
            GETATTR => Answer::Bytes(root_attributes()),
            LOOKUP => Answer::Error(libc::ENOENT),
            _ => Answer::Error(libc::ENOSYS),
        });
        StuckFs {
            _server: server,
            asked,
        }
    }

    /// Waits until the server has taken the request that it will not answer: before that, whoever waits for
    /// it can be killed.
    #[track_caller]
    pub(crate) fn wait_until_asked(&self) {
        super::wait_until("the server is asked", || self.asked.load(Ordering::Acquire));
    }
}

/// The number of the process called `cat` in a cgroup that waits in a system call; it is waited for.
pub(crate) fn waiting_cat(cgroup: &Path) -> String {
    let waits = |pid: &&str| {
        let text = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        text("syscall").is_ok_and(|it| !it.starts_with("run"))
            && text("comm").is_ok_and(|it| it.trim() == "cat")
    };
    let mut cat = String::new();
    super::wait_until("cat waits for the file", || {
        let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        cat = text.lines().find(waits).unwrap_or_default().to_owned();
        !cat.is_empty()
    });
    cat
}

fn serve(device: &OwnedFd, mut answer: impl FnMut(&Request<'_>) -> Answer) {
    let mut request = vec![0; 1 << 20];
    loop {
        let length = match read(device, &mut request) {
            Ok(length) => length,
            Err(Errno::EINTR | Errno::ENOENT) => continue,
            Err(_) => return,
        };
        let bytes = &request[..length];
        let unique = &bytes[8..16];
        let request = Request {
            opcode: number(bytes, 4),
            node: u64::from_ne_bytes(bytes[16..24].try_into().unwrap()),
            body: &bytes[40..],
        };
        match request.opcode {
            FORGET | BATCH_FORGET | INTERRUPT => {}
            INIT => send(device, unique, 0, &init_out(request.number(4))),
            _ => match answer(&request) {
                Answer::Bytes(body) => send(device, unique, 0, &body),
                Answer::Error(errno) => send(device, unique, -errno, &[]),
                Answer::Silence => {}
            },
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).unwrap_or(&[0; 4]);
    u32::from_ne_bytes(bytes.try_into().unwrap())
}

/// `struct fuse_out_header` and what follows it.
fn send(device: &OwnedFd, unique: &[u8], error: i32, body: &[u8]) {
    let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(error.to_ne_bytes());
    bytes.extend(unique);
    bytes.extend(body);
    let _ = write(device, &bytes);
}

/// `struct fuse_init_out`: the kernel's own version, nothing else asked for.
fn init_out(minor: u32) -> Vec<u8> {
    let mut bytes = [7, minor].map(u32::to_ne_bytes).concat();
    bytes.resize(20, 0);
    bytes.extend(4096_u32.to_ne_bytes()); // max_write
    bytes.resize(64, 0);
    bytes
}

/// `struct fuse_attr_out` of a directory.
fn root_attributes() -> Vec<u8> {
    let mut bytes = vec![0; 104];
    bytes[16] = 1; // ino
    bytes[76..80].copy_from_slice(&0o40755_u32.to_ne_bytes()); // mode
    bytes[80] = 2; // nlink
    bytes
}
