//! `delete`

use crate::cli::{Delete, Global};
use crate::container::{self, Force};
use crate::error::{Code, Result};

/// `casulo delete`; with `--force` a container that is not there is as good as deleted.
#[inline(never)]
pub(super) fn run(global: &Global, args: &Delete) -> Result<u8> {
    let force = if args.force { Force::Yes } else { Force::No };
    let dir = super::store(global)?.open(&args.id);
    match dir.and_then(|dir| container::delete(dir, force)) {
        // Never there, or another delete was faster.
        Err(error) if args.force && error.code == Code::NotFound => Ok(0),
        result => result.map(|()| 0),
    }
}
