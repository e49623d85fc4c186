//! What the probes and the measurements run in: from nothing over chroot and single namespaces to
//! containers.

use crate::containers::{Container, Flavour, Limits};
use crate::place::{PROGRAM, Place};
use crate::runtimes::Runtime;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// A column of the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// The word for it on the page and in the JSON file.
    pub(crate) name: String,
    /// What it is, in a sentence.
    pub(crate) about: String,
    pub(crate) kind: Kind,
}

/// How an environment is made.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Nothing,
    Chroot,
    ChrootAsUser,
    /// unshare(1) with these options.
    Unshare(&'static [&'static str]),
    Container(Runtime, Flavour),
}

/// Namespaces that are looked at one by one: the last word of the name, what it is, unshare(1)'s options.
const NAMESPACES: &[(&str, &str, &[&str])] = &[
    ("pid", "processes", &["--pid", "--fork"]),
    ("mount", "mounts", &["--mount"]),
    ("net", "the network", &["--net"]),
    ("uts", "the host's name", &["--uts"]),
    ("ipc", "System V objects and message queues", &["--ipc"]),
    (
        "user",
        "users, with root mapped to root",
        &["--user", "--map-root-user"],
    ),
    ("cgroup", "the view of cgroups", &["--cgroup"]),
    (
        "time",
        "the clocks since boot",
        &["--time", "--boottime", "1000000", "--fork"],
    ),
];

/// All columns, for these runtimes. The one called casulo is looked at in its variants.
pub(crate) fn all(runtimes: &[Runtime]) -> Vec<Environment> {
    let mut all = vec![
        Environment {
            name: "nothing".into(),
            about: "A process of the host's root.".into(),
            kind: Kind::Nothing,
        },
        Environment {
            name: "chroot".into(),
            about: "chroot(1) as root, into a root file system with /proc and a few nodes in /dev."
                .into(),
            kind: Kind::Chroot,
        },
        Environment {
            name: "chroot user".into(),
            about: "The same as an ordinary user.".into(),
            kind: Kind::ChrootAsUser,
        },
    ];
    for (name, what, options) in NAMESPACES {
        all.push(Environment {
            name: format!("unshare {name}"),
            about: format!("unshare(1) as root, with one namespace: {what}."),
            kind: Kind::Unshare(options),
        });
    }
    for runtime in runtimes {
        let name = &runtime.name;
        let mut add = |suffix: &str, about: &str, flavour| {
            all.push(Environment {
                name: format!("{name}{suffix}"),
                about: about.into(),
                kind: Kind::Container(runtime.clone(), flavour),
            });
        };
        if name == "casulo" {
            add(
                " no seccomp",
                "A container as the next, without the seccomp profile.",
                Flavour::WithoutSeccomp,
            );
        }
        add(
            "",
            "A container as an engine asks for one by default: six namespaces, 14 capabilities, masks, device rules, Docker's seccomp profile.",
            Flavour::Default,
        );
        if name == "casulo" {
            add(
                " userns",
                "The default container with a user namespace: its root is user 100000 of the host.",
                Flavour::WithUserNamespace,
            );
            add(
                " strict",
                "All that a config can ask for: also an ordinary user, no capabilities, no_new_privs, a read-only root and a time namespace.",
                Flavour::Strict,
            );
        }
    }
    all
}

impl Environment {
    /// True for what a short run looks at: not single namespaces, and of the runtimes casulo.
    pub(crate) fn is_essential(&self) -> bool {
        match &self.kind {
            Kind::Unshare(_) => false,
            Kind::Container(runtime, _) => runtime.name == "casulo",
            Kind::Nothing | Kind::Chroot | Kind::ChrootAsUser => true,
        }
    }

    /// Where this program and the facts are, as seen from inside.
    pub(crate) fn inside(&self, place: &Place) -> (PathBuf, PathBuf) {
        use crate::isolation::facts::FACTS;
        let top = match self.kind {
            Kind::Nothing | Kind::Unshare(_) => place.root(),
            _ => PathBuf::from("/"),
        };
        (top.join(PROGRAM.trim_start_matches('/')), top.join(FACTS))
    }

    /// The container, where the environment is one.
    pub(crate) fn container<'a>(
        &'a self,
        place: &'a Place,
        limits: Option<Limits>,
    ) -> Option<Container<'a>> {
        let Kind::Container(runtime, flavour) = &self.kind else {
            return None;
        };
        Some(Container {
            place,
            runtime,
            id: self.name.replace(' ', "-"),
            flavour: *flavour,
            limits,
        })
    }

    /// A command that makes the environment, runs this program in it with these words, and ends.
    pub(crate) fn run(
        &self,
        place: &Place,
        limits: Option<Limits>,
        words: &[&str],
    ) -> Result<Command> {
        if let Some(container) = self.container(place, limits) {
            return container.run(&[], words);
        }
        let program = self.inside(place).0;
        let mut command = match self.kind {
            Kind::Unshare(options) => {
                let mut command = Command::new("unshare");
                command.args(options).arg(program);
                command
            }
            Kind::Chroot | Kind::ChrootAsUser => {
                let mut command = Command::new("chroot");
                if matches!(self.kind, Kind::ChrootAsUser) {
                    command.arg("--userspec=1000:1000");
                }
                command.arg(place.chroot_root()).arg(program);
                command
            }
            _ => Command::new(program),
        };
        command.args(words);
        Ok(command)
    }

    /// The command line for a reader, with short names for the long paths.
    pub(crate) fn shown(&self) -> String {
        match &self.kind {
            Kind::Nothing => "PROGRAM".into(),
            Kind::Chroot => "chroot ROOT PROGRAM".into(),
            Kind::ChrootAsUser => "chroot --userspec=1000:1000 ROOT PROGRAM".into(),
            Kind::Unshare(options) => format!("unshare {} PROGRAM", options.join(" ")),
            Kind::Container(runtime, _) => {
                format!("{} run --bundle BUNDLE ID", runtime.path.display())
            }
        }
    }
}
