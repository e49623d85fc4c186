//! The words of a command line, as far as they are plainly an option, a value or neither.

/// What is left of the line.
pub(super) struct Words<'a> {
    rest: &'a [&'a str],
    /// The value in `--name=value`, until somebody asks for it.
    attached: Option<&'a str>,
}

/// One word of it.
pub(super) enum Word<'a> {
    /// `--name` or `-n`.
    Option(&'a str),
    /// Any other.
    Plain(&'a str),
}

impl<'a> Words<'a> {
    pub(super) fn of(rest: &'a [&'a str]) -> Words<'a> {
        let attached = None;
        Words { rest, attached }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [&'a str] {
        self.rest
    }

    /// The next word. None at the end, for `--`, `-` and the like, and for several short options in
    /// one word.
    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if !first.starts_with('-') {
            return Some(Word::Plain(first));
        }
        if let Some((name, value)) = first.split_once('=') {
            self.attached = Some(value);
            return (name.len() > 2).then_some(Word::Option(name));
        }
        let is_one = first.len() > 2 && first.starts_with("--")
            || first.len() == 2 && !first.starts_with("--");
        is_one.then_some(Word::Option(first))
    }

    /// The value of the option just read, which clap takes from the next word only if that cannot
    /// be an option.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let value = match self.attached.take() {
            Some(value) => value,
            None => {
                let (first, rest) = self.rest.split_first()?;
                self.rest = rest;
                Some(*first).filter(|value| !value.starts_with('-'))?
            }
        };
        Some(value).filter(|value| !value.is_empty())
    }

    /// True: the option just read is there. It takes no value.
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.attached.is_none().then_some(true)
    }
}
