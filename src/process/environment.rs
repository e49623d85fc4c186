//! `process.env`: checked and without duplicates in the plan; only HOME may be left for the child to
//! look up in the container, and its own pid.

use crate::error::Problems;
use crate::root::Root;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Where programs are looked up without PATH in the container's environment.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of /etc/passwd is read: the image decides how long it is.
const PASSWD_LIMIT: u64 = 1 << 20;

/// The environment of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `NAME=value`, in the config's order, each name once.
    pub variables: Vec<CString>,
    /// Whether HOME is among them.
    pub home: Home,
    /// Whether LISTEN_PID is to be added.
    pub listen_pid: ListenPid,
}

/// Where LISTEN_PID comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListenPid {
    /// The config has it, or nobody needs it.
    #[default]
    AsGiven,
    /// The child's own pid: in a new pid namespace that is 1, for an exec or without one it is not.
    Own,
}

/// Where HOME comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Home {
    /// The config has it.
    #[default]
    Given,
    /// The child finds it in the container's /etc/passwd.
    Lookup,
}

/// Decides the environment, and returns the directories of its PATH beside it. `path` is the JSON path
/// of `env`.
///
/// The last of several values of a name counts. An empty HOME is an absent one, as runc has it. With
/// LISTEN_FDS comes LISTEN_PID unless the config has its own: sd_listen_fds(3) in the container looks
/// for its own pid.
///
/// Problems: an entry without `=` or without a name, or with a NUL byte.
pub(crate) fn plan(
    env: &[String],
    path: &str,
    problems: &mut Problems,
) -> (Environment, Vec<String>) {
    let mut names: HashSet<&str> = HashSet::new();
    let mut kept: Vec<&str> = Vec::new();
    for (index, entry) in env.iter().enumerate().rev() {
        let name = match entry.split_once('=') {
            Some(("", _)) | None => {
                problems.add(
                    format!("{path}[{index}]"),
                    format!("{entry:?} is not of the form NAME=value"),
                );
                continue;
            }
            Some((name, _)) => name,
        };
        if entry.contains('\0') {
            problems.add(
                format!("{path}[{index}]"),
                format!("{name} contains a NUL byte"),
            );
        } else if names.insert(name) {
            kept.push(entry);
        }
    }
    kept.retain(|entry| *entry != "HOME=");
    kept.reverse();
    let listen_pid = if names.contains("LISTEN_FDS") && !names.contains("LISTEN_PID") {
        ListenPid::Own
    } else {
        ListenPid::AsGiven
    };
    let value = |name: &str| {
        let mut entries = kept.iter();
        entries.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    };
    let directories: Vec<String> = value("PATH")
        .unwrap_or(DEFAULT_PATH)
        .split(':')
        .map(str::to_owned)
        .collect();
    let home = match value("HOME") {
        Some(_) => Home::Given,
        None => Home::Lookup,
    };
    let environment = Environment {
        variables: kept
            .into_iter()
            .filter_map(|it| CString::new(it).ok())
            .collect(),
        home,
        listen_pid,
    };
    (environment, directories)
}

impl Environment {
    /// Sets `name`, in place of what the config has.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let Ok(entry) = CString::new(format!("{name}={value}")) else {
            return;
        };
        self.remove(name);
        self.variables.push(entry);
    }

    /// Takes out `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        let prefix = format!("{name}=");
        self.variables
            .retain(|it| !it.to_bytes().starts_with(prefix.as_bytes()));
    }

    /// Child, in the container, still root: the finished environment. HOME, where it is not given,
    /// is the directory of `uid` in /etc/passwd, or `/`. LISTEN_PID, where it is wanted, is added when the process has its
    /// pid ([`super::last_steps`]).
    pub(crate) fn complete(&self, root: &Root, uid: u32) -> Vec<CString> {
        let mut variables = self.variables.clone();
        if self.home == Home::Lookup {
            let passwd = read_passwd(root).unwrap_or_else(|error| {
                log::debug!(
                    "HOME is / because the container's /etc/passwd cannot be read: {error}"
                );
                Vec::new()
            });
            variables.push(home_of(uid, &passwd).unwrap_or_else(|| c"HOME=/".to_owned()));
        }
        variables
    }
}

/// The beginning of the container's /etc/passwd. Symlinks are followed inside the root; anything
/// but a regular file is refused, and not waited for.
fn read_passwd(root: &Root) -> std::io::Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = root.open(Path::new("/etc/passwd"), flags, Mode::empty())?;
    let kind = SFlag::from_bits_retain(fstat(&fd)?.st_mode & libc::S_IFMT);
    if kind != SFlag::S_IFREG {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::from(fd).take(PASSWD_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `HOME=` with the sixth field of the first line whose third is `uid`, passwd(5).
fn home_of(uid: u32, passwd: &[u8]) -> Option<CString> {
    let uid = uid.to_string();
    let line = passwd.split(|byte| *byte == b'\n').find(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        fields.nth(2) == Some(uid.as_bytes())
    })?;
    let home = line.split(|byte| *byte == b':').nth(5)?;
    if home.is_empty() {
        return None;
    }
    CString::new([b"HOME=", home].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixtures::root;
    use std::os::unix::fs::symlink;

    fn planned(env: &[&str]) -> (Vec<String>, Home, Vec<String>) {
        let env: Vec<String> = env.iter().map(|it| (*it).to_owned()).collect();
        let mut problems = Problems::default();
        let (environment, directories) = plan(&env, "process.env", &mut problems);
        assert!(problems.is_empty());
        let text = |it: CString| it.into_string().expect("utf-8");
        let variables = environment.variables.into_iter().map(text).collect();
        (variables, environment.home, directories)
    }

    #[test]
    fn the_last_duplicate_wins_in_its_own_place() {
        let (variables, home, directories) =
            planned(&["A=1", "PATH=/a", "A=2", "PATH=/b:/c", "HOME=/h"]);
        assert_eq!(variables, ["A=2", "PATH=/b:/c", "HOME=/h"]);
        assert_eq!(home, Home::Given);
        assert_eq!(directories, ["/b", "/c"]);
    }

    #[test]
    fn an_absent_or_empty_home_is_looked_up() {
        for env in [&["A="][..], &["A=", "HOME="], &["HOME=/x", "A=", "HOME="]] {
            let (variables, home, _) = planned(env);
            assert_eq!(
                (variables, home),
                (vec!["A=".to_owned()], Home::Lookup),
                "{env:?}"
            );
        }
    }

    #[test]
    fn without_path_there_is_a_default_that_is_not_exported() {
        let (variables, _, directories) = planned(&["HOME=/"]);
        assert_eq!(variables, ["HOME=/"]);
        assert_eq!(directories.last().map(String::as_str), Some("/bin"));
        // An empty PATH means the current directory, as for execvp.
        assert_eq!(planned(&["PATH="]).2, [""]);
    }

    #[test]
    fn listen_fds_come_with_a_pid() {
        let (_directory, root) = root();
        let completed = |env: &[&str]| {
            let env: Vec<String> = env.iter().map(|it| (*it).to_owned()).collect();
            let (environment, _) = plan(&env, "process.env", &mut Problems::default());
            environment.complete(&root, 0)
        };
        let listens = |env: &[&str]| {
            let env: Vec<String> = env.iter().map(|it| (*it).to_owned()).collect();
            let (environment, _) = plan(&env, "process.env", &mut Problems::default());
            environment.listen_pid
        };
        assert_eq!(listens(&["HOME=/", "LISTEN_FDS=2"]), ListenPid::Own);
        assert_eq!(listens(&["HOME=/"]), ListenPid::AsGiven);
        assert_eq!(
            listens(&["LISTEN_PID=7", "LISTEN_FDS=2"]),
            ListenPid::AsGiven
        );
        assert_eq!(completed(&["HOME=/"]), [c"HOME=/".to_owned()]);
        assert_eq!(
            planned(&["LISTEN_PID=7", "LISTEN_FDS=2", "HOME=/"]).0[0],
            "LISTEN_PID=7"
        );
        let mut environment = Environment::default();
        environment.variables.push(c"LISTEN_PID=7".to_owned());
        environment.set("LISTEN_PID", "1");
        assert_eq!(environment.variables, [c"LISTEN_PID=1".to_owned()]);
    }

    #[test]
    fn malformed_entries_are_problems() {
        let env = ["GOOD=1", "NOEQUALS", "=x", "NUL=a\0b"].map(str::to_owned);
        let mut problems = Problems::default();
        plan(&env, "process.env", &mut problems);
        let error = problems.into_result("c").expect_err("three").to_string();
        for part in [
            "process.env[1]: \"NOEQUALS\" is not of the form NAME=value",
            "process.env[2]: \"=x\" is not of the form NAME=value",
            "process.env[3]: NUL contains a NUL byte",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn home_is_the_sixth_field_of_the_users_line() {
        let passwd = b"# comment\nroot:x:0:0:root:/root:/bin/sh\nbad line\nx:y:1000\n\
            a:x:1000:1000:A:/home/a:/bin/sh\nb:x:1000:1000::/home/b:\nc:x:7:7:::\nd:x:8:8::/nul\0:";
        let rows = [
            (0, Some(c"HOME=/root")),
            (1, None),
            (7, None),
            (8, None),
            (10, None),
        ];
        for (uid, home) in rows {
            assert_eq!(home_of(uid, passwd).as_deref(), home, "{uid}");
        }
        assert_eq!(
            home_of(1000, b"a:x:1000:1000:A:/home/a:/bin/sh").as_deref(),
            Some(c"HOME=/home/a")
        );
    }

    #[test]
    fn passwd_is_read_inside_the_root_and_only_if_regular() {
        let (directory, root) = root();
        let home = |root: &Root| {
            let environment = Environment {
                home: Home::Lookup,
                ..Environment::default()
            };
            environment.complete(root, 5)
        };
        assert_eq!(home(&root), [c"HOME=/".to_owned()], "no file");
        let etc = directory.path().join("etc");
        std::fs::create_dir(&etc).expect("etc");
        nix::unistd::mkfifo(&etc.join("passwd"), Mode::S_IRWXU).expect("a fifo");
        assert_eq!(home(&root), [c"HOME=/".to_owned()], "a fifo does not block");
        std::fs::remove_file(etc.join("passwd")).expect("away");
        symlink("/etc/real", etc.join("passwd")).expect("a link");
        std::fs::write(etc.join("real"), "u:x:5:5::/home/u:").expect("a file");
        assert_eq!(home(&root), [c"HOME=/home/u".to_owned()]);
    }
}
