//! How far it is, on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar or a spinner; nothing where standard error is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// So many steps of one kind.
    pub(crate) fn bar(what: &str, steps: usize) -> Progress {
        let bar = ProgressBar::new(u64::try_from(steps).unwrap_or_default());
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what.to_owned());
        Progress(bar)
    }

    /// One step of unknown length.
    pub(crate) fn spinner(what: &str) -> Progress {
        let spinner = ProgressBar::new_spinner();
        spinner.set_message(what.to_owned());
        spinner.tick();
        Progress(spinner)
    }

    /// The next step, with what it is.
    pub(crate) fn step(&self, message: &str) {
        self.0.set_message(message.to_owned());
        self.0.inc(1);
    }

    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}
