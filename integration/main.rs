//! The integration tests: one static program that runs real containers and asserts from inside them.
//!
//! One file per feature; what they share is in [`support`]. Natively the program makes a mount
//! namespace of its own with a bare cgroup v2 view; in the test host it finds everything in place.
//!
//! | variable | meaning |
//! |---|---|
//! | `CASULO` | the runtime under test (default `bin/casulo`); any runtime with runc's command line |
//! | `CASULO_TESTING` | casulo's test build (default `bin/casulo-testing`): defences out, steps that fail |
//! | `CASULO_PIE` | casulo's position-independent build (default `bin/casulo-pie`, `make pie-build`) |
//! | `CASULO_TEST_REQUIRE` | needs whose absence is a failure, not a skip: `all`, or names as printed by a skip |
//! | `CASULO_TEST_SKIPPED` | a file that receives the names of the tests that were skipped and that another host can run |
//! | `CASULO_TEST_ENGINES` | if set, all tests of the engines are run, not only a smoke test of each |
//! | `CASULO_TEST_ATTACKS` | a file that receives how each attack of `hostile/` ended; none of them fails its test then |
//! | `CASULO_TEST_MUST_RUN` | such a file of another run: these tests may not be skipped here |

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code: a panic is a failed test, and it has threads and paths of its own"
)]

mod support;

mod binary;
mod callers;
mod capabilities;
mod cgroup_tree;
mod cgroups;
mod check;
mod cycles;
mod devices;
mod engines;
mod entering;
mod errors;
mod events;
mod exec;
mod exec_confined;
mod faults;
mod hooks;
mod hostile;
mod idmap;
mod inherited;
mod lifecycle;
mod limit_effects;
mod limits;
mod load;
mod mount_options;
mod mounts;
mod namespaces;
mod notify;
mod pause;
mod pods;
mod process;
mod ps;
mod rootless;
mod seccomp;
mod systemd;
mod teardown;
mod terminal;
mod trace;
mod under_filter;
mod update;
mod userns;

use nix::sys::signal::{SigHandler, Signal};
use std::process::ExitCode;

/// A shell has what it starts in the background ignore them, and casulo ignores what it was started to.
#[allow(unsafe_code, reason = "signal(2) may set a handler; this sets none")]
fn heed_signals() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: no handler is set, nor was one.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.expect("signal");
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    match args.next().unwrap_or_default().to_string_lossy() {
        name if name.ends_with("/probe") => return support::probe::main(args),
        name if name == "/shim" => return callers::shim::main(args),
        _ => {}
    }
    heed_signals();
    let mut files = vec![
        ("binary", binary::CASES),
        ("capabilities", capabilities::CASES),
        ("cgroup_tree", cgroup_tree::CASES),
        ("cgroups", cgroups::CASES),
        ("check", check::CASES),
        ("cycles", cycles::CASES),
        ("devices", devices::CASES),
        ("entering", entering::CASES),
        ("errors", errors::CASES),
        ("events", events::CASES),
        ("exec", exec::CASES),
        ("exec_confined", exec_confined::CASES),
        ("hooks", hooks::CASES),
        ("idmap", idmap::CASES),
        ("inherited", inherited::CASES),
        ("lifecycle", lifecycle::CASES),
        ("limit_effects", limit_effects::CASES),
        ("limits", limits::CASES),
        ("load", load::CASES),
        ("mount_options", mount_options::CASES),
        ("mounts", mounts::CASES),
        ("namespaces", namespaces::CASES),
        ("notify", notify::CASES),
        ("pause", pause::CASES),
        ("pods", pods::CASES),
        ("process", process::CASES),
        ("ps", ps::CASES),
        ("rootless", rootless::CASES),
        ("seccomp", seccomp::CASES),
        ("systemd", systemd::CASES),
        ("teardown", teardown::CASES),
        ("terminal", terminal::CASES),
        ("trace", trace::CASES),
        ("under_filter", under_filter::CASES),
        ("update", update::CASES),
        ("userns", userns::CASES),
    ];
    files.extend(callers::files());
    files.extend(engines::files());
    files.extend(hostile::files());
    files.extend(faults::files());
    support::run(&files, engines::end_all)
}
