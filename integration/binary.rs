//! The host's binary: nothing inside a container may ever write it (CVE-2019-5736).

use crate::hostile::catch_program;
use crate::support::{Lab, Running, cases, finish, wait_until};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

cases! {
    [Root, Casulo] => caught_program_cannot_be_written_later, entry_point_that_runs_the_runtime,
        waiting_init_is_not_the_hosts_file, a_moved_process_looks_as_before;
    [Root, Casulo, PieBuild] => position_independent_program_moves_wherever_it_lies;
    [Root, Casulo, Program("/usr/bin/strace")] => where_it_cannot_move_it_starts_again;
}

fn contents(lab: &Lab) -> Vec<u8> {
    fs::read(lab.runtime()).unwrap()
}

fn caught_program_cannot_be_written_later(lab: &Lab) {
    let before = contents(lab);
    let caught = catch_program(lab);
    assert_eq!(caught.said.lines(), ["caught", "errno EROFS"]);
    assert!(!caught.is_written());
    assert_eq!(contents(lab), before);
}

fn entry_point_that_runs_the_runtime(lab: &Lab) {
    let before = contents(lab);
    lab.bundle().args(&["/proc/self/exe", "--version"]).run();
    let bundle = lab.bundle().args(&["/entry"]);
    let entry = bundle.rootfs().join("entry");
    fs::write(&entry, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&entry, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.run();
    assert_eq!(contents(lab), before);
}

/// Fails unless what this process runs from, and all that it has mapped of a file, is read-only.
#[track_caller]
fn assert_runs_from_read_only(pid: i32) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let maps = fs::read_dir(process.join("map_files")).unwrap();
    let mut files: Vec<PathBuf> = maps.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.push(process.join("exe"));
    for file in files {
        let opened = fs::File::open(&file).unwrap();
        let stat = fstatvfs(&opened).unwrap();
        assert!(stat.flags().contains(FsFlags::ST_RDONLY), "{file:?}");
    }
}

fn waiting_init_is_not_the_hosts_file(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.create(&[]).ok();
    assert_runs_from_read_only(bundle.pid());
    let exe = fs::read_link(format!("/proc/{}/exe", bundle.pid())).unwrap();
    let rootfs = bundle.rootfs();
    assert!(!exe.to_string_lossy().contains(&*rootfs.to_string_lossy()));
}

/// Where the first part of the program that this process runs from, and that is executed, begins.
fn beginning_of_text(pid: i32) -> String {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let of_a_file = |line: &&str| line.contains(" r-xp ") && !line.contains("[v");
    let text = maps.lines().find(of_a_file).expect("text");
    text.split('-').next().unwrap().to_owned()
}

fn position_independent_program_moves_wherever_it_lies(lab: &Lab) {
    let with_pie = |command: &Command| {
        let mut with_pie = Command::new(lab.pie_build());
        with_pie.args(command.get_args()).current_dir(lab.path());
        finish(with_pie, b"").ok()
    };
    let bundles = [(); 2].map(|()| lab.bundle().args(&["/bin/sleep", "1000"]));
    let beginnings = bundles.each_ref().map(|bundle| {
        with_pie(&bundle.command(&[], "create", &[]));
        // A copy in memory, which it would start again from, is on no read-only mount.
        assert_runs_from_read_only(bundle.pid());
        beginning_of_text(bundle.pid())
    });
    assert_ne!(beginnings[0], beginnings[1]);
    for bundle in &bundles {
        let mut start = lab.command();
        with_pie(start.args(["start", bundle.id()]));
        let mut exec = lab.command();
        let said = with_pie(exec.args(["exec", bundle.id(), "/bin/echo", "hello"]));
        assert_eq!(said.stdout, "hello\n");
        bundle.call("kill", &[], &["KILL"]).ok();
        bundle.wait_stopped();
        let mut delete = lab.command();
        with_pie(delete.args(["delete", bundle.id()]));
    }
}

fn a_moved_process_looks_as_before(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let mut run = bundle.command(&[], "run", &[]);
    run.env_clear().env("COCOON", "silk").env("B", "");
    let mut called = vec![run.get_program().as_bytes()];
    called.extend(run.get_args().map(OsStr::as_bytes));
    let called = [called.join(&0), vec![0]].concat();
    let run = Running::new(run, b"");
    wait_until("the container runs", || {
        bundle.verb("state").stdout.contains("running")
    });
    let process = PathBuf::from(format!("/proc/{}", run.pid()));
    assert_eq!(fs::read(process.join("cmdline")).unwrap(), called);
    let environment = fs::read(process.join("environ")).unwrap();
    let mut variables: Vec<&[u8]> = environment.split_inclusive(|byte| *byte == 0).collect();
    variables.sort_unstable();
    assert_eq!(variables, [b"B=\0".as_slice(), b"COCOON=silk\0"]);
    let name = fs::read_to_string(process.join("comm")).unwrap();
    assert_eq!(name.trim(), "runtime");
    bundle.call("kill", &[], &["KILL"]).ok();
    run.wait();
}

fn where_it_cannot_move_it_starts_again(lab: &Lab) {
    // As a kernel without CONFIG_CHECKPOINT_RESTORE answers. The first prctl(2) is the one that moves it.
    let bundle = lab.bundle();
    let create = bundle.command(&[], "create", &[]);
    let mut traced = Command::new("/usr/bin/strace");
    let record = lab.join("record");
    traced.args(["-e", "trace=execve,execveat,prctl"]);
    traced.args(["-e", "inject=prctl:error=EINVAL:when=1", "-o"]);
    traced
        .arg(&record)
        .arg(create.get_program())
        .args(create.get_args());
    traced.current_dir(lab.path());
    finish(traced, b"").ok();
    let record = fs::read_to_string(record).unwrap();
    assert_eq!(record.matches("execve(").count(), 1, "{record}");
    assert_eq!(record.matches("execveat(").count(), 1, "{record}");
    assert_eq!(record.matches("PR_SET_MM_MAP").count(), 1, "{record}");
    // A copy in memory that nobody can change any more.
    let exe = fs::File::open(format!("/proc/{}/exe", bundle.pid())).unwrap();
    let seals = fcntl(&exe, FcntlArg::F_GET_SEALS).unwrap();
    let seals = SealFlag::from_bits_retain(seals);
    let all = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    assert!(seals.contains(all), "{seals:?}");
}
