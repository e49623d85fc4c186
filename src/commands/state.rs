//! `state`, and the facts that `list` shows of each container.

use crate::cli::{Global, Id};
use crate::error::{Code, Error, Result};
use crate::state::{Dir, Seen, Status};
use nix::unistd::{Uid, User};
use serde_json::Value;

/// `casulo state`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Id) -> Result<u8> {
    let seen = super::open(global, &args.id)?.look_once_made()?;
    let document = document_of(seen);
    if document["ociVersion"] == "" {
        let text = format!(
            "container {} has no record: nothing is known of it",
            args.id
        );
        return Err(Error::new(Code::State, text).hint("delete removes it"));
    }
    super::print(format!("{document:#}\n").as_bytes())?;
    Ok(0)
}

/// The spec's state document with `rootfs`, `created` and `owner` added, as runc prints it.
pub(super) fn document(dir: &Dir) -> Result<Value> {
    Ok(document_of(dir.look()?))
}

/// The same of these facts.
pub(super) fn document_of(seen: Seen) -> Value {
    let (facts, status) = (seen.state, seen.status);
    let pid = if status == Status::Stopped {
        0
    } else {
        facts.init_process_pid
    };
    let mut document = facts.document(status, pid);
    document["rootfs"] = facts.rootfs.to_string_lossy().into();
    document["created"] = facts.created.into();
    document["owner"] = owner(facts.owner).into();
    document
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}
