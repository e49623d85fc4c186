//! What enters a container, and those who wait for it there: tracing, the runtime's binary, capabilities
//! and users of `exec`.

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, Lab, Output, Running, cases, field, finish, wait_until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

cases! {
    [Root, TestBuild] => waiting_init_is_traced, caught_program_is_written_later,
        entry_point_is_the_runtime, added_capability_is_inherited, capability_of_a_file_is_inherited,
        user_with_junk_behind;
    [Root, TestBuild, Program("/usr/bin/setpriv")] => who_has_the_callers_capabilities_looks_into_init;
    [Root, TestBuild, Quick] => thousand_execs_are_traced;
}

fn attacker(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// A verb of the probe, in the container, that goes on until [`Loop::end`].
struct Loop<'bundle, 'lab> {
    bundle: &'bundle Bundle<'lab>,
    process: Running,
}

impl<'bundle, 'lab> Loop<'bundle, 'lab> {
    fn new(lab: &Lab, bundle: &'bundle Bundle<'lab>, verb: &str) -> Loop<'bundle, 'lab> {
        let mut command = lab.command();
        command.args(["exec", bundle.id(), "/bin/probe", verb, "/stop"]);
        let process = Running::new(command, b"");
        wait_until("the attacker is there", || !process.stdout().is_empty());
        Loop { bundle, process }
    }

    fn has_said(&self, word: &str) -> bool {
        self.process.stdout().contains(word)
    }

    fn end(self) -> Output {
        fs::write(self.bundle.rootfs().join("stop"), "").unwrap();
        self.process.wait().ok()
    }
}

/// The number behind a word, in a line of its own.
fn count(said: &Output, word: &str) -> usize {
    let line = said
        .lines()
        .into_iter()
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line.and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn waiting_init_is_traced(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2016-9962",
        name: "a container is created in the attacker's pid namespace: its init is traced while it waits",
        without: "not-dumpable",
    };
    zoo(lab, &attack, |lab| {
        let attacker = attacker(lab);
        let watch = Loop::new(lab, &attacker, "watch-loop");
        let victim = lab
            .bundle()
            .join_namespace("pid", &format!("/proc/{}/ns/pid", attacker.pid()));
        let out = victim.create(&[]);
        // Long enough for many looks.
        std::thread::sleep(Duration::from_millis(200));
        let said = watch.end();
        if out.code == 0 {
            assert!(count(&said, "pids") > 0, "{said:?}");
            victim.call("delete", &["--force"], &[]).ok();
        }
        Outcome::of(&out, said.stdout.contains("won"))
    });
}

/// What the kernel asks of who looks into a process: the same user, the process's capabilities, and that it is
/// dumpable (ptrace(2), "Ptrace access mode checking"). Here the last is all that holds.
fn who_has_the_callers_capabilities_looks_into_init(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2016-9962",
        name: "the caller has no CAP_SYS_PTRACE, a container all that he has: it looks into every process that `run` brings",
        without: "not-dumpable",
    };
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ours = u64::from_str_radix(&field(&status, "CapPrm"), 16).unwrap();
    let all = caps::all().into_iter();
    let names: Vec<String> = all
        .filter(|it| *it != caps::Capability::CAP_SYS_PTRACE && ours & it.bitmask() != 0)
        .map(|it| it.to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    zoo(lab, &attack, |lab| {
        let attacker = lab
            .bundle()
            .capabilities(&names)
            .args(&["/bin/sleep", "1000"]);
        attacker.run_detached();
        let watch = Loop::new(lab, &attacker, "watch-loop");
        let caller = "exec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace \"$@\"";
        let pids = format!("/proc/{}/ns/pid", attacker.pid());
        for _ in 0..20 {
            let victim = lab.bundle().join_namespace("pid", &pids);
            let run = victim.command(&[], "run", &[]);
            // Who traces it may end it as he likes.
            lab.through_shell(caller, &run);
            victim.call("delete", &["--force"], &[]);
        }
        let said = watch.end();
        assert!(count(&said, "pids") >= 10, "{said:?}");
        if said.stdout.contains("won") {
            Outcome::GotThrough(said.stdout)
        } else {
            Outcome::Held
        }
    });
}

fn thousand_execs_are_traced(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2016-9962",
        name: "a loop traces every process that 1000 `exec`s bring, and opens its `/proc/N/fd`",
        without: "not-dumpable",
    };
    zoo(lab, &attack, |lab| {
        let attacker = attacker(lab);
        let watch = Loop::new(lab, &attacker, "watch-loop");
        let mut done = 0;
        while done < 1000 && !watch.has_said("won") {
            // Who traces his own container's process may end it as he likes.
            attacker.call("exec", &[], &["/bin/true"]);
            done += 1;
        }
        let said = watch.end();
        let (seen, traced) = (count(&said, "pids"), count(&said, "traced"));
        println!(
            "{done} execs: the attacker saw {seen}, and traced {traced} once they were the container's"
        );
        // On a busy machine he misses many.
        assert!(seen > done / 20, "{seen} of {done}");
        if said.stdout.contains("won") {
            Outcome::GotThrough(said.stdout)
        } else {
            Outcome::Held
        }
    });
}

/// A copy of the runtime, which nobody else runs, and `command` called from it.
pub(super) fn from_a_copy(copy: &Path, command: &Command) -> Command {
    let mut copied = Command::new(copy);
    copied.args(command.get_args());
    copied.envs(
        command
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    copied
}

pub(super) fn copy(lab: &Lab) -> std::path::PathBuf {
    let copy = lab.join("copy");
    let _ = fs::remove_file(&copy);
    fs::copy(lab.command().get_program(), &copy).unwrap();
    copy
}

/// A program that a container has caught: what `create` and the attacker said, and the copy of the runtime
/// with what was in it before.
pub(crate) struct Caught {
    pub(crate) create: Output,
    pub(crate) said: Output,
    copy: std::path::PathBuf,
    before: Vec<u8>,
}

impl Caught {
    pub(crate) fn is_written(&self) -> bool {
        fs::read(&self.copy).unwrap() != self.before
    }
}

/// Opening it for writing while it runs fails anyway (ETXTBSY) and proves nothing: the first container keeps
/// an O_PATH descriptor of the second one's init, and reopens it when that has ended.
pub(crate) fn catch_program(lab: &Lab) -> Caught {
    let first = lab
        .bundle()
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])
        .set("/linux/maskedPaths", json!([]))
        .args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let second = lab
        .bundle()
        .join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()));
    let copy = copy(lab);
    let before = fs::read(&copy).unwrap();
    let create = finish(from_a_copy(&copy, &second.command(&[], "create", &[])), b"").ok();
    let status = fs::read_to_string(format!("/proc/{}/status", second.pid())).unwrap();
    let inside = field(&status, "NSpid");
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
    Caught {
        create,
        said,
        copy,
        before,
    }
}

fn caught_program_is_written_later(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-5736",
        name: "the program of a waiting init is kept by O_PATH, and written when it has ended",
        without: "protected-binary",
    };
    zoo(lab, &attack, |lab| {
        let caught = catch_program(lab);
        Outcome::of(&caught.create, caught.is_written())
    });
}

/// What the program takes to be executed in the image: nothing, if it is static.
fn bring_libraries(program: &Path, rootfs: &Path) {
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    let listed = finish(ldd, b"").stdout;
    for library in listed.split_whitespace().filter(|it| it.starts_with('/')) {
        let place = rootfs.join(library.trim_start_matches('/'));
        if Path::new(library).is_file() {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(library, place).unwrap();
        }
    }
}

fn entry_point_is_the_runtime(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-5736",
        name: "`#!/proc/self/exe` as the program of `exec`, and a loop that writes every program it sees",
        without: "protected-binary",
    };
    zoo(lab, &attack, |lab| {
        let attacker = attacker(lab);
        let entry = attacker.rootfs().join("entry");
        fs::write(&entry, "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).unwrap();
        let copy = copy(lab);
        bring_libraries(&copy, &attacker.rootfs());
        let writer = Loop::new(lab, &attacker, "write-loop");
        let before = fs::read(&copy).unwrap();
        let mut exec = lab.command();
        exec.args(["exec", attacker.id(), "/entry"]);
        // Until the writer has caught some, and could go on with them for a while.
        let mut more = 20;
        for _ in 0..500 {
            // Once it is overwritten it cannot be executed.
            let mut command = from_a_copy(&copy, &exec);
            if more == 0 || command.stdin(Stdio::null()).output().is_err() {
                break;
            }
            more -= i32::from(writer.has_said("caught"));
        }
        let said = writer.end();
        assert!(count(&said, "caught") > 0, "{said:?}");
        if fs::read(&copy).unwrap() == before {
            Outcome::Held
        } else {
            Outcome::GotThrough(said.stdout)
        }
    });
}

fn added_capability_is_inherited(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2022-29162, CVE-2022-27650, CVE-2025-27612",
        name: "`exec --cap` makes the capability inheritable",
        without: "not-inheritable",
    };
    zoo(lab, &attack, |lab| {
        let attacker = attacker(lab);
        let out = attacker.call(
            "exec",
            &["--cap", "CAP_CHOWN"],
            &["/bin/cat", "/proc/self/status"],
        );
        let sets = [out.field("CapInh"), out.field("CapAmb")];
        Outcome::of(
            &out,
            out.code == 0 && sets.iter().any(|set| set != "0000000000000000"),
        )
    });
}

fn capability_of_a_file_is_inherited(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2022-29162, CVE-2022-27650, CVE-2025-27612",
        name: "an ordinary user executes a file of the image with an inheritable capability",
        without: "not-inheritable",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab
            .bundle()
            .set("/process/noNewPrivileges", json!(false))
            .args(&["/bin/sleep", "1000"]);
        // vfs_cap_data, revision 2: permitted none, inheritable CAP_CHOWN, effective.
        let file = bundle.rootfs().join("cat");
        fs::copy("/bin/busybox", &file).unwrap();
        let words: [u32; 5] = [0x0200_0001, 0, 1, 0, 0];
        let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        set_file_capability(&file, &data);
        bundle.run_detached();
        let options = ["--cap", "CAP_CHOWN", "--user", "1000:1000"];
        let out = bundle.call(
            "exec",
            &options,
            &["/bin/sh", "-c", "exec /cat /proc/self/status"],
        );
        Outcome::of(
            &out,
            out.field("CapPrm") == "0000000000000001" && out.field("CapAmb") == "0000000000000000",
        )
    });
}

#[allow(unsafe_code, reason = "setxattr(2) has no wrapper here")]
fn set_file_capability(file: &Path, data: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: both strings end in NUL, and the data is live and of the length that is passed.
    let result = unsafe {
        libc::setxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            data.as_ptr().cast(),
            data.len(),
            0,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn user_with_junk_behind(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2026-30892",
        name: "`exec --user` with junk behind the number runs as somebody",
        without: "user-digits",
    };
    zoo(lab, &attack, |lab| {
        let attacker = attacker(lab);
        for user in ["1000x", "0 ", "1000:1000,", "7;8", "1e3"] {
            let out = attacker.call("exec", &["--user", user], &["/bin/id", "-u"]);
            if out.code == 0 {
                return Outcome::GotThrough(format!("{user:?}: {out:?}"));
            }
        }
        Outcome::Refused(String::new())
    });
}
