//! What is timed from inside: the same work in every environment. Each prints one number, of which
//! less is better.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A kind of work, by its word on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// Nanoseconds of a system call that does nothing.
    Syscall,
    /// Microseconds to open, look at, read and close a file.
    File,
    /// Microseconds to start a child, and to see its end.
    Spawn,
    /// Microseconds to send a megabyte through a pipe.
    Pipe,
    /// The same through a Unix socket.
    UnixSocket,
    /// The same over the loopback interface.
    Loopback,
}

/// The words with which this program takes in what is sent to its standard input, or to a port.
const TAKE_INPUT: &str = "take-input";
pub(crate) const NOTHING: &str = "nothing";

const CALLS: u32 = 200_000;
const FILES: u32 = 5_000;
const CHILDREN: u32 = 16;
const MEGABYTES: u32 = 48;

/// `bench work WORK FILE`
pub(crate) fn main(work: Work, file: &Path) -> io::Result<()> {
    let figure = match work {
        Work::Syscall => 1000.0 * each(CALLS, ask_parent)?,
        Work::File => each(FILES, || read_file(file))?,
        Work::Spawn => each(CHILDREN, spawn)?,
        Work::Pipe => through_pipe()?,
        Work::UnixSocket => through_socket()?,
        Work::Loopback => over_loopback()?,
    };
    println!("{figure}");
    Ok(())
}

/// Microseconds of one of so many.
fn each(count: u32, mut step: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let begin = Instant::now();
    for _ in 0..count {
        step()?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

fn ask_parent() -> io::Result<()> {
    std::hint::black_box(nix::unistd::getppid());
    Ok(())
}

fn read_file(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.metadata()?;
    let mut buffer = [0; 4096];
    file.read(&mut buffer).map(drop)
}

fn spawn() -> io::Result<()> {
    again(NOTHING).status().map(drop)
}

fn again(word: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(word);
    command
}

fn through_pipe() -> io::Result<f64> {
    let mut taker = again(TAKE_INPUT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = taker.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    send(pipe, taker)
}

fn through_socket() -> io::Result<f64> {
    let (ours, theirs) = UnixStream::pair()?;
    let taker = again(TAKE_INPUT)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .spawn()?;
    send(ours, taker)
}

fn over_loopback() -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    let (ours, _) = listener.accept()?;
    let taker = again(TAKE_INPUT)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .spawn()?;
    send(ours, taker)
}

/// Microseconds a megabyte, from the moment that the taker is there until it has taken all.
fn send(mut to: impl Write, mut taker: Child) -> io::Result<f64> {
    let block = vec![7u8; 64 << 10];
    let mut output = taker.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut ready = [0];
    output.read_exact(&mut ready)?;
    let begin = Instant::now();
    for _ in 0..MEGABYTES * 16 {
        to.write_all(&block)?;
    }
    drop(to);
    output.read_exact(&mut ready)?;
    let took = begin.elapsed().as_secs_f64() * 1e6 / f64::from(MEGABYTES);
    taker.wait()?;
    Ok(took)
}

/// `bench take-input`: says that it is there, takes all, and says that it has.
pub(crate) fn take_input() -> io::Result<()> {
    let mut output = io::stdout();
    let mut buffer = vec![0u8; 64 << 10];
    output.write_all(b".")?;
    output.flush()?;
    while io::stdin().read(&mut buffer)? > 0 {}
    output.write_all(b".")?;
    output.flush()
}
