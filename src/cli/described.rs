//! Options that are described once. [`described!`](described) stands around a structure of clap's and makes of the same
//! attributes what `quick` reads without clap: `short`, `long`, `default_value` and `default_value_t`. What those
//! attributes cannot say of a line is left to clap.

use super::words::Words;
use clap::ValueEnum;
use std::path::PathBuf;

/// A structure of options, as far as `quick` reads it.
pub(super) trait Described: Sized {
    /// Without any word of the line. None where a default is no value of its type.
    fn defaults() -> Option<Self>;

    /// Takes the option `name`, `long` or `-s`, whose value is next in `words`. None where it is not one of these,
    /// or its value is for clap to judge.
    fn take(&mut self, name: &str, words: &mut Words<'_>) -> Option<()>;
}

/// What one option is read into.
pub(super) trait Destination {
    /// Once more: the last value counts, or all in order.
    fn take(&mut self, words: &mut Words<'_>) -> Option<()>;
}

/// A value that is one word.
pub(super) trait Value: Sized {
    fn of(word: &str) -> Option<Self>;
}

impl Destination for bool {
    fn take(&mut self, words: &mut Words<'_>) -> Option<()> {
        *self = words.flag()?;
        Some(())
    }
}

impl<T: Value> Destination for T {
    fn take(&mut self, words: &mut Words<'_>) -> Option<()> {
        *self = T::of(words.value()?)?;
        Some(())
    }
}

impl<T: Value> Destination for Option<T> {
    fn take(&mut self, words: &mut Words<'_>) -> Option<()> {
        *self = Some(T::of(words.value()?)?);
        Some(())
    }
}

impl<T: Value> Destination for Vec<T> {
    fn take(&mut self, words: &mut Words<'_>) -> Option<()> {
        self.push(T::of(words.value()?)?);
        Some(())
    }
}

impl Value for String {
    fn of(word: &str) -> Option<String> {
        Some(word.to_owned())
    }
}

impl Value for PathBuf {
    fn of(word: &str) -> Option<PathBuf> {
        Some(PathBuf::from(word))
    }
}

impl Value for u32 {
    /// As it is usually written; clap knows about signs and the like.
    fn of(word: &str) -> Option<u32> {
        let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| word.parse().ok())?
    }
}

/// One of a list of words.
pub(super) fn one_of<T: ValueEnum>(word: &str) -> Option<T> {
    T::from_str(word, false).ok()
}

/// Whether `name` is the option of `field`: its name with hyphens, or `-` and `short`.
pub(super) fn is_named(name: &str, field: &str, short: Option<char>) -> bool {
    match name.strip_prefix('-') {
        Some(letter) => short.is_some() && letter.chars().next() == short,
        None => {
            let hyphen = |letter| if letter == b'_' { b'-' } else { letter };
            name.len() == field.len() && name.bytes().eq(field.bytes().map(hyphen))
        }
    }
}

/// A structure that clap derives `Args` for, unchanged, and [`Described`] for it.
macro_rules! described {
    (
        $(#[$($about:tt)*])*
        $outer:vis struct $name:ident {
            $( $(#[$($attribute:tt)*])* $inner:vis $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$($about)*])*
        $outer struct $name {
            $( $(#[$($attribute)*])* $inner $field: $type, )*
        }

        impl $crate::cli::described::Described for $name {
            fn defaults() -> Option<Self> {
                Some($name { $( $field: default_of!($type; $([$($attribute)*])*), )* })
            }

            #[allow(unused_variables, reason = "a command may have no option")]
            fn take(&mut self, name: &str, words: &mut $crate::cli::words::Words<'_>) -> Option<()> {
                $( take_by!((self, name, words, $field); $([$($attribute)*])*); )*
                None
            }
        }
    };
}

/// What a field is without any word, by its attributes, one after the other.
macro_rules! default_of {
    ($type:ty; [command(flatten)] $($rest:tt)*) => {
        <$type as $crate::cli::described::Described>::defaults()?
    };
    ($type:ty; [arg($($arg:tt)*)] $($rest:tt)*) => { default_of!(@ $type; $($arg)*) };
    ($type:ty; [$($other:tt)*] $($rest:tt)*) => { default_of!($type; $($rest)*) };
    (@ $type:ty; default_value = $value:literal $($rest:tt)*) => {
        <$type as $crate::cli::described::Value>::of($value)?
    };
    (@ $type:ty; default_value_t = $value:expr $(, $($rest:tt)*)?) => { $value };
    (@ $type:ty; $first:tt $($rest:tt)*) => { default_of!(@ $type; $($rest)*) };
    (@ $type:ty;) => { <$type>::default() };
}

/// Takes an option into a field, if its attributes name it: `short` before `long`.
macro_rules! take_by {
    (($self:ident, $name:ident, $words:ident, $field:ident); [command(flatten)] $($rest:tt)*) => {
        if $crate::cli::described::Described::take(&mut $self.$field, $name, $words).is_some() {
            return Some(());
        }
    };
    ($context:tt; [arg($($arg:tt)*)] $($rest:tt)*) => { take_by!(@ $context, None; $($arg)*) };
    ($context:tt; [$($other:tt)*] $($rest:tt)*) => { take_by!($context; $($rest)*) };
    (@ $context:tt, $none:expr; short = $short:literal $($rest:tt)*) => {
        take_by!(@ $context, Some($short); $($rest)*)
    };
    (@ ($self:ident, $name:ident, $words:ident, $field:ident), $none:expr; short $($rest:tt)*) => {
        take_by!(@ ($self, $name, $words, $field), stringify!($field).chars().next(); $($rest)*)
    };
    (@ ($self:ident, $name:ident, $words:ident, $field:ident), $short:expr; long $($rest:tt)*) => {
        if $crate::cli::described::is_named($name, stringify!($field), $short) {
            return $crate::cli::described::Destination::take(&mut $self.$field, $words);
        }
    };
    (@ $context:tt, $short:expr; $first:tt $($rest:tt)*) => { take_by!(@ $context, $short; $($rest)*) };
    // It has no name: the id, for one.
    (@ $context:tt, $short:expr;) => {};
}

pub(super) use {default_of, described, take_by};
