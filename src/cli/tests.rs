use super::*;

#[test]
fn clap_finds_no_contradiction() {
    command().debug_assert();
}

#[test]
fn the_last_of_a_repeated_option_wins() {
    let cli = Cli::try_parse_from([
        "casulo",
        "--root=/a",
        "--systemd-cgroup",
        "--root",
        "/b",
        "--systemd-cgroup",
        "state",
        "x",
    ]);
    assert_eq!(
        cli.expect("accepted").global.root,
        Some(PathBuf::from("/b"))
    );
}

#[test]
fn what_follows_the_id_in_ps_belongs_to_the_hosts_ps() {
    for (line, format, words) in [
        (&["-f", "json", "web"][..], PsFormat::Json, &["web"][..]),
        (&["web", "-f", "-e"], PsFormat::Table, &["web", "-f", "-e"]),
        (
            &["--format=table", "web", "--format", "x"],
            PsFormat::Table,
            &["web", "--format", "x"],
        ),
        (&["web", ""], PsFormat::Table, &["web", ""]),
    ] {
        let cli = Cli::try_parse_from([&["casulo", "ps"][..], line].concat());
        match cli.expect("accepted").command {
            Some(Command::Ps(ps)) => {
                assert_eq!(
                    (ps.format, ps.id_and_arguments),
                    (format, words.iter().map(ToString::to_string).collect())
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(Cli::try_parse_from(["casulo", "ps"]).is_err());
}

#[test]
fn options_may_follow_the_id_but_not_in_exec() {
    let cli =
        Cli::try_parse_from(["casulo", "run", "web", "--bundle", "/b", "-d"]).expect("accepted");
    assert!(matches!(cli.command, Some(Command::Run(run)) if run.detach && run.create.id == "web"));
    let cli = Cli::try_parse_from([
        "casulo", "exec", "-e", "A=1", "-e", "B=2", "web", "ls", "-l", "--tty",
    ])
    .expect("accepted");
    match cli.command {
        Some(Command::Exec(exec)) => {
            assert_eq!(exec.command, ["ls", "-l", "--tty"]);
            assert_eq!(exec.env, ["A=1", "B=2"]);
            assert!(!exec.tty);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_dash_before_a_long_option_is_as_good_as_two() {
    for (one, two) in [
        ("-root /r list -format json", "--root /r list --format json"),
        (
            "-log-format=json events -stats web",
            "--log-format=json events --stats web",
        ),
        (
            "update -memory 5 -cpu-quota -1 web",
            "update --memory 5 --cpu-quota -1 web",
        ),
        ("kill web -all", "kill web --all"),
        ("kill -regex web", "kill --regex web"),
        ("spec -file f -b d", "spec --file f -b d"),
        // A value, and what belongs to somebody else, is nobody's option.
        (
            "exec -e tty=1 -tty web ls -detach",
            "exec -e tty=1 --tty web ls -detach",
        ),
        ("exec -dtp list -tty web ls", "exec -dtp list --tty web ls"),
        (
            "ps -format json web -format x",
            "ps --format json web -format x",
        ),
        ("run -bdir web", "run -b dir web"),
        ("run -db dir web", "run -d -b dir web"),
        ("run -b undle web", "run --bundle undle web"),
    ] {
        let read = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            Cli::read(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        assert_eq!(read(one), read(two), "{one}");
    }
    for wrong in ["run -bundles b web", "run ---bundle b web", "-é state a"] {
        let words: Vec<OsString> = wrong.split(' ').map(OsString::from).collect();
        assert!(Cli::read(&words).is_err(), "{wrong}");
    }
}
