//! `ps`

use crate::cli::{Global, Ps, PsFormat};
use crate::container;
use crate::error::{Code, Context, Error, Result};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::{Command, Stdio};

/// `casulo ps`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Ps) -> Result<u8> {
    let (id, arguments) = args
        .id_and_arguments
        .split_first()
        .ok_or_else(|| Error::new(Code::Usage, "no container given"))?;
    let pids = container::processes(&super::open(global, id)?)?;
    let text = match args.format {
        PsFormat::Json => {
            let numbers: Vec<i32> = pids.iter().map(|pid| pid.as_raw()).collect();
            format!("{}\n", Value::from(numbers))
        }
        PsFormat::Table => select(&table(arguments)?, &pids)?,
    };
    super::print(text.as_bytes())?;
    Ok(0)
}

/// What the host's ps(1) prints.
fn table(arguments: &[String]) -> Result<String> {
    // go-runc hands on one argument, which is empty where nobody asked for anything.
    let mut arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.is_empty())
        .collect();
    if arguments.is_empty() {
        arguments.push("-ef");
    }
    let output = Command::new("ps")
        .args(&arguments)
        .stdin(Stdio::null())
        .output()
        .context(Code::Exec, "execute", "ps")?;
    if output.stdout.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let text = format!("ps {}: {}: {said}", arguments.join(" "), output.status);
        return Err(Error::new(Code::Usage, text));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first line, and those whose column `PID` is one of `pids`.
fn select(table: &str, pids: &[Pid]) -> Result<String> {
    let wrong = |why: &str, line: &str| {
        let text = format!("ps: {why}: {line:?}");
        Err(Error::new(Code::Usage, text)
            .hint("let it print the column PID, before any that has blanks in it: -o pid,args"))
    };
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|word| word == "PID") else {
        return wrong("no column PID", header);
    };
    let mut text = format!("{header}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let pid = line.split_whitespace().nth(column);
        let Some(pid) = pid.and_then(|pid| pid.parse().ok()) else {
            return wrong("no pid in its column", line);
        };
        if pids.contains(&Pid::from_raw(pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_container_are_kept() {
        let table = "UID          PID    PPID CMD\n\
                     root           1       0 init\n\
                     user        1234       1 web  1\n\
                     root          12    1234 sh -c 1\n\n";
        let pids = [Pid::from_raw(12), Pid::from_raw(1234)];
        let expected = "UID          PID    PPID CMD\n\
                        user        1234       1 web  1\n\
                        root          12    1234 sh -c 1\n";
        assert_eq!(select(table, &pids).as_deref(), Ok(expected));
    }

    #[test]
    fn a_table_without_pids_is_an_error() {
        for (table, words) in [
            ("TTY CMD\n? init\n", "no column PID: \"TTY CMD\""),
            ("", "no column PID"),
            ("CMD PID\ntmux: server 7\n", "no pid in its column"),
            ("USER PID\nroot\n", "no pid in its column: \"root\""),
        ] {
            let error = select(table, &[Pid::from_raw(7)]).expect_err(table);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
