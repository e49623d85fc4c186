//! The command lines that engines send, read without clap.
//!
//! clap describes every option of every verb to itself before it looks at the first word, which
//! costs as much as a tenth of a container (docs/performance.md). So the verbs of a container's life
//! are read here first. What is not plainly right is left to clap, whose answer counts: this reader
//! never reports an error, and where it gives a result it is clap's (a test compares them).

use super::{
    Cli, Command, Create, Delete, Exec, Global, Id, Kill, LogFormat, LogLevel, Manager, Rootless,
    Run,
};
use std::ffi::OsString;
use std::path::PathBuf;

/// Reads the words behind the program's name. None means: ask clap.
pub(super) fn read(line: &[OsString]) -> Option<Cli> {
    let words: Vec<&str> = line
        .iter()
        .map(|word| word.to_str())
        .collect::<Option<_>>()?;
    let mut words = Words {
        rest: &words,
        attached: None,
    };
    let mut global = global_defaults();
    let verb = loop {
        match words.next()? {
            Word::Option(name) => global_option(&mut global, name, &mut words)?,
            Word::Plain(verb) => break verb,
        }
    };
    let command = match verb {
        "create" => Command::Create(create(&mut words)?),
        "run" => Command::Run(run(&mut words)?),
        "exec" => Command::Exec(exec(&mut words)?),
        "start" => Command::Start(id_alone(&mut words)?),
        "state" => Command::State(id_alone(&mut words)?),
        "kill" => Command::Kill(kill(&mut words)?),
        "delete" => Command::Delete(delete(&mut words)?),
        _ => return None,
    };
    Some(Cli {
        global,
        command: Some(command),
    })
}

// ---- words ------------------------------------------------------------------------------------------

/// What is left of the line.
struct Words<'a> {
    rest: &'a [&'a str],
    /// The value in `--name=value`, until somebody asks for it.
    attached: Option<&'a str>,
}

enum Word<'a> {
    /// `--name` or `-n`.
    Option(&'a str),
    Plain(&'a str),
}

impl<'a> Words<'a> {
    /// The next word. None at the end, for `--`, `-` and the like, and for several short options in
    /// one word.
    fn next(&mut self) -> Option<Word<'a>> {
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
    fn value(&mut self) -> Option<&'a str> {
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

    fn text(&mut self) -> Option<String> {
        self.value().map(str::to_owned)
    }

    fn path(&mut self) -> Option<PathBuf> {
        self.value().map(PathBuf::from)
    }

    /// A number as it is usually written; clap knows about signs and the like.
    fn number(&mut self) -> Option<u32> {
        self.value()
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))?
            .parse()
            .ok()
    }

    /// True: the option just read is there. It takes no value.
    fn flag(&mut self) -> Option<bool> {
        self.attached.is_none().then_some(true)
    }

    /// Reads options by `option` until the line ends; the only plain word is the id.
    fn options_and_id(
        &mut self,
        mut option: impl FnMut(&str, &mut Self) -> Option<()>,
    ) -> Option<String> {
        let mut id = None;
        while !self.rest.is_empty() {
            match self.next()? {
                Word::Option(name) => option(name, self)?,
                Word::Plain(word) if id.is_none() && !word.is_empty() => id = Some(word.to_owned()),
                Word::Plain(_) => return None,
            }
        }
        id
    }
}

// ---- options before the verb ------------------------------------------------------------------------

fn global_defaults() -> Global {
    Global {
        root: None,
        log: None,
        log_format: LogFormat::Text,
        log_level: LogLevel::Warning,
        debug: false,
        systemd_cgroup: false,
        cgroup_manager: None,
        rootless: Rootless::Auto,
        trace: None,
        version: false,
    }
}

fn global_option(global: &mut Global, name: &str, words: &mut Words) -> Option<()> {
    match name {
        "--root" => global.root = Some(words.path()?),
        "--log" => global.log = Some(words.path()?),
        "--log-format" => {
            global.log_format = match words.value()? {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            }
        }
        "--log-level" => {
            global.log_level = match words.value()? {
                "error" => LogLevel::Error,
                "warning" | "warn" => LogLevel::Warning,
                "info" => LogLevel::Info,
                "debug" | "trace" => LogLevel::Debug,
                _ => return None,
            }
        }
        "--debug" => global.debug = words.flag()?,
        "--systemd-cgroup" => global.systemd_cgroup = words.flag()?,
        "--cgroup-manager" => {
            global.cgroup_manager = Some(match words.value()? {
                "cgroupfs" => Manager::Cgroupfs,
                "systemd" => Manager::Systemd,
                "disabled" => Manager::Disabled,
                _ => return None,
            })
        }
        "--trace" => global.trace = Some(words.path()?),
        "--rootless" => {
            global.rootless = match words.value()? {
                "auto" => Rootless::Auto,
                "true" => Rootless::True,
                "false" => Rootless::False,
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}

// ---- the verbs --------------------------------------------------------------------------------------

fn create_defaults() -> Create {
    Create {
        bundle: PathBuf::from("."),
        config: None,
        pid_file: None,
        console_socket: None,
        pidfd_socket: None,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        id: String::new(),
    }
}

fn create_option(args: &mut Create, name: &str, words: &mut Words) -> Option<()> {
    match name {
        "--bundle" | "-b" => args.bundle = words.path()?,
        "--config" | "-f" => args.config = Some(words.path()?),
        "--pid-file" => args.pid_file = Some(words.path()?),
        "--console-socket" => args.console_socket = Some(words.path()?),
        "--pidfd-socket" => args.pidfd_socket = Some(words.path()?),
        "--no-pivot" => args.no_pivot = words.flag()?,
        "--no-new-keyring" => args.no_new_keyring = words.flag()?,
        "--preserve-fds" => args.preserve_fds = words.number()?,
        _ => return None,
    }
    Some(())
}

fn create(words: &mut Words) -> Option<Create> {
    let mut args = create_defaults();
    args.id = words.options_and_id(|name, words| create_option(&mut args, name, words))?;
    Some(args)
}

fn run(words: &mut Words) -> Option<Run> {
    let mut args = Run {
        create: create_defaults(),
        detach: false,
        keep: false,
        no_subreaper: false,
    };
    args.create.id = words.options_and_id(|name, words| {
        match name {
            "--detach" | "-d" => args.detach = words.flag()?,
            "--keep" => args.keep = words.flag()?,
            "--no-subreaper" => args.no_subreaper = words.flag()?,
            _ => create_option(&mut args.create, name, words)?,
        }
        Some(())
    })?;
    Some(args)
}

fn exec(words: &mut Words) -> Option<Exec> {
    let mut args = Exec {
        process: None,
        detach: false,
        tty: false,
        console_socket: None,
        pidfd_socket: None,
        pid_file: None,
        cwd: None,
        env: Vec::new(),
        user: None,
        additional_gids: Vec::new(),
        cap: Vec::new(),
        no_new_privs: false,
        apparmor: None,
        process_label: None,
        cgroup: None,
        preserve_fds: 0,
        ignore_paused: false,
        id: String::new(),
        command: Vec::new(),
    };
    args.id = loop {
        match words.next()? {
            Word::Option(name) => exec_option(&mut args, name, words)?,
            Word::Plain(id) if !id.is_empty() => break id.to_owned(),
            Word::Plain(_) => return None,
        }
    };
    // Behind the id the program's own words begin, as soon as one is no option.
    if words
        .rest
        .first()
        .is_some_and(|program| program.starts_with('-'))
    {
        return None;
    }
    args.command = words.rest.iter().map(|word| (*word).to_owned()).collect();
    Some(args)
}

fn exec_option(args: &mut Exec, name: &str, words: &mut Words) -> Option<()> {
    match name {
        "--process" | "-p" => args.process = Some(words.path()?),
        "--detach" | "-d" => args.detach = words.flag()?,
        "--tty" | "-t" => args.tty = words.flag()?,
        "--console-socket" => args.console_socket = Some(words.path()?),
        "--pidfd-socket" => args.pidfd_socket = Some(words.path()?),
        "--pid-file" => args.pid_file = Some(words.path()?),
        "--cwd" => args.cwd = Some(words.text()?),
        "--env" | "-e" => args.env.push(words.text()?),
        "--user" | "-u" => args.user = Some(words.text()?),
        "--additional-gids" | "-g" => args.additional_gids.push(words.number()?),
        "--cap" | "-c" => args.cap.push(words.text()?),
        "--no-new-privs" => args.no_new_privs = words.flag()?,
        "--apparmor" => args.apparmor = Some(words.text()?),
        "--process-label" => args.process_label = Some(words.text()?),
        "--cgroup" => args.cgroup = Some(words.path()?),
        "--preserve-fds" => args.preserve_fds = words.number()?,
        "--ignore-paused" => args.ignore_paused = words.flag()?,
        _ => return None,
    }
    Some(())
}

fn id_alone(words: &mut Words) -> Option<Id> {
    words
        .options_and_id(|_name, _words| None)
        .map(|id| Id { id })
}

fn kill(words: &mut Words) -> Option<Kill> {
    let mut all = false;
    let mut plain = Vec::new();
    while !words.rest.is_empty() {
        match words.next()? {
            Word::Option("--all" | "-a") => all = words.flag()?,
            Word::Option(_) | Word::Plain("") => return None,
            Word::Plain(word) => plain.push(word.to_owned()),
        }
    }
    let mut plain = plain.into_iter();
    let args = Kill {
        all,
        id: plain.next()?,
        signal: plain.next().unwrap_or_else(|| "SIGTERM".to_owned()),
    };
    plain.next().is_none().then_some(args)
}

fn delete(words: &mut Words) -> Option<Delete> {
    let mut force = false;
    let id = words.options_and_id(|name, words| {
        force = match name {
            "--force" | "-f" => words.flag()?,
            _ => return None,
        };
        Some(())
    })?;
    Some(Delete { force, id })
}

#[cfg(test)]
mod tests;
