//! `linux.memoryPolicy`: from which NUMA nodes the process gets its memory.

use super::bitlist;
use crate::error::{Code, Context, Problems, Result};
use crate::sys::mempolicy;
use nix::errno::Errno;
use oci_spec::runtime::{
    LinuxMemoryPolicy, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode,
};

/// MAX_NUMNODES of the kernel is at most this.
const MAX_NODES: usize = 1024;

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    /// `MPOL_*` with the `MPOL_F_*` flags or-ed in.
    pub mode: i32,
    /// Bit mask of nodes, word by word; empty for none.
    pub nodes: Vec<u64>,
}

/// Decides the policy. `path` is its JSON path.
///
/// Problems: nodes for a mode that has none, no nodes for one that needs them, two flags that
/// exclude each other. Which nodes exist and are allowed is for the kernel to say.
pub(crate) fn plan(
    policy: &LinuxMemoryPolicy,
    path: &str,
    problems: &mut Problems,
) -> MemoryPolicy {
    let list = policy.nodes().as_deref().unwrap_or("");
    let nodes = bitlist::parse(list, MAX_NODES).unwrap_or_else(|why| {
        problems.add(
            format!("{path}.nodes"),
            format!("invalid memory policy nodes: {why}"),
        );
        Vec::new()
    });
    let mode = policy.mode();
    match mode {
        Mode::MpolDefault | Mode::MpolLocal if !list.is_empty() => {
            problems.add(
                format!("{path}.nodes"),
                format!(
                    "invalid memory policy nodes: {mode} mode requires 0 nodes but got {}",
                    nodes.iter().map(|word| word.count_ones()).sum::<u32>()
                ),
            );
        }
        Mode::MpolBind
        | Mode::MpolInterleave
        | Mode::MpolWeightedInterleave
        | Mode::MpolPreferredMany
            if list.is_empty() =>
        {
            problems.add(
                format!("{path}.nodes"),
                format!("invalid memory policy nodes: {mode} needs at least one node"),
            );
        }
        _ => {}
    }
    let flags = policy
        .flags()
        .iter()
        .flatten()
        .fold(0, |all, flag| all | flag_bit(*flag));
    let exclusive = flag_bit(Flag::MpolFStaticNodes) | flag_bit(Flag::MpolFRelativeNodes);
    if flags & exclusive == exclusive {
        problems.add(
            format!("{path}.flags"),
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
        );
    }
    MemoryPolicy {
        mode: mode_number(mode) | flags,
        nodes,
    }
}

/// `MPOL_*` of linux/mempolicy.h.
fn mode_number(mode: Mode) -> i32 {
    match mode {
        Mode::MpolDefault => 0,
        Mode::MpolPreferred => 1,
        Mode::MpolBind => 2,
        Mode::MpolInterleave => 3,
        Mode::MpolLocal => 4,
        Mode::MpolPreferredMany => 5,
        Mode::MpolWeightedInterleave => 6,
    }
}

/// `MPOL_F_*` of linux/mempolicy.h.
fn flag_bit(flag: Flag) -> i32 {
    match flag {
        Flag::MpolFNumaBalancing => 1 << 13,
        Flag::MpolFRelativeNodes => 1 << 14,
        Flag::MpolFStaticNodes => 1 << 15,
    }
}

impl MemoryPolicy {
    /// Child: sets the policy; execve keeps it.
    ///
    /// # Errors
    /// E_PROCESS; ENOSYS on a kernel without NUMA, EINVAL for nodes that do not exist or that the
    /// cpuset does not allow.
    pub(crate) fn apply(&self) -> Result<()> {
        mempolicy::set_mempolicy(self.mode, &self.nodes)
            .context(Code::Process, "set the memory policy of the process", "")
            .map_err(|error| match error.errno {
                Some(Errno::ENOSYS) => {
                    error.hint("linux.memoryPolicy needs a kernel with CONFIG_NUMA")
                }
                Some(Errno::EINVAL) => {
                    error.hint("the nodes must be online and allowed by the cgroup's cpuset.mems")
                }
                _ => error,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::words_of_child;

    fn planned(json: &str) -> (MemoryPolicy, Option<String>) {
        let mut problems = Problems::default();
        let policy: LinuxMemoryPolicy = serde_json::from_str(json).expect("a policy");
        let plan = plan(&policy, "linux.memoryPolicy", &mut problems);
        (
            plan,
            problems.into_result("c").err().map(|it| it.to_string()),
        )
    }

    #[test]
    fn modes_flags_and_nodes_become_the_calls_arguments() {
        let rows: [(&str, i32, &[u64]); 5] = [
            (r#"{"mode":"MPOL_DEFAULT"}"#, 0, &[]),
            (r#"{"mode":"MPOL_PREFERRED"}"#, 1, &[]),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_NUMA_BALANCING"]}"#,
                0x2002,
                &[3],
            ),
            (
                r#"{"mode":"MPOL_INTERLEAVE","nodes":"2-3","flags":["MPOL_F_STATIC_NODES"]}"#,
                0x8003,
                &[12],
            ),
            (
                r#"{"mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"64","flags":["MPOL_F_RELATIVE_NODES"]}"#,
                0x4006,
                &[0, 1],
            ),
        ];
        for (json, mode, nodes) in rows {
            let nodes = nodes.to_vec();
            assert_eq!(
                planned(json),
                (MemoryPolicy { mode, nodes }, None),
                "{json}"
            );
        }
    }

    #[test]
    fn nodes_must_fit_the_mode() {
        let rows = [
            (
                r#"{"mode":"MPOL_LOCAL","nodes":"0"}"#,
                "nodes: invalid memory policy nodes: MPOL_LOCAL mode requires 0 nodes but got 1",
            ),
            (
                r#"{"mode":"MPOL_BIND"}"#,
                "nodes: invalid memory policy nodes: MPOL_BIND needs at least one node",
            ),
            (
                r#"{"mode":"MPOL_PREFERRED_MANY","nodes":""}"#,
                "nodes: invalid memory policy nodes: MPOL_PREFERRED_MANY needs at least one node",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"1024"}"#,
                "nodes: invalid memory policy nodes: 1024 is not below 1024",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}"#,
                "flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
            ),
        ];
        for (json, why) in rows {
            assert_eq!(
                planned(json).1,
                Some(format!("c: linux.memoryPolicy.{why}")),
                "{json}"
            );
        }
    }

    #[test]
    fn node_zero_can_be_bound_and_a_missing_node_is_refused() {
        let (bind, _) = planned(r#"{"mode":"MPOL_BIND","nodes":"0"}"#);
        let result = words_of_child(|| {
            bind.apply()?;
            Ok(std::fs::read_to_string("/proc/self/numa_maps").expect("maps"))
        });
        // A kernel without NUMA, or a filter that keeps set_mempolicy back, says so.
        if result.contains("not implemented") || result.contains("not permitted") {
            crate::skip::because(result);
            return;
        }
        assert!(result.contains(" bind:0 "), "{result}");
        let (missing, _) = planned(r#"{"mode":"MPOL_BIND","nodes":"1023"}"#);
        let result = words_of_child(|| missing.apply().map(|()| String::new()));
        assert_eq!(
            result,
            "set the memory policy of the process: Invalid argument"
        );
    }
}
