//! Two commands on one container at once: one wins, the other says why it did not, and nothing is left.

use super::many_or_few;
use super::steps::{Attempt, Way};
use crate::cycles::Dice;
use crate::support::{Lab, Output, Running, cases};
use std::process::Command;
use std::time::Duration;

cases! {
    [Root, Casulo] => two_creates, two_runs, two_starts, two_pauses, two_resumes, two_updates, two_deletes,
        create_and_delete, start_and_delete, exec_and_delete, kill_and_delete, pause_and_delete, resume_and_delete,
        update_and_delete;
}

/// The words of who came too late, or too early.
const REASONS: [&str; 8] = [
    "already exists",
    "does not exist",
    "was deleted while it was created",
    "container not running",
    "not created",
    "does not wait to be started",
    "it is paused already",
    "container not paused",
];

/// Both commands again and again, the second one a little later by chance; hands their outputs to `judge`.
fn race(
    lab: &Lab,
    way: Way,
    first: fn(&Attempt<'_>) -> Command,
    second: fn(&Attempt<'_>) -> Command,
    judge: fn(&Output, &Output),
) {
    let mut dice = Dice::new("races");
    for round in 0..many_or_few(15, 4) {
        let attempt = Attempt::new(lab, way);
        let one = Running::new(first(&attempt), b"");
        std::thread::sleep(Duration::from_micros(dice.below(15_000)));
        let two = Running::new(second(&attempt), b"");
        let (one, two) = (one.wait(), two.wait());
        for out in [&one, &two] {
            let lines = out.stderr.lines().count();
            assert_eq!(
                lines,
                usize::from(out.code != 0),
                "round {round}: {one:?} {two:?}"
            );
            let has_reason = REASONS.iter().any(|reason| out.stderr.contains(reason));
            assert!(
                out.code == 0 || has_reason,
                "round {round}: {one:?} {two:?}"
            );
        }
        judge(&one, &two);
        attempt.clear_away(&format!("round {round}"));
    }
}

/// The command of the way.
fn own(attempt: &Attempt<'_>) -> Command {
    attempt.command()
}

fn delete(attempt: &Attempt<'_>) -> Command {
    let mut command = attempt.lab.command();
    command.args(["delete", "--force", attempt.bundle.id()]);
    command
}

fn one_wins(one: &Output, two: &Output) {
    let winners = [one, two].iter().filter(|out| out.code == 0).count();
    assert_eq!(winners, 1, "{one:?} {two:?}");
}

fn both_win(one: &Output, two: &Output) {
    assert_eq!((one.code, two.code), (0, 0), "{one:?} {two:?}");
}

fn second_wins(_: &Output, two: &Output) {
    assert_eq!(two.code, 0, "{two:?}");
}

fn two_creates(lab: &Lab) {
    race(lab, Way::Create, own, own, one_wins);
}

fn two_runs(lab: &Lab) {
    race(lab, Way::RunDetached, own, own, one_wins);
}

fn two_starts(lab: &Lab) {
    race(lab, Way::Start, own, own, one_wins);
}

fn two_pauses(lab: &Lab) {
    race(lab, Way::Pause, own, own, one_wins);
}

fn two_resumes(lab: &Lab) {
    race(lab, Way::Resume, own, own, one_wins);
}

fn two_deletes(lab: &Lab) {
    // Without force: with it a container that is gone is as good as deleted.
    let delete = |attempt: &Attempt<'_>| {
        let mut command = attempt.lab.command();
        command.args(["delete", attempt.bundle.id()]);
        command
    };
    race(lab, Way::Start, delete, delete, one_wins);
}

fn two_updates(lab: &Lab) {
    race(lab, Way::Update, own, own, both_win);
}

fn create_and_delete(lab: &Lab) {
    race(lab, Way::Create, own, delete, second_wins);
}

fn start_and_delete(lab: &Lab) {
    race(lab, Way::Start, own, delete, second_wins);
}

fn exec_and_delete(lab: &Lab) {
    race(lab, Way::ExecTerminal, own, delete, second_wins);
}

fn kill_and_delete(lab: &Lab) {
    race(lab, Way::Kill, own, delete, second_wins);
}

fn pause_and_delete(lab: &Lab) {
    race(lab, Way::Pause, own, delete, second_wins);
}

fn resume_and_delete(lab: &Lab) {
    race(lab, Way::Resume, own, delete, second_wins);
}

fn update_and_delete(lab: &Lab) {
    race(lab, Way::Update, own, delete, second_wins);
}
