//! Annotations of crun's that ask for what casulo does not do. Pure; the parent, for a new container.
//!
//! crun(1), "Extensions to OCI", lists its annotations. Those that casulo applies are read by their domains. These are
//! refused by name: whoever sets one relies on it, as for a program that only a virtual machine or a WebAssembly
//! engine can run, or for a filter that the config itself does not show.

use crate::error::Problems;
use oci_spec::runtime::Spec;
use std::collections::HashMap;

/// The program that runs the process, in place of the kernel.
const HANDLER: &str = "run.oci.handler";

/// What an image of WebAssembly says of itself.
const VARIANT: &str = "module.wasm.image/variant";

/// How the CRI names the sandbox of a pod: an ordinary process, whatever the pod's annotations say.
const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";

/// Refused wherever they stand.
const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "run.oci.seccomp.plugins",
        "casulo loads no plugins: have an agent listen at linux.seccomp.listenerPath",
    ),
    (
        "run.oci.seccomp_bpf_data",
        "casulo loads no filter that others have compiled: describe it in linux.seccomp",
    ),
    (
        "run.oci.systemd.force_cgroup_v1",
        "casulo does not know cgroup v1: the systemd in the container must know v2",
    ),
];

/// Adds every annotation that would have to change what is done, and cannot.
pub(crate) fn refuse(spec: &Spec, problems: &mut Problems) {
    let Some(annotations) = spec.annotations() else {
        return;
    };
    for (key, why) in UNSUPPORTED {
        if annotations.contains_key(*key) {
            problems.add(format!("annotations[{key:?}]"), *why);
        }
    }
    if let Some((key, value)) = handler(annotations, spec) {
        let why = format!("casulo has no handler for {value:?}: it executes the program itself");
        problems.add(format!("annotations[{key:?}]"), why);
    }
}

/// The annotation that names a handler for this process, and what it says. Of the two words with `smart`, which the
/// containers of a whole pod may have, each asks for one only where the program is a module of WebAssembly.
fn handler<'a>(
    annotations: &'a HashMap<String, String>,
    spec: &Spec,
) -> Option<(&'static str, &'a str)> {
    let value = |key: &str| annotations.get(key).map(String::as_str);
    if value(CONTAINER_TYPE) == Some("sandbox") {
        return None;
    }
    let (key, value) = match (value(HANDLER), value(VARIANT)) {
        (Some(value), _) => (HANDLER, value),
        (None, Some(value)) => (VARIANT, value),
        (None, None) => return None,
    };
    let is_asked = match value {
        "" => false,
        "wasm-smart" | "compat-smart" => is_module(spec),
        _ => true,
    };
    is_asked.then_some((key, value))
}

fn is_module(spec: &Spec) -> bool {
    let args = spec.process().as_ref().and_then(|it| it.args().as_ref());
    let program = args.and_then(|it| it.first()).map_or("", String::as_str);
    [".wasm", ".wat"].iter().any(|end| program.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What is said of a config with these annotations and this program.
    fn said(annotations: serde_json::Value, program: &str) -> String {
        let spec = json!({
            "ociVersion": "1.2.0", "annotations": annotations,
            "process": {"cwd": "/", "args": [program], "user": {"uid": 0, "gid": 0}},
        });
        let spec: Spec = serde_json::from_value(spec).expect("a config");
        let mut problems = Problems::default();
        refuse(&spec, &mut problems);
        problems
            .into_result("c")
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_cannot_be_applied_is_refused_by_name() {
        for key in [
            "run.oci.seccomp.plugins",
            "run.oci.seccomp_bpf_data",
            "run.oci.systemd.force_cgroup_v1",
            "run.oci.handler",
            "module.wasm.image/variant",
        ] {
            let said = said(json!({ key: "any" }), "/bin/sh");
            assert!(said.contains(&format!("annotations[\"{key}\"]")), "{said}");
        }
    }

    #[test]
    fn a_handler_is_refused_only_where_it_would_run_something() {
        let wasm = json!({"run.oci.handler": "wasm"});
        let smart = json!({"run.oci.handler": "wasm-smart"});
        let compat = json!({"module.wasm.image/variant": "compat-smart"});
        let sandbox = json!({
            "run.oci.handler": "wasm", "io.kubernetes.cri.container-type": "sandbox",
        });
        for (annotations, program, refused) in [
            (&wasm, "/bin/sh", true),
            (&smart, "/bin/sh", false),
            (&smart, "/app.wasm", true),
            (&compat, "/bin/sh", false),
            (&compat, "/app.wat", true),
            (&sandbox, "/pause", false),
            (&json!({"run.oci.handler": ""}), "/bin/sh", false),
            (&json!({"other": "wasm"}), "/app.wasm", false),
        ] {
            let said = said(annotations.clone(), program);
            assert_eq!(!said.is_empty(), refused, "{annotations} {program}: {said}");
        }
    }
}
