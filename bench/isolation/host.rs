//! The host's side of the probes: the secret, the process that nobody misses, and what it listens on.

use super::facts::{Facts, KEY, VICTIMS_VARIABLE};
use super::probes::interface_names;
use crate::place::Place;
use crate::sys::{self, KEYRINGS};
use anyhow::{Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What probes look for, as long as this lives.
pub(crate) struct Host<'a> {
    place: &'a Place,
    pub(crate) facts: Facts,
    /// The word in the secret file, in the victim's environment, in the keyrings: nobody is told.
    pub(crate) secret: String,
    victim: Child,
    keys: Vec<(i64, i32)>,
    _left_open: Vec<OwnedFd>,
}

impl<'a> Host<'a> {
    pub(crate) fn new(place: &'a Place) -> Result<Host<'a>> {
        let secret = format!("secret-{:016x}", fastrand::u64(..));
        let path = place.join("secret");
        fs::write(&path, &secret)?;
        let directory = left_open(place.join("").as_path(), OFlag::O_DIRECTORY)?;
        let file = left_open(&path, OFlag::empty())?;
        let mut facts = Facts {
            secret: path.to_string_lossy().into_owned(),
            directory_fd: directory.as_raw_fd(),
            file_fd: file.as_raw_fd(),
            handle: sys::file_handle(&CString::new(path.as_os_str().as_bytes())?).ok(),
            victims_word: format!("victim-{:08x}", fastrand::u32(..)),
            socket: format!("casulo-bench-{:08x}", fastrand::u32(..)),
            memory: fastrand::i32(1..),
            disk: disk(&path)?,
            interfaces: interface_names(&fs::read_to_string("/proc/self/net/dev")?),
            uptime: sys::clock(libc::CLOCK_BOOTTIME).as_secs(),
            cgroup: place.cgroup.clone(),
            controllers: controllers(),
            ..Facts::default()
        };
        // Without System V memory or keys in the kernel, the probes say so.
        let _ = sys::share_memory(facts.memory, secret.as_bytes());
        let keys = share_keys(&secret);
        let (victim, port) = start_victim(place, &facts, &secret)?;
        facts.victim = i32::try_from(victim.id()).unwrap_or(-1);
        facts.port = port;
        let host = Host {
            place,
            facts,
            secret,
            victim,
            keys,
            _left_open: vec![directory, file],
        };
        host.lay_facts()?;
        Ok(host)
    }

    fn lay_facts(&self) -> Result<()> {
        let facts = serde_json::to_string(&self.facts)?;
        Ok(self.place.lay_facts(&facts)?)
    }

    /// True if somebody has ended the victim, or does so in time; then there is another one.
    pub(crate) fn victim_ended(&mut self, in_time: Duration) -> Result<bool> {
        let deadline = Instant::now() + in_time;
        while self.victim.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        (self.victim, self.facts.port) = start_victim(self.place, &self.facts, &self.secret)?;
        self.facts.victim = i32::try_from(self.victim.id()).unwrap_or(-1);
        self.lay_facts()?;
        Ok(true)
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        for (key, ring) in &self.keys {
            let _ = sys::unlink_key(*key, *ring);
        }
    }
}

/// A descriptor that every child inherits.
fn left_open(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    let fd = open(path, OFlag::O_RDONLY | flags, Mode::empty())?;
    Ok(sys::left_open(fd.as_fd())?)
}

/// The key is in a session keyring of our own, as in every user's by pam_keyinit, and in root's.
fn share_keys(secret: &str) -> Vec<(i64, i32)> {
    let Ok(name) = CString::new(KEY) else {
        return Vec::new();
    };
    let _ = sys::join_session_keyring();
    KEYRINGS
        .iter()
        .filter_map(|(ring, _)| {
            let key = sys::add_key(&name, secret.as_bytes(), *ring).ok()?;
            Some((key, *ring))
        })
        .collect()
}

fn start_victim(place: &Place, facts: &Facts, secret: &str) -> Result<(Child, u16)> {
    let mut victim = Command::new("/proc/self/exe")
        .args(["victim", &facts.victims_word, &facts.socket])
        .env(VICTIMS_VARIABLE, secret)
        .current_dir(place.join(""))
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = victim.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    match line.trim().parse() {
        Ok(port) => Ok((victim, port)),
        Err(_) => bail!("the victim did not start"),
    }
}

/// `bench victim WORD SOCKET`: listens on a port, which it prints, and tells whoever connects to the
/// abstract socket what is in its environment.
pub(crate) fn victim(socket: &str) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Some(nix::sys::signal::Signal::SIGKILL))?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(socket)?)?;
    println!("{}", tcp.local_addr()?.port());
    let secret = std::env::var(VICTIMS_VARIABLE).unwrap_or_default();
    for stream in unix.incoming() {
        let _ = stream?.write_all(secret.as_bytes());
    }
    Ok(())
}

/// The whole disk that a file lies on; none for file systems without one.
fn disk(path: &Path) -> Result<Option<(u64, u64)>> {
    let device = fs::metadata(path)?.dev();
    let number = |text: &str| {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let link = format!(
        "/sys/dev/block/{}:{}",
        libc::major(device),
        libc::minor(device)
    );
    // A partition's directory lies in that of its disk.
    let above = fs::read_to_string(format!("{link}/../dev")).ok();
    let own = fs::read_to_string(format!("{link}/dev")).ok();
    Ok(above.or(own).as_deref().and_then(number))
}

fn controllers() -> Vec<String> {
    fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}
