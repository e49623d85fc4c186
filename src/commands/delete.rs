//! `delete`

use crate::cli::{Delete, Global};
use crate::container::{self, Force};
use crate::error::{Code, Result};
use crate::id::Id;

/// `casulo delete`; with `--force` a container that is not there is as good as deleted.
#[inline(never)]
pub(super) fn run(global: &Global, args: &Delete) -> Result<u8> {
    let force = if args.force { Force::Yes } else { Force::No };
    if args.regex {
        super::each_matching(global, &args.id, |id| delete(global, id, force))?;
    } else {
        delete(global, &args.id.parse()?, force)?;
    }
    Ok(0)
}

fn delete(global: &Global, id: &Id, force: Force) -> Result<()> {
    let store = super::store(global)?;
    match store.open(id).and_then(|dir| container::delete(dir, force)) {
        // Never there, or another delete was faster.
        Err(error) if error.code == Code::NotFound => {
            store.remove_unnamed()?;
            match force {
                Force::Yes => Ok(()),
                Force::No => Err(error),
            }
        }
        result => result,
    }
}
