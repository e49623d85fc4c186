//! `rdma.current` and `rdma.max`. Not in runc's events; the members have the names of the
//! config's limits.

use super::text::nested_keyed;
use serde::Serialize;
use std::collections::BTreeMap;

/// RDMA devices by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Rdma {
    /// Used now.
    pub current: BTreeMap<String, Resources>,
    /// The limits.
    pub limit: BTreeMap<String, Resources>,
}

/// Of one device; absent without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resources {
    /// Handles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u64>,
    /// Objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u64>,
}

impl Rdma {
    pub(super) fn read(file: impl Fn(&str) -> Option<String>) -> Rdma {
        let devices = |name: &str| parse(&file(name).unwrap_or_default());
        Rdma {
            current: devices("rdma.current"),
            limit: devices("rdma.max"),
        }
    }
}

fn parse(text: &str) -> BTreeMap<String, Resources> {
    nested_keyed(text)
        .map(|(device, fields)| {
            let resources = Resources {
                hca_handles: fields.get("hca_handle"),
                hca_objects: fields.get("hca_object"),
            };
            (device.to_owned(), resources)
        })
        .collect()
}
