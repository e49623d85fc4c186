use super::*;
use proptest::prelude::*;

/// What clap and this reader say of a line, if this reader says anything.
fn compare(line: &[String]) -> bool {
    let words: Vec<OsString> = line.iter().map(OsString::from).collect();
    let Some(ours) = read(&words) else {
        return false;
    };
    match Cli::read_by_clap(&words) {
        Ok(clap) => assert_eq!(ours, clap, "{line:?}"),
        Err(error) => panic!("clap refuses {line:?}: {error}"),
    }
    true
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_lines_of_engines_need_no_clap() {
    for line in [
        "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --console-socket /s web",
        "--root=/r --log-level=warn --cgroup-manager cgroupfs --rootless true run -b /b -f /c --detach --keep web",
        "create --no-pivot --no-new-keyring --preserve-fds 3 web --bundle /b",
        "exec --process /p --pid-file /f --detach -t --cwd / -e A=1 --env B=2=3 -u 0:0 -g 5 -c CAP_KILL web",
        "exec -e A= web sh -c exit --tty -- -x",
        "exec --no-new-privs --apparmor a --process-label l --cgroup c --ignore-paused web true",
        "start web",
        "--debug --trace /t state web",
        "kill --all web 9",
        "kill web",
        "delete --force web",
        "delete web -f",
        "--version state a",
        "-root=/r -log-format json run -bundle /b -pid-file /p web -no-subreaper",
        "create -no-subreaper --no-subreaper web",
        "exec -process /p -tty -env A=1 web ls -la",
        "delete -force web",
        "kill -regex web",
        "delete --regex web",
    ] {
        assert!(compare(&words(line)), "left to clap: {line}");
    }
}

#[test]
fn what_is_not_plainly_right_is_left_to_clap() {
    for line in [
        "",
        "state",
        "state a b",
        "state --all a",
        "frobnicate a",
        "list",
        "run -bdir web",
        "run -dk web",
        "run -b=x web",
        "run -- web",
        "run --bundle",
        "run --bundle= web",
        "run --detach=true web",
        "run --preserve-fds +3 web",
        "run --preserve-fds 99999999999 web",
        "run --root /r web",
        "exec web --tty ls",
        "exec web -- ls",
        "kill a 9 b",
        "--log-format xml state a",
        "--root -x state a",
        "-",
        "--",
        "-é",
        "---root /r state a",
        "run ---b x web",
        "run -dkeep web",
    ] {
        assert!(!compare(&words(line)), "{line}");
    }
}

#[test]
fn every_option_that_clap_knows_is_read() {
    let all = crate::cli::command();
    let mut read = 0;
    for verb in ["create", "run", "exec", "start", "state", "kill", "delete"] {
        let command = all.find_subcommand(verb).expect(verb);
        for (is_global, arg) in all
            .get_arguments()
            .map(|arg| (true, arg))
            .chain(command.get_arguments().map(|arg| (false, arg)))
        {
            let long = arg.get_long().into_iter();
            let long = long.flat_map(|long| [format!("--{long}"), format!("-{long}")]);
            let short = arg.get_short().map(|short| format!("-{short}"));
            for name in long.chain(short) {
                let values = arg.get_possible_values();
                let mut option = vec![name];
                if arg.get_action().takes_values() {
                    let first = values.first().map(|it| it.get_name().to_owned());
                    option.push(first.unwrap_or_else(|| "7".to_owned()));
                }
                let verb = vec![verb.to_owned()];
                let mut line = if is_global {
                    [option, verb].concat()
                } else {
                    [verb, option].concat()
                };
                line.push("web".to_owned());
                assert!(compare(&line), "left to clap: {line:?}");
                read += 1;
            }
        }
    }
    assert!(read > 60, "{read}");
}

proptest! {
    #[test]
    fn whatever_is_read_is_what_clap_reads(
        line in prop::collection::vec(prop::sample::select(vec![
            "create", "run", "exec", "start", "state", "kill", "delete", "web", "ls", "9", "", "-", "--", "=",
            "--root", "--root=/r", "--trace", "--log", "--log-format", "json", "--log-level=warn", "--debug", "--rootless",
            "true", "--bundle", "-b", "-bx", "-b=x", "--config=", "--pid-file=p", "--no-pivot", "--preserve-fds", "3",
            "--detach", "-d", "--keep", "-dt", "-t", "--tty", "-e", "A=1", "--env=B=2", "-u", "0:0", "-g", "--cap",
            "-root", "-root=/r", "-bundle", "-pid-file=p", "-no-subreaper", "-tty", "-env", "-force", "-no-pivot=",
            "---b", "---root", "-dbundle", "--no-subreaper", "--force", "-f", "--all", "-a", "--version", "--help", "-h", "-v", "é", "--é=é", "-é",
        ]), 0..9)
    ) {
        compare(&line.into_iter().map(str::to_owned).collect::<Vec<_>>());
    }
}
