//! What is said in the name of a process that casulo has made: whoever traces it has its pipes.

use super::{Attack, Outcome, zoo};
use crate::support::{Lab, cases};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

cases! {
    [Root, TestBuild] => failure_of_one_that_runs;
}

fn failure_of_one_that_runs(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "who traces a waiting init says in its name that its program cannot be executed: `start` fails, or waits",
        without: "failure-ends",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
        bundle.create(&[]).ok();
        let answer = lab.root().join(bundle.id()).join("answer.fifo");
        // As it has it open itself.
        let mut pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(answer)
            .unwrap();
        let execute = 26_u32;
        for number in [execute, 2, 0] {
            pipe.write_all(&number.to_ne_bytes()).unwrap();
        }
        drop(pipe);
        let begin = Instant::now();
        let out = bundle.verb("start");
        let has_waited = begin.elapsed() > Duration::from_secs(5);
        let status = bundle.status();
        bundle.call("delete", &["--force"], &[]).ok();
        Outcome::of(&out, status == "running" && (out.code != 0 || has_waited))
    });
}
