//! The lines that name the runtime to each engine, from the documentation: what a user copies from
//! there is what the tests run with.

use crate::support::Lab;
use std::path::Path;

const DOCUMENT: &str = include_str!("../../docs/engines.md");

/// Where the document says that casulo is.
const PATH: &str = "/usr/local/bin/casulo";

/// The lines of the document's block for a file, with the runtime under test in casulo's place.
pub(crate) fn of(lab: &Lab, file: &str) -> String {
    let text = block(file);
    assert!(
        text.contains(PATH),
        "docs/engines.md names casulo to {file}"
    );
    text.replace(PATH, &lab.runtime().to_string_lossy())
}

/// The lines of the document's block for a file, as they stand.
pub(crate) fn block(file: &str) -> String {
    let heading = format!(" {file}");
    let lines: Vec<&str> = DOCUMENT
        .lines()
        .skip_while(|line| !(line.starts_with("```") && line.ends_with(&heading)))
        .skip(1)
        .take_while(|line| *line != "```")
        .collect();
    lines.join("\n") + "\n"
}

/// True where pid 1 is systemd: containers are scopes there.
pub(crate) fn under_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}
