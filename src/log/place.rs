//! Where `--log` leads: a file, the journal or syslog. Any casulo process, also init as long as it has descriptors
//! of the host: a message is one write(2) to what was opened at the start.

use crate::error::{Code, Error, Result};
use log::Level;
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// What `--log` names.
#[derive(Debug)]
pub(super) enum Place {
    /// A file that lines are appended to.
    File(File),
    /// The journal's socket, and what stands in every entry: systemd.io/JOURNAL_NATIVE_PROTOCOL.
    Journal { socket: File, fields: String },
    /// syslog(3)'s socket, and the name before each message.
    Syslog { socket: File, name: String },
}

impl Place {
    /// `destination` is `journald:NAME`, `syslog:NAME`, `file:PATH` or a path, as with crun. `id` is the container's,
    /// where the command has one: a field of the journal's entries, and syslog's name where none is given.
    ///
    /// A log without a listener takes nothing and fails nothing, as with syslog(3): the error is on stderr, too.
    ///
    /// # Errors
    /// `E_IO` when the path cannot be opened for appending.
    pub(super) fn open(destination: &Path, id: Option<&str>) -> Result<Place> {
        let error = |error: io::Error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            Error::step(
                Code::Io,
                "open the log",
                destination.display().to_string(),
                errno,
            )
        };
        let text = destination.to_str().unwrap_or_default();
        if let Some(name) = text.strip_prefix("journald:") {
            let mut fields = String::new();
            for (field, value) in [
                ("SYSLOG_IDENTIFIER", or(name, "casulo")),
                ("ID", id.unwrap_or_default()),
            ] {
                // A line feed would end the field.
                if !value.is_empty() && !value.contains('\n') {
                    fields.push_str(&format!("{field}={value}\n"));
                }
            }
            let socket = connected("/run/systemd/journal/socket").map_err(error)?;
            return Ok(Place::Journal { socket, fields });
        }
        if let Some(name) = text.strip_prefix("syslog:") {
            let socket = connected("/dev/log").map_err(error)?;
            let name = or(name, id.unwrap_or("casulo")).to_owned();
            return Ok(Place::Syslog { socket, name });
        }
        let path = destination.as_os_str().as_bytes();
        let path = path.strip_prefix(b"file:").unwrap_or(path);
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o644);
        let file = options.open(Path::new(std::ffi::OsStr::from_bytes(path)));
        file.map_err(error).map(Place::File)
    }

    /// Writes one message, which is one line. A log that cannot be written has nowhere to say so.
    pub(super) fn write(&self, level: Level, line: &str) {
        let priority = priority(level);
        let (mut file, text) = match self {
            Place::File(file) => (file, format!("{line}\n")),
            Place::Journal { socket, fields } => (
                socket,
                format!("{fields}PRIORITY={priority}\nMESSAGE={line}\n"),
            ),
            // The facility is "user", which is 1.
            Place::Syslog { socket, name } => (socket, format!("<{}>{name}: {line}", 8 | priority)),
        };
        let _ = file.write_all(text.as_bytes());
    }
}

/// syslog(3)'s levels.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn or<'a>(name: &'a str, other: &'a str) -> &'a str {
    if name.is_empty() { other } else { name }
}

/// A socket for datagrams to `path`; one without a peer if nobody listens there. A full queue loses a message
/// rather than hold casulo up.
fn connected(path: &str) -> io::Result<File> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let _ = socket.connect(path);
    Ok(File::from(OwnedFd::from(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn sent(place: impl FnOnce(File) -> Place) -> String {
        let (ours, theirs) = UnixDatagram::pair().expect("a pair");
        place(File::from(OwnedFd::from(ours))).write(Level::Warn, "it rains");
        let mut message = [0; 512];
        let length = theirs.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    #[test]
    fn a_message_is_one_datagram() {
        let fields = "ID=web\n".to_owned();
        assert_eq!(
            sent(|socket| Place::Journal { socket, fields }),
            "ID=web\nPRIORITY=4\nMESSAGE=it rains\n"
        );
        let name = "web".to_owned();
        assert_eq!(
            sent(|socket| Place::Syslog { socket, name }),
            "<12>web: it rains"
        );
    }

    #[test]
    fn a_destination_says_what_it_is() {
        let Ok(Place::Journal { fields, .. }) = Place::open(Path::new("journald:me"), Some("web"))
        else {
            panic!("not the journal")
        };
        assert_eq!(fields, "SYSLOG_IDENTIFIER=me\nID=web\n");
        for (destination, id, expected) in [
            ("syslog:me", Some("web"), "me"),
            ("syslog:", Some("web"), "web"),
            ("syslog:", None, "casulo"),
        ] {
            match Place::open(Path::new(destination), id) {
                Ok(Place::Syslog { name, .. }) => assert_eq!(name, expected),
                other => panic!("{other:?}"),
            }
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a:b");
        for destination in [path.clone(), format!("file:{}", path.display()).into()] {
            let place = Place::open(&destination, None).expect("a file");
            place.write(Level::Error, "written");
        }
        let mut text = String::new();
        File::open(path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("the file");
        assert_eq!(text, "written\nwritten\n");
    }
}
