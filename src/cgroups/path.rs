//! `linux.cgroupsPath` → the cgroup's directory on the host. Pure.

use super::JSON;
use crate::error::Problems;
use crate::host::{CgroupMount, Host};
use std::path::{Component, Path, PathBuf};

/// Decides where the cgroup of container `id` is: an absolute path below `mount.path`.
///
/// - absolute `/a/b`: `<mount>/a/b`, as the spec says;
/// - relative `a/b`: the spec leaves the place to us but wants the same value to mean the same
///   place. For root it is `<mount>/a/b`, wherever casulo itself runs (as crun; runc starts at the
///   caller's cgroup);
/// - absent or empty: `<mount>/<id>`.
///
/// A rootless caller may write nothing near the top, so for them the last two start beside the
/// caller's own cgroup, in the directory that was delegated to them if any was. Beside and not below:
/// a cgroup with processes cannot give controllers to cgroups below it (cgroups(7), "no internal
/// processes").
///
/// None (and a problem) for a path with `..`, for the root cgroup, and for bytes the kernel does
/// not take in a name.
pub(crate) fn plan(
    cgroups_path: Option<&Path>,
    id: &str,
    mount: &CgroupMount,
    host: &Host,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let wanted = cgroups_path.unwrap_or(Path::new(id));
    let names = match names(wanted) {
        Ok(names) => names,
        Err(why) => {
            problems.add(JSON, why);
            return None;
        }
    };
    let mut path = mount.path.clone();
    if host.rootless && !wanted.is_absolute() {
        let beside = mount.own.as_deref().and_then(Path::parent);
        // A path that the kernel reports never has `..` here: own_cgroup() sorts those out.
        path.extend(beside.into_iter().flat_map(Path::components).skip(1));
    }
    path.push(names);
    Some(path)
}

/// The path without its leading slash and without `.`; or why it cannot be accepted.
fn names(path: &Path) -> Result<PathBuf, &'static str> {
    if path.to_string_lossy().contains(['\0', '\n']) {
        // The kernel refuses a newline: /proc/PID/cgroup could not be parsed any more.
        return Err("has a NUL or a newline");
    }
    let mut names = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return Err("must not contain `..`"),
        }
    }
    if names.as_os_str().is_empty() {
        return Err("names the root cgroup, which belongs to the host");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::tests::host;

    fn place(path: Option<&str>, own: Option<&str>) -> Result<PathBuf, String> {
        let mut host = host();
        host.rootless = own.is_some();
        let mount = CgroupMount {
            path: "/sys/fs/cgroup".into(),
            own: own.map(PathBuf::from),
        };
        let mut problems = Problems::default();
        let path = plan(path.map(Path::new), "web1", &mount, &host, &mut problems);
        problems
            .into_result("c")
            .map_err(|error| error.to_string())
            .map(|()| path.expect("a path when there is no problem"))
    }

    #[test]
    fn root_gets_every_path_below_the_mount() {
        for (path, expected) in [
            (Some("/a/b"), "/sys/fs/cgroup/a/b"),
            (Some("a/b"), "/sys/fs/cgroup/a/b"),
            (Some("//a/./b/"), "/sys/fs/cgroup/a/b"),
            (
                Some("system.slice:docker:1"),
                "/sys/fs/cgroup/system.slice:docker:1",
            ),
            (None, "/sys/fs/cgroup/web1"),
        ] {
            assert_eq!(place(path, None), Ok(expected.into()), "{path:?}");
        }
    }

    #[test]
    fn a_rootless_caller_gets_a_sibling_of_their_own_cgroup() {
        for (path, own, expected) in [
            (
                None,
                "/user.slice/u/app.slice/x.scope",
                "user.slice/u/app.slice/web1",
            ),
            (Some("pod/1"), "/user.slice/x", "user.slice/pod/1"),
            (Some("/a/b"), "/user.slice/x", "a/b"),
            (None, "/", "web1"),
        ] {
            assert_eq!(
                place(path, Some(own)),
                Ok(Path::new("/sys/fs/cgroup").join(expected)),
                "{path:?}"
            );
        }
    }

    #[test]
    fn paths_that_climb_or_name_the_root_are_problems() {
        for path in ["/..", "a/../b", "../a", "/", ".", "a\nb", "a\0"] {
            let error = place(Some(path), None).expect_err(path);
            assert!(error.starts_with("c: linux.cgroupsPath: "), "{error}");
        }
    }
}
