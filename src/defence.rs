//! Defences that are taken out, to show that a test fails without them (`CASULO_WITHOUT`).
//!
//! The variable lists names of [`Defence`]s: `CASULO_WITHOUT=in-root,cwd-inside`. Each defence looks here at
//! its one place. Either process; the child has the parent's environment.

/// What stands between an attack and the host. SECURITY.md says which attack is held by which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defence {
    /// What enters a container is not dumpable.
    NotDumpable,
    /// Nothing of casulo's memory is in a process that is born in a container.
    NotForked,
    /// The procfs of a joined pid namespace is asked for by name, and not by a maker inside (which is as safe).
    PidnsParameter,
    /// Nobody holds the mount of casulo's program when something of it can be seen in a container.
    OwnMountClosed,
    /// What is born in a container has its namespaces.
    JoinedBeforeBirth,
    /// It has its final ids.
    IdsBeforeBirth,
    /// It has its final capabilities.
    CapsBeforeBirth,
    /// It has its filter.
    FilterBeforeBirth,
    /// It is in no session of the caller's.
    OwnSession,
    /// It holds only its own descriptors.
    DescriptorsClosed,
    /// It holds no socket to its parent.
    PipesOnly,
    /// Inherited descriptors are close-on-exec.
    CloseOnExec,
    /// The working directory is verified to be inside the root.
    CwdInside,
    /// casulo runs from a file that cannot be written.
    ProtectedBinary,
    /// Look-ups below the rootfs end there.
    InRoot,
    /// No symlink leads to what must be a real directory, or to /proc.
    NoSymlinks,
    /// `/dev` and the directories in it are opened without following.
    DevNoFollow,
    /// Mounts are attached to what was looked up, not to its name.
    MountOnFds,
    /// A device of the config gets its mode by what was looked at, not by its name.
    SettleByFd,
    /// Of /proc only a few files are covered.
    ProcTargets,
    /// What is written to /proc is written through a procfs of our own.
    PrivateProc,
    /// The null device is known by its number.
    NullDevice,
    /// What exists is masked, or the container is refused.
    MaskOrRefuse,
    /// `/dev/console` is a bind of the pty that is open.
    ConsoleByFd,
    /// `/dev/console` is made without following.
    ConsoleNoFollow,
    /// `exec --cap` adds nothing to the inheritable set.
    NotInheritable,
    /// No set reaches past the bounding set.
    WithinBounding,
    /// A user on the command line is digits.
    UserDigits,
    /// The plan knows no id that the kernel takes for "unchanged".
    PlannedIds,
    /// Nobody assumes such an id.
    AssumedIds,
    /// The host's cgroups are read-only where the container has none of its own.
    CgroupReadOnly,
    /// What is mounted below the host's /sys is as read-only as that.
    SysReadOnly,
    /// The root is made read-only by its descriptor.
    ReadOnlyByFd,
    /// Of the standard streams only pipes, sockets and terminals change their owner.
    OwnStdio,
    /// Only properties that concern the scope alone are told to systemd.
    PropertyNames,
    /// Records that belong to somebody else are refused.
    OwnRecords,
    /// A cgroup is known by more than its path.
    OwnCgroup,
    /// A failure that a process tells of is one only if it ends and has executed nothing.
    FailureEnds,
    /// The agent gets the listener of a filter when the process is confined, not when the filter is loaded.
    AgentAfterConfinement,
    /// The host's hooks run among nobody else's files.
    HooksApart,
    /// No procfs is mounted among others in which they would see init before it is confined.
    ProcApart,
    /// What is being created is not entered.
    NotWhileCreating,
    /// The container says to the service manager only what it may.
    NotifyWords,
    /// No descriptor of the container's goes to the service manager.
    NotifyDescriptors,
    /// What comes with a message to the service manager is closed by a child.
    NotifyApart,
    /// What hooks say goes to the host's files through pipes.
    HookPipes,
    /// The device rules hold before init has the image's tree.
    RulesBeforeImage,
    /// What init reaches by the number of a descriptor is what that stands for.
    OwnDescriptors,
    /// What `tmpcopyup` reads is looked at before it is opened.
    LookBeforeOpen,
    /// Who waits for somebody else in the foreground looks for signals that ask casulo to end.
    AskedToEnd,
}

#[cfg(feature = "testing")]
mod switches {
    use super::Defence;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    /// True if this process is to go without the defence.
    pub(crate) fn without(defence: Defence) -> bool {
        let list = std::env::var("CASULO_WITHOUT").unwrap_or_default();
        list.split(',').any(|name| name == kebab(defence))
    }

    /// `CloseOnExec` as `close-on-exec`.
    fn kebab(defence: Defence) -> String {
        let mut name = String::new();
        for letter in format!("{defence:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// True if this process is to go without the defence, a moment later: however slow the attacker's machine is.
    pub(crate) fn late_without(defence: Defence) -> bool {
        let is_without = without(defence);
        if is_without {
            std::thread::sleep(Duration::from_millis(5));
        }
        is_without
    }

    /// Without the defence: what the name of `fd`'s object, as /proc has it, leads to a moment later.
    pub(crate) fn by_name(defence: Defence, fd: BorrowedFd<'_>) -> Option<OwnedFd> {
        if !without(defence) {
            return None;
        }
        let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        // However slow the attacker's machine is.
        std::thread::sleep(Duration::from_millis(5));
        open(&name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_are_in_kebab_case() {
            assert_eq!(kebab(Defence::InRoot), "in-root");
            assert_eq!(kebab(Defence::ReadOnlyByFd), "read-only-by-fd");
        }
    }
}

/// Every other build: each is a constant, and nothing of the above is in the program.
#[cfg(not(feature = "testing"))]
mod switches {
    use super::Defence;
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// True if this process is to go without the defence: never.
    #[inline]
    pub(crate) const fn without(_defence: Defence) -> bool {
        false
    }

    /// The same.
    #[inline]
    pub(crate) const fn late_without(_defence: Defence) -> bool {
        false
    }

    /// What is used instead of `fd` without the defence: never anything.
    #[inline]
    pub(crate) const fn by_name(_defence: Defence, _fd: BorrowedFd<'_>) -> Option<OwnedFd> {
        None
    }
}

pub(crate) use switches::{by_name, late_without, without};
