//! A container of a test: real mounts, as root, in namespaces of a forked child. Without root its tests say so
//! and pass.

use super::*;
use crate::options::Options;
use crate::procfs::ProcFs;
use crate::skip;
use crate::sync::{Channel, Message};
use crate::sys::child::leave;
use crate::sys::clone::{Parent, Side, clone3};
use crate::sys::forked::check_in_child;
use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{pipe, read, setresgid, setresuid, write};
use std::fs;

pub(super) type Outcome = std::result::Result<(), String>;

/// A container to be: its config, its namespaces, and what the host looks like.
pub(super) struct Case {
    pub(super) mounts: Value,
    pub(super) more: Value,
    pub(super) users: bool,
    pub(super) kinds: Vec<Kind>,
    pub(super) no_pivot: bool,
    pub(super) caller: Caller,
}

/// Who makes the container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Root,
    /// May clone no trees.
    User,
    /// Has CAP_SYS_ADMIN, but not over this mount namespace: may clone none either.
    RootElsewhere,
}

pub(super) fn case(mounts: Value) -> Case {
    Case {
        mounts,
        more: json!({}),
        users: false,
        kinds: vec![
            Kind::Mount,
            Kind::Pid,
            Kind::Network,
            Kind::Ipc,
            Kind::Uts,
            Kind::Cgroup,
        ],
        no_pivot: false,
        caller: Caller::Root,
    }
}

pub(super) fn in_user_namespace(mounts: Value) -> Case {
    let mut case = case(mounts);
    case.users = true;
    case.kinds.push(Kind::User);
    case
}

/// Where the bundle of a test lies: a tmpfs of the test's own mount namespace.
pub(super) const BUNDLE: &str = "/tmp";

impl Case {
    /// Prepares the host with `host` (in BUNDLE, where `rootfs` exists), makes the container, and runs
    /// `inside` in it.
    pub(super) fn run(self, host: impl Fn() -> std::io::Result<()>, inside: impl Fn() -> Outcome) {
        if skip::unless_root() {
            return;
        }
        check_in_child(|| self.parent(&host, &inside));
    }

    /// Expects that the container cannot be made, with an error that contains `why`.
    pub(super) fn fails(self, host: impl Fn() -> std::io::Result<()>, why: &str) {
        if skip::unless_root() {
            return;
        }
        check_in_child(|| match self.parent(&host, &|| Ok(())) {
            Ok(()) => Err("no error".to_owned()),
            Err(error) if error.contains(why) => Ok(()),
            Err(error) => Err(format!("{error:?} does not contain {why:?}")),
        });
    }

    fn plan(&self) -> std::result::Result<Plan, String> {
        let map = namespaces::IdMap {
            inside: 0,
            outside: 100_000,
            count: 1000,
        };
        let ns = namespaces::Plan {
            new: self.kinds.clone(),
            uid_map: vec![map; usize::from(self.users)],
            gid_map: vec![map; usize::from(self.users)],
            ..Default::default()
        };
        let options = Options {
            no_pivot: self.no_pivot,
            ..Options::new("web1".parse().expect("an id"), BUNDLE.into())
        };
        let mut host = host();
        if self.caller == Caller::User {
            host.effective = 0;
        }
        let mut problems = Problems::default();
        let spec = spec(self.mounts.clone(), self.more.clone());
        let plan = plan(&spec, &ns, &options, &host, &mut problems);
        problems.into_result("config").map_err(text)?;
        Ok(plan)
    }

    fn parent(
        &self,
        host: &dyn Fn() -> std::io::Result<()>,
        inside: &dyn Fn() -> Outcome,
    ) -> Outcome {
        unshare(CloneFlags::CLONE_NEWNS).map_err(text)?;
        // As systemd has it on a host: all is shared; but not with the real host.
        propagate("/", MsFlags::MS_PRIVATE)?;
        propagate("/", MsFlags::MS_SHARED)?;
        fresh("tmpfs", BUNDLE)?;
        propagate(BUNDLE, MsFlags::MS_SHARED)?;
        fs::create_dir(format!("{BUNDLE}/rootfs")).map_err(text)?;
        host().map_err(text)?;
        if self.users {
            for path in ["", "/rootfs"] {
                nix::unistd::chown(
                    format!("{BUNDLE}{path}").as_str(),
                    Some(100_000.into()),
                    Some(100_000.into()),
                )
                .map_err(text)?;
            }
        }
        let plan = self.plan()?;
        let nodes = devices::Nodes::make(&plan.devices).map_err(text)?;
        let (channel, parent) = Channel::pair().map_err(text)?;
        let kinds = self.kinds.iter().copied().collect();
        let (go, say_go) = pipe().map_err(text)?;
        let (result, say_result) = pipe().map_err(text)?;
        match clone3(kinds, Parent::This, None).map_err(text)? {
            Side::Child => {
                let _ = read(&go, &mut [0]);
                drop(channel);
                let text = match self.child(&plan, &parent, &nodes, inside) {
                    Ok(()) => "ok".to_owned(),
                    Err(text) => text,
                };
                let _ = write(&say_result, text.as_bytes());
                leave(0);
            }
            Side::Parent(init) => {
                let proc = ProcFs::host().map_err(text)?;
                if self.users {
                    for file in ["uid_map", "gid_map"] {
                        proc.write(&format!("{init}/{file}"), b"0 100000 1000")
                            .map_err(text)?;
                    }
                }
                drop((go, parent, nodes));
                write(&say_go, b"g").map_err(text)?;
                if self.caller != Caller::Root {
                    caps::drop(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).map_err(text)?;
                }
                let sent = serve(&plan, init, &proc, &channel);
                drop(channel);
                drop(say_result);
                let mut said = vec![0; 4096];
                let length = read(&result, &mut said).map_err(text)?;
                waitpid(init, None).map_err(text)?;
                match sent {
                    // Init failed first and says why.
                    Err(error) if error.code == Code::Sync => {}
                    sent => sent.map_err(text)?,
                }
                // What was made for the container left nothing on the host, which is shared here.
                let left = mounts_below(&format!("{BUNDLE}/rootfs"), "/proc/self/mountinfo")?;
                match String::from_utf8_lossy(&said[..length]).as_ref() {
                    "ok" if left.is_empty() => Ok(()),
                    "ok" => Err(format!("left on the host: {left:?}")),
                    error => Err(error.to_owned()),
                }
            }
        }
    }

    fn child(
        &self,
        plan: &Plan,
        parent: &Channel,
        nodes: &devices::Nodes,
        inside: &dyn Fn() -> Outcome,
    ) -> Outcome {
        if self.users {
            setresgid(0.into(), 0.into(), 0.into()).map_err(text)?;
            setresuid(0.into(), 0.into(), 0.into()).map_err(text)?;
        }
        let mut sources = Sources::from(parent);
        let root = enter(plan, &mut sources).map_err(text)?;
        let (root, late) = populate(plan, root, &mut sources, nodes, Pids::Own).map_err(text)?;
        let old = nix::fcntl::open("/", OFlag::O_PATH, Mode::empty()).map_err(text)?;
        let root = pivot(plan, root).map_err(text)?;
        if plan.switch == RootSwitch::Move {
            // The old root stays mounted beneath the new one, but its procfs is gone or covered.
            let hidden = nix::fcntl::openat(&old, "proc/self", OFlag::O_PATH, Mode::empty());
            ensure(
                hidden.err() == Some(Errno::ENOENT),
                "the host's procfs is open",
            )?;
        }
        finish(plan, &root, late).map_err(text)?;
        inside()
    }
}

/// What the parent does until init has all its sources.
fn serve(plan: &Plan, init: nix::unistd::Pid, proc: &ProcFs, channel: &Channel) -> Result<()> {
    let mut sender = Sender::begin(plan, init, proc, channel)?;
    loop {
        match channel.receive()? {
            Some(Message::Turn) => sender.hear_turn()?,
            Some(Message::Found(tree)) => sender.hear_found(tree)?,
            Some(other) => panic!("{other:?}"),
            None => return Ok(()),
        }
    }
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) fn propagate(path: &str, how: MsFlags) -> Outcome {
    let none = None::<&str>;
    mount(none, path, none, how | MsFlags::MS_REC, none).map_err(text)
}

pub(super) fn fresh(fstype: &str, path: &str) -> Outcome {
    mount(
        Some("host"),
        path,
        Some(fstype),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(text)
}

/// The lines of a mountinfo whose mount point lies below `path`.
pub(super) fn mounts_below(
    path: &str,
    mountinfo: &str,
) -> std::result::Result<Vec<String>, String> {
    let all = fs::read_to_string(mountinfo).map_err(text)?;
    let below = |line: &&str| {
        line.split(' ')
            .nth(4)
            .is_some_and(|at| at.starts_with(path))
    };
    Ok(all.lines().filter(below).map(str::to_owned).collect())
}

/// The last mountinfo line of the mount at `path`, seen from inside.
pub(super) fn line_of(path: &str) -> std::result::Result<String, String> {
    let all = fs::read_to_string("/proc/self/mountinfo").map_err(text)?;
    all.lines()
        .rfind(|line| line.split(' ').nth(4) == Some(path))
        .map(str::to_owned)
        .ok_or_else(|| format!("{path} is not mounted:\n{all}"))
}

pub(super) fn expect(path: &str, part: &str) -> Outcome {
    let line = line_of(path)?;
    if line.contains(part) {
        Ok(())
    } else {
        Err(format!("{line:?} does not contain {part:?}"))
    }
}

pub(super) fn ensure(what: bool, text: &str) -> Outcome {
    if what { Ok(()) } else { Err(text.to_owned()) }
}

pub(super) fn nothing() -> std::io::Result<()> {
    Ok(())
}

pub(super) fn at(name: &str) -> String {
    format!("{BUNDLE}/{name}")
}

pub(super) fn with_proc(mount: Value) -> Value {
    json!([{"destination": "/proc", "type": "proc", "source": "proc"}, mount])
}
