//! `linux.cgroupsPath` of the systemd driver, `SLICE:PREFIX:NAME` → the names of the slice and of
//! the scope. Pure. Which directories a slice has is systemd's to know: `a-b.slice` lies in `a.slice`
//! (systemd.slice(5)), and systemd makes both.

use super::Manager;
use std::path::Path;

/// The longest name of a unit: `UNIT_NAME_MAX` of systemd, without the NUL.
const LONGEST: usize = 255;

/// The two units of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// `machine.slice`
    pub(super) slice: String,
    /// `libpod-1234.scope`
    pub(super) scope: String,
}

/// Decides the names. Absent or empty is `casulo-ID.scope` in the slice for what is no service: of
/// the system, or of the user.
///
/// # Errors
/// What is wrong with the path.
pub(super) fn plan(path: Option<&Path>, id: &str, manager: &Manager) -> Result<Names, String> {
    let usual = match manager {
        Manager::System => "system.slice",
        Manager::User { .. } => "user.slice",
    };
    let (slice, prefix, name) = match path {
        None => (usual, "casulo", id),
        Some(path) => {
            let text = path.to_str().ok_or("not UTF-8")?;
            let parts: Vec<&str> = text.split(':').collect();
            let [slice, prefix, name] = parts.as_slice() else {
                return Err(format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd \
                     cgroups, got {text:?} instead"
                ));
            };
            (
                if slice.is_empty() { usual } else { *slice },
                *prefix,
                *name,
            )
        }
    };
    if name.is_empty() {
        return Err("the name of the scope is empty".to_owned());
    }
    if name.ends_with(".slice") {
        return Err(format!(
            "{name:?} names a slice, which holds no process itself: name a scope"
        ));
    }
    let scope = match prefix {
        "" => format!("{name}.scope"),
        prefix => format!("{prefix}-{name}.scope"),
    };
    check_unit(&scope)?;
    check_unit(slice)?;
    check_slice(slice)?;
    Ok(Names {
        slice: slice.to_owned(),
        scope,
    })
}

/// systemd.unit(5): letters, digits and `:-_.\@`, not too many of them.
fn check_unit(name: &str) -> Result<(), String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if let Some(bad) = name.chars().find(|c| !is_good(*c)) {
        return Err(format!("the name of a unit must not have {bad:?}"));
    }
    if name.len() > LONGEST {
        return Err(format!(
            "{name:?} is longer than {LONGEST}, the most for a unit"
        ));
    }
    Ok(())
}

/// systemd.slice(5): the dashes tell the slices above, so no part between them is empty. `-.slice`
/// alone is the root.
fn check_slice(slice: &str) -> Result<(), String> {
    let Some(path) = slice.strip_suffix(".slice") else {
        return Err(format!("{slice:?} is not the name of a slice"));
    };
    if path != "-" && path.split('-').any(str::is_empty) {
        return Err(format!("{slice:?} has an empty part between its dashes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Manager {
        Manager::User {
            runtime_dir: "/run/user/1000".into(),
        }
    }

    fn names(path: &str, manager: &Manager) -> Result<(String, String), String> {
        let path = Some(Path::new(path)).filter(|it| !it.as_os_str().is_empty());
        plan(path, "web1", manager).map(|it| (it.slice, it.scope))
    }

    #[test]
    fn three_parts_become_a_slice_and_a_scope() {
        for (path, manager, slice, scope) in [
            (
                "machine.slice:libpod:12",
                &Manager::System,
                "machine.slice",
                "libpod-12.scope",
            ),
            ("a-b-c.slice::x", &Manager::System, "a-b-c.slice", "x.scope"),
            (
                ":docker:x",
                &Manager::System,
                "system.slice",
                "docker-x.scope",
            ),
            (":docker:x", &user(), "user.slice", "docker-x.scope"),
            ("-.slice:p:x", &Manager::System, "-.slice", "p-x.scope"),
            ("", &Manager::System, "system.slice", "casulo-web1.scope"),
            ("", &user(), "user.slice", "casulo-web1.scope"),
        ] {
            assert_eq!(
                names(path, manager),
                Ok((slice.into(), scope.into())),
                "{path}"
            );
        }
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        let long = format!("a.slice:p:{}", "x".repeat(250));
        for (path, why) in [
            ("/a/b", "of format \"slice:prefix:name\""),
            ("a.slice:b", "of format"),
            ("a.slice:b:c:d", "of format"),
            ("a.slice:b:", "empty"),
            ("a.slice:b:c.slice", "names a slice"),
            ("a.service:b:c", "not the name of a slice"),
            ("a--b.slice:p:n", "empty part"),
            ("-a.slice:p:n", "empty part"),
            (".slice:p:n", "empty part"),
            ("a.slice:p:n/m", "must not have '/'"),
            ("../a.slice:p:n", "must not have '/'"),
            ("a.slice:p:n\nm", "must not have '\\n'"),
            ("a.slice:p:ü", "must not have 'ü'"),
            (long.as_str(), "longer than 255"),
        ] {
            let error = names(path, &Manager::System).expect_err(path);
            assert!(error.contains(why), "{path}: {error}");
        }
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a.slice:p:\xff"));
        assert_eq!(
            plan(Some(path), "w", &Manager::System),
            Err("not UTF-8".to_owned())
        );
    }
}
