//! `state`, and the facts that `list` shows of each container.

use crate::cli::{Global, Id};
use crate::error::{Code, Error, Result};
use crate::state::{Dir, Seen, Status};
use nix::unistd::{Uid, User};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is printed of a container: the spec's state document (runtime.md, State) with `rootfs`, `created` and
/// `owner`, its members in runc's order, which scripts match line by line.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    /// Empty where nothing is known of the container.
    pub(super) oci_version: String,
    pub(super) id: String,
    /// 0 where it has ended.
    pub(super) pid: i32,
    pub(super) status: &'static str,
    pub(super) bundle: String,
    pub(super) rootfs: String,
    pub(super) created: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: String,
    /// The name of the scope that systemd made, as crun prints it.
    #[serde(rename = "systemd-scope", skip_serializing_if = "Option::is_none")]
    pub(super) systemd_scope: Option<String>,
}

/// `casulo state`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Id) -> Result<u8> {
    let seen = super::open(global, &args.id)?.look_once_made()?;
    let document = document_of(seen);
    if document.oci_version.is_empty() {
        let text = format!(
            "container {} has no record: nothing is known of it",
            args.id
        );
        return Err(Error::new(Code::State, text).hint("delete removes it"));
    }
    let text = serde_json::to_string_pretty(&document).expect("strings and a number");
    super::print(format!("{text}\n").as_bytes())?;
    Ok(0)
}

/// What a container's record and its processes say of it.
pub(super) fn document(dir: &Dir) -> Result<Document> {
    Ok(document_of(dir.look()?))
}

/// The same of these facts.
pub(super) fn document_of(seen: Seen) -> Document {
    let (facts, status) = (seen.state, seen.status);
    Document {
        oci_version: facts.oci_version,
        id: facts.id,
        pid: match status {
            Status::Stopped => 0,
            _ => facts.init_process_pid,
        },
        status: status.as_str(),
        bundle: facts.bundle.to_string_lossy().into(),
        rootfs: facts.rootfs.to_string_lossy().into(),
        created: facts.created,
        annotations: facts.annotations,
        owner: owner(facts.owner),
        systemd_scope: facts.systemd_scope.map(|scope| scope.unit),
    }
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}
