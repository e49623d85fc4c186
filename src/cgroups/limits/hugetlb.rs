//! `linux.resources.hugepageLimits` → `hugetlb.SIZE.max` and `hugetlb.SIZE.rsvd.max`. Pure.

use super::Setting;
use crate::error::Problems;
use oci_spec::runtime::LinuxHugepageLimit;

/// Adds the limits, in their order. A limit of 0 is one: kubelet writes it for a pod that asked for
/// no huge pages.
pub(super) fn settings(
    limits: &[LinuxHugepageLimit],
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    for (index, it) in limits.iter().enumerate() {
        let path = format!("linux.resources.hugepageLimits[{index}]");
        let size = it.page_size();
        if !is_page_size(size) {
            problems.add(
                format!("{path}.pageSize"),
                "not a size like 64KB, 2MB or 1GB",
            );
        } else if it.limit() < 0 {
            problems.add(format!("{path}.limit"), "must not be negative");
        } else {
            // Pages that are reserved and not touched yet (mmap) have a count of their own: beyond
            // that limit mmap fails, beyond the first the page fault is a SIGBUS.
            for file in ["max", "rsvd.max"] {
                settings.push(Setting::new(&format!("hugetlb.{size}.{file}"), it.limit()));
            }
        }
    }
}

/// The spec's `<size><unit-prefix>B`, as the kernel names its files.
fn is_page_size(text: &str) -> bool {
    let digits = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| text.strip_suffix(unit));
    digits.is_some_and(|digits| {
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
