//! The hooks that run in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

use crate::config;
use crate::error::{Problems, Result};
use crate::hooks::{self, Call, Kind, Output};
use crate::state::Dir;
use std::ffi::CString;
use std::path::Path;

/// Runs hooks of the runtime's namespaces, in the bundle, with casulo's own environment where they
/// give none.
pub(super) fn run_hooks(hooks: &hooks::Plan, kind: Kind, state: &str, bundle: &Path) -> Result<()> {
    if !hooks.has(kind) {
        return Ok(());
    }
    let output = Output::open(hooks, bundle)?;
    hooks.run(
        kind,
        &runtime_call(state, bundle, &hooks::own_environment(), &output),
    )
}

/// Runs the poststop hooks, each of them: a failure is only logged (runtime.md, Lifecycle, step 13).
pub(super) fn run_poststop(hooks: &hooks::Plan, state: &str, bundle: &Path) {
    if !hooks.has(Kind::Poststop) {
        return;
    }
    let env = hooks::own_environment();
    // The specification wants failures logged, so they must not depend on the level (runtime.md, Lifecycle).
    match Output::open(hooks, bundle) {
        Ok(output) => {
            for failed in hooks.run_all(Kind::Poststop, &runtime_call(state, bundle, &env, &output))
            {
                log::error!(
                    "a poststop hook failed with exit code or signal, and the others run: {failed}"
                );
            }
        }
        Err(error) => log::error!("{error}"),
    }
}

/// The hooks of the config that the state directory keeps, for calls after `create`.
pub(super) fn recorded_hooks(dir: &Dir) -> Result<hooks::Plan> {
    let (file, bytes) = dir.read_config()?;
    let spec = config::parse(&bytes, &file)?;
    let mut problems = Problems::default();
    let hooks = hooks::plan(&spec, &mut problems);
    problems.into_result(&file)?;
    Ok(hooks)
}

fn runtime_call<'a>(
    state: &'a str,
    bundle: &'a Path,
    env: &'a [CString],
    output: &'a Output,
) -> Call<'a> {
    Call {
        state: state.as_bytes(),
        cwd: Some(bundle),
        env,
        output,
    }
}
