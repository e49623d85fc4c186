//! The directories of a cgroup and of those above it: made from the top down, removed from the bottom
//! up, while neighbours may do the same. Parent.

use super::hold::{self, Holder};
use crate::error::{Code, Error, Result};
use crate::mark;
use crate::step::{self, Step};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, mkdir};
use std::path::{Path, PathBuf};

/// How often directories are made anew when somebody else removes them at the same time.
const ATTEMPTS: usize = 8;

/// What [`make_directories`] did.
pub(super) struct Directories {
    /// The directories that were made, from the top down.
    pub(super) made: Vec<PathBuf>,
    /// The last one was there already.
    pub(super) existed: bool,
}

/// Makes the directory at `path` and those above it, below `mount`. Those above are held by `holder` at once.
pub(super) fn make_directories(
    path: &Path,
    mount: &Path,
    holder: Option<&Holder>,
) -> Result<Directories> {
    let mut made = Vec::new();
    let mut attempts = 0;
    // The parents exist almost always, so the directory itself is tried first.
    loop {
        let (failed, errno) = match mkdir(path, mark::MODE) {
            Ok(()) => {
                made.push(path.to_owned());
                return Ok(Directories {
                    made,
                    existed: false,
                });
            }
            Err(Errno::EEXIST) => {
                return Ok(Directories {
                    made,
                    existed: true,
                });
            }
            // Also when a neighbour removed a parent that had just become empty.
            Err(Errno::ENOENT) if attempts < ATTEMPTS => {
                attempts += 1;
                match make_parents(path, mount, holder, &mut made) {
                    Ok(()) => continue,
                    Err(failure) => failure,
                }
            }
            Err(errno) => (path, errno),
        };
        remove_empty(&made);
        let error = Error::step(
            Code::Cgroup,
            "make cgroup",
            failed.display().to_string(),
            errno,
        );
        return Err(match errno {
            Errno::EACCES | Errno::EPERM => error.hint(
                "without root a cgroup needs a delegated one above it, as systemd-run --user \
                 --scope -p Delegate=yes gives",
            ),
            Errno::EROFS => error.hint("the cgroup hierarchy is mounted read-only here"),
            Errno::EAGAIN => error.hint("cgroup.max.depth or cgroup.max.descendants is reached"),
            _ => error,
        });
    }
}

/// The directories between `mount` and `path`, both excluded, that do not exist, from the top down.
pub(super) fn missing_above(path: &Path, mount: &Path) -> Vec<PathBuf> {
    let is_missing =
        |directory: &&Path| access(*directory, AccessFlags::F_OK) == Err(Errno::ENOENT);
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .take_while(|directory| *directory != mount && directory.starts_with(mount))
        .take_while(is_missing)
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

/// Makes the missing directories between `mount` and `path`, both excluded, and notes them in `made`.
fn make_parents<'a>(
    path: &'a Path,
    mount: &Path,
    holder: Option<&Holder>,
    made: &mut Vec<PathBuf>,
) -> std::result::Result<(), (&'a Path, Errno)> {
    let mut above: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|directory| *directory != mount && directory.starts_with(mount))
        .collect();
    above.reverse();
    for directory in above {
        match mkdir(directory, mark::MODE) {
            Ok(()) => {
                made.push(directory.to_owned());
                step::begin_or_errno(Step::HoldCgroup).map_err(|errno| (directory, errno))?;
                if let Some(holder) = holder {
                    hold::hold_parent(directory, holder);
                }
            }
            // ENOENT: a neighbour has just removed the one above; the caller tries again.
            Err(Errno::EEXIST | Errno::ENOENT) => {}
            Err(errno) => return Err((directory, errno)),
        }
    }
    Ok(())
}

/// Removes the directory of a cgroup that has no process and no cgroup below it: almost always so when init
/// was the last to end, and then nothing else needs to be done. True if it is gone.
pub(crate) fn remove_unused(path: &Path) -> bool {
    std::fs::remove_dir(path).is_ok()
}

/// Removes directories that casulo made, from the bottom up, as far as nobody else uses them. Some may not be there:
/// a casulo that was killed had recorded them all before it made the first.
pub(crate) fn remove_empty(made: &[PathBuf]) {
    for directory in made.iter().rev() {
        match std::fs::remove_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_never_made_does_not_keep_those_above_it() {
        let base = tempfile::tempdir().expect("directory");
        let recorded = ["a", "a/b", "a/b/c"].map(|name| base.path().join(name));
        std::fs::create_dir(&recorded[0]).expect("made");
        remove_empty(&recorded);
        assert!(std::fs::metadata(&recorded[0]).is_err());
        // What somebody uses stays, with all above it.
        std::fs::create_dir_all(recorded[1].join("another")).expect("made");
        remove_empty(&recorded);
        assert!(std::fs::metadata(&recorded[1]).is_ok());
    }
}
