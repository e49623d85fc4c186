//! config.json, process.json, state.json and the resources of an update: huge, deep, cut off, wrong.

use crate::support::{Bundle, Lab, Output, cases, finish};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

cases! {
    [Root, Casulo, Quick] => bad_configs, values_of_the_wrong_kind, bad_process_files, bad_resources, bad_states;
}

/// Texts that are no such file, each with what it is.
fn bad_texts(good: &str) -> Vec<(String, Vec<u8>)> {
    let huge = 17 << 20;
    let mut all = vec![
        ("nothing".to_owned(), Vec::new()),
        ("zeros".to_owned(), vec![0; 4096]),
        ("blanks without end".to_owned(), vec![b' '; huge]),
        (
            "a huge string".to_owned(),
            [b"\"", vec![b'a'; huge].as_slice(), b"\""].concat(),
        ),
        ("deep lists".to_owned(), vec![b'['; 1 << 20]),
        ("deep objects".to_owned(), br#"{"process":"#.repeat(1 << 17)),
        (
            "a deep unknown value".to_owned(),
            [br#"{"unknown":"#, vec![b'['; 1 << 20].as_slice()].concat(),
        ),
        ("not UTF-8".to_owned(), b"{\"\xff\": 1}".to_vec()),
        (
            "UTF-16".to_owned(),
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (
            "a huge number".to_owned(),
            format!("{{\"user\": {}}}", "9".repeat(100_000)).into_bytes(),
        ),
    ];
    for text in [
        "null",
        "true",
        "1",
        "\"text\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}{}",
        "{\"a\":1,}",
        "nul",
    ] {
        all.push((text.to_owned(), text.as_bytes().to_vec()));
    }
    // Cut off, not at the end of its last brace.
    for part in 1..20 {
        let end = good.len() * part / 20;
        all.push((
            format!("{part} of 20 parts"),
            good.as_bytes()[..end].to_vec(),
        ));
    }
    all
}

/// One clear error: one line, an ordinary status, no signal.
#[track_caller]
fn assert_one_error(what: &str, out: &Output) {
    assert!(
        (1..128).contains(&out.code) || out.code == 255,
        "{what}: {out:?}"
    );
    assert_eq!(out.stderr.lines().count(), 1, "{what}: {out:?}");
    assert!(
        out.stderr.starts_with("casulo: ") && out.stderr.len() < 1000,
        "{what}: {out:?}"
    );
}

fn call(lab: &Lab, verb: &str, bundle: &Bundle<'_>) -> Output {
    let mut command = lab.command();
    command
        .args([verb, "--bundle"])
        .arg(bundle.path())
        .arg(bundle.id());
    finish(command, b"")
}

fn bad_configs(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.write();
    let file = bundle.path().join("config.json");
    let good = fs::read_to_string(&file).unwrap();
    for (what, text) in bad_texts(&good) {
        fs::write(&file, text).unwrap();
        for verb in ["create", "run"] {
            assert_one_error(&what, &call(lab, verb, &bundle));
            lab.assert_nothing_left(bundle.id());
        }
    }
}

/// Every value of the text, one after the other, replaced by one of another kind.
fn with_wrong_values(good: &Value) -> Vec<(String, Value)> {
    let odd = [
        json!(null),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!("x"),
        json!([]),
        json!([[]]),
        json!({}),
        json!(true),
    ];
    let mut all: Vec<(String, Value)> = odd.into_iter().map(|odd| (String::new(), odd)).collect();
    let mut inside = |key: String, value: &Value, put: &dyn Fn(Value) -> Value| {
        for (place, odd) in with_wrong_values(value) {
            all.push((format!("/{key}{place}"), put(odd)));
        }
    };
    match good {
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate().take(2) {
                inside(index.to_string(), value, &|odd| {
                    let mut list = list.clone();
                    list[index] = odd;
                    Value::Array(list)
                });
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                inside(key.clone(), value, &|odd| {
                    let mut map = map.clone();
                    map.insert(key.clone(), odd);
                    Value::Object(map)
                });
            }
        }
        _ => {}
    }
    all
}

fn values_of_the_wrong_kind(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.write();
    let file = bundle.path().join("config.json");
    let good: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (place, config) in with_wrong_values(&good) {
        fs::write(&file, config.to_string()).unwrap();
        let out = call(lab, "run", &bundle);
        // Some are as good as what was there, or as nothing.
        assert!(out.code < 128, "{place}: {out:?}");
        assert!(out.code == 0 || !out.stderr.is_empty(), "{place}: {out:?}");
        lab.assert_nothing_left(bundle.id());
    }
}

fn bad_process_files(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let good = json!({
        "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "env": ["PATH=/bin"], "cwd": "/"
    });
    let file = lab.join("process.json");
    let name = file.to_string_lossy();
    let exec = || bundle.call("exec", &["--process", &name], &[]);
    for (what, text) in bad_texts(&good.to_string()) {
        fs::write(&file, text).unwrap();
        assert_one_error(&what, &exec());
    }
    for (place, process) in with_wrong_values(&good) {
        fs::write(&file, process.to_string()).unwrap();
        let out = exec();
        assert!(out.code < 128 || out.code == 255, "{place}: {out:?}");
    }
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    assert_one_error("/dev/zero", &exec());
    assert_eq!(bundle.status(), "running");
}

fn bad_resources(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let good = json!({"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 100}, "unified": {"memory.max": "max"}});
    let file = lab.join("resources.json");
    let name = file.to_string_lossy();
    let update = || bundle.call("update", &["--resources", &name], &[]);
    for (what, text) in bad_texts(&good.to_string()) {
        fs::write(&file, &text).unwrap();
        let out = update();
        // `null` and `{}` are an update of nothing.
        assert!(
            out.code == 0 || out.stderr.lines().count() == 1,
            "{what}: {out:?}"
        );
        if text.len() > 100 && what != "a huge number" {
            assert_one_error(&what, &out);
        }
        let mut command = lab.command();
        command.args(["update", "--resources", "-", bundle.id()]);
        assert_eq!(finish(command, &text).code, out.code, "{what}");
    }
    for (place, resources) in with_wrong_values(&good) {
        fs::write(&file, resources.to_string()).unwrap();
        let out = update();
        assert!(out.code < 128, "{place}: {out:?}");
    }
    assert_eq!(bundle.status(), "running");
}

fn bad_states(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let directory = lab.root().join(bundle.id());
    let good = fs::read_to_string(directory.join("state.json")).unwrap();
    let put = |text: &[u8]| {
        let new = directory.join("state.json.test");
        fs::write(&new, text).unwrap();
        fs::rename(new, directory.join("state.json")).unwrap();
    };
    let verbs = [
        &["state"][..],
        &["start"],
        &["kill"],
        &["pause"],
        &["resume"],
        &["ps"],
        &["update", "--pids-limit", "9"],
        &["delete"],
    ];
    for (what, text) in bad_texts(&good) {
        put(&text);
        for verb in verbs {
            let out = lab.casulo(&[verb, &[bundle.id()]].concat());
            assert_one_error(&format!("{what}, {verb:?}"), &out);
        }
        let out = bundle.exec("true");
        assert_one_error(&what, &out);
        // One container's state does not hide the others.
        let out = lab.casulo(&["list"]);
        assert!(
            out.code < 128 && out.stderr.lines().count() <= 1,
            "{what}: {out:?}"
        );
    }
    put(good.as_bytes());
    assert_eq!(bundle.status(), "running");
    assert!(Path::new(&format!("/proc/{}", bundle.pid())).exists());
}
