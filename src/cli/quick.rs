//! The command lines that engines send, read without clap.
//!
//! clap describes every option of every verb to itself before it looks at the first word, which
//! costs as much as a tenth of a container (docs/performance.md). So the verbs of a container's life
//! are read here first, by the same attributes that clap derives from
//! ([`described`](mod@super::described)). What is not plainly right is left to clap, whose answer
//! counts: this reader never reports an error, and where it gives a result it is clap's (a test
//! compares them).

use super::described::Described;
use super::words::{Word, Words};
use super::{Cli, Command, Create, Delete, Exec, Global, Id, Kill, Run};
use std::ffi::OsString;

/// Reads the words behind the program's name. None means: ask clap.
pub(super) fn read(line: &[OsString]) -> Option<Cli> {
    let words: Vec<&str> = line
        .iter()
        .map(|word| word.to_str())
        .collect::<Option<_>>()?;
    let mut words = Words::of(&words);
    let mut global = Global::defaults()?;
    let verb = loop {
        match words.next()? {
            Word::Option(name) => global.take(name, &mut words)?,
            Word::Plain(verb) => break verb,
        }
    };
    let command = match verb {
        "create" => Command::Create(with_id(&mut words, |it: &mut Create| &mut it.id)?),
        "run" => Command::Run(with_id(&mut words, |it: &mut Run| &mut it.create.id)?),
        "exec" => Command::Exec(exec(&mut words)?),
        "start" => Command::Start(with_id(&mut words, |it: &mut Id| &mut it.id)?),
        "state" => Command::State(with_id(&mut words, |it: &mut Id| &mut it.id)?),
        "kill" => Command::Kill(kill(&mut words)?),
        "delete" => Command::Delete(with_id(&mut words, |it: &mut Delete| &mut it.id)?),
        _ => return None,
    };
    Some(Cli {
        global,
        command: Some(command),
    })
}

/// A verb whose only plain word is an id.
fn with_id<T: Described>(words: &mut Words<'_>, place: fn(&mut T) -> &mut String) -> Option<T> {
    let mut args = T::defaults()?;
    while !words.is_at_end() {
        match words.next()? {
            Word::Option(name) => args.take(name, words)?,
            Word::Plain(word) if place(&mut args).is_empty() => *place(&mut args) = word.to_owned(),
            Word::Plain(_) => return None,
        }
    }
    let is_there = !place(&mut args).is_empty();
    is_there.then_some(args)
}

fn exec(words: &mut Words<'_>) -> Option<Exec> {
    let mut args = Exec::defaults()?;
    args.id = loop {
        match words.next()? {
            Word::Option(name) => args.take(name, words)?,
            Word::Plain(id) if !id.is_empty() => break id.to_owned(),
            Word::Plain(_) => return None,
        }
    };
    // Behind the id the program's own words begin, as soon as one is no option.
    let rest = words.rest();
    if rest.first().is_some_and(|program| program.starts_with('-')) {
        return None;
    }
    args.command = rest.iter().map(|word| (*word).to_owned()).collect();
    Some(args)
}

fn kill(words: &mut Words<'_>) -> Option<Kill> {
    let mut args = Kill::defaults()?;
    let mut plain = Vec::new();
    while !words.is_at_end() {
        match words.next()? {
            Word::Option(name) => args.take(name, words)?,
            Word::Plain("") => return None,
            Word::Plain(word) => plain.push(word.to_owned()),
        }
    }
    let mut plain = plain.into_iter();
    args.id = plain.next()?;
    if let Some(signal) = plain.next() {
        args.signal = signal;
    }
    plain.next().is_none().then_some(args)
}

#[cfg(test)]
mod tests;
