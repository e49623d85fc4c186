//! Devices: rules that let too much through, and nodes that are the machine's memory or disks.

use crate::cgroups::devices;
use crate::check::{Code, Findings, Subject};
use crate::error::Problems;
use crate::rootfs::devices::{Kind, Origin};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// Character devices that are the machine's memory, I/O ports or log: admin-guide/devices.rst.
const CHARS: [(u32, u32, &str); 4] = [
    (1, 1, "the machine's memory"),
    (1, 2, "the kernel's memory"),
    (1, 4, "the machine's I/O ports"),
    (1, 11, "the kernel's log"),
];

/// Adds the cgroup's rules that allow too much. In a user namespace no node can be made, so there the rules
/// only restrict nodes that are bound, and none is added.
pub(super) fn rules(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.is_in_user_namespace() {
        return;
    }
    let resources = subject
        .spec
        .linux()
        .as_ref()
        .and_then(|it| it.resources().as_ref());
    let rules = resources
        .and_then(|it| it.devices().as_deref())
        .unwrap_or_default();
    // The problems of the rules are in the plan's.
    let policy = devices::plan(rules, &mut Problems::default());
    let path = "linux.resources.devices";
    if policy.allows_everything() {
        let why = "every device of the host may be opened, disks too";
        findings.add(Code::DevicesAllAllowed, path, why);
        return;
    }
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.allow()) {
        if let Some(what) = danger(rule) {
            findings.add(
                Code::DeviceDangerous,
                format!("{path}[{index}]"),
                format!("allows {what}"),
            );
        }
    }
}

/// Returns what a rule opens to the container, if that deserves a finding. mknod alone opens nothing.
fn danger(rule: &LinuxDeviceCgroup) -> Option<&'static str> {
    let access = rule.access().as_deref().unwrap_or_default();
    if !access.contains(['r', 'w']) {
        return None;
    }
    let number = |it: Option<i64>| it.filter(|it| *it >= 0);
    match rule.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::B => Some("block devices: what is on a disk, past its file system"),
        LinuxDeviceType::A => Some("devices of all types, disks too"),
        _ => match (number(rule.major()), number(rule.minor())) {
            (None, _) => Some("all character devices"),
            (Some(1), None) => Some("/dev/mem and its neighbours"),
            (Some(major), Some(minor)) => CHARS
                .iter()
                .find(|it| (i64::from(it.0), i64::from(it.1)) == (major, minor))
                .map(|it| it.2),
            _ => None,
        },
    }
}

/// Adds the dangerous nodes in `linux.devices`.
pub(super) fn nodes(subject: &Subject<'_>, findings: &mut Findings) {
    let configured = subject
        .spec
        .linux()
        .as_ref()
        .and_then(|it| it.devices().as_ref());
    for device in &subject.plan.rootfs.devices.devices {
        let what = match device.kind {
            _ if device.origin == Origin::Default => continue,
            Kind::Block => Some("a block device: what is on the disk, past its file system"),
            Kind::Char => CHARS
                .iter()
                .find(|it| (it.0, it.1) == (device.major, device.minor))
                .map(|it| it.2),
            Kind::Fifo => None,
        };
        let index =
            configured.and_then(|list| list.iter().position(|it| it.path() == &device.path));
        if let (Some(what), Some(index)) = (what, index) {
            let why = format!("{} is {what}", device.path.display());
            findings.add(
                Code::DeviceDangerous,
                format!("linux.devices[{index}]"),
                why,
            );
        }
    }
}
