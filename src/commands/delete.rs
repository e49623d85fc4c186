//! `delete`

use crate::cli::{Delete, Global};
use crate::container::{self, Force};
use crate::error::{Code, Result};

/// `casulo delete`; with `--force` a container that is not there is as good as deleted.
#[inline(never)]
pub(super) fn run(global: &Global, args: &Delete) -> Result<u8> {
    let force = if args.force { Force::Yes } else { Force::No };
    let store = super::store(global)?;
    match store
        .open(&args.id.parse()?)
        .and_then(|dir| container::delete(dir, force))
    {
        // Never there, or another delete was faster.
        Err(error) if error.code == Code::NotFound => {
            store.remove_unnamed()?;
            if args.force { Ok(0) } else { Err(error) }
        }
        result => result.map(|()| 0),
    }
}
