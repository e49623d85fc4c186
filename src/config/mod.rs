//! config.json and process.json: bytes in, oci-spec's types out. Runs in the parent; pure.
//!
//! ```text
//! bytes ─► fast path: straight into the types ────────────────┐
//!             │ failed, or the types say something doubtful   ├─► tidy ─► check ─► Spec
//!             └─► repair: JSON values ─► mend ─► types ───────┘
//! ```
//! oci-spec's types differ from the specification in a few places: they misspell two scheduler
//! flags, fail on an unknown capability, read `"pids": {}` as a limit of 0 and so on; and where Go's
//! decoder takes `CPU` for `cpu`, they take it for nothing. This is the
//! one border where that is set right; nothing behind it needs to know. The repair costs a second
//! parse, so it only runs where the first one failed or may have misread something.
//!
//! Everything wrong is collected, each problem with its JSON path; only a text that is not JSON at
//! all stops at the first.

pub(crate) mod annotations;
pub(crate) mod case;
mod check;
pub(crate) mod names;
mod repair;

use crate::error::{Code, Error, Problems, Result};
use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read};

/// Largest file that is read, in bytes. Real configs stay below one MiB; the bound keeps a wrong
/// path (a disk image, /dev/zero) from filling the memory.
pub const MAX_BYTES: usize = 16 << 20;

/// All of `file`, up to one byte more than is accepted: who parses it sees a file that is too large, and says
/// so.
///
/// # Errors
/// That of read(2).
pub(crate) fn read(file: File) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_BYTES).expect("a constant");
    // A regular file says its size; what else there is gives as much as it likes, up to the limit.
    let expected = file.metadata().map_or(0, |about| about.len().min(most));
    let expected = usize::try_from(expected).expect("MAX_BYTES at most");
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A JSON path and what is wrong with the value there.
pub(crate) type Problem = (String, String);

/// Parses and checks config.json. `file` names it in errors.
///
/// A missing `process` is no error here: the specification wants it only for `start`; see
/// [`require_process`]. Sections of other platforms (`windows`, `vm`, …) and unknown fields are
/// ignored, whatever they hold.
///
/// It is on the heap: of its 3000 bytes every place that they are moved to would be a page of the stack.
///
/// # Errors
/// `E_CONFIG`, naming every problem found.
pub fn parse(bytes: &[u8], file: &str) -> Result<Box<Spec>> {
    let (spec, problems) = parse_lenient(bytes, file)?;
    report(problems, file)?;
    spec.ok_or_else(|| unreadable(file))
}

/// Parses and checks config.json, and goes on where [`parse`] stops: every problem found, each with its
/// JSON path, and the config, in which a stand-in has the place of a value that cannot be read. No
/// config where not even that could be made.
///
/// # Errors
/// `E_CONFIG` for a text that is no JSON object at all.
pub(crate) fn parse_lenient(bytes: &[u8], file: &str) -> Result<(Option<Box<Spec>>, Vec<Problem>)> {
    let text = text(bytes, file)?;
    let mut problems = Vec::new();
    let mut spec = match straight::<Box<Spec>>(text).filter(|spec| !check::is_doubtful(spec)) {
        Some(spec) => Some(spec),
        None => repair::parse::<Box<Spec>>(text, "", file, &mut problems)?,
    };
    if let Some(spec) = &mut spec {
        check::normalise(spec);
        let mut found = Vec::new();
        check::check(spec, &mut found);
        // What stands at or below a path that has a problem is a stand-in, not the user's value.
        found.retain(|(path, _)| !problems.iter().any(|(known, _)| is_within(path, known)));
        problems.append(&mut found);
    }
    Ok((spec, problems))
}

/// Parses a process.json (`exec --process`): the `process` object of a config, alone. Paths in
/// errors start at that object. `file` names it in errors.
///
/// # Errors
/// `E_CONFIG`, naming every problem found.
pub fn parse_process(bytes: &[u8], file: &str) -> Result<Process> {
    let text = text(bytes, file)?;
    let mut problems = Vec::new();
    let process =
        match straight::<Process>(text).filter(|process| !check::is_doubtful_process(process)) {
            Some(process) => Some(process),
            None => repair::parse::<Process>(text, "process.", file, &mut problems)?,
        };
    report(problems, file)?;
    let mut process = process.ok_or_else(|| unreadable(file))?;
    check::normalise_process(&mut process);
    Ok(process)
}

/// Parses the resources of an update: the `linux.resources` object of a config, alone. Paths in
/// errors start at the config's root, as those that the plan of the resources finds. `file` names
/// the text in errors.
///
/// # Errors
/// `E_CONFIG`, naming every problem found.
pub fn parse_resources(bytes: &[u8], file: &str) -> Result<LinuxResources> {
    const ROOT: &str = "linux.resources.";
    let text = text(bytes, file)?;
    let mut problems = Vec::new();
    let resources = match straight::<LinuxResources>(text)
        .filter(|resources| !check::is_doubtful_resources(resources))
    {
        Some(resources) => Some(resources),
        None => repair::parse::<LinuxResources>(text, ROOT, file, &mut problems)?,
    };
    for (path, _) in &mut problems {
        path.insert_str(0, ROOT);
    }
    if let Some(mut resources) = resources {
        check::normalise_resources(&mut resources);
        let mut found = Vec::new();
        check::check_resources(&resources, &mut found);
        found.retain(|(path, _)| !problems.iter().any(|(known, _)| is_within(path, known)));
        problems.append(&mut found);
        report(problems, file)?;
        return Ok(resources);
    }
    report(problems, file)?;
    Err(unreadable(file))
}

/// The process of a config that is about to be started: config.md, "process", makes it required
/// for `start` alone. `run` calls this before anything is made.
///
/// # Errors
/// `E_CONFIG` if `process` is missing.
pub fn require_process<'a>(spec: &'a Spec, file: &str) -> Result<&'a Process> {
    spec.process().as_ref().ok_or_else(|| {
        Error::new(
            Code::Config,
            format!("{file}: process: missing, there is nothing to start"),
        )
    })
}

/// The file as text. Checked once, here, so that the parser need not look at every string again.
fn text<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::new(
            Code::Config,
            format!("{file}: larger than {} MiB", MAX_BYTES >> 20),
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        Error::new(
            Code::Config,
            format!("{file}: not UTF-8 at byte {}", error.valid_up_to()),
        )
    })
}

/// The fast path. None means only that the text needs a closer look. An array is not tried: serde
/// would take its elements for the fields, in order. Nor is a text with an escaped NUL, which
/// would end a C string early, far from here, or with a member's name in another case.
fn straight<T: DeserializeOwned>(text: &str) -> Option<T> {
    let has_nul = text.contains('\\') && text.contains("\\u0000");
    if has_nul || !text.trim_ascii_start().starts_with('{') || case::is_doubtful(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// True if the value at `path` is the one at `outer` or inside it.
pub(crate) fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn report(found: Vec<Problem>, file: &str) -> Result<()> {
    let mut problems = Problems::default();
    for (path, why) in found {
        problems.add(path, why);
    }
    problems.into_result(file)
}

/// For the case that cannot be: no value and no problem either.
fn unreadable(file: &str) -> Error {
    Error::new(Code::Config, format!("{file}: cannot be read as a config"))
}
