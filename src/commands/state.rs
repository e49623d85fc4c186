//! `state`, and the facts that `list` shows of each container.

use crate::cli::{Global, Id};
use crate::error::Result;
use crate::state::{self, Dir, State, Status};
use nix::unistd::{Uid, User};
use serde_json::Value;

/// `casulo state`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Id) -> Result<u8> {
    let document = document(&super::store(global)?.open(&args.id)?)?;
    super::print(format!("{document:#}\n").as_bytes())?;
    Ok(0)
}

/// The spec's state document with `rootfs`, `created` and `owner` added, as runc prints it.
pub(super) fn document(dir: &Dir) -> Result<Value> {
    document_of(dir, dir.read()?)
}

/// The same of these facts.
pub(super) fn document_of(dir: &Dir, facts: State) -> Result<Value> {
    let (status, _) = state::status(dir, &facts)?;
    let pid = if status == Status::Stopped {
        0
    } else {
        facts.init_process_pid
    };
    let mut document = facts.document(status, pid);
    document["rootfs"] = facts.rootfs.to_string_lossy().into();
    document["created"] = facts.created.into();
    document["owner"] = owner(facts.owner).into();
    Ok(document)
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}
