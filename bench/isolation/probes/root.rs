//! Ways out of the root directory, to a file that lies outside it.

use super::{Group, Probe, Proof, done};
use crate::isolation::facts::{Facts, Finding, MOUNT};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, chroot, fchdir, read};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

probes! {
    PROBES, Root:
    "dot-dot", "walk up with ..", Secret => dot_dot;
    "second-chroot", "a second chroot, and .. past it", Secret => second_chroot;
    "second-chroot-fd", "the same by fchdir to an open directory", Secret => second_chroot_fd;
    "folder-fd", "a directory that the caller left open", Secret => directory_fd;
    "proc-root", "/proc/PID/root of a host process", Secret => proc_root;
    "file-handle", "open a file by its handle", Secret => file_handle;
    "disk", "make a node of the root disk, and read it", Answer => disk;
    "mount", "mount a file system", Answer => mount_tmpfs;
    "host-mount", "make a mount that the host sees", MountSeen => host_mount;
}

const PATIENCE: usize = 64;

/// Reads the secret by its path without the leading slash, from the working directory.
fn read_relative(facts: &Facts) -> Result<String, Errno> {
    let path = facts.secret.trim_start_matches('/');
    let file = openat(AT_FDCWD, path, OFlag::O_RDONLY, Mode::empty())?;
    let mut text = String::new();
    match File::from(file).read_to_string(&mut text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

fn shown(how: &str, answer: Result<String, Errno>) -> Finding {
    match answer {
        Ok(text) => Finding::leaked(format!("{how}, and read {text:?}")),
        Err(errno) => Finding::held(format!("{how}: {errno:?}")),
    }
}

fn up() -> Result<(), Errno> {
    (0..PATIENCE).try_for_each(|_| chdir(".."))
}

fn dot_dot(facts: &Facts) -> Finding {
    shown("walked up", up().and_then(|()| read_relative(facts)))
}

/// A directory of our own to change the root to, wherever we may make one.
fn make_directory() -> Result<String, Errno> {
    let name = format!("/tmp/probe-{}", std::process::id());
    match fs::create_dir(&name) {
        Ok(()) => Ok(name),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

fn second_chroot(facts: &Facts) -> Finding {
    let name = match make_directory() {
        Ok(name) => name,
        Err(errno) => return Finding::held(format!("mkdir: {errno:?}")),
    };
    // The working directory stays where it is, above the new root: nothing stops `..` from there.
    let answer = chdir("/")
        .and_then(|()| chroot(name.as_str()))
        .and_then(|()| up());
    let finding = shown("chroot", answer.and_then(|()| read_relative(facts)));
    let _ = fs::remove_dir(name.trim_start_matches('/'));
    finding
}

fn second_chroot_fd(facts: &Facts) -> Finding {
    let name = match make_directory() {
        Ok(name) => name,
        Err(errno) => return Finding::held(format!("mkdir: {errno:?}")),
    };
    let answer = open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).and_then(|root| {
        chroot(name.as_str())?;
        chdir("/")?;
        fchdir(root)?;
        up()
    });
    let finding = shown("chroot, fchdir", answer.and_then(|()| read_relative(facts)));
    let _ = fs::remove_dir(name.trim_start_matches('/'));
    finding
}

/// The descriptors that could have been left open, beside the three standard ones.
fn directory_fd(facts: &Facts) -> Finding {
    let Some(name) = Path::new(&facts.secret).file_name() else {
        return Finding::not_applicable("no secret");
    };
    let number = facts.directory_fd;
    let answer = openat(sys::inherited(number), name, OFlag::O_RDONLY, Mode::empty());
    let answer = answer.and_then(|file| {
        let mut buffer = [0; 128];
        let length = read(&file, &mut buffer)?;
        Ok(super::text(&buffer[..length]))
    });
    shown(&format!("openat of descriptor {number}"), answer)
}

fn proc_root(facts: &Facts) -> Finding {
    let path = format!("/proc/{}/root{}", facts.victim, facts.secret);
    match fs::read_to_string(&path) {
        Ok(text) => Finding::leaked(format!("read {:?} through {path}", text.trim())),
        Err(error) => Finding::held(format!("/proc/PID/root: {error}")),
    }
}

fn file_handle(facts: &Facts) -> Finding {
    let Some((kind, bytes)) = &facts.handle else {
        return Finding::not_applicable("this file system has no handles");
    };
    let root = match open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(root) => root,
        Err(errno) => return Finding::held(format!("open /: {errno:?}")),
    };
    let answer = sys::open_handle(root.as_fd(), *kind, bytes);
    let answer = answer.and_then(|file| {
        let mut buffer = [0; 128];
        let length = read(&file, &mut buffer)?;
        Ok(super::text(&buffer[..length]))
    });
    shown("open_by_handle_at", answer)
}

fn disk(facts: &Facts) -> Finding {
    let Some((major, minor)) = facts.disk else {
        return Finding::not_applicable("the root file systems are on no disk");
    };
    let name = format!("/tmp/disk-{}", std::process::id());
    let mode = Mode::from_bits_truncate(0o600);
    if let Err(errno) = mknod(name.as_str(), SFlag::S_IFBLK, mode, makedev(major, minor)) {
        return Finding::held(format!("mknod of {major}:{minor}: {errno:?}"));
    }
    let answer = open(name.as_str(), OFlag::O_RDONLY, Mode::empty());
    let _ = fs::remove_file(&name);
    let answer = answer.and_then(|disk| read(&disk, &mut [0; 512]));
    match answer {
        Ok(length) => Finding::leaked(format!("read {length} bytes of the disk {major}:{minor}")),
        Err(errno) => Finding::held(format!("mknod succeeded, open: {errno:?}")),
    }
}

fn mount_on_tmp() -> Result<(), Errno> {
    let flags = MsFlags::MS_RDONLY;
    mount(Some(MOUNT), "/tmp", Some("tmpfs"), flags, None::<&str>)
}

/// The host looks for it, and takes it away.
fn host_mount(_: &Facts) -> Finding {
    done("mount of a tmpfs", mount_on_tmp())
}

fn mount_tmpfs(_: &Facts) -> Finding {
    let answer = mount_on_tmp();
    if answer.is_ok() {
        let _ = umount2("/tmp", MntFlags::MNT_DETACH);
    }
    done("mount of a tmpfs", answer)
}
