//! The command line, and what parent and child say to each other.

use crate::commands::parse_user;
use crate::error::Code;
use crate::sync::{self, Message};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// `exec --user`: what is accepted is digits and prints back as it was typed, but for leading zeros.
pub(super) fn user(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let trimmed = |part: &str| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    };
    match parse_user(&text) {
        Ok((uid, gid)) => {
            let typed: Vec<String> = text.split(':').map(trimmed).collect();
            let shown: Vec<String> = [Some(uid), gid]
                .into_iter()
                .flatten()
                .map(|it| it.to_string())
                .collect();
            assert_eq!(typed, shown, "{text:?}");
            assert!(
                uid != u32::MAX && gid != Some(u32::MAX),
                "{text:?} means nobody to the kernel"
            );
        }
        Err(error) => assert_eq!(error.code, Code::Usage),
    }
}

/// A command line, a word between two NULs: where the quick reader has an answer it is clap's.
pub(super) fn command_line(bytes: &[u8]) {
    let words: Vec<OsString> = bytes
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    if let Some((quick, clap)) = crate::cli::readings(&words) {
        assert_eq!(Some(quick), clap, "{words:?}");
    }
}

/// A message between parent and init: read, it is written as a message that says the same.
pub(super) fn sync_message(bytes: &[u8]) {
    let Ok(message) = sync::decode(bytes, None) else {
        return;
    };
    let write = |message: &Message| {
        let (bytes, fd) = sync::encode(message);
        assert!(fd.is_none() && bytes.len() <= sync::MAX);
        bytes
    };
    // Once for what a sender would not write: NULs, what is not UTF-8, what is too long.
    let first = write(&message);
    let again = sync::decode(&first, None).expect("its own message");
    let second = write(&again);
    let third = sync::decode(&second, None).expect("its own message");
    assert_eq!(format!("{again:?}"), format!("{third:?}"));
}
