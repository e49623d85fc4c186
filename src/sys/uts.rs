//! The domain name of the UTS namespace; nix has its host name (`sethostname`).

use super::check;

/// `int setdomainname(const char *name, size_t len)`, setdomainname(2): sets the NIS domain name.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN over the UTS namespace, EINVAL for more than 64 bytes.
pub(crate) fn setdomainname(name: &str) -> nix::Result<()> {
    // SAFETY: `name` is a live slice of the length passed; no NUL is needed.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(libc::c_long::from(result)).map(drop)
}
