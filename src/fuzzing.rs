//! What a fuzzer calls (`fuzz/`), and the tests with the inputs that it kept (`fuzz/corpus`): for each
//! border a function of bytes that panics where a property does not hold. For tests and fuzzing only.

mod bytes;
mod cgroup;
mod config;
mod seccomp;
mod words;

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("cgroup_path", cgroup::cgroup_path),
    ("command_line", words::command_line),
    ("config", config::config),
    ("devices", cgroup::devices),
    ("id_maps", config::id_maps),
    ("mount_options", config::mount_options),
    ("process", config::process),
    ("seccomp", seccomp::seccomp),
    ("state", config::state),
    ("sync_message", words::sync_message),
    ("user", words::user),
];

/// Runs the target of this name.
///
/// # Panics
/// Where the target's property does not hold, and for a name that is none.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|it| it.0 == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no target {name}"));
    target(bytes);
}

#[cfg(test)]
mod tests;
