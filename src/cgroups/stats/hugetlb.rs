//! `hugetlb.SIZE.*`.

use super::text::number;
use crate::cgroups::fs::value_of;
use serde::Serialize;

/// Huge pages of one size, in bytes. The most that was ever used, runc's `max`, is not counted in
/// v2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct HugeTlb {
    /// Used now, reserved ones included where the kernel counts them.
    pub usage: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

impl HugeTlb {
    pub(super) fn read(size: &str, file: impl Fn(&str) -> Option<String>) -> HugeTlb {
        let file = |end: &str| file(&format!("hugetlb.{size}.{end}"));
        let usage = file("rsvd.current").or_else(|| file("current"));
        let events = file("events").unwrap_or_default();
        HugeTlb {
            usage: usage.as_deref().and_then(number).unwrap_or_default(),
            failcnt: value_of(&events, "max").unwrap_or_default(),
        }
    }
}
