//! A container that is timed or weighed: made by the floor or by a runtime, and gone in the end.

use super::ground::{ENDS, Ground};
use super::step::{ends, until};
use crate::place::MAPPED;
use crate::runtimes::Runtime;
use crate::sys;
use anyhow::{Context, Error, Result, anyhow};
use nix::sys::signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compared.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    tool: Tool,
}

#[derive(Clone, Debug)]
enum Tool {
    Floor,
    Runtime(Runtime),
}

impl Subject {
    pub(crate) const FLOOR: &'static str = "floor";

    pub(crate) fn of(runtime: &Runtime) -> Subject {
        Subject {
            name: runtime.name.clone(),
            tool: Tool::Runtime(runtime.clone()),
        }
    }

    /// The floor, and then the runtimes.
    pub(crate) fn all(runtimes: &[Runtime]) -> Vec<Subject> {
        let floor = Subject {
            name: Subject::FLOOR.into(),
            tool: Tool::Floor,
        };
        let mut all = vec![floor];
        all.extend(runtimes.iter().map(Subject::of));
        all
    }

    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.tool, Tool::Floor)
    }
}

/// What a start is asked beyond the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Plain,
    /// Docker's profile.
    Seccomp,
    UserNamespace,
    /// So many directories of the host.
    Mounts(u32),
    /// So many bytes in `memory.max`.
    Memory(u64),
    /// The cgroup is asked of systemd. The floor makes it itself, here as well.
    Systemd,
}

/// How a container of a trial is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) flavour: Flavour,
    pub(crate) program: &'static [&'static str],
}

impl Config {
    /// With a program that ends at once.
    pub(crate) fn of(flavour: Flavour) -> Config {
        Config {
            flavour,
            program: ENDS,
        }
    }
}

/// One container, from before its start until it is gone.
pub(crate) struct Trial<'a> {
    ground: &'a Ground<'a>,
    subject: &'a Subject,
    config: Config,
    id: String,
    gone: Cell<bool>,
}

impl<'a> Trial<'a> {
    /// Writes the bundle, where there is one.
    pub(crate) fn new(
        ground: &'a Ground<'a>,
        subject: &'a Subject,
        config: Config,
    ) -> Result<Trial<'a>> {
        if subject.is_floor() && config.flavour == Flavour::Seccomp {
            let filter = ground.filter.as_ref();
            filter.map_err(|why| anyhow!("{why:#}"))?;
        }
        let trial = Trial {
            ground,
            subject,
            config,
            id: ground.next_id(),
            gone: Cell::new(true),
        };
        if !subject.is_floor() {
            let bundle = trial.bundle();
            let text = trial.spec().to_string();
            fs::create_dir(&bundle)
                .and_then(|()| fs::write(bundle.join("config.json"), text))
                .with_context(|| bundle.display().to_string())?;
        }
        Ok(trial)
    }

    /// Milliseconds of `run`.
    pub(crate) fn run(&self) -> Result<f64> {
        let took = self.step(self.run_command())?;
        self.gone.set(true);
        Ok(took)
    }

    pub(crate) fn create(&self) -> Result<f64> {
        let mut command = self.words("create");
        match self.subject.tool {
            Tool::Floor => drop(command.arg(self.floor_state())),
            Tool::Runtime(_) => drop(command.arg("--bundle").arg(self.bundle()).arg(&self.id)),
        }
        self.add_floor_container(&mut command);
        self.step(command)
    }

    pub(crate) fn start(&self) -> Result<f64> {
        let mut command = self.words("start");
        match self.subject.tool {
            Tool::Floor => command.arg(self.floor_state()),
            Tool::Runtime(_) => command.arg(&self.id),
        };
        self.step(command)
    }

    /// Of a container that has ended.
    pub(crate) fn delete(&self) -> Result<f64> {
        let mut command = self.words("delete");
        match self.subject.tool {
            Tool::Floor => command.arg(self.floor_state()).arg(self.cgroup()),
            Tool::Runtime(_) => command.arg(&self.id),
        };
        let took = self.step(command)?;
        self.gone.set(true);
        Ok(took)
    }

    /// Of the program that ends at once.
    pub(crate) fn exec(&self) -> Result<f64> {
        let mut command = self.words("exec");
        match self.subject.tool {
            Tool::Floor => {
                let pid_file = self.floor_state().join("pid");
                command.arg(pid_file).arg(self.cgroup())
            }
            Tool::Runtime(_) => command.arg(&self.id),
        };
        command.args(ENDS);
        self.step(command)
    }

    /// `run` in the foreground.
    pub(crate) fn run_command(&self) -> Command {
        self.gone.set(false);
        let mut command = self.words("run");
        if !self.subject.is_floor() {
            command.arg("--bundle").arg(self.bundle()).arg(&self.id);
        }
        self.add_floor_container(&mut command);
        command
    }

    /// Tells that a command of [`Trial::run_command`] has succeeded.
    pub(crate) fn has_run(&self) {
        self.gone.set(true);
    }

    /// The container's process, as the host numbers it, once there is one.
    pub(crate) fn pid(&self) -> Result<u32> {
        until("the container's process", || {
            self.processes().first().copied()
        })
    }

    /// True once the process has become the container's program.
    pub(crate) fn has_program(&self) -> bool {
        let line = self.config.program.join("\0") + "\0";
        let pid = self.processes().first().copied();
        let seen = pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
        seen.is_some_and(|seen| seen == line.as_bytes())
    }

    fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.cgroup().join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn step(&self, command: Command) -> Result<f64> {
        self.gone.set(false);
        let result = self.ground.steps.time(command);
        result.map_err(|why| Error::msg(format!("{why:#}").replace(&self.id, "ID")))
    }

    /// The command up to and with this word, and the floor's options.
    fn words(&self, word: &str) -> Command {
        match &self.subject.tool {
            Tool::Floor => {
                let mut command = Command::new(&self.ground.floor);
                command.arg(word);
                self.add_floor_options(word, &mut command);
                command
            }
            Tool::Runtime(runtime) => {
                let mut command = runtime.command();
                command
                    .arg("--root")
                    .arg(self.ground.state_of(&runtime.name));
                if self.config.flavour == Flavour::Systemd {
                    command.arg("--systemd-cgroup");
                }
                command.arg(word);
                command
            }
        }
    }

    fn add_floor_options(&self, word: &str, command: &mut Command) {
        let makes = matches!(word, "run" | "create");
        match (self.config.flavour, &self.ground.filter) {
            (Flavour::Seccomp, Ok(filter)) if makes || word == "exec" => {
                command.arg("-s").arg(filter);
            }
            (Flavour::UserNamespace, _) if makes => drop(command.arg("-u")),
            (Flavour::Mounts(count), _) if makes => {
                command.arg("-b").arg(self.ground.dir.join("bound"));
                command.arg(count.to_string());
            }
            _ => {}
        }
    }

    fn add_floor_container(&self, command: &mut Command) {
        if self.subject.is_floor() {
            command.arg(self.root()).arg(self.cgroup());
            command.args(self.config.program);
        }
    }

    fn root(&self) -> PathBuf {
        match self.config.flavour {
            Flavour::UserNamespace => self.ground.place.mapped_root(),
            _ => self.ground.place.root(),
        }
    }

    fn bundle(&self) -> PathBuf {
        self.ground.dir.join("bundles").join(&self.id)
    }

    fn floor_state(&self) -> PathBuf {
        self.ground.dir.join("floor-state").join(&self.id)
    }

    fn cgroup(&self) -> PathBuf {
        let top = Path::new("/sys/fs/cgroup");
        top.join(&self.ground.place.cgroup).join(&self.id)
    }

    fn spec(&self) -> Value {
        let mut spec = self.ground.spec.clone();
        spec["process"]["args"] = json!(self.config.program);
        spec["root"]["path"] = json!(self.root());
        let linux = &mut spec["linux"];
        linux["cgroupsPath"] = json!(format!("/{}/{}", self.ground.place.cgroup, self.id));
        match self.config.flavour {
            Flavour::Plain => {}
            Flavour::Seccomp => linux["seccomp"] = self.ground.profile.clone(),
            Flavour::UserNamespace => {
                let map = json!([{"containerID": 0, "hostID": MAPPED, "size": 65536}]);
                linux["uidMappings"] = map.clone();
                linux["gidMappings"] = map;
                if let Value::Array(namespaces) = &mut linux["namespaces"] {
                    namespaces.push(json!({"type": "user"}));
                }
            }
            Flavour::Memory(bytes) => linux["resources"]["memory"] = json!({"limit": bytes}),
            Flavour::Systemd => {
                linux["cgroupsPath"] = json!(format!("system.slice:bench:{}", self.id))
            }
            Flavour::Mounts(count) => {
                let source = self.ground.dir.join("bound");
                let mount = |number| json!({"destination": format!("/b/{number}"), "type": "bind", "source": source, "options": ["rbind"]});
                if let Value::Array(mounts) = &mut spec["mounts"] {
                    mounts.extend((0..count).map(mount));
                }
            }
        }
        spec
    }

    /// Ends what is left of the container, whatever that is.
    fn clean(&self) {
        let processes = self.processes();
        if self.subject.is_floor() {
            processes.iter().copied().for_each(kill);
        } else {
            let mut command = self.words("delete");
            command.arg("--force").arg(&self.id);
            let _ = self.ground.steps.time(command);
        }
        for pid in processes {
            let _ = reap(pid);
        }
        let _ = fs::remove_dir(self.cgroup());
        let _ = fs::remove_dir_all(self.floor_state());
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.gone.get() {
            self.clean();
        }
        let _ = fs::remove_dir_all(self.bundle());
    }
}

/// Ends what a runtime that was given up has left: all that is a child of the benchmark by now.
pub(crate) fn end_orphans() {
    let own = std::process::id();
    let children = format!("/proc/{own}/task/{own}/children");
    let children = fs::read_to_string(children).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|it| it.parse().ok()) {
        kill(pid);
        let _ = reap(pid);
    }
}

fn kill(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = signal::kill(Pid::from_raw(pid), signal::Signal::SIGKILL);
    }
}

/// Waits for the end of a container's process, which becomes a child of the benchmark when the runtime
/// has ended.
pub(crate) fn reap(pid: u32) -> Result<()> {
    if let Ok(process) = sys::pidfd(pid) {
        ends(&process, "the container's process")?;
    }
    if let Ok(pid) = i32::try_from(pid) {
        let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    }
    Ok(())
}
