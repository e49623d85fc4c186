//! Annotations that change what systemd is told: `org.systemd.property.NAME`, as runc and crun have
//! it. Pure.

use super::Property;
use super::dbus::value::Value;
use super::gvariant;
use crate::defence::{Defence, without};
use crate::error::Problems;
use std::collections::HashMap;

const PREFIX: &str = "org.systemd.property.";

/// The properties that concern the scope alone: what it is called, how long it may take, how it is killed, what
/// it may use (systemd.scope(5), systemd.kill(5), systemd.resource-control(5), by the names of the D-Bus
/// interface). Whatever is not listed is refused, so that a property of a later systemd is, too: those that name
/// another unit (`Conflicts`, `OnSuccess`), do something to the host (`SuccessAction`), have the service manager
/// open a file of the host (`BPFProgram`, `IPIngressFilterPath`) or change its firewall (`NFTSet`), and those that
/// would take the scope, its processes or the cgroups below it away from casulo (`Slice`, `PIDs`, `Delegate`).
const ALLOWED: [&str; 62] = [
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "CPUAccounting",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "CPUShares",
    "CPUWeight",
    "CollectMode",
    "CoredumpReceive",
    "DefaultDependencies",
    "DefaultMemoryLow",
    "DefaultMemoryMin",
    "DefaultStartupMemoryLow",
    "Description",
    "DeviceAllow",
    "DevicePolicy",
    "Documentation",
    "FinalKillSignal",
    "IOAccounting",
    "IODeviceLatencyTargetUSec",
    "IODeviceWeight",
    "IOReadBandwidthMax",
    "IOReadIOPSMax",
    "IOWeight",
    "IOWriteBandwidthMax",
    "IOWriteIOPSMax",
    "IPAccounting",
    "IPAddressAllow",
    "IPAddressDeny",
    "KillMode",
    "KillSignal",
    "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureDurationUSec",
    "ManagedOOMMemoryPressureLimit",
    "ManagedOOMPreference",
    "ManagedOOMSwap",
    "MemoryAccounting",
    "MemoryHigh",
    "MemoryLow",
    "MemoryMax",
    "MemoryMin",
    "MemoryPressureThresholdUSec",
    "MemoryPressureWatch",
    "MemorySwapMax",
    "MemoryZSwapMax",
    "MemoryZSwapWriteback",
    "OOMPolicy",
    "RestartKillSignal",
    "RuntimeMaxUSec",
    "RuntimeRandomizedExtraUSec",
    "SendSIGHUP",
    "SendSIGKILL",
    "StartupAllowedCPUs",
    "StartupAllowedMemoryNodes",
    "StartupCPUWeight",
    "StartupIOWeight",
    "StartupMemoryHigh",
    "StartupMemoryLow",
    "StartupMemoryMax",
    "TasksAccounting",
    "TasksMax",
    "TimeoutStopUSec",
];

/// What CRI-O writes into every config, `['crio.service']`, and nobody needs. systemd is not told of it: a unit that a
/// scope comes after is stopped only when that scope is, however long the container has it take (`TimeoutStopUSec`).
const LEFT_OUT: &str = "After";

/// The properties, in the order of their names.
pub(super) fn properties(
    annotations: &HashMap<String, String>,
    problems: &mut Problems,
) -> Vec<Property> {
    let mut list: Vec<(&str, &str)> = annotations
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
        .filter(|(name, _)| *name != LEFT_OUT || without(Defence::PropertyNames))
        .collect();
    list.sort_unstable();
    let mut properties = Vec::new();
    for (name, text) in list {
        match property(name, text) {
            Ok(property) => properties.push(property),
            Err(why) => problems.add(format!("annotations[\"{PREFIX}{name}\"]"), why),
        }
    }
    properties
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    // Unit files say TimeoutStopSec, the D-Bus interface TimeoutStopUSec.
    let stem = name
        .strip_suffix("Sec")
        .filter(|it| it.ends_with(|c: char| c.is_ascii_lowercase()));
    let known = match stem {
        Some(stem) => format!("{stem}USec"),
        None => name.to_owned(),
    };
    if !without(Defence::PropertyNames) && !ALLOWED.contains(&known.as_str()) {
        return Err(
            "not a property that concerns the scope alone: docs/spec.md lists those that do"
                .to_owned(),
        );
    }
    let value = gvariant::parse(text)?;
    if stem.is_none() {
        return Ok((known, value));
    }
    let microseconds = microseconds(&value).ok_or("not a number of seconds")?;
    Ok((known, Value::Uint64(microseconds)))
}

fn microseconds(seconds: &Value) -> Option<u64> {
    const MILLION: u64 = 1_000_000;
    let whole = match seconds {
        Value::Byte(it) => u64::from(*it),
        Value::Uint16(it) => u64::from(*it),
        Value::Uint32(it) => u64::from(*it),
        Value::Uint64(it) => *it,
        Value::Int16(it) => u64::try_from(*it).ok()?,
        Value::Int32(it) => u64::try_from(*it).ok()?,
        Value::Int64(it) => u64::try_from(*it).ok()?,
        Value::Double(it) => {
            let duration = std::time::Duration::try_from_secs_f64(*it).ok()?;
            return u64::try_from(duration.as_micros()).ok();
        }
        _ => return None,
    };
    whole.checked_mul(MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_microseconds() {
        for (name, text, expected) in [
            (
                "KillSignal",
                "15",
                Ok(("KillSignal".into(), Value::Int32(15))),
            ),
            (
                "TimeoutStopUSec",
                "uint64 10000000",
                Ok(("TimeoutStopUSec".into(), Value::Uint64(10_000_000))),
            ),
            (
                "TimeoutStopSec",
                "10",
                Ok(("TimeoutStopUSec".into(), Value::Uint64(10_000_000))),
            ),
            (
                "RuntimeMaxSec",
                "1.5",
                Ok(("RuntimeMaxUSec".into(), Value::Uint64(1_500_000))),
            ),
            (
                "TimeoutStopSec",
                "-1",
                Err("not a number of seconds".to_owned()),
            ),
            (
                "TimeoutStopSec",
                "nan",
                Err("\"nan\" is not a value: text needs quotes".to_owned()),
            ),
            (
                "TimeoutStopSec",
                "uint64 18446744073709551615",
                Err("not a number of seconds".to_owned()),
            ),
        ] {
            assert_eq!(property(name, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn only_what_concerns_the_scope_alone_is_told() {
        let refused = [
            "Slice",
            "PIDs",
            "Controller",
            "Delegate",
            "DelegateControllers",
            "DelegateSubgroup",
            "DisableControllers",
            "ab",
            "",
            "Kill Signal",
            "Kill\nSignal",
            "killmode",
            "KillModeX",
            "NoSuchProperty",
            // Units of the host.
            "Conflicts",
            "Wants",
            "Requires",
            "BindsTo",
            "PartOf",
            "Upholds",
            "OnSuccess",
            "OnFailure",
            "PropagatesStopTo",
            "StopPropagatedFrom",
            "JoinsNamespaceOf",
            "Before",
            "RequiresMountsFor",
            // What is done to the host.
            "SuccessAction",
            "FailureAction",
            "StartLimitAction",
            "JobTimeoutAction",
            "JobTimeoutRebootArgument",
            "RebootArgument",
            // Files and tables of the host.
            "BPFProgram",
            "IPIngressFilterPath",
            "IPEgressFilterPath",
            "NFTSet",
            "SourcePath",
            "User",
            "Group",
            "Sec",
            "USec",
        ];
        let mut annotations: HashMap<String, String> = refused
            .map(|name| (format!("{PREFIX}{name}"), "'none'".to_owned()))
            .into();
        annotations.insert(format!("{PREFIX}KillMode"), "'none'".to_owned());
        annotations.insert(format!("{PREFIX}After"), "['x.service']".to_owned());
        annotations.insert("org.systemd.other".to_owned(), "'none'".to_owned());
        let mut problems = Problems::default();
        let properties = properties(&annotations, &mut problems);
        assert_eq!(properties, [("KillMode".to_owned(), Value::text("none"))]);
        let error = problems.into_result("c").expect_err("all").to_string();
        assert_eq!(error.matches("not a property that").count(), refused.len());
    }

    #[test]
    fn the_documented_list_is_the_one_that_holds() {
        let text = include_str!("../../../docs/spec.md");
        let (_, rest) = text
            .split_once("The properties that are told to systemd:")
            .expect("the list");
        let list = rest.split("\n\n").next().expect("a paragraph");
        let documented: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert_eq!(documented, ALLOWED);
    }
}
