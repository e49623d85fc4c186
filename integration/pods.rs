//! Pods: containers that join the namespaces of a first one by path.

use crate::support::{Bundle, Lab, cases};

cases! {
    [Root] => members_share_network_ipc_uts_and_pid, members_have_their_own_mounts,
        members_reach_each_other_over_loopback, a_member_ends_without_the_others,
        the_first_containers_end_ends_the_pid_namespace, members_share_a_user_namespace;
}

/// A first container that sleeps.
fn pause<'lab>(lab: &'lab Lab) -> Bundle<'lab> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// A further container in the first one's namespaces.
fn member<'lab>(lab: &'lab Lab, first: &Bundle<'_>) -> Bundle<'lab> {
    let pid = first.pid();
    let kinds = [
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
    ];
    kinds
        .iter()
        .fold(lab.bundle().remove("/hostname"), |bundle, (kind, file)| {
            bundle.join_namespace(kind, &format!("/proc/{pid}/ns/{file}"))
        })
}

fn members_share_network_ipc_uts_and_pid(lab: &Lab) {
    let first = pause(lab);
    let script = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; hostname";
    let inside = first.exec(script).ok();
    let out = member(lab, &first).sh(script).run().ok();
    assert_eq!(out.stdout, inside.stdout);
    let out = member(lab, &first)
        .sh("tr '\\0' ' ' </proc/1/cmdline; echo; echo $$")
        .run()
        .ok();
    assert_eq!(out.lines()[0].trim(), "/bin/sleep 1000");
    assert_ne!(out.lines()[1], "1");
}

fn members_have_their_own_mounts(lab: &Lab) {
    let first = pause(lab);
    first.exec("touch /only-in-the-first").ok();
    let out = member(lab, &first)
        .sh("ls -d /only-in-the-first; readlink /proc/self/ns/mnt")
        .run();
    assert_eq!(out.lines().len(), 1, "{out:?}");
    assert_ne!(
        out.lines()[0],
        first.exec("readlink /proc/self/ns/mnt").ok().text()
    );
}

fn members_reach_each_other_over_loopback(lab: &Lab) {
    let first = lab
        .bundle()
        .sh("while :; do echo hello from the first | nc -l -p 80 >/dev/null; done");
    first.run_detached();
    let out = member(lab, &first)
        .sh("i=0; until nc 127.0.0.1 80 </dev/null 2>/dev/null; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done")
        .run()
        .ok();
    assert_eq!(out.text(), "hello from the first");
}

fn a_member_ends_without_the_others(lab: &Lab) {
    let first = pause(lab);
    member(lab, &first).sh("exit 0").run().ok();
    assert_eq!(first.status(), "running");
    let second = member(lab, &first).args(&["/bin/sleep", "1000"]);
    second.run_detached();
    second.call("kill", &[], &["KILL"]).ok();
    second.wait_stopped();
    second.verb("delete").ok();
    assert_eq!(first.status(), "running");
}

fn the_first_containers_end_ends_the_pid_namespace(lab: &Lab) {
    let first = pause(lab);
    let second = member(lab, &first).args(&["/bin/sleep", "1000"]);
    second.run_detached();
    first.call("kill", &[], &["KILL"]).ok();
    second.wait_stopped();
}

fn members_share_a_user_namespace(lab: &Lab) {
    let first = lab
        .bundle()
        .in_user_namespace()
        .args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let pid = first.pid();
    let second = member(lab, &first)
        .in_user_namespace()
        .join_namespace("user", &format!("/proc/{pid}/ns/user"))
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
        .sh("id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user; tr '\\0' ' ' </proc/1/cmdline");
    let out = second.run().ok();
    let lines = out.lines();
    assert_eq!(lines[0], "0");
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    assert_eq!(
        lines[2],
        first.exec("readlink /proc/self/ns/user").ok().text()
    );
    assert_eq!(lines[3].trim(), "/bin/sleep 1000");
}
