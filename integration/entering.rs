//! How processes enter a container: what works, for whom, and under which filters. What does not get in with
//! them is tested in `hostile/unseen`.

use crate::rootless;
use crate::support::{
    Bundle, HostMount, Lab, OwnNamespace, Running, cases, field, finish, wait_until,
};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

cases! {
    [Root] => exec_into_a_created_container, exec_is_in_the_time_namespace, dockers_profiles;
    [Root, Casulo] => exec_without_a_mount_namespace, read_only_file_system_is_no_protection;
    [Root, Casulo, Program("/usr/bin/setpriv")] => exec_of_a_user_into_a_created_container,
        a_user_joins_a_pid_namespace, a_user_executes_in_a_shared_pid_namespace,
        a_pid_namespace_is_joined_in_an_engines_user_namespace;
}

fn exec_into_a_created_container(lab: &Lab) {
    let bundle = lab.bundle().sh("echo started >/said");
    bundle.create(&[]).ok();
    assert_eq!(bundle.exec("echo $$ >/inside; echo in").ok().text(), "in");
    assert_eq!(bundle.status(), "created");
    assert!(bundle.rootfs().join("inside").exists());
    bundle.verb("start").ok();
    bundle.wait_stopped();
    let said = fs::read_to_string(bundle.rootfs().join("said")).unwrap();
    assert_eq!(said, "started\n");
}

fn exec_of_a_user_into_a_created_container(lab: &Lab) {
    let bundle = rootless::bundle(lab, "exec sleep 1000", |_| {});
    let call = |args: &[&str]| rootless::call(lab, bundle.path(), args);
    call(&["create", bundle.id()]).ok();
    let out = call(&[
        "exec",
        bundle.id(),
        "/bin/sh",
        "-c",
        "id -u; readlink /proc/1/ns/user; readlink /proc/self/ns/user",
    ]);
    call(&["delete", "--force", bundle.id()]).ok();
    let out = out.ok();
    assert_eq!(out.lines()[0], "0");
    assert_eq!(out.lines()[1], out.lines()[2]);
}

/// A member of the first one's user and pid namespace, both an ordinary user's.
fn member<'lab>(lab: &'lab Lab, first: i32, script: &str) -> Bundle<'lab> {
    rootless::bundle(lab, script, |config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|it| it["type"] != "pid" && it["type"] != "user");
        for kind in ["user", "pid"] {
            list.push(json!({"type": kind, "path": format!("/proc/{first}/ns/{kind}")}));
        }
        for key in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(key);
        }
    })
}

/// A sleeping container of the user's, and its pid.
fn pause(lab: &Lab) -> (Bundle<'_>, i32) {
    let bundle = rootless::bundle(lab, "exec sleep 1000", |_| {});
    rootless::call(lab, bundle.path(), &["run", "--detach", bundle.id()]).ok();
    let pid = pid(lab, &bundle);
    (bundle, pid)
}

fn pid(lab: &Lab, bundle: &Bundle<'_>) -> i32 {
    let text = rootless::call(lab, bundle.path(), &["state", bundle.id()])
        .ok()
        .stdout;
    let state: Value = serde_json::from_str(&text).unwrap();
    i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
}

fn a_user_joins_a_pid_namespace(lab: &Lab) {
    let (first, number) = pause(lab);
    let script = "readlink /proc/self/ns/pid; readlink /proc/1/ns/pid; tr '\\0' ' ' </proc/1/cmdline; echo; echo $$";
    let second = member(lab, number, script);
    let out = rootless::call(lab, second.path(), &["run", second.id()]);
    rootless::call(lab, first.path(), &["delete", "--force", first.id()]).ok();
    let out = out.ok();
    let lines = out.lines();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[2].trim(), "sleep 1000");
    assert_ne!(lines[3], "1");
}

fn a_user_executes_in_a_shared_pid_namespace(lab: &Lab) {
    let (first, number) = pause(lab);
    let second = member(lab, number, "exec sleep 1000");
    let created = rootless::call(lab, second.path(), &["create", second.id()]);
    let entered = (created.code == 0).then(|| {
        rootless::call(
            lab,
            second.path(),
            &[
                "exec",
                second.id(),
                "/bin/sh",
                "-c",
                "tr '\\0' ' ' </proc/1/cmdline",
            ],
        )
    });
    if created.code == 0 {
        rootless::call(lab, second.path(), &["delete", "--force", second.id()]).ok();
    }
    rootless::call(lab, first.path(), &["delete", "--force", first.id()]).ok();
    created.ok();
    assert_eq!(entered.unwrap().ok().text(), "sleep 1000");
}

/// As an engine of an ordinary user has it: one user namespace around all containers, none of their own.
fn a_pid_namespace_is_joined_in_an_engines_user_namespace(lab: &Lab) {
    let without = |config: &mut Value| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|it| it["type"] != "user");
        for key in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(key);
        }
    };
    let first = rootless::bundle(lab, "exec sleep 1000", without);
    let second = rootless::bundle(lab, "tr '\\0' ' ' </proc/1/cmdline", |config| {
        without(config);
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|it| it["type"] != "pid");
        list.push(json!({"type": "pid", "path": "/proc/FIRST/ns/pid"}));
    });
    let (one, two) = (first.path().display(), second.path().display());
    let script = format!(
        "cd {one}; \"$@\" run --detach {} || exit 3
        pid=$(\"$@\" state {0} | grep -o '\"pid\": *[0-9]*' | grep -o '[0-9]*$')
        sed \"s/FIRST/$pid/\" {two}/config.json >{two}/new && cat {two}/new >{two}/config.json
        cd {two}; \"$@\" run {}; code=$?
        \"$@\" delete --force {0}; exit $code",
        first.id(),
        second.id()
    );
    std::os::unix::fs::chown(second.path().join("config.json"), Some(65534), Some(65534)).unwrap();
    let user = rootless::as_user(lab, first.path(), &[]);
    let words: Vec<_> = user.get_args().map(std::ffi::OsStr::to_owned).collect();
    let at = words.iter().position(|it| *it == *lab.runtime()).unwrap();
    let mut command = Command::new(user.get_program());
    command.args(&words[..at]);
    command.args([
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    command
        .args(&words[at..])
        .current_dir(first.path())
        .env_remove("XDG_RUNTIME_DIR");
    let out = finish(command, b"").ok();
    assert_eq!(out.text(), "sleep 1000");
}

fn exec_is_in_the_time_namespace(lab: &Lab) {
    let bundle = lab
        .bundle()
        .with_namespace("time")
        .set(
            "/linux/timeOffsets/boottime",
            json!({"secs": 604_800, "nanosecs": 0}),
        )
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let init = fs::read_link(format!("/proc/{}/ns/time", bundle.pid())).unwrap();
    let out = bundle
        .exec("readlink /proc/self/ns/time; cut -d. -f1 /proc/uptime")
        .ok();
    assert_eq!(out.lines()[0], init.to_str().unwrap());
    assert!(out.lines()[1].parse::<u64>().unwrap() >= 604_800, "{out:?}");
}

/// Its init is chrooted: so is what enters, and never is it in the host's root.
fn exec_without_a_mount_namespace(lab: &Lab) {
    let mut bundle = lab
        .bundle()
        .without_namespace("mount")
        .args(&["/bin/sleep", "1000"]);
    bundle = bundle
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    bundle.run_detached();
    let mark = format!("entered-{}", bundle.id());
    let out = bundle.exec(&format!("touch /{mark}; stat -c %d:%i /"));
    let host = std::path::Path::new("/").join(&mark);
    let on_the_host = host.exists();
    let _ = fs::remove_file(host);
    assert!(!on_the_host, "{out:?}");
    let root = fs::metadata(bundle.rootfs()).unwrap();
    assert_eq!(out.ok().text(), format!("{}:{}", root.dev(), root.ino()));
    assert!(bundle.rootfs().join(&mark).exists());
}

/// Only what is casulo's own protects its program: the host's mount may be writable again one day.
fn read_only_file_system_is_no_protection(lab: &Lab) {
    let own = OwnNamespace::of_mounts();
    let directory = lab.directory("usr");
    let place = HostMount::bind(&directory, &directory);
    let program = directory.join("runtime");
    fs::copy(lab.command().get_program(), &program).unwrap();
    let again = |flags: MsFlags| {
        let none = None::<&str>;
        mount(
            none,
            &directory,
            none,
            MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags,
            none,
        )
        .unwrap();
    };
    again(MsFlags::MS_RDONLY);
    let before = fs::read(&program).unwrap();

    let first = lab
        .bundle()
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])
        .args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let second = lab
        .bundle()
        .join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()));
    let create = second.command(&[], "create", &[]);
    let mut moved = Command::new(&program);
    moved.args(create.get_args()).current_dir(lab.path());
    finish(moved, b"").ok();
    let status = fs::read_to_string(format!("/proc/{}/status", second.pid())).unwrap();
    let inside = field(&status, "NSpid");
    let inside = inside.split_whitespace().last().unwrap().to_owned();
    let probe = first.command(&[], "exec", &[]);
    let mut caught = Command::new(probe.get_program());
    caught.args(["--root", lab.root().to_str().unwrap(), "exec", first.id()]);
    caught.args(["/bin/probe", "caught-exe", &inside, "/over"]);
    let caught = Running::new(caught, b"");
    wait_until("the program is caught", || !caught.stdout().is_empty());
    again(MsFlags::empty());
    second.verb("start").ok();
    second.wait_stopped();
    fs::write(first.rootfs().join("over"), "").unwrap();
    let said = caught.wait().ok();
    let is_written = fs::read(&program).unwrap() != before;
    drop(place);
    drop(own);
    assert!(said.stdout.contains("caught\n"), "{said:?}");
    assert!(!is_written, "{said:?}");
}

/// What Docker's profile of today allows on x86-64 to a container without further capabilities.
const ALLOWED: &str = "\
    accept accept4 access adjtimex alarm arch_prctl bind brk capget capset chdir chmod chown clock_adjtime \
    clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd \
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod \
    fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs \
    fsync ftruncate futex futex_waitv futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd \
    getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid \
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid \
    gettimeofday getuid getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel \
    io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr \
    lremovexattr lseek lsetxattr lstat madvise mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat \
    mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
    mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at \
    nanosleep newfstatat open openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc \
    pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv \
    process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom \
    recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam \
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy \
    set_mempolicy_home_node set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups \
    setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid \
    setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs statx \
    symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete \
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill \
    truncate umask uname unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev";
/// What of it came after 20.10.
const AFTER_20_10: &str = "\
    cachestat epoll_pwait2 fchmodat2 futex_requeue futex_wait futex_waitv futex_wake landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self map_shadow_stack memfd_secret mseal process_mrelease \
    set_mempolicy_home_node";
/// What of it came after 19.03.
const AFTER_19_03: &str = "\
    close_range faccessat2 openat2 pidfd_getfd pidfd_open pidfd_send_signal rseq";
/// A profile as Docker writes it: all that is not allowed is refused.
fn profile(missing: &[&str], new_clone: Option<Value>) -> Value {
    let missing: Vec<&str> = missing
        .iter()
        .flat_map(|it| it.split_whitespace())
        .collect();
    let names: Vec<&str> = ALLOWED
        .split_whitespace()
        .filter(|name| !missing.contains(name))
        .collect();
    let namespaces = json!([{"index": 0, "value": 2_114_060_288_u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]);
    let mut rules = vec![
        json!({"names": names, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": namespaces}),
        json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}),
    ];
    rules.extend(new_clone);
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
}

/// Docker's profiles forbid what their time did not know; each way in works under each of them.
fn dockers_profiles(lab: &Lab) {
    let unknown = json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    let profiles = [
        ("19.03", profile(&[AFTER_19_03, AFTER_20_10], None)),
        ("20.10", profile(&[AFTER_20_10], None)),
        ("today", profile(&[], Some(unknown))),
    ];
    for (release, profile) in profiles {
        for no_new_privs in [true, false] {
            let what = format!("{release}, no_new_privs {no_new_privs}");
            let out = lab
                .bundle()
                .set("/linux/seccomp", profile.clone())
                .set("/process/noNewPrivileges", json!(no_new_privs))
                .sh("grep ^Seccomp: /proc/self/status")
                .run();
            assert_eq!(out.text(), "Seccomp:\t2", "run, {what}: {out:?}");
            let hook = json!({"path": "/bin/touch", "args": ["touch", "/hook"]});
            let bundle = lab
                .bundle()
                .set("/linux/seccomp", profile.clone())
                .set("/process/noNewPrivileges", json!(no_new_privs))
                .push("/hooks/startContainer", hook)
                .args(&["/bin/sleep", "1000"]);
            bundle.create(&[]).ok();
            let out = bundle.exec("grep ^Seccomp: /proc/self/status");
            assert_eq!(
                out.text(),
                "Seccomp:\t2",
                "exec into created, {what}: {out:?}"
            );
            bundle.verb("start").ok();
            let out = bundle.call(
                "exec",
                &["--user", "1000:1000"],
                &["/bin/cat", "/proc/self/status"],
            );
            assert_eq!(out.field("Seccomp"), "2", "exec, {what}: {out:?}");
            assert!(bundle.rootfs().join("hook").exists(), "{what}");
            let missing = lab
                .bundle()
                .set("/linux/seccomp", profile.clone())
                .set("/process/noNewPrivileges", json!(no_new_privs))
                .args(&["/bin/missing"]);
            missing.run().fails_with(&["/bin/missing"]);
        }
    }
}
