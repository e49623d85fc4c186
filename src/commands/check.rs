//! `check`

use crate::bundle::Unread;
use crate::check::{self, Code, Files, Finding, Severity};
use crate::cli::{Check, CheckFormat, FailOn, Global};
use crate::error::{Code as ErrorCode, Error, Result};
use crate::host::Host;
use crate::log::one_line;
use crate::options::Options;
use serde_json::{Value, json};
use std::fmt::Write;

/// Of the JSON document: raised when a member changes its meaning or goes away.
pub(super) const VERSION: u32 = 1;

/// The id of the container that is not made: the default cgroup has its name.
const ID: &str = "casulo-check";

/// `casulo check`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Check) -> Result<u8> {
    let accepted = accepted(&args.accept)?;
    let bundle = Unread::open(&args.bundle, args.config.as_deref())?;
    let host = Host::ask(None, super::rootless(global))?;
    let options = Options {
        cgroup_manager: super::cgroup_manager(global),
        ..Options::new(ID.parse()?, bundle.path.clone())
    };
    let all = check::check(&bundle, &options, &host, &Files::of_host())?;
    let before = all.len();
    let findings: Vec<Finding> = all
        .into_iter()
        .filter(|it| !accepted.contains(&it.code))
        .collect();
    let summary = Summary::of(&findings, before - findings.len());
    let text = match args.format {
        CheckFormat::Text => text(&findings, &summary),
        CheckFormat::Json => format!("{:#}\n", document(&bundle, &findings, &summary)),
    };
    super::print(text.as_bytes())?;
    Ok(exit_status(&summary, args.fail_on))
}

/// A code that does not exist would accept nothing, unnoticed.
fn accepted(names: &[String]) -> Result<Vec<Code>> {
    names
        .iter()
        .map(|name| {
            Code::parse(name).ok_or_else(|| {
                Error::new(
                    ErrorCode::Usage,
                    format!("--accept: there is no code {name:?}"),
                )
            })
        })
        .collect()
}

/// How many of each.
struct Summary {
    fail: usize,
    danger: usize,
    weak: usize,
    accepted: usize,
}

impl Summary {
    fn of(findings: &[Finding], accepted: usize) -> Summary {
        let count = |severity| {
            let same = findings.iter().filter(|it| it.code.severity() == severity);
            same.count()
        };
        Summary {
            fail: count(Severity::Fail),
            danger: count(Severity::Danger),
            weak: count(Severity::Weak),
            accepted,
        }
    }
}

fn exit_status(summary: &Summary, fail_on: FailOn) -> u8 {
    match fail_on {
        FailOn::Never => 0,
        _ if summary.fail > 0 => 2,
        FailOn::Danger if summary.danger > 0 => 3,
        FailOn::Weak if summary.danger + summary.weak > 0 => 3,
        FailOn::Fail | FailOn::Danger | FailOn::Weak => 0,
    }
}

fn text(findings: &[Finding], summary: &Summary) -> String {
    let mut text = String::new();
    for finding in findings {
        let code = finding.code;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<6} {} {}: {} [{}]",
            code.severity().as_str(),
            code.as_str(),
            one_line(&finding.path),
            one_line(&finding.message),
            code.hint()
        );
    }
    let Summary {
        fail,
        danger,
        weak,
        accepted,
    } = summary;
    let _ = write!(text, "{fail} fail, {danger} danger, {weak} weak");
    if *accepted > 0 {
        let _ = write!(text, ", {accepted} accepted");
    }
    text.push('\n');
    text
}

fn document(bundle: &Unread, findings: &[Finding], summary: &Summary) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|it| {
            json!({
                "code": it.code.as_str(),
                "severity": it.code.severity().as_str(),
                "path": it.path,
                "message": it.message,
                "hint": it.code.hint(),
            })
        })
        .collect();
    json!({
        "version": VERSION,
        "casulo": env!("CARGO_PKG_VERSION"),
        "bundle": bundle.path,
        "config": bundle.file,
        "findings": findings,
        "summary": {
            "fail": summary.fail,
            "danger": summary.danger,
            "weak": summary.weak,
            "accepted": summary.accepted,
        },
    })
}
