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
