//! What every command answers at every step of create, run and exec, compared with the table of docs/status.md.

use super::steps::{Attempt, RESOURCES, Way, is_reached, way};
use crate::support::{Lab, Output, Running, cases, finish, wait_until};
use casulo::step::{Side, Step};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

cases! {
    [Root, Casulo, TestBuild] => every_command_at_every_step, every_command_in_other_moments, failed_start_is_never_running;
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    NoName,
    Unborn,
    Creating,
    EndedEarly,
    Created,
    CreatedByRun,
    Running,
    Paused,
    Stopped,
}

impl Moment {
    fn row(self) -> &'static str {
        match self {
            Moment::NoName => "no name",
            Moment::Unborn => "creating, no init",
            Moment::Creating => "creating",
            Moment::EndedEarly => "create ended early",
            Moment::Created => "created",
            Moment::CreatedByRun => "created by run",
            Moment::Running => "running",
            Moment::Paused => "paused",
            Moment::Stopped => "stopped",
        }
    }
}

/// The moment in which a container is while a command is stopped at `step`.
fn moment(step: Step) -> Moment {
    match (way(step), step) {
        (_, Step::Reserve | Step::Record | Step::NameRecord) => Moment::NoName,
        (
            _,
            Step::CompileFilter
            | Step::ConnectAgent
            | Step::Cgroup
            | Step::HoldCgroup
            | Step::Limits
            | Step::CgroupOwner
            | Step::OpenNamespaces
            | Step::StartFifos
            | Step::HookOutput
            | Step::Clone
            | Step::Maps
            | Step::Grant
            | Step::Go
            | Step::DeviceProgram
            | Step::DeviceRules
            | Step::OpenSources
            | Step::KeepConfig
            | Step::RecordInit
            | Step::ReplaceRecord,
        ) => Moment::Unborn,
        (Way::Create | Way::CreateTerminal, _) => Moment::Creating,
        (_, Step::ResourceLimits | Step::LoadFilter) => Moment::Creating,
        (_, Step::RunPoststart | Step::WaitForEnd) => Moment::Running,
        (Way::RunDetached | Way::Run, _) => Moment::CreatedByRun,
        _ => Moment::Running,
    }
}

/// The columns but the first, in the order in which they are tried.
const COMMANDS: [&str; 11] = [
    "state",
    "exec",
    "start",
    "resume",
    "pause",
    "update",
    "ps",
    "events",
    "delete",
    "kill 0",
    "kill KILL",
];

/// The rows of the table by their first cell.
fn table() -> BTreeMap<&'static str, Vec<&'static str>> {
    let lines = include_str!("../../docs/status.md").lines();
    let rows = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<_> = rows
        .filter(|cells| cells.len() == COMMANDS.len() + 3)
        .collect();
    assert_eq!(rows[0][2..13], COMMANDS);
    rows[2..]
        .iter()
        .map(|cells| (cells[1], cells[2..13].to_vec()))
        .collect()
}

/// Commands after which the container is not as it was.
fn changes(command: &str) -> bool {
    matches!(command, "start" | "delete" | "kill KILL")
}

/// A file that `exec` makes; no host and no image has it.
fn trace(attempt: &Attempt<'_>) -> String {
    format!("/tmp/executed-{}", attempt.bundle.id())
}

/// What the command answers, in the words of the table.
fn answer(attempt: &Attempt<'_>, command: &str) -> (String, Output) {
    let (lab, id) = (attempt.lab, attempt.bundle.id());
    let log = lab.join("answer.log");
    let _ = fs::remove_file(&log);
    let mut call = lab.command();
    call.args(["--log-format", "json", "--log"]).arg(&log);
    match command {
        "exec" => call.args(["exec", id, "/bin/touch", &trace(attempt)]),
        "update" => call
            .args(["update", "--resources"])
            .arg(attempt.bundle.path().join(RESOURCES))
            .arg(id),
        "events" => call.args(["events", "--stats", id]),
        "kill 0" => call.args(["kill", id, "0"]),
        "kill KILL" => call.args(["kill", id, "KILL"]),
        verb => call.args([verb, id]),
    };
    let out = finish(call, b"");
    let mut words = Vec::new();
    if command == "state" && out.code == 0 {
        let state: Value = serde_json::from_str(&out.stdout).unwrap();
        words.push(state["status"].as_str().unwrap().to_owned());
    }
    if out.code != 0 {
        let text = fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        words.push(line["code"].as_str().unwrap().to_owned());
    }
    words.push(out.code.to_string());
    (words.join(" "), out)
}

/// Compares the answers of all commands with the row; `again` makes the same moment anew for each that changes it.
#[track_caller]
fn compare<'a>(moment: Moment, what: &str, again: &dyn Fn() -> (Attempt<'a>, Option<Running>)) {
    let table = table();
    let row = &table[moment.row()];
    let (attempt, running) = again();
    let mut changing = Vec::new();
    for (command, expected) in COMMANDS.iter().zip(row) {
        if changes(command) && *expected == "0" {
            changing.push(*command);
            continue;
        }
        let (got, out) = answer(&attempt, command);
        assert_eq!(
            &got,
            expected,
            "{what}: {command} {}: {out:?}",
            moment.row()
        );
        if matches!(moment, Moment::Unborn | Moment::Creating) && out.code != 0 {
            // Only who has a signal for init, which is not born yet, is told so.
            let words = match *command {
                "kill 0" => "container not running",
                _ => "it is being created",
            };
            assert!(out.stderr.contains(words), "{what}: {command}: {out:?}");
        }
        match (*command, out.code) {
            ("exec", code) => {
                let file = trace(&attempt);
                let inside = attempt.bundle.rootfs().join(&file[1..]);
                assert!(!Path::new(&file).exists(), "{what}: on the host");
                assert_eq!(inside.exists(), code == 0, "{what}: inside");
            }
            ("pause", 0) => drop(attempt.bundle.verb("resume").ok()),
            ("resume", 0) => drop(attempt.bundle.verb("pause").ok()),
            _ => {}
        }
        if *command == "state" {
            // Where create has not made it yet.
            fs::create_dir_all(attempt.lab.root()).unwrap();
            let listed = attempt.lab.casulo(&["list", "--format", "json"]).ok();
            let all: Value = serde_json::from_str(&listed.stdout).unwrap();
            let all = all.as_array().unwrap();
            let own = all.iter().find(|it| it["id"] == attempt.bundle.id());
            let status = own.map_or("E_NOT_FOUND", |it| it["status"].as_str().unwrap());
            assert!(expected.starts_with(status), "{what}: list: {all:?}");
        }
    }
    let mut place = Some((attempt, running));
    for command in changing {
        let (attempt, running) = place.take().unwrap_or_else(again);
        let (got, out) = answer(&attempt, command);
        assert_eq!(got, "0", "{what}: {command} {}: {out:?}", moment.row());
        end(attempt, running, what);
    }
    if let Some((attempt, running)) = place {
        end(attempt, running, what);
    }
}

/// Lets the command go on; when it has ended nothing is left after a `delete`.
#[track_caller]
fn end(attempt: Attempt<'_>, running: Option<Running>, what: &str) {
    if let Some(running) = running {
        running.signal(Signal::SIGCONT);
        attempt
            .lab
            .casulo(&["delete", "--force", attempt.bundle.id()])
            .ok();
        running.signal(Signal::SIGCONT);
        running.wait();
    }
    attempt.clear_away(what);
}

/// The command, stopped at the step.
fn stopped(lab: &Lab, step: Step) -> (Attempt<'_>, Option<Running>) {
    let attempt = Attempt::new(lab, way(step));
    let running = Running::new(attempt.told(step, "stop"), b"");
    let state = || {
        let out = attempt.bundle.verb("state");
        let state = serde_json::from_str::<Value>(&out.stdout);
        state.unwrap_or_default()
    };
    match step.side() {
        Side::Parent => {
            let stat = format!("/proc/{}/stat", running.pid());
            wait_until(step.name(), || {
                fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "))
            });
        }
        // Its parent waits for it, at the end of what it can do without.
        Side::Child => {
            let expected = table()[moment(step).row()][0].to_owned();
            wait_until(step.name(), || {
                let state = state();
                expected.starts_with(state["status"].as_str().unwrap_or("?"))
                    && (moment(step) != Moment::Creating || state["pid"] != 0)
            });
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    (attempt, Some(running))
}

fn every_command_at_every_step(lab: &Lab) {
    let ways = [
        Way::Create,
        Way::CreateTerminal,
        Way::RunDetached,
        Way::Run,
        Way::Exec,
        Way::ExecTerminal,
    ];
    let steps = Step::ALL.iter().copied();
    let steps: Vec<Step> = steps
        // create does not wait for that one.
        .filter(|step| *step != Step::MapHolder)
        .filter(|step| ways.contains(&way(*step)) && is_reached(*step))
        .collect();
    for step in steps.into_iter().step_by(super::many_or_few(1, 7)) {
        compare(moment(step), step.name(), &|| stopped(lab, step));
    }
}

fn every_command_in_other_moments(lab: &Lab) {
    let made = |way| (Attempt::new(lab, way), None);
    compare(Moment::EndedEarly, "killed", &|| {
        let attempt = Attempt::new(lab, Way::Create);
        finish(attempt.told(Step::KeepConfig, "kill"), b"");
        wait_until("init has ended with it", || {
            lab.leftovers(attempt.bundle.id()).len() <= 1
        });
        (attempt, None)
    });
    compare(Moment::Created, "created", &|| made(Way::Start));
    compare(Moment::Paused, "paused", &|| made(Way::Resume));
    compare(Moment::Running, "running", &|| made(Way::Pause));
    compare(Moment::Stopped, "stopped", &|| {
        let (attempt, _) = made(Way::Pause);
        attempt.bundle.call("kill", &[], &["KILL"]).ok();
        attempt.bundle.wait_stopped();
        (attempt, None)
    });
}

fn failed_start_is_never_running(lab: &Lab) {
    let failing = serde_json::json!({"path": "/bin/false"});
    for _ in 0..super::many_or_few(40, 8) {
        let bundle = lab.bundle().push("/hooks/startContainer", failing.clone());
        bundle.create(&[]).ok();
        bundle.verb("start").fails_with(&["startContainer"]);
        assert_eq!(bundle.status(), "stopped");
        bundle.verb("delete").ok();
    }
}
