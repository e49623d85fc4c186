//! Defences that a test build can leave out, to show that a test fails without them (`CASULO_WITHOUT`).
//!
//! The variable lists names of [`Defence`]s: `CASULO_WITHOUT=in-root,cwd-inside`. Each defence asks [`without`]
//! at its one place. Any casulo process; the child has the parent's environment.

/// A defence of the host. SECURITY.md says which attack each holds off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defence {
    /// A process that enters a container is not dumpable.
    NotDumpable,
    /// A process that is born in a container has none of casulo's memory.
    NotForked,
    /// The procfs of a joined pid namespace is mounted by the parameter `pidns`, not by a maker inside (which is
    /// as safe).
    PidnsParameter,
    /// No process holds the mount of casulo's program when one of casulo's can be seen in a container.
    OwnMountClosed,
    /// A process that is born in a container has its namespaces at its birth.
    JoinedBeforeBirth,
    /// Such a process has its final ids at its birth.
    IdsBeforeBirth,
    /// Such a process has its final capabilities at its birth.
    CapsBeforeBirth,
    /// Such a process has its filter at its birth.
    FilterBeforeBirth,
    /// The container's process is in no session of the caller's.
    OwnSession,
    /// The container's process holds only its own descriptors.
    DescriptorsClosed,
    /// The container's process holds no socket to its parent.
    PipesOnly,
    /// Inherited descriptors are close-on-exec.
    CloseOnExec,
    /// The working directory is verified to be inside the root.
    CwdInside,
    /// casulo runs from a file that cannot be written.
    ProtectedBinary,
    /// Look-ups below the rootfs never leave it.
    InRoot,
    /// No symlink is followed to what must be a real directory, or to /proc.
    NoSymlinks,
    /// `/dev` and the directories in it are opened without following symlinks.
    DevNoFollow,
    /// Mounts are attached to the object that was looked up, not to its name.
    MountOnFds,
    /// A device of the config gets its mode through the descriptor that was checked, not by its name.
    SettleByFd,
    /// Below /proc only a few files may be covered by mounts.
    ProcTargets,
    /// Files of /proc are written through a procfs of our own.
    PrivateProc,
    /// The null device is recognised by its number.
    NullDevice,
    /// A path that exists is masked, or the container is refused.
    MaskOrRefuse,
    /// `/dev/console` is a bind of the pty that is open.
    ConsoleByFd,
    /// `/dev/console` is made without following symlinks.
    ConsoleNoFollow,
    /// `exec --cap` adds nothing to the inheritable set.
    NotInheritable,
    /// No capability set reaches beyond the bounding set.
    WithinBounding,
    /// A user on the command line is given in digits.
    UserDigits,
    /// A plan with an id that the kernel takes for "unchanged" is refused.
    PlannedIds,
    /// No process sets its ids to such an id.
    AssumedIds,
    /// The host's cgroups are read-only if the container has no cgroup namespace of its own.
    CgroupReadOnly,
    /// Mounts below the host's /sys are read-only if that is.
    SysReadOnly,
    /// The root is made read-only by its descriptor.
    ReadOnlyByFd,
    /// Only those standard streams that are pipes, sockets or terminals change their owner.
    OwnStdio,
    /// Only properties that concern the scope alone are passed to systemd.
    PropertyNames,
    /// Records that belong to another user are refused.
    OwnRecords,
    /// A cgroup is recognised by more than its path.
    OwnCgroup,
    /// A failure that a process reports counts only if the process ends and has executed nothing.
    FailureEnds,
    /// The agent gets the listener of a filter when the process is confined, not when the filter is loaded.
    AgentAfterConfinement,
    /// A config with a createContainer hook in a joined mount namespace is refused.
    HooksApart,
    /// No procfs is mounted in a joined mount namespace, unless the pid namespace is joined too.
    ProcApart,
    /// A container that is being created is not entered.
    NotWhileCreating,
    /// Only a few kinds of the container's messages reach the service manager.
    NotifyWords,
    /// No descriptor of the container's goes to the service manager.
    NotifyDescriptors,
    /// The descriptors of a message to the service manager are closed by a child.
    NotifyApart,
    /// Hooks write to the host's files through pipes.
    HookPipes,
    /// The device rules hold before init has the image's tree.
    RulesBeforeImage,
    /// A descriptor's number leads init to the descriptor's own file.
    OwnDescriptors,
    /// A file that `tmpcopyup` copies is checked before it is opened.
    LookBeforeOpen,
    /// A wait for another process in the foreground looks for signals that ask casulo to end.
    AskedToEnd,
    /// A process whose first thread has ended lives as long as another one does.
    ThreadsAreAlive,
    /// An ordinary user's casulo takes back the rights to the cgroup that its container took away.
    RightsTakenBack,
}

#[cfg(feature = "testing")]
mod switches {
    use super::Defence;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    /// True if this process must go without the defence.
    pub(crate) fn without(defence: Defence) -> bool {
        let list = std::env::var("CASULO_WITHOUT").unwrap_or_default();
        list.split(',').any(|name| name == kebab(defence))
    }

    /// Returns the name in kebab case: `CloseOnExec` as `close-on-exec`.
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

    /// True if this process must go without the defence. Then waits a moment, so that a slow attacker of the test
    /// comes in time.
    pub(crate) fn late_without(defence: Defence) -> bool {
        let is_without = without(defence);
        if is_without {
            std::thread::sleep(Duration::from_millis(5));
        }
        is_without
    }

    /// Without the defence: returns the file to which the name of `fd`'s object, as /proc has it, leads a moment
    /// later.
    pub(crate) fn by_name(defence: Defence, fd: BorrowedFd<'_>) -> Option<OwnedFd> {
        if !without(defence) {
            return None;
        }
        let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        // A slow attacker of the test comes in time.
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

/// In every other build each function is a constant, and none of the above is in the program.
#[cfg(not(feature = "testing"))]
mod switches {
    use super::Defence;
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// True if this process must go without the defence: never.
    #[inline]
    pub(crate) const fn without(_defence: Defence) -> bool {
        false
    }

    /// True if this process must go without the defence: never.
    #[inline]
    pub(crate) const fn late_without(_defence: Defence) -> bool {
        false
    }

    /// Returns the file that is used instead of `fd` without the defence: never any.
    #[inline]
    pub(crate) const fn by_name(_defence: Defence, _fd: BorrowedFd<'_>) -> Option<OwnedFd> {
        None
    }
}

pub(crate) use switches::{by_name, late_without, without};
