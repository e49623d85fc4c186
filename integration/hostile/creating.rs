//! What is being created is not the container yet: whoever enters it then is on the host.

use super::{Attack, Outcome, zoo};
use crate::support::{Lab, cases};
use serde_json::json;
use std::fs;

cases! {
    [Root, TestBuild] => exec_from_a_hook;
}

fn exec_from_a_hook(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "`exec` while the container is created, from a createRuntime hook, writes a file of the host",
        without: "not-while-creating",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab.bundle();
        let (file, ran) = (lab.join("made-on-the-host"), lab.join("ran"));
        let mut exec = lab.command();
        exec.args(["exec", bundle.id(), "/bin/sh", "-c"])
            .arg(format!("echo 1 >{}", file.display()));
        let words = |it: &std::ffi::OsStr| format!("'{}'", it.to_string_lossy());
        let call: Vec<String> = std::iter::once(exec.get_program())
            .chain(exec.get_args())
            .map(words)
            .collect();
        // The environment is casulo's own: there it is told what to go without.
        let said = lab.join("said");
        let (ran_to, said_to) = (ran.display(), said.display());
        let script = format!("{} 2>{said_to}; echo $? >{ran_to}", call.join(" "));
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let out = bundle.push("/hooks/createRuntime", hook).run();
        let code = fs::read_to_string(&ran).expect("the hook has run");
        let said = fs::read_to_string(&said).unwrap();
        let got_through = fs::remove_file(&file).is_ok();
        match got_through {
            true => assert_eq!(code, "0\n", "{said}"),
            false => {
                assert_eq!(code, "255\n", "{said}");
                assert!(said.contains("it is being created"), "{said}");
            }
        }
        Outcome::of(&out, got_through)
    });
}
