//! Another container shares a volume, and swaps in it what the runtime works on, as fast as it can.

use super::{Attack, Outcome, Prey, with_own_dev, zoo};
use crate::support::{Bundle, Lab, Mount, Output, Running, cases, mounts, wait_until};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

cases! {
    [Root, TestBuild, TwoCpus] => target_is_swapped, target_is_swapped_for_proc, directory_of_the_target_is_swapped,
        null_device_is_swapped, device_is_swapped, file_that_is_copied_is_swapped, file_that_is_copied_becomes_a_forbidden_device;
}

/// How often the runtime is called, until the attacker has won once.
const ATTEMPTS: usize = 60;

/// A volume, and a container that exchanges a name and `b` in it.
struct Swapper<'lab> {
    volume: PathBuf,
    _container: Bundle<'lab>,
    process: Running,
}

impl<'lab> Swapper<'lab> {
    /// `b` is a link to `target`; `name` is made by `make`.
    fn new(lab: &'lab Lab, name: &str, target: &Path, make: impl FnOnce(&Path)) -> Swapper<'lab> {
        Swapper::of(lab, name, |volume| {
            make(&volume.join(name));
            symlink(target, volume.join("b")).unwrap();
        })
    }

    /// `make` makes both in the volume.
    fn of(lab: &'lab Lab, name: &str, make: impl FnOnce(&Path)) -> Swapper<'lab> {
        Swapper::slow(lab, name, Duration::ZERO, make)
    }

    /// It rests after each exchange, for what looks twice in a moment before the one that counts.
    fn slow(lab: &'lab Lab, name: &str, rest: Duration, make: impl FnOnce(&Path)) -> Swapper<'lab> {
        let volume = Prey::new(lab).directory;
        make(&volume);
        let container = lab.bundle().bind(&volume, "/volume", &[]);
        let name = format!("/volume/{name}");
        let container = container.args(&[
            "/bin/probe",
            "swap-loop",
            "/volume/stop",
            &name,
            "/volume/b",
            &rest.as_micros().to_string(),
        ]);
        let process = container.running();
        wait_until("it swaps", || process.stdout().contains("swaps begin"));
        Swapper {
            volume,
            _container: container,
            process,
        }
    }

    /// Ends it; it must have swapped.
    fn end(self) {
        fs::write(self.volume.join("stop"), "").unwrap();
        let said = self.process.wait().ok();
        let swaps = said
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("swaps ")?.parse().ok());
        assert!(swaps.is_some_and(|it: u64| it > 0), "no swap: {said:?}");
    }
}

/// Calls the runtime again and again beside the swapper.
fn race(swapper: Swapper<'_>, attempt: impl Fn(&Path, usize) -> (Output, bool)) -> Outcome {
    let mut ended = Outcome::Refused(String::new());
    for number in 0..ATTEMPTS {
        let (out, won) = attempt(&swapper.volume, number);
        match Outcome::of(&out, won) {
            Outcome::Refused(_) => {}
            Outcome::Held => ended = Outcome::Held,
            won @ Outcome::GotThrough(_) => {
                ended = won;
                break;
            }
        }
    }
    swapper.end();
    ended
}

fn make_directory(path: &Path) {
    fs::create_dir(path).unwrap();
}

fn target_is_swapped(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2021-30465",
        name: "the mount's target becomes a link between check and mount: mounted outside",
        without: "mount-on-fds",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        race(
            Swapper::new(lab, "a", &prey.directory, make_directory),
            |volume, _| {
                let victim = lab
                    .bundle()
                    .bind(volume, "/volume", &[])
                    .mount("/volume/a", "tmpfs", "marker", &[])
                    .args(&["/bin/cat", "/proc/self/mountinfo"]);
                let out = victim.run();
                // Wherever the directory is called now, the mount on it is below the container's root.
                let won = out.code == 0 && !out.stdout.contains(" marker ");
                (out, won)
            },
        )
    });
}

fn target_is_swapped_for_proc(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-52881",
        name: "the mount's target becomes a link into /proc now and then: labels are written to the attacker's files",
        without: "no-symlinks",
    };
    zoo(lab, &attack, |lab| {
        race(
            Swapper::new(lab, "a", Path::new("/proc/self/attr"), make_directory),
            |volume, _| {
                let victim = lab
                    .bundle()
                    .bind(volume, "/volume", &[])
                    .mount("/volume/a", "tmpfs", "tmpfs", &[])
                    .set("/linux/maskedPaths", json!([]))
                    .args(&["/bin/cat", "/proc/self/mountinfo"]);
                let out = victim.run();
                let is_astray = |it: &Mount| it.kind == "tmpfs" && it.target.starts_with("/proc/");
                let won = mounts(&out.stdout).iter().any(is_astray);
                (out, won)
            },
        )
    });
}

fn directory_of_the_target_is_swapped(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-45310",
        name: "a directory above the mount's target becomes a link: files and directories made on the host",
        without: "in-root",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        race(
            Swapper::new(lab, "a", &prey.directory, make_directory),
            |volume, number| {
                let victim = lab
                    .bundle()
                    .bind(volume, "/volume", &[])
                    .mount(
                        &format!("/volume/a/new{number}/deep"),
                        "tmpfs",
                        "tmpfs",
                        &[],
                    )
                    .bind(
                        Path::new("/etc/hostname"),
                        &format!("/volume/a/file{number}"),
                        &[],
                    );
                let out = victim.run();
                (out, !prey.is_untouched())
            },
        )
    });
}

fn null_device_is_swapped(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-31133, CVE-2025-62161",
        name: "`/dev/null` becomes a link now and then: the mask shows what it leads to",
        without: "null-device",
    };
    zoo(lab, &attack, |lab| {
        let null = |path: &Path| {
            let mode = Mode::from_bits_truncate(0o666);
            mknod(path, SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
        };
        race(
            Swapper::new(lab, "null", Path::new("/bait"), null),
            |volume, _| {
                let victim = with_own_dev(lab)
                    .bind(volume, "/dev", &[])
                    .set("/linux/maskedPaths", json!(["/etc/passwd"]))
                    .sh("cat /etc/passwd");
                fs::write(victim.rootfs().join("bait"), "taken").unwrap();
                let out = victim.run();
                let won = out.text() == "taken";
                (out, won)
            },
        )
    });
}

fn file_that_is_copied_is_swapped(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a file that `tmpcopyup` copies becomes a device of the host's now and then: that is read",
        without: "look-before-open",
    };
    // A device of zeros has no end; before Linux 6.5 sendfile(2) does not read it, once it is open.
    let read = ["No space left", "Invalid argument"];
    zoo(lab, &attack, |lab| copied_or_swapped(lab, (1, 5), &read));
}

fn file_that_is_copied_becomes_a_forbidden_device(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a file that `tmpcopyup` copies becomes a device that the rules forbid: init opens it nevertheless",
        without: "look-before-open,rules-before-image",
    };
    // The kernel's log cannot be copied by sendfile(2), once it is open.
    let open = ["Invalid argument"];
    zoo(lab, &attack, |lab| copied_or_swapped(lab, (1, 11), &open));
}

/// A file that is copied is now and then the device with this number; `won` is what is said where that was opened.
fn copied_or_swapped(lab: &Lab, (major, minor): (u64, u64), won: &[&str]) -> Outcome {
    let make = |volume: &Path| {
        fs::write(volume.join("a"), "text").unwrap();
        let number = makedev(major, minor);
        mknod(&volume.join("b"), SFlag::S_IFCHR, Mode::S_IRWXU, number).unwrap();
    };
    race(Swapper::of(lab, "a", make), |volume, _| {
        let victim = lab
            .bundle()
            .bind(volume, "/volume", &[])
            .mount("/volume", "tmpfs", "tmpfs", &["tmpcopyup", "size=1m"])
            .args(&["/bin/ls", "-l", "/volume"]);
        let out = victim.run();
        let won = won.iter().any(|it| out.stderr.contains(it));
        (out, won)
    })
}

/// A device that is there is exchanged for a file of the host's on the same file system.
fn device_is_swapped(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a device of the image is swapped for another file between check and chmod: that gets its mode",
        without: "settle-by-fd",
    };
    zoo(lab, &attack, |lab| {
        let make = |volume: &Path| {
            let node = volume.join("a");
            mknod(&node, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3)).unwrap();
            fs::write(volume.join("b"), "secret").unwrap();
            fs::set_permissions(volume.join("b"), Permissions::from_mode(0o600)).unwrap();
        };
        race(
            Swapper::slow(lab, "a", Duration::from_millis(1), make),
            |volume, number| {
                let victim = lab
                    .bundle()
                    .bind(volume, "/volume", &[])
                    .push(
                        "/linux/devices",
                        json!({"path": "/volume/a", "type": "c", "major": 1, "minor": 3,
                        // Another one each time, so that there is always one to set.
                        "fileMode": 0o604 + (number % 2) as u32, "uid": 0, "gid": 0}),
                    )
                    .args(&["/bin/true"]);
                let out = victim.run();
                let is_open = |name: &str| {
                    let about = fs::symlink_metadata(volume.join(name));
                    about.is_ok_and(|it| it.is_file() && it.mode() & 0o777 != 0o600)
                };
                (out, is_open("a") || is_open("b"))
            },
        )
    });
}
