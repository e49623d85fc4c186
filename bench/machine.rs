//! What the report says about the machine.

use std::fs;

/// The kernel's release.
pub(crate) fn kernel() -> String {
    read("/proc/sys/kernel/osrelease")
}

/// The machine in rows of a name and a value.
pub(crate) fn describe() -> Vec<(String, String)> {
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cpus = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let system = read("/etc/os-release");
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned();
    [
        ("CPU", format!("{cpus} × {}", field(&cpuinfo, "model name"))),
        ("Memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("System", system),
        ("Kernel", kernel()),
        ("Security modules", read("/sys/kernel/security/lsm")),
        (
            "Controllers of cgroup v2",
            read("/sys/fs/cgroup/cgroup.controllers"),
        ),
        ("Load at the start", read("/proc/loadavg")),
    ]
    .into_iter()
    .map(|(name, value)| {
        if value.is_empty() {
            (name.to_owned(), "none".to_owned())
        } else {
            (name.to_owned(), value)
        }
    })
    .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
