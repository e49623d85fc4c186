//! Extended regular expressions of POSIX, regex(3): the C library's, as in crun.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;

/// A compiled expression. It stays where it was compiled: POSIX says nothing of a copy.
pub(crate) struct Regex(Box<libc::regex_t>);

impl Regex {
    /// `int regcomp(regex_t *preg, const char *pattern, int cflags)`.
    ///
    /// # Errors
    /// What the C library says of the pattern.
    pub(crate) fn compile(pattern: &CStr) -> Result<Regex, String> {
        let mut place = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: `place` is writable and of the type's size; `pattern` is a live C string, which is not kept.
        let error = unsafe { libc::regcomp(place.as_mut_ptr(), pattern.as_ptr(), flags) };
        if error != 0 {
            // Nothing is to be freed of what did not compile.
            return Err(text_of(error));
        }
        // SAFETY: regcomp has succeeded, so the value is complete.
        Ok(Regex(unsafe { place.assume_init() }))
    }

    /// `regexec`: whether the expression matches anywhere in `text`. A lack of memory counts as no match.
    pub(crate) fn matches(&self, text: &CStr) -> bool {
        // SAFETY: the expression is compiled, `text` is a live C string, and no places of matches are asked for.
        let result = unsafe { libc::regexec(&*self.0, text.as_ptr(), 0, ptr::null_mut(), 0) };
        result == 0
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: the expression is compiled and was not freed before.
        unsafe { libc::regfree(&mut *self.0) }
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Regex")
    }
}

/// `size_t regerror(int errcode, const regex_t *preg, char *errbuf, size_t errbuf_size)`.
fn text_of(error: c_int) -> String {
    let mut text = [0; 128];
    // SAFETY: `text` is writable for the length passed; without an expression the text does not depend on one.
    unsafe { libc::regerror(error, ptr::null(), text.as_mut_ptr().cast(), text.len()) };
    let text = CStr::from_bytes_until_nul(&text);
    text.map(CStr::to_string_lossy).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn an_expression_matches_anywhere_in_a_text() {
        for (pattern, matching, other) in [
            (c"b+", c"abba", c"aa"),
            (c"^web-[0-9]$", c"web-1", c"web-10"),
            (c"a|(bc){2}", c"xbcbc", c"xbc"),
            (c"", c"all", c""),
        ] {
            let regex = Regex::compile(pattern).expect("an expression");
            assert!(regex.matches(matching), "{pattern:?}");
            assert!(other.is_empty() || !regex.matches(other), "{pattern:?}");
        }
        for wrong in [c"(", c"[a", c"a{2,1}"] {
            let why = Regex::compile(wrong).expect_err("no expression");
            assert!(!why.is_empty(), "{wrong:?}");
        }
    }
}
