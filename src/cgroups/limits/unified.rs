//! `linux.resources.unified`: files of cgroup v2, named as the kernel names them. Pure.

use super::Setting;
use crate::error::Problems;
use std::collections::HashMap;

/// Adds the files, in the order of their names.
pub(super) fn settings(
    unified: &HashMap<String, String>,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    let mut entries: Vec<_> = unified.iter().collect();
    entries.sort();
    for (file, value) in entries {
        let path = format!("linux.resources.unified[\"{file}\"]");
        if let Err(why) = check_file_name(file) {
            problems.add(path, why);
        } else if value.trim().is_empty() || value.contains('\0') {
            problems.add(path, "empty, or with a NUL");
        } else {
            // Files like io.max take one line a write.
            let lines = value.lines().map(str::trim).filter(|it| !it.is_empty());
            settings.extend(lines.map(|line| Setting::must(file, line)));
        }
    }
}

/// A file that may be written for `unified`: one that belongs to a controller. The controller's
/// name is later written into cgroup.subtree_control, so it is a plain word.
fn check_file_name(file: &str) -> Result<(), &'static str> {
    let Some((controller, rest)) = file.split_once('.') else {
        return Err("not a file of a controller: CONTROLLER.NAME");
    };
    if matches!(file, "cgroup.max.depth" | "cgroup.max.descendants") {
        return Ok(());
    }
    if controller == "cgroup" {
        return Err("steers the cgroup itself (its processes, its state), not a resource");
    }
    let is_word = |text: &str, also: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || also.contains(c))
    };
    if is_word(controller, "") && is_word(rest, ".-") {
        Ok(())
    } else {
        Err("not the name of a file")
    }
}
