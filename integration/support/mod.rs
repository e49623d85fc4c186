//! What the tests share: cases and their needs, a laboratory per test, bundles, the runtime's calls.

mod attacker;
pub(crate) mod bpf;
mod bundle;
mod fuse;
mod host;
mod host_cgroup;
mod host_mount;
mod lab;
mod lingering;
mod mountinfo;
mod own_namespace;
pub(crate) mod probe;
mod resctrl;
mod runtime;
mod seccomp_agent;
mod sockets;
mod terminal;

pub(crate) use bundle::Bundle;
pub(crate) use fuse::{STUCK, StuckFs, waiting_cat};
pub(crate) use host::{DEBIAN_ROOT, Need};
pub(crate) use host_cgroup::HostCgroup;
pub(crate) use host_mount::HostMount;
pub(crate) use lab::{Lab, disk};
pub(crate) use mountinfo::{Mount, mounts};
pub(crate) use own_namespace::OwnNamespace;
pub(crate) use resctrl::{RESCTRL, Resctrl};
pub(crate) use runtime::{Output, Running, field, finish, wait_until, wrapped};
pub(crate) use seccomp_agent::{Agent, Answer, answer, next_call};
pub(crate) use sockets::{Listener, Received, received};
pub(crate) use terminal::Terminal;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;

/// One test: its name, what it needs of the host, and its body.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) body: fn(&Lab),
}

/// A file's list of cases: `[needs] => test, test::<Type>; …`.
macro_rules! cases {
    ($( $needs:tt => $($test:ident $(::<$kind:ty>)?),+ ; )+) => {
        pub(crate) const CASES: &[$crate::support::Case] = {
            #[allow(clippy::enum_glob_use, reason = "a list of cases reads as needs => tests")]
            use $crate::support::Need::*;
            &[$($($crate::support::Case {
                name: stringify!($test),
                needs: &$needs,
                body: $test $(::<$kind>)?,
            }),+),+]
        };
    };
}
pub(crate) use cases;

/// Runs the cases of all files as libtest would, then `at_end`, which says what else is wrong, and
/// names what was skipped and why.
pub(crate) fn run(
    files: &[(&'static str, &'static [Case])],
    at_end: fn() -> Vec<String>,
) -> ExitCode {
    let args = Arguments::from_args();
    if !args.list {
        lab::prepare();
    }
    let must_run = must_run();
    let trials = files
        .iter()
        .flat_map(|(file, cases)| cases.iter().map(move |case| (file, case)))
        .map(|(file, case)| {
            let name = format!("{file}::{}", case.name);
            let required = must_run.contains(&name);
            let title = name.clone();
            Trial::ignorable_test(title, move || run_case(&name, case, required))
        })
        .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    let wrong = at_end();
    lab::clean_up();
    for skip in SKIPPED.lock().unwrap().iter() {
        println!("skipped {}: {}", skip.name, skip.reason);
    }
    write_skipped();
    if !wrong.is_empty() {
        println!("at the end: {}", wrong.join(", "));
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// A test that this host cannot run.
struct Skip {
    name: String,
    reason: String,
    /// Nobody can ask that another host runs it.
    is_optional: bool,
}

/// Which file a container has for the weight of its I/O changes with the kernel's modules: who looks at it, or loads
/// one, is alone.
pub(crate) static WEIGHTS: Mutex<()> = Mutex::new(());

static SKIPPED: Mutex<Vec<Skip>> = Mutex::new(Vec::new());

fn run_case(name: &str, case: &Case, required: bool) -> Result<Completion, Failed> {
    for need in case.needs {
        if let Err(reason) = need.check() {
            if !need.is_optional() && (required || need.is_required()) {
                return Err(Failed::from(format!("may not be skipped: {reason}")));
            }
            SKIPPED.lock().unwrap().push(Skip {
                name: name.into(),
                reason: reason.clone(),
                is_optional: need.is_optional(),
            });
            return Ok(Completion::ignored_with(reason));
        }
    }
    let lab = Lab::new(name);
    (case.body)(&lab);
    lab.finish();
    Ok(Completion::Completed)
}

fn must_run() -> BTreeSet<String> {
    let Some(file) = std::env::var_os("CASULO_TEST_MUST_RUN") else {
        return BTreeSet::new();
    };
    let list = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    list.lines().map(str::to_owned).collect()
}

fn write_skipped() {
    if let Some(path) = std::env::var_os("CASULO_TEST_SKIPPED") {
        let mut file = std::fs::File::create(path).unwrap();
        let skipped = SKIPPED.lock().unwrap();
        for skip in skipped.iter().filter(|skip| !skip.is_optional) {
            writeln!(file, "{}", skip.name).unwrap();
        }
    }
}
