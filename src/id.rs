//! The id of a container. The spec leaves its letters to the runtime; casulo takes those that runc takes.

use crate::error::{Code, Error, Result};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// A container's id, which is a name in the file system, too: `[A-Za-z0-9_+.-]+`, at most 1024 bytes, no leading dot
/// (directories that begin with one are casulo's own). Only [`Id::from_str`] makes one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(String);

impl FromStr for Id {
    type Err = Error;

    /// # Errors
    /// `E_ID`.
    fn from_str(text: &str) -> Result<Id> {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "_+.-".contains(*c);
        let why = match text.chars().find(|c| !allowed(c)) {
            Some(c) => format!("invalid character {c:?}"),
            None if text.is_empty() => "it is empty".to_owned(),
            None if text.len() > 1024 => "it is longer than 1024 characters".to_owned(),
            None if text.starts_with('.') => "it begins with a dot".to_owned(),
            None => return Ok(Id(text.to_owned())),
        };
        let shown: String = text.chars().take(64).collect();
        let message = format!("invalid container ID {shown:?}: {why}");
        Err(Error::new(Code::Id, message)
            .hint("letters, digits and _ + . - are allowed, and no leading dot"))
    }
}

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        for good in ["a", "buildah-buildah123", "libpod_1.2+3", "0f-"] {
            assert!(Id::from_str(good).is_ok_and(|id| *id == *good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a\n", "ü", "../x"] {
            let error = Id::from_str(bad).expect_err("no id");
            assert_eq!(error.code, Code::Id, "{bad}");
        }
        assert!(Id::from_str(&"x".repeat(1024)).is_ok());
        assert!(Id::from_str(&"x".repeat(1025)).is_err());
    }
}
