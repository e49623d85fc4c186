//! NUL, newline, 64 KiB and what is not UTF-8, in every string of a config: of the bundle that sets every
//! field, and of one that runs (CVE-2021-43784: a length that no longer fitted let attributes be forged).

use super::{Attack, Outcome, Prey, zoo};
use crate::support::{Bundle, Lab, Output, cases, finish};
use serde_json::{Value, json};
use std::fs;

cases! {
    [Root, Casulo, Quick] => odd_strings_in_every_field, odd_strings_in_a_config_that_runs, odd_strings_of_exec;
    [Root, TestBuild] => nul_hides_the_rest_of_a_path;
}

const EVERYTHING: &str = include_str!("../../bundles/everything/config.json");

/// A string to be put in place of another; what is not UTF-8 has a sign here that [`bytes_of`] replaces.
const NOT_UTF_8: &str = "not\u{fffd}utf-8";

fn odd_strings(before: &str) -> [String; 4] {
    [
        format!("{before}\0hidden"),
        format!("{before}\ncasulo: injected"),
        format!("{before}{}", "x".repeat(64 << 10)),
        NOT_UTF_8.to_owned(),
    ]
}

/// JSON text; what stands for bytes that are not UTF-8 becomes such.
fn bytes_of(config: &Value) -> Vec<u8> {
    let text = serde_json::to_vec(config).unwrap();
    let mut bytes = Vec::with_capacity(text.len());
    let sign = "\u{fffd}".as_bytes();
    let mut rest = text.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        match rest.strip_prefix(sign) {
            Some(after) => {
                bytes.extend_from_slice(b"\xff\xfe");
                rest = after;
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

/// Every config that is like this one but for a string or a key, which is odd: its place, and the config.
fn variants(config: &Value) -> Vec<(String, Value)> {
    match config {
        Value::String(text) => odd_strings(text)
            .map(|odd| (String::new(), json!(odd)))
            .into(),
        Value::Array(list) => {
            let mut all = Vec::new();
            for (index, value) in list.iter().enumerate() {
                for (place, odd) in variants(value) {
                    let mut list = list.clone();
                    list[index] = odd;
                    all.push((format!("/{index}{place}"), Value::Array(list)));
                }
            }
            all
        }
        Value::Object(map) => {
            let mut all = Vec::new();
            for (key, value) in map {
                for (place, odd) in variants(value) {
                    let mut map = map.clone();
                    map.insert(key.clone(), odd);
                    all.push((format!("/{key}{place}"), Value::Object(map)));
                }
                for odd in odd_strings(key) {
                    let mut map = map.clone();
                    let value = map.remove(key).unwrap();
                    map.insert(odd, value);
                    all.push((format!("/{key} (the key)"), Value::Object(map)));
                }
            }
            all
        }
        _ => Vec::new(),
    }
}

/// What may be said of such a config: nothing that looks like another message, nothing a terminal obeys.
#[track_caller]
fn assert_decent(place: &str, out: &Output) {
    let shown = |text: &str| text.chars().take(600).collect::<String>();
    assert!(
        out.code < 128 || out.code == 255,
        "{place}: ended by a signal: {} {}",
        out.code,
        shown(&out.stderr)
    );
    if out.code != 0 {
        assert!(
            !out.stderr.is_empty(),
            "{place}: {} and not a word",
            out.code
        );
    }
    let control = |c: char| c.is_control() && c != '\n';
    assert!(
        !out.stderr.contains(control),
        "{place}: {:?}",
        shown(&out.stderr)
    );
    let injected = out
        .stderr
        .lines()
        .any(|line| line.starts_with("casulo: injected"));
    assert!(!injected, "{place}: {:?}", shown(&out.stderr));
}

fn odd_strings_in_every_field(lab: &Lab) {
    let everything: Value = serde_json::from_str(EVERYTHING).unwrap();
    let all = variants(&everything);
    assert!(all.len() > 1000, "{}", all.len());
    let bundle = lab.bundle();
    let create = bundle.command(&[], "create", &[]);
    for (place, config) in all {
        fs::write(bundle.path().join("config.json"), bytes_of(&config)).unwrap();
        let mut command = lab.command();
        command.args(create.get_args().skip(2));
        let out = finish(command, b"");
        assert_decent(&place, &out);
        assert_ne!(out.code, 0, "{place}: it has what no host has");
        lab.assert_nothing_left(bundle.id());
    }
}

fn odd_strings_in_a_config_that_runs(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/annotations", json!({"key": "value"}))
        .set("/domainname", json!("house"))
        .set("/linux/rootfsPropagation", json!("private"))
        .set("/linux/sysctl", json!({"net.core.somaxconn": "1234"}))
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]),
        )
        .bind(&Prey::new(lab).directory, "/volume", &["ro"]);
    let run = bundle.command(&[], "run", &[]);
    let file = bundle.path().join("config.json");
    let config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let all = variants(&config);
    assert!(all.len() > 500, "{}", all.len());
    for (place, config) in all {
        fs::write(&file, bytes_of(&config)).unwrap();
        let mut command = lab.command();
        command.args(run.get_args().skip(2));
        let out = finish(command, b"");
        assert_decent(&place, &out);
        lab.assert_nothing_left(bundle.id());
    }
}

fn odd_strings_of_exec(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let process = json!({
        "user": {"uid": 0, "gid": 0}, "args": ["/bin/true", "argument"], "env": ["PATH=/bin", "A=b"], "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"]}, "apparmorProfile": "", "selinuxLabel": "",
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]
    });
    let file = lab.join("process.json");
    for (place, process) in variants(&process) {
        fs::write(&file, bytes_of(&process)).unwrap();
        let out = bundle.call("exec", &["--process", &file.to_string_lossy()], &[]);
        assert_decent(&place, &out);
    }
    // A command line has no NUL.
    for odd in ["\n", &"x".repeat(64 << 10), "\u{1b}[31m"] {
        for option in [
            "--cwd",
            "--env",
            "--user",
            "--cap",
            "--apparmor",
            "--process-label",
            "--cgroup",
        ] {
            let out = bundle.call("exec", &[option, odd], &["/bin/true"]);
            assert_decent(option, &out);
        }
        assert_decent("program", &bundle.call("exec", &[], &[odd]));
    }
    assert_eq!(bundle.status(), "running");
}

fn nul_hides_the_rest_of_a_path(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2021-43784",
        name: "a NUL in a mount's source hides from the kernel what others read",
        without: "",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let source = format!("{}\0/harmless", prey.directory.display());
        let bundle: Bundle<'_> = lab
            .bundle()
            .push("/mounts", json!({"destination": "/volume", "type": "bind", "source": source, "options": ["bind"]}))
            .args(&["/bin/cat", "/volume/file"]);
        let out = bundle.run();
        Outcome::of(&out, out.stdout.contains(super::PRECIOUS))
    });
}
