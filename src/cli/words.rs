//! The words of a command line, as far as they are plainly an option, a value or neither.

/// What is left of the line.
pub(super) struct Words<'a> {
    rest: &'a [&'a str],
    /// The value in `--name=value`, until somebody asks for it.
    attached: Option<&'a str>,
}

/// One word of it.
pub(super) enum Word<'a> {
    /// `name` for `--name` and, as Go's programs write it, `-name`; `-n` for a short one.
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

    /// The next word. None at the end, and for `--`, `-` and the like. Several short options in one word look like a
    /// long one that nobody knows.
    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (option, value) = match first.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (*first, None),
        };
        let name = option.trim_start_matches('-');
        match (option.len() - name.len(), name.len()) {
            (0, _) => return Some(Word::Plain(first)),
            (1, 1) if value.is_none() => return Some(Word::Option(option)),
            (1 | 2, 2..) => {}
            _ => return None,
        }
        self.attached = value;
        Some(Word::Option(name))
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
