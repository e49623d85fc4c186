//! `io.stat` and `io.pressure`, in cgroup v1's tables: a row for each device and operation.

use super::pressure::Pressure;
use super::text::nested_keyed;
use serde::Serialize;

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Io {
    /// Bytes.
    #[serde(
        rename = "ioServiceBytesRecursive",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub bytes: Vec<Row>,
    /// Operations.
    #[serde(rename = "ioServicedRecursive", skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Row>,
    /// Time that was waited for a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One count of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Major number of the device.
    pub major: u64,
    /// Minor number of the device.
    pub minor: u64,
    /// `Read`, `Write` or `Discard`, as in cgroup v1.
    pub op: &'static str,
    /// The count.
    pub value: u64,
}

impl Io {
    pub(super) fn read(file: impl Fn(&str) -> Option<String>) -> Io {
        let mut io = Io::parse(&file("io.stat").unwrap_or_default());
        io.psi = file("io.pressure").as_deref().and_then(Pressure::parse);
        io
    }

    pub(super) fn parse(text: &str) -> Io {
        let mut io = Io::default();
        for (device, fields) in nested_keyed(text) {
            let Some((major, minor)) = device_numbers(device) else {
                continue;
            };
            for (key, value) in fields.pairs() {
                let (table, op) = match key {
                    "rbytes" => (&mut io.bytes, "Read"),
                    "wbytes" => (&mut io.bytes, "Write"),
                    "dbytes" => (&mut io.bytes, "Discard"),
                    "rios" => (&mut io.operations, "Read"),
                    "wios" => (&mut io.operations, "Write"),
                    "dios" => (&mut io.operations, "Discard"),
                    _ => continue,
                };
                if let Ok(value) = value.parse() {
                    table.push(Row {
                        major,
                        minor,
                        op,
                        value,
                    });
                }
            }
        }
        io
    }
}

fn device_numbers(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
