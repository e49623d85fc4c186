//! Where messages go: stderr or what `--log` names, as text or as one JSON object a line.
//!
//! Callers read the file: containerd takes the last entry whose `level` is `error`, Podman parses
//! the whole file as one object. So a failing command writes exactly one error, and the file is opened for
//! appending. Warnings are shown by default, as the specification demands of some; what engines would meet
//! every day (a nested host without keyrings, a profile with a needless rule) is no warning. They go to the
//! file or else to stderr, which is the container's own log in the hands of an engine.

mod place;

use crate::error::{Error, Result, errno_text};
use log::{Level, LevelFilter, Log, Metadata, Record};
use place::Place;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"` in a file, `casulo: error: …` on stderr.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

struct Sink {
    place: Option<Place>,
    format: Format,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Opens the log; called once, by `main`, before anything can fail in an interesting way. `id` is the container's that
/// the command names.
///
/// # Errors
/// `E_IO` when what `destination` names cannot be opened.
pub(crate) fn init(
    destination: Option<&Path>,
    id: Option<&str>,
    format: Format,
    level: LevelFilter,
) -> Result<()> {
    let place = destination.map(|it| Place::open(it, id)).transpose()?;
    let sink = SINK.get_or_init(|| Sink { place, format });
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
        return write_stderr(&for_people("error", &message));
    };
    let line = match sink.format {
        Format::Json => {
            let mut object = entry("error", &message);
            extra_keys(&mut object, error);
            object.to_string()
        }
        Format::Text => sink.text_line("error", &message),
    };
    match &sink.place {
        Some(place) => {
            place.write(Level::Error, &line);
            write_stderr(&for_people("error", &message));
        }
        None if sink.format == Format::Json => write_stderr(&line),
        None => {
            let hint = error
                .hint
                .as_deref()
                .map(|hint| format!(" ({})", one_line(hint)));
            let text = format!("{message}{}", hint.unwrap_or_default());
            write_stderr(&for_people("error", &text));
        }
    }
}

/// Reports a command line that cannot be read: `said` is clap's text, of several lines.
pub(crate) fn report_usage(said: &str) {
    let said = said.strip_prefix("error: ").unwrap_or(said);
    write_stderr(&for_people("error", said.trim_end()));
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

/// A line for a terminal.
fn for_people(level: &str, message: &str) -> String {
    format!("casulo: {level}: {message}")
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

fn write_stderr(line: &str) {
    // In one write, or lines of two processes mix.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl Sink {
    fn text_line(&self, level: &str, message: &str) -> String {
        match self.place {
            // Who keeps messages has a time and a level for each of them.
            Some(Place::Journal { .. } | Place::Syslog { .. }) => message.to_owned(),
            None if level == "error" || level == "warning" => for_people(level, message),
            _ => {
                let time = humantime::format_rfc3339_seconds(SystemTime::now());
                let message = Value::from(message);
                format!("time=\"{time}\" level={level} msg={message}")
            }
        }
    }
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
            Format::Json => entry(level, &message).to_string(),
            Format::Text => self.text_line(level, &message),
        };
        match &self.place {
            Some(place) => place.write(record.level(), &line),
            None => write_stderr(&line),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use nix::errno::Errno;

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
