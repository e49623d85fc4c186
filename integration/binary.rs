//! The host's binary: nothing inside a container may ever write it (CVE-2019-5736).

use crate::support::{Lab, Running, cases, finish, wait_until};
use serde_json::json;
use std::fs;
use std::process::Command;

cases! {
    [Root, Casulo] => caught_program_cannot_be_written_later, entry_point_that_runs_the_runtime, waiting_init_is_not_the_hosts_file;
}

fn contents(lab: &Lab) -> Vec<u8> {
    fs::read(lab.runtime()).unwrap()
}

fn caught_program_cannot_be_written_later(lab: &Lab) {
    // Opening it for writing while it runs fails anyway (ETXTBSY) and proves nothing: the first
    // container keeps an O_PATH descriptor of the second one's init, and reopens it when that
    // has ended.
    let before = contents(lab);
    let first = lab
        .bundle()
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])
        .set("/linux/maskedPaths", json!([]))
        .args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let second = lab
        .bundle()
        .join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()))
        .args(&["/bin/true"]);
    // A copy that nobody else runs: another process of it would make the answer ETXTBSY again.
    let copy = lab.join("copy");
    fs::copy(lab.runtime(), &copy).unwrap();
    let create = second.command(&[], "create", &[]);
    let mut command = Command::new(&copy);
    command.args(create.get_args());
    finish(command, b"").ok();
    let status = fs::read_to_string(format!("/proc/{}/status", second.pid())).unwrap();
    let inside = crate::support::field(&status, "NSpid");
    let inside = inside.split_whitespace().last().unwrap().to_owned();
    let mut probe = lab.command();
    probe.args([
        "exec",
        first.id(),
        "/bin/probe",
        "caught-exe",
        &inside,
        "/over",
    ]);
    let probe = Running::new(probe, b"");
    wait_until("the program is caught, or cannot be", || {
        !probe.stdout().is_empty()
    });
    second.verb("start").ok();
    second.wait_stopped();
    fs::write(first.rootfs().join("over"), "").unwrap();
    let said = probe.wait().ok();
    assert_eq!(said.lines(), ["caught", "errno EROFS"]);
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

fn waiting_init_is_not_the_hosts_file(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.create(&[]).ok();
    let exe = format!("/proc/{}/exe", bundle.pid());
    let opened = fs::File::open(&exe).unwrap();
    let stat = nix::sys::statvfs::fstatvfs(&opened).unwrap();
    assert!(stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    assert!(
        !fs::read_link(&exe)
            .unwrap()
            .to_string_lossy()
            .contains(&*bundle.rootfs().to_string_lossy())
    );
}
