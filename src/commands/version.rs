//! `--version`

use crate::error::Result;

/// What crun's last line says of it too, in crun's words and order: tools look there for what a build lacks. Every
/// casulo has all of these.
const FEATURES: &str = "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF";

/// Lines as runc has them: engines take the first word after `version` in the first one.
pub(super) fn run() -> Result<u8> {
    let api = libseccomp::ScmpVersion::current()
        .map(|it| format!("{}.{}.{}", it.major, it.minor, it.micro));
    let text = format!(
        "casulo version {}\ncommit: {}\nspec: {}\nlibseccomp: {}\n{FEATURES}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("CASULO_COMMIT").unwrap_or("unknown"),
        super::features::OCI_VERSION_MAX,
        api.unwrap_or_else(|_unknown| "unknown".to_owned()),
    );
    super::print(text.as_bytes())?;
    Ok(0)
}
