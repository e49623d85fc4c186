//! Podman of an ordinary user, with the user's own systemd: containers that share a pid namespace, which was made in
//! another user namespace than the caller's.

use super::{image, lines};
use crate::support::{Case, Lab, Output, cases, finish};
use crate::systemd::{USER, UsersSystemd, of_user};
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

const PODMAN: &str = "/usr/bin/podman";

cases! {
    [Root, Systemd, UserSystemd, Program(PODMAN), Program("/usr/bin/newuidmap"), Program("/usr/bin/setpriv")] =>
        pid_namespaces_are_shared;
}
pub(crate) const ALL: &[Case] = CASES;

/// The user's Podman, in a store of the test's own.
struct Podman {
    home: PathBuf,
    /// Ends when the store's containers have.
    _systemd: UsersSystemd,
}

impl Podman {
    fn new(lab: &Lab) -> Podman {
        let systemd = UsersSystemd::start();
        let home = lab.directory("home");
        let text = format!(
            "[containers]\n\
             netns = \"none\"\n\
             log_driver = \"k8s-file\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n{}",
            lines::of(lab, "/etc/containers/containers.conf").replace(
                "[engine]\n",
                "[engine]\ncgroup_manager = \"systemd\"\nevents_logger = \"file\"\n"
            )
        );
        fs::write(home.join("containers.conf"), text).unwrap();
        chown(&home, Some(USER), Some(USER)).unwrap();
        let podman = Podman {
            home,
            _systemd: systemd,
        };
        let archive = fs::read(image::BUSYBOX.archive(lab)).unwrap();
        podman.call_with(&["load"], &archive).ok();
        podman
    }

    fn call(&self, args: &str) -> Output {
        let args: Vec<&str> = args.split(' ').collect();
        self.call_with(&args, b"")
    }

    fn call_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut command = of_user(&self.home, "--init-groups");
        let bus = format!("unix:path=/run/user/{USER}/bus");
        command.args([PODMAN, "--storage-driver", "vfs"]).args(args);
        command
            .env("HOME", &self.home)
            .env("CONTAINERS_CONF", self.home.join("containers.conf"))
            .env("DBUS_SESSION_BUS_ADDRESS", bus);
        finish(command, stdin)
    }
}

impl Drop for Podman {
    /// After a failed test, too, nothing is left.
    fn drop(&mut self) {
        self.call("pod rm --all --force --time 0");
        self.call("rm --all --force --time 0");
    }
}

fn pid_namespaces_are_shared(lab: &Lab) {
    let podman = Podman::new(lab);
    let image = image::BUSYBOX.name;
    let look = "/bin/sh -c";
    let script = "ps -o args; readlink /proc/self/ns/pid";
    let looked = |options: &str| {
        let command = format!("run --rm {options} {image} {look}");
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push(script);
        podman.call_with(&args, b"").ok()
    };
    let pid_of = |name: &str| {
        let out = podman.call(&format!("inspect --format {{{{.State.Pid}}}} {name}"));
        out.ok().text().to_owned()
    };
    let namespace_of = |name: &str| {
        let path = format!("/proc/{}/ns/pid", pid_of(name));
        fs::read_link(path).unwrap().display().to_string()
    };

    podman
        .call(&format!("run -d --name a {image} sleep 1001"))
        .ok();
    let out = looked("--pid=container:a");
    assert!(out.lines().contains(&"sleep 1001"), "{out:?}");
    assert_eq!(out.lines().last(), Some(&namespace_of("a").as_str()));

    let infra = format!("--infra-image {image} --infra-command");
    let mut create: Vec<&str> = "pod create --name p --share pid".split(' ').collect();
    create.extend(infra.split(' '));
    create.push("/bin/sleep 1002");
    podman.call_with(&create, b"").ok();
    podman
        .call(&format!("run -d --pod p --name b {image} sleep 1003"))
        .ok();
    let out = looked("--pod p");
    for args in ["/bin/sleep 1002", "sleep 1003"] {
        assert!(out.lines().contains(&args), "{args}: {out:?}");
    }
    assert_eq!(out.lines().last(), Some(&namespace_of("b").as_str()));
    podman.call("pod rm --force --time 0 p").ok();
    podman.call("rm --force --time 0 a").ok();
}
