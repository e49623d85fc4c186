//! Long options with one dash: Go's flag packages read `-pid-file FILE` as `--pid-file FILE`, and go-runc writes
//! one so. clap would read several short options in one word.
//!
//! Only a word that is the whole name of an option at its place is taken for that. What a short option gets in the
//! same word (`-bdir`) stays possible; a bundle that is called `undle` needs a blank, `-b undle`.

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};

/// The words behind the program's name, with two dashes before every long option. They stay as they are behind
/// `--`, and where they belong to somebody else: behind the id in exec and ps.
pub(super) fn doubled(words: &[OsString]) -> Vec<OsString> {
    // To describe all verbs to clap costs more than to read a line.
    if !words.iter().any(|word| is_candidate(word)) {
        return words.to_vec();
    }
    let mut program = super::command();
    program.build();
    let mut level = &program;
    let mut read: Vec<OsString> = Vec::with_capacity(words.len());
    let mut is_value = false;
    for word in words {
        if is_value {
            is_value = false;
            read.push(word.clone());
            continue;
        }
        let text = word.to_string_lossy();
        let (option, value) = match text.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (&*text, None),
        };
        let name = option.trim_start_matches('-');
        let mut second_dash = "";
        let takes_value = match (option.len() - name.len(), long(level, name)) {
            (0, _) => {
                match level.find_subcommand(name) {
                    Some(verb) => level = verb,
                    None if ends_at_id(level) => break,
                    None => {}
                }
                false
            }
            (1, Some(arg)) => {
                second_dash = "-";
                takes_value(arg)
            }
            (1, None) => last_takes_value(level, name),
            (2, Some(arg)) => takes_value(arg),
            (2, None) if name.is_empty() => break,
            _ => false,
        };
        is_value = takes_value && value.is_none();
        let mut doubled = OsString::from(second_dash);
        doubled.push(word);
        read.push(doubled);
    }
    read.extend(words.iter().skip(read.len()).cloned());
    read
}

/// Whether a word has one dash and more than one letter.
fn is_candidate(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.len() > 2 && bytes.starts_with(b"-") && !bytes.starts_with(b"--")
}

fn long<'a>(level: &'a Command, name: &str) -> Option<&'a Arg> {
    let is_whole = name.chars().nth(1).is_some();
    let mut args = level.get_arguments();
    args.find(|arg| is_whole && arg.get_long() == Some(name))
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// Whether the last of several short options in one word waits for a value.
fn last_takes_value(level: &Command, letters: &str) -> bool {
    let of = |letter| {
        let has = |arg: &&Arg| {
            arg.get_short_and_visible_aliases()
                .is_some_and(|all| all.contains(&letter))
        };
        level.get_arguments().find(has).is_some_and(takes_value)
    };
    // The first that takes one has what follows it.
    letters
        .find(of)
        .is_some_and(|at| letters[at..].chars().count() == 1)
}

/// Whether the rest of the line belongs to somebody else once the id is there.
fn ends_at_id(level: &Command) -> bool {
    level.get_positionals().any(Arg::is_trailing_var_arg_set)
}
