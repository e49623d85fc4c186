//! `update --l3-cache-schema`, `--mem-bw-schema`: another schemata for the class of a container that
//! runs. Parent, with the container's lock.

use super::{Class, refused, schemata, write};
use crate::error::{Code, Context, Problems, Result};
use oci_spec::runtime::LinuxIntelRdt;
use std::path::{Path, PathBuf};

/// What will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The class, a directory in resctrl.
    class: String,
    /// Lines for its `schemata` file. The resources that have none keep what they have.
    schemata: Vec<String>,
}

/// Decides. Pure. `container` is what was decided when the container was made. Only a class of its
/// own is changed: the others belong to their other users as well, or to the host.
pub(crate) fn plan(
    wanted: &LinuxIntelRdt,
    container: Option<&super::Plan>,
    problems: &mut Problems,
) -> Option<Plan> {
    let (schemata, _) = schemata(wanted, problems);
    if schemata.is_empty() {
        return None;
    }
    let why = match container.map(|it| &it.class) {
        Some(Class::Own(name)) => {
            let class = name.clone();
            return Some(Plan { class, schemata });
        }
        Some(Class::Shared(name)) => {
            format!("class {name} is not the container's own: change it in resctrl itself")
        }
        Some(Class::Default) => {
            "the container is in the host's own class: change it in resctrl itself".to_owned()
        }
        None => "the container has no class: its config has no intelRdt".to_owned(),
    };
    problems.add("linux.intelRdt", why);
    None
}

impl Plan {
    /// Writes the lines below `root` (see [`super::mount_of_host`]).
    ///
    /// # Errors
    /// `E_INTEL_RDT`, in the words of `info/last_cmd_status`; resctrl then takes none of the lines.
    pub(crate) fn write(&self, root: &Path) -> Result<Undo> {
        let file = root.join(&self.class).join("schemata");
        let old = std::fs::read_to_string(&file).context(Code::IntelRdt, "read", file.display())?;
        let text = self.schemata.join("\n") + "\n";
        let undo = Undo { file, old };
        match write(&undo.file, &text) {
            Ok(()) => Ok(undo),
            Err(errno) => {
                let error = refused("write", &undo.file, errno, root);
                // It checks all lines before it applies the first, but may stop between two.
                undo.restore();
                Err(error)
            }
        }
    }
}

/// The schemata of before.
#[derive(Debug)]
pub(crate) struct Undo {
    file: PathBuf,
    old: String,
}

impl Undo {
    /// Writes the old lines again: the file takes what it shows.
    pub(crate) fn restore(&self) {
        if let Err(errno) = write(&self.file, &self.old) {
            log::warn!("undo: write {}: {errno}", self.file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decide, resctrl, text};
    use super::*;

    fn update(json: &str, container: &str) -> std::result::Result<Option<Plan>, String> {
        let wanted = serde_json::from_str(json).expect("intelRdt");
        let container = match container {
            "" => None,
            json => Some(decide(json).expect("a plan")),
        };
        let mut problems = Problems::default();
        let plan = plan(&wanted, container.as_ref(), &mut problems);
        problems
            .into_result("u")
            .map_err(|error| error.to_string())?;
        Ok(plan)
    }

    #[test]
    fn only_a_class_of_the_container_is_changed() {
        let wanted = r#"{"l3CacheSchema":"L3:0=f"}"#;
        let plan = update(wanted, "{}").expect("no problem").expect("a plan");
        assert_eq!((plan.class.as_str(), plan.schemata.len()), ("web1", 1));
        for (container, why) in [
            ("", "the container has no class"),
            (
                r#"{"closID":"gold"}"#,
                "class gold is not the container's own",
            ),
            (
                r#"{"closID":"/"}"#,
                "the container is in the host's own class",
            ),
        ] {
            let error = update(wanted, container).expect_err(container);
            assert!(
                error.starts_with(&format!("u: linux.intelRdt: {why}")),
                "{error}"
            );
        }
        assert_eq!(update("{}", ""), Ok(None));
        let error = update(r#"{"memBwSchema":"L3:0=f"}"#, "{}").expect_err("no MB: line");
        assert!(
            error.starts_with("u: linux.intelRdt.memBwSchema: "),
            "{error}"
        );
    }

    #[test]
    fn the_lines_are_written_and_the_old_text_comes_back() {
        let root = resctrl(&["web1"]);
        let before = text(&root, "web1/schemata");
        let plan = update(
            r#"{"l3CacheSchema":"L3:0=1;1=1","memBwSchema":"MB:0=20"}"#,
            "{}",
        );
        let plan = plan.expect("no problem").expect("a plan");
        let undo = plan.write(root.path()).expect("written");
        assert!(text(&root, "web1/schemata").starts_with("L3:0=1;1=1\nMB:0=20\n"));
        undo.restore();
        assert_eq!(text(&root, "web1/schemata"), before);
    }

    #[test]
    fn a_class_that_is_gone_is_an_error() {
        let root = resctrl(&[]);
        let plan = update(r#"{"l3CacheSchema":"L3:0=1"}"#, "{}");
        let plan = plan.expect("no problem").expect("a plan");
        let error = plan.write(root.path()).expect_err("no such class");
        assert_eq!(error.code, Code::IntelRdt);
    }
}
