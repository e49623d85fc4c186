//! `update`: resources from a file, or from options.

mod amount;

use crate::cli::{Global, Update};
use crate::config;
use crate::container;
use crate::error::{Code, Context, Error, Result};
use crate::host::Host;
use amount::amount;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxIntelRdt, LinuxMemory, LinuxPids, LinuxResources,
};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// `casulo update`. The container's own resources are not looked at: what is given changes, and
/// the kernel remembers the rest.
#[inline(never)]
pub(super) fn run(global: &Global, args: &Update) -> Result<u8> {
    let dir = super::open(global, &args.id)?;
    let (mut resources, file) = match &args.resources {
        Some(path) => {
            let (bytes, file) = read(path)?;
            (config::parse_resources(&bytes, &file)?, file)
        }
        None => (of_options(args)?, "update".to_owned()),
    };
    if args.check_before_update
        && let Some(memory) = resources.memory_mut()
    {
        memory.set_check_before_update(Some(true));
    }
    let mut rdt = LinuxIntelRdt::default();
    rdt.set_l3_cache_schema(set(&args.l3_cache_schema));
    rdt.set_mem_bw_schema(set(&args.mem_bw_schema));
    let host = Host::ask(None, super::rootless(global))?;
    container::update(
        &dir,
        &container::Update {
            resources: &resources,
            rdt: &rdt,
            file: &file,
            host: &host,
        },
    )?;
    Ok(0)
}

/// The text of the file, or of stdin for `-`, and what errors call it.
fn read(path: &Path) -> Result<(Vec<u8>, String)> {
    if path != Path::new("-") {
        return super::read(path);
    }
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let bytes = stdin.map(File::from).and_then(config::read);
    Ok((
        bytes.context(Code::Config, "read", "stdin")?,
        "stdin".to_owned(),
    ))
}

/// The same resources as a file would hold.
fn of_options(args: &Update) -> Result<LinuxResources> {
    let bytes = |option: &str, text: &Option<String>| {
        let Some(text) = set(text) else {
            return Ok(None);
        };
        let parsed = amount(&text).map(Some);
        parsed.ok_or_else(|| {
            Error::new(
                Code::Usage,
                format!("{option} {text}: not an amount of bytes"),
            )
            .hint("a number, with b, k, m, g, t or p behind it for more; -1 is unlimited")
        })
    };
    let mut memory = LinuxMemory::default();
    memory.set_limit(bytes("--memory", &args.memory)?);
    memory.set_reservation(bytes("--memory-reservation", &args.memory_reservation)?);
    memory.set_swap(bytes("--memory-swap", &args.memory_swap)?);
    #[allow(deprecated, reason = "the plan says what becomes of it")]
    memory.set_kernel(bytes("--kernel-memory", &args.kernel_memory)?);
    memory.set_kernel_tcp(bytes("--kernel-memory-tcp", &args.kernel_memory_tcp)?);

    let mut cpu = LinuxCpu::default();
    cpu.set_shares(args.cpu_share);
    cpu.set_period(args.cpu_period);
    cpu.set_quota(args.cpu_quota);
    cpu.set_burst(args.cpu_burst);
    cpu.set_idle(args.cpu_idle);
    cpu.set_realtime_period(args.cpu_rt_period);
    cpu.set_realtime_runtime(args.cpu_rt_runtime);
    cpu.set_cpus(set(&args.cpuset_cpus));
    cpu.set_mems(set(&args.cpuset_mems));

    let mut block_io = LinuxBlockIo::default();
    block_io.set_weight(args.blkio_weight);

    let mut resources = LinuxResources::default();
    resources.set_memory(Some(memory).filter(|it| *it != LinuxMemory::default()));
    resources.set_cpu(Some(cpu).filter(|it| *it != LinuxCpu::default()));
    resources.set_block_io(Some(block_io).filter(|it| *it != LinuxBlockIo::default()));
    resources.set_pids(args.pids_limit.map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    }));
    Ok(resources)
}

/// An option that was given with something in it.
fn set(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn resources(options: &[&str]) -> Result<serde_json::Value> {
        let line = ["casulo", "update"].iter().chain(options).chain(&["web"]);
        match Cli::try_parse_from(line).expect("accepted").command {
            Some(Command::Update(args)) => {
                Ok(serde_json::to_value(of_options(&args)?).expect("JSON"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_make_the_resources_that_a_file_would_hold() {
        for (options, expected) in [
            (&[][..], r#"{}"#),
            (&["--memory", "64M"], r#"{"memory":{"limit":67108864}}"#),
            (&["--memory=-1"], r#"{"memory":{"limit":-1}}"#),
            (&["--memory", "-1"], r#"{"memory":{"limit":-1}}"#),
            (
                &["--memory-reservation", "1g", "--memory-swap", "2gib"],
                r#"{"memory":{"reservation":1073741824,"swap":2147483648}}"#,
            ),
            (
                &["--kernel-memory", "1k", "--kernel-memory-tcp", "2"],
                r#"{"memory":{"kernel":1024,"kernelTCP":2}}"#,
            ),
            (
                &[
                    "--cpu-quota",
                    "-1",
                    "--cpu-period",
                    "20000",
                    "--cpu-burst",
                    "5",
                ],
                r#"{"cpu":{"quota":-1,"period":20000,"burst":5}}"#,
            ),
            (
                &[
                    "--cpu-share",
                    "512",
                    "--cpu-idle",
                    "1",
                    "--cpuset-cpus",
                    "0-1",
                    "--cpuset-mems=0",
                ],
                r#"{"cpu":{"shares":512,"idle":1,"cpus":"0-1","mems":"0"}}"#,
            ),
            (
                &["--cpu-rt-period", "1", "--cpu-rt-runtime", "2"],
                r#"{"cpu":{"realtimePeriod":1,"realtimeRuntime":2}}"#,
            ),
            (&["--cpuset-cpus="], r#"{}"#),
            (&["--blkio-weight", "500"], r#"{"blockIO":{"weight":500}}"#),
            (&["--pids-limit", "0"], r#"{"pids":{"limit":0}}"#),
            (&["--pids-limit", "-1"], r#"{"pids":{"limit":-1}}"#),
        ] {
            let expected: serde_json::Value = serde_json::from_str(expected).expect("JSON");
            assert_eq!(
                resources(options).expect("resources"),
                expected,
                "{options:?}"
            );
        }
    }

    #[test]
    fn an_amount_that_is_none_names_its_option() {
        let error = resources(&["--memory-swap", "much"]).expect_err("no amount");
        assert_eq!(error.code, Code::Usage);
        assert!(
            error.to_string().starts_with("--memory-swap much: "),
            "{error}"
        );
    }
}
