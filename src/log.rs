//! Where messages go: stderr or the file of `--log`, as text or as one JSON object a line.
//!
//! Callers read the file: containerd takes the last entry whose `level` is `error`, Podman parses
//! the whole file as one object. So a failing command writes exactly one error, and the file is opened for
//! appending. Warnings are shown by default, as the specification demands of some; what engines would meet
//! every day (a nested host without keyrings, a profile with a needless rule) is no warning. They go to the
//! file or else to stderr, which is the container's own log in the hands of an engine.

use crate::error::{Code, Error, Result, errno_text};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::errno::Errno;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"` in a file, the bare message on stderr.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

struct Sink {
    file: Option<File>,
    format: Format,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Opens the log; called once, by `main`, before anything can fail in an interesting way.
///
/// # Errors
/// `E_IO` when `path` cannot be opened for appending.
pub(crate) fn init(path: Option<&Path>, format: Format, level: LevelFilter) -> Result<()> {
    let file = match path {
        None => None,
        Some(path) => {
            let opened = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o644)
                .open(path);
            Some(opened.map_err(|error| {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                Error::step(Code::Io, "open the log", path.display().to_string(), errno)
            })?)
        }
    };
    let sink = SINK.get_or_init(|| Sink { file, format });
    // A second logger in one process (unit tests) is not an error.
    if log::set_logger(sink).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Reports the error of the whole command: once in the log, and as plain text on stderr. Called
/// by `main` alone. Before [`init`] has succeeded it goes to stderr as text.
pub(crate) fn report(error: &Error) {
    let message = one_line(&error.to_string());
    let Some(sink) = SINK.get() else {
        return write_stderr(&format!("casulo: {message}\n"));
    };
    let line = match sink.format {
        Format::Json => {
            let mut object = entry("error", &message);
            extra_keys(&mut object, error);
            format!("{object}\n")
        }
        Format::Text => text_line("error", &message),
    };
    match &sink.file {
        Some(file) => {
            write_file(file, &line);
            write_stderr(&format!("casulo: {message}\n"));
        }
        None if sink.format == Format::Json => write_stderr(&line),
        None => {
            let hint = error
                .hint
                .as_deref()
                .map(|hint| format!(" ({})", one_line(hint)));
            write_stderr(&format!("casulo: {message}{}\n", hint.unwrap_or_default()));
        }
    }
}

fn extra_keys(object: &mut Value, error: &Error) {
    object["code"] = json!(error.code.as_str());
    for (key, value) in [("step", &error.step), ("object", &error.object)] {
        if !value.is_empty() {
            object[key] = json!(shortened(value.clone()));
        }
    }
    if let Some(errno) = error.errno {
        object["errno"] = json!(format!("{errno:?}"));
        object["errno_text"] = json!(errno_text(errno));
    }
    if let Some(hint) = &error.hint {
        object["hint"] = json!(hint);
    }
}

fn entry(level: &str, message: &str) -> Value {
    let time = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
    json!({ "level": level, "msg": message, "time": time })
}

fn text_line(level: &str, message: &str) -> String {
    let time = humantime::format_rfc3339_seconds(SystemTime::now());
    format!(
        "time=\"{time}\" level={level} msg={}\n",
        Value::from(message)
    )
}

/// The longest message, in characters: what is quoted of a file may be as long as the file.
const LONGEST: usize = 4096;

/// Line feeds in a message (a hook's stderr) must not make two log lines of it, and nothing that is quoted
/// may tell a terminal what to do.
pub(crate) fn one_line(message: &str) -> String {
    let line = message
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" | ");
    let mut shown = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default())
        } else {
            shown.push(letter)
        }
    }
    shortened(shown)
}

/// The beginning and the end of what is too long.
fn shortened(text: String) -> String {
    let length = text.chars().count();
    if length <= LONGEST {
        return text;
    }
    let tail = LONGEST / 4;
    let begin = text.chars().take(LONGEST - tail);
    let end = text.chars().skip(length - tail);
    begin.chain(" … ".chars()).chain(end).collect()
}

fn write_file(mut file: &File, line: &str) {
    // A log that cannot be written has nowhere to say so.
    let _ = file.write_all(line.as_bytes());
}

fn write_stderr(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        let message = one_line(&record.args().to_string());
        let line = match self.format {
            Format::Json => format!("{}\n", entry(level, &message)),
            // For people, as an error is.
            Format::Text if self.file.is_none() && level == "warning" => {
                format!("casulo: warning: {message}\n")
            }
            Format::Text => text_line(level, &message),
        };
        match &self.file {
            Some(file) => write_file(file, &line),
            None => write_stderr(&line),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_entry_has_the_keys_that_callers_read() {
        let error = Error::step(Code::Mount, "mount", "/data", Errno::ENOTDIR).hint("a directory");
        let mut object = entry("error", &error.to_string());
        extra_keys(&mut object, &error);
        assert_eq!(object["level"], "error");
        assert_eq!(object["msg"], "mount /data: not a directory");
        assert_eq!(object["code"], "E_MOUNT");
        assert_eq!(object["step"], "mount");
        assert_eq!(object["object"], "/data");
        assert_eq!(object["errno"], "ENOTDIR");
        assert_eq!(object["hint"], "a directory");
        let time = object["time"].as_str().expect("a string");
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }

    #[test]
    fn a_message_of_two_lines_stays_one_line() {
        assert_eq!(
            one_line("hook failed\n  no such file\n"),
            "hook failed | no such file"
        );
    }

    #[test]
    fn what_is_quoted_neither_commands_a_terminal_nor_fills_the_log() {
        assert_eq!(
            one_line("bad \u{1b}[31m\0\u{9b}name"),
            "bad \\u{1b}[31m\\u{0}\\u{9b}name"
        );
        let long = one_line(&format!("begin {} end", "ä".repeat(1 << 20)));
        assert!(long.starts_with("begin ä") && long.ends_with("ä end") && long.contains(" … "));
        assert_eq!(long.chars().count(), LONGEST + 3);
    }
}
