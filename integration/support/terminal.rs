//! A terminal of the test's own: the master's side is the person, the slave's side the runtime's stdio.

#![allow(unsafe_code, reason = "window sizes are set and asked by ioctl")]

use super::wait_until;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};

/// The master's side of a pty, and all that came out of it so far.
pub(crate) struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    /// Runs `command` on a new terminal of `rows` by `columns`.
    pub(crate) fn spawn(mut command: Command, rows: u16, columns: u16) -> (Terminal, Child) {
        let pty = openpty(Some(&size(rows, columns)), None).unwrap();
        let slave = File::from(pty.slave);
        command.stdin(slave.try_clone().unwrap());
        command.stdout(slave.try_clone().unwrap());
        command.stderr(slave);
        let child = command.spawn().unwrap();
        (Terminal::from_master(pty.master), child)
    }

    /// A terminal whose master came over a console socket.
    pub(crate) fn from_master(master: OwnedFd) -> Terminal {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        Terminal {
            master: File::from(master),
            seen: String::new(),
        }
    }

    /// Types.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `word` has appeared, and returns everything since the last call.
    #[track_caller]
    pub(crate) fn expect(&mut self, word: &str) -> String {
        let mut bytes = [0; 4096];
        let seen = &mut self.seen;
        let master = &mut self.master;
        let mut rounds = 0;
        wait_until(word, || {
            while let Ok(n @ 1..) = master.read(&mut bytes) {
                seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
            rounds += 1;
            assert!(rounds < 4000, "no {word:?} in {seen:?}");
            seen.contains(word)
        });
        std::mem::take(&mut self.seen)
    }

    /// Waits until the last process has closed the other side.
    #[track_caller]
    pub(crate) fn expect_hangup(&mut self) {
        let mut bytes = [0; 4096];
        wait_until("the terminal hangs up", || {
            // EIO is how a master says so (pty(7)).
            matches!(self.master.read(&mut bytes), Err(error) if error.raw_os_error() == Some(libc::EIO))
        });
    }

    /// Changes the window's size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = size(rows, columns);
        // SAFETY: the struct is live and of the type that TIOCSWINSZ reads.
        let result =
            unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(result, 0);
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
