//! Keeps compiled programs in files, since compiling takes a hundred times longer than reading.
//!
//! A wrong program would be a hole in a container, so what is read is never trusted by its name.
//! The file holds, next to the program, its whole key: everything the program was made from.
//! A hit is equality of all its bytes. That leaves nothing to collisions, so no cryptographic
//! hash is needed: the hash in the file's name only chooses the file, and two filters of the same
//! hash would merely take turns. The folder and the file must belong to the caller and be
//! writable by nobody else, and a checksum finds what a crash or a bad disk left.
//!
//! ```text
//! <cache>/<hash of the key, 16 hex digits>, mode 0600:
//!   8 bytes   MAGIC
//!   8 bytes   checksum of all that follows
//!   8 bytes   length of the key
//!             key
//!             program, 8 bytes an instruction
//! ```
//! Numbers are in the machine's byte order. Files get their name when they are written ([`whole_file`]),
//! so a reader sees all or nothing. Every failure here means "not cached" and is logged for debugging.

use super::profile::{Action, Filter};
use crate::fault::Step;
use crate::sys::seccomp::{BPF_MAXINSNS, Instruction};
use crate::whole_file;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, mkdir, unlinkat};
use std::ffi::CString;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Part of every key: raise it whenever the same filter compiles to another program or the
/// file's layout changes.
const FORMAT: u32 = 3;

/// No file is longer, so that a strange one does not fill the memory.
const LONGEST: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"casulobp";
const HEADER: usize = 24;

/// The folder starts again empty when it holds this many files; a host has few profiles.
const MOST_FILES: usize = 64;

/// Everything that decides about the program, without ambiguity: the versions of casulo and of
/// libseccomp, the architecture, and the filter but for what concerns loading.
pub(super) fn key(filter: &Filter) -> Vec<u8> {
    let mut key = Key(Vec::with_capacity(8 * 1024));
    key.number(FORMAT);
    key.text(env!("CARGO_PKG_VERSION"));
    key.text(std::env::consts::ARCH);
    match libseccomp::ScmpVersion::current() {
        Ok(version) => [version.major, version.minor, version.micro].map(|part| key.number(part)),
        Err(_) => [(); 3],
    };
    key.action(filter.default);
    key.length(filter.architectures.len());
    for architecture in &filter.architectures {
        key.number(*architecture as u32);
    }
    key.length(filter.rules.len());
    for rule in &filter.rules {
        key.action(rule.action);
        key.length(rule.names.len());
        for name in &rule.names {
            key.text(name);
        }
        key.length(rule.conditions.len());
        for condition in &rule.conditions {
            key.number(u32::from(condition.argument));
            key.number(condition.operator as u32);
            key.wide(condition.value);
            key.wide(condition.value_two);
        }
    }
    key.0
}

struct Key(Vec<u8>);

impl Key {
    fn number(&mut self, value: u32) {
        self.0.extend(value.to_ne_bytes());
    }
    fn wide(&mut self, value: u64) {
        self.0.extend(value.to_ne_bytes());
    }
    fn length(&mut self, value: usize) {
        self.wide(value as u64);
    }
    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }
    fn action(&mut self, action: Action) {
        self.number(action.return_value());
    }
}

/// Opens the folder at `path`, making it and its parent if they are missing. None if it cannot be
/// used or if somebody else could write to it.
pub(super) fn open(path: &Path) -> Option<OwnedFd> {
    match usable(path) {
        Ok(folder) => Some(folder),
        Err(errno) => {
            log::debug!("seccomp: no cache in {}: {errno}", path.display());
            None
        }
    }
}

fn usable(path: &Path) -> nix::Result<OwnedFd> {
    let open = || {
        nix::fcntl::open(
            path,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
    };
    let folder = match open() {
        Err(Errno::ENOENT) => {
            for missing in path.parent().into_iter().chain([path]) {
                match mkdir(missing, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            open()
        }
        result => result,
    }?;
    let facts = fstat(&folder)?;
    if facts.st_uid != geteuid().as_raw() || facts.st_mode & 0o077 != 0 {
        return Err(Errno::EPERM);
    }
    Ok(folder)
}

/// The program that was stored for `key`; None if there is none or it is not sound.
pub(super) fn read(folder: &OwnedFd, key: &[u8]) -> Option<Vec<Instruction>> {
    let name = file_name(key);
    let bytes = match contents(folder, &name) {
        Ok(bytes) => bytes,
        Err(Errno::ENOENT) => return None,
        Err(errno) => {
            log::debug!("seccomp: cached program {name} is not used: {errno}");
            return None;
        }
    };
    let program = decode(&bytes, key);
    if program.is_none() {
        log::debug!("seccomp: cached program {name} is damaged or another filter's");
    }
    program
}

fn contents(folder: &OwnedFd, name: &str) -> nix::Result<Vec<u8>> {
    let fd = openat(
        folder,
        name,
        OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let facts = fstat(&fd)?;
    let is_file = facts.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    if !is_file || facts.st_uid != geteuid().as_raw() || facts.st_mode & 0o077 != 0 {
        return Err(Errno::EPERM);
    }
    let size = usize::try_from(facts.st_size).or(Err(Errno::EFBIG))?;
    if size > LONGEST {
        return Err(Errno::EFBIG);
    }
    let mut bytes = vec![0; size];
    match File::from(fd).read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Errno::EIO),
    }
}

/// Stores `program` for `key`.
pub(super) fn write(folder: &OwnedFd, key: &[u8], program: &[Instruction]) {
    if let Err(errno) = replace(folder, &file_name(key), &encode(key, program)) {
        log::debug!("seccomp: the compiled program is not cached: {errno}");
    }
}

fn replace(folder: &OwnedFd, name: &str, bytes: &[u8]) -> nix::Result<()> {
    make_room(folder)?;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    whole_file::put(folder, Path::new(name), bytes, mode, Step::KeepFilter)
}

/// Empties a full folder, leftovers of killed writers included (where a file system has no nameless files).
/// Files that are being read stay readable, and one that is being written is merely not cached.
fn make_room(folder: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let names: Vec<CString> = Dir::openat(folder, ".", flags, Mode::empty())?
        .iter()
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .filter(|name| !matches!(name, Ok(name) if name == c"." || name == c".."))
        .collect::<nix::Result<_>>()?;
    if names.len() >= MOST_FILES {
        for name in &names {
            match unlinkat(folder, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

fn encode(key: &[u8], program: &[Instruction]) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + key.len() + program.len() * Instruction::SIZE);
    body.extend((key.len() as u64).to_ne_bytes());
    body.extend(key);
    for instruction in program {
        body.extend(instruction.to_bytes());
    }
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(MAGIC);
    bytes.extend(hash(&body).to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// None unless the bytes are whole, sound, for exactly this key, and of a length the kernel takes.
fn decode(bytes: &[u8], key: &[u8]) -> Option<Vec<Instruction>> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (checksum, body) = rest.split_first_chunk()?;
    if hash(body) != u64::from_ne_bytes(*checksum) {
        return None;
    }
    let (length, rest) = body.split_first_chunk()?;
    if u64::from_ne_bytes(*length) != key.len() as u64 {
        return None;
    }
    let program = Instruction::parse(rest.strip_prefix(key)?)?;
    (1..=BPF_MAXINSNS)
        .contains(&program.len())
        .then_some(program)
}

fn file_name(key: &[u8]) -> String {
    format!("{:016x}", hash(key))
}

/// The same bytes give the same number in every process, because the hasher's keys are constant.
/// Another release of Rust may hash otherwise, which is a miss and nothing worse.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests;
