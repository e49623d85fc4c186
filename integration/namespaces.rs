//! Namespaces: new, joined by path, or the host's.

use crate::support::{Lab, cases};
use serde_json::json;
use std::fs;
use std::process::{Child, Command, Stdio};

cases! {
    [Root] => process_is_pid_one, new_namespaces_are_not_the_hosts, absent_namespaces_are_the_hosts,
        loopback_is_up, host_and_domain_name, joined_network_is_the_holders, joined_ipc_and_uts_by_path,
        joined_pid_namespace_of_a_holder, missing_namespace_path,
        duplicate_namespaces, unknown_namespace, hostname_without_uts_namespace, uts_of_the_host_is_kept,
        cgroup_namespace_hides_the_path, without_cgroup_namespace_the_path_shows, time_offsets;
    [Root, Casulo] => wrong_type_of_joined_namespace, time_offsets_without_time_namespace, without_mount_namespace_is_an_error,
        what_is_left_out_without_a_mount_namespace_is_said, masks_need_a_mount_namespace,
        joined_namespaces_of_the_host_are_not_changed, exec_after_a_join_of_the_hosts;
}

/// A process of the host that holds namespaces open.
struct Holder(Child);

impl Holder {
    fn new(flags: &[&str]) -> Holder {
        let child = Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", "echo ready; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut holder = Holder(child);
        let mut line = String::new();
        let out = holder.0.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        holder
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn link(path: &str) -> String {
    fs::read_link(path).unwrap().to_string_lossy().into_owned()
}

fn process_is_pid_one(lab: &Lab) {
    let out = lab.bundle().sh("echo $$; echo /proc/[0-9]*").run().ok();
    assert_eq!(out.lines()[0], "1");
    // Nobody else is in this pid namespace.
    assert_eq!(out.lines()[1], "/proc/1");
}

fn new_namespaces_are_not_the_hosts(lab: &Lab) {
    let kinds = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];
    let out = lab
        .bundle()
        .sh("for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done")
        .run()
        .ok();
    assert_eq!(out.lines().len(), kinds.len());
    for (kind, inside) in kinds.iter().zip(out.lines()) {
        assert_ne!(inside, link(&format!("/proc/self/ns/{kind}")));
    }
}

fn absent_namespaces_are_the_hosts(lab: &Lab) {
    let kinds = ["net", "ipc", "uts", "pid", "cgroup", "user", "time"];
    let out = lab
        .bundle()
        .remove("/hostname")
        .without_mount("/dev/mqueue")
        .without_mount("/sys")
        .without_mount("/sys/fs/cgroup")
        .bind("/sys".as_ref(), "/sys", &["rbind", "ro"])
        .set("/linux/namespaces", json!([{"type": "mount"}]))
        .sh("for n in net ipc uts pid cgroup user time; do readlink /proc/self/ns/$n; done")
        .run()
        .ok();
    for (kind, inside) in kinds.iter().zip(out.lines()) {
        assert_eq!(inside, link(&format!("/proc/self/ns/{kind}")));
    }
}

fn loopback_is_up(lab: &Lab) {
    let out = lab
        .bundle()
        .sh("cat /sys/class/net/lo/flags; ip -o addr show lo; ls /sys/class/net")
        .run()
        .ok();
    let flags = u32::from_str_radix(out.lines()[0].trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 1, 1, "IFF_UP");
    assert!(out.stdout.contains("127.0.0.1/8"), "{out:?}");
    assert!(!out.stdout.contains("eth0"), "{out:?}");
}

fn host_and_domain_name(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/hostname", json!("box-7"))
        .set("/domainname", json!("example.org"))
        .sh("hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname")
        .run()
        .ok();
    assert_eq!(out.lines(), ["box-7", "box-7", "example.org"]);
}

fn joined_network_is_the_holders(lab: &Lab) {
    let holder = Holder::new(&["-n"]);
    let out = lab
        .bundle()
        .join_namespace("network", &holder.path("net"))
        .sh("readlink /proc/self/ns/net; cat /sys/class/net/lo/flags")
        .run()
        .ok();
    assert_eq!(out.lines()[0], link(&holder.path("net")));
    // Whoever made the namespace decides about its interfaces: loopback stays down.
    assert_eq!(out.lines()[1], "0x8");
}

fn joined_ipc_and_uts_by_path(lab: &Lab) {
    let holder = Holder::new(&["-i", "-u"]);
    let out = lab
        .bundle()
        .remove("/hostname")
        .join_namespace("ipc", &holder.path("ipc"))
        .join_namespace("uts", &holder.path("uts"))
        .sh("readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts")
        .run()
        .ok();
    assert_eq!(
        out.lines(),
        [link(&holder.path("ipc")), link(&holder.path("uts"))]
    );
}

fn joined_pid_namespace_of_a_holder(lab: &Lab) {
    let holder = Holder::new(&["-p", "--fork", "--kill-child"]);
    let children = format!("/proc/{0}/task/{0}/children", holder.0.id());
    let first = fs::read_to_string(children).unwrap();
    let path = format!("/proc/{}/ns/pid", first.trim());
    let out = lab
        .bundle()
        .join_namespace("pid", &path)
        .sh("readlink /proc/self/ns/pid; tr '\\0' ' ' </proc/1/cmdline; echo; echo $$")
        .run()
        .ok();
    assert_eq!(out.lines()[0], link(&path));
    assert!(out.lines()[1].starts_with("sleep 1000"), "{out:?}");
    assert_ne!(out.lines()[2], "1");
}

fn wrong_type_of_joined_namespace(lab: &Lab) {
    let holder = Holder::new(&["-u"]);
    lab.bundle()
        .join_namespace("network", &holder.path("uts"))
        .run()
        .fails_with(&["/ns/uts", "is a uts namespace, wanted a network namespace"]);
}

fn missing_namespace_path(lab: &Lab) {
    lab.bundle()
        .join_namespace("network", "/run/no-such-namespace")
        .run()
        .fails_with(&["/run/no-such-namespace", "o such file or directory"]);
}

fn duplicate_namespaces(lab: &Lab) {
    lab.bundle()
        .with_namespace("ipc")
        .run()
        .fails_with(&["ipc"]);
}

fn unknown_namespace(lab: &Lab) {
    lab.bundle()
        .with_namespace("galaxy")
        .run()
        .fails_with(&["galaxy"]);
}

fn hostname_without_uts_namespace(lab: &Lab) {
    lab.bundle()
        .without_namespace("uts")
        .run()
        .fails_with(&["hostname"]);
}

fn uts_of_the_host_is_kept(lab: &Lab) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let out = lab
        .bundle()
        .remove("/hostname")
        .without_namespace("uts")
        .sh("hostname")
        .run()
        .ok();
    assert_eq!(out.text(), host.trim());
}

fn cgroup_namespace_hides_the_path(lab: &Lab) {
    let out = lab.bundle().sh("grep '^0:' /proc/self/cgroup").run().ok();
    assert_eq!(out.text(), "0::/");
}

fn without_cgroup_namespace_the_path_shows(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("cgroup")
        .sh("grep '^0:' /proc/self/cgroup");
    let out = bundle.run().ok();
    assert!(
        out.text()
            .ends_with(&format!("/casulo-test/{}", bundle.id())),
        "{out:?}"
    );
}

fn time_offsets(lab: &Lab) {
    let out = lab
        .bundle()
        .with_namespace("time")
        .set(
            "/linux/timeOffsets/monotonic",
            json!({"secs": 86_400, "nanosecs": 0}),
        )
        .set(
            "/linux/timeOffsets/boottime",
            json!({"secs": 604_800, "nanosecs": 0}),
        )
        .sh("cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time")
        .run()
        .ok();
    let words: Vec<Vec<&str>> = out
        .lines()
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0], ["monotonic", "86400", "0"]);
    assert_eq!(words[1], ["boottime", "604800", "0"]);
    assert!(words[2][0].parse::<u64>().unwrap() >= 604_800);
    assert_ne!(words[3][0], link("/proc/self/ns/time"));
}

fn time_offsets_without_time_namespace(lab: &Lab) {
    lab.bundle()
        .set(
            "/linux/timeOffsets/boottime",
            json!({"secs": 1, "nanosecs": 0}),
        )
        .run()
        .fails_with(&["timeOffsets"]);
}

fn without_mount_namespace_is_an_error(lab: &Lab) {
    // Mounting in the host's mount namespace is never what was meant.
    lab.bundle()
        .without_namespace("mount")
        .run()
        .fails_with(&["mount"]);
}

fn what_is_left_out_without_a_mount_namespace_is_said(lab: &Lab) {
    let tmpfs = json!([{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]);
    for (mounts, readonly, said) in [
        (json!([]), false, ""),
        (tmpfs.clone(), false, ": mounts"),
        (json!([]), true, ": root.readonly"),
        (tmpfs, true, ": root.readonly, mounts"),
    ] {
        let bundle = lab
            .bundle()
            .without_namespace("mount")
            .set("/mounts", mounts)
            .set("/root/readonly", json!(readonly))
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .sh("echo runs >/f; cat /f");
        // As under runc the root is written to, and what the host has mounted is not touched.
        let before = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let out = bundle.run().ok();
        assert_eq!(out.text(), "runs");
        assert!(out.stderr.trim_end().ends_with(said), "{out:?}");
        assert_eq!(out.stderr.lines().count(), usize::from(!said.is_empty()));
        let after = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert_eq!(before, after);
    }
}

/// They are refused, as by runc, and nothing says that they were left out.
fn masks_need_a_mount_namespace(lab: &Lab) {
    for field in ["maskedPaths", "readonlyPaths"] {
        let bundle = lab
            .bundle()
            .without_namespace("mount")
            .set("/mounts", json!([]))
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .set(&format!("/linux/{field}"), json!(["/home"]));
        let out = bundle.run().fails_with(&[field, "mount namespace"]);
        assert!(!out.stderr.contains("left out"), "{out:?}");
    }
}

fn joined_namespaces_of_the_host_are_not_changed(lab: &Lab) {
    let before = nix::unistd::gethostname().unwrap();
    lab.bundle()
        .join_namespace("uts", "/proc/self/ns/uts")
        .set("/hostname", json!("renamed"))
        .run()
        .fails_with(&["hostname", "uts"]);
    assert_eq!(nix::unistd::gethostname().unwrap(), before);
    lab.bundle()
        .join_namespace("network", "/proc/self/ns/net")
        .set("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "63"}))
        .run()
        .fails_with(&["net.ipv4.ip_default_ttl", "network"]);
    lab.bundle()
        .join_namespace("mount", "/proc/self/ns/mnt")
        .run()
        .fails_with(&["mount"]);
}

fn exec_after_a_join_of_the_hosts(lab: &Lab) {
    let bundle = lab
        .bundle()
        .join_namespace("user", "/proc/self/ns/user")
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert_eq!(bundle.exec("echo in").ok().text(), "in");
}
