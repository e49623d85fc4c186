//! A container that an engine is asked to run, in the words of the engine's command line.

use super::image::{self, Image};
use super::say_and_run;
use crate::support::{Lab, Output, finish};
use std::process::Command;

/// A container of Docker, Podman or containerd's `ctr`. Lines are split at each blank; `@` is the
/// container's name in them, and `%` the image of busybox.
pub(super) trait Container: Sized {
    /// A name that no other test has, and an engine that is ready.
    fn new(lab: &Lab) -> Self;

    fn name(&self) -> &str;

    /// The engine's program with its store or daemon.
    fn engine(&self) -> Command;

    /// Runs a script in an image's shell.
    fn run_of(&self, image: &Image, options: &str, script: &str) -> Command;

    /// Executes a script in the container's shell.
    fn exec_command(&self, options: &str, script: &str) -> Command;

    /// Gives the engine an image.
    fn load(&self, lab: &Lab, image: &Image);

    /// Removes the container; nothing of it may be left then.
    fn remove(&self);

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.engine();
        command.args(args.iter().map(|arg| match *arg {
            "%" => image::BUSYBOX.name.to_owned(),
            other => other.replace('@', self.name()),
        }));
        command
    }

    #[track_caller]
    fn call(&self, line: &str) -> Output {
        say_and_run(self.command(&words(line)), b"")
    }

    /// The same, without saying so: for what is asked again and again.
    #[track_caller]
    fn quiet(&self, line: &str) -> Output {
        finish(self.command(&words(line)), b"")
    }

    fn run(&self, options: &str, script: &str) -> Command {
        self.run_of(&image::BUSYBOX, options, script)
    }

    /// A container that is gone when its script has ended.
    #[track_caller]
    fn sh(&self, options: &str, script: &str) -> Output {
        say_and_run(self.run(&format!("--rm {options}"), script), b"")
    }

    /// Starts a container that stays.
    #[track_caller]
    fn detached(&self, options: &str, script: &str) {
        say_and_run(self.run(&format!("--detach {options}"), script), b"").ok();
    }

    #[track_caller]
    fn exec(&self, options: &str, script: &str) -> Output {
        say_and_run(self.exec_command(options, script), b"")
    }

    /// A field of Docker's and Podman's description.
    #[track_caller]
    fn inspect(&self, field: &str) -> String {
        let out = self.quiet(&format!("inspect --format {{{{.{field}}}}} @"));
        out.ok().text().to_owned()
    }
}

/// `FIRST… OPTIONS… LAST… sh -c SCRIPT`.
pub(super) fn shell<'a>(
    first: &[&'a str],
    options: &'a str,
    last: &[&'a str],
    script: &'a str,
) -> Vec<&'a str> {
    [first, &words(options), last, &["sh", "-c", script]].concat()
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').filter(|word| !word.is_empty()).collect()
}
