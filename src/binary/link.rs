//! What the static link needs: one symbol that Debian's `libseccomp.a` expects of glibc.

/// glibc's checked `fprintf`. Only libseccomp's PFC export (a text dump) refers to it, and casulo
/// never calls that; musl has no such symbol, so the link needs a definition.
///
/// Returns -1, fprintf's own sign of failure, without looking at its arguments.
#[cfg(target_env = "musl")]
// SAFETY: the name is reserved to the C library and musl does not define it, so nothing is replaced.
#[unsafe(no_mangle)]
extern "C" fn __fprintf_chk() -> libc::c_int {
    -1
}
