//! Whether the program can be executed: its file, its interpreter, and the machine it is for.

use super::way::meets_a_mount;
use crate::check::{Code, Findings, Subject};
use crate::root::Root;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::read;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many bytes of a program are read. Linkers put the name of the dynamic loader near the beginning.
const HEAD: usize = 8192;

/// Adds why `process.args[0]` cannot be executed, unless a mount may bring the program.
pub(super) fn program(subject: &Subject<'_>, root: &Root, findings: &mut Findings) {
    let command = &subject.plan.process.command;
    let mounts = &subject.plan.rootfs.mounts;
    let may_come = |path: &Path| meets_a_mount(root, path, mounts);
    if command.args.is_empty() || command.places.all().any(|it| may_come(it)) {
        return;
    }
    let at = "process.args[0]";
    let place = match command.look_in(root) {
        Ok(place) => place,
        Err(error) => {
            if error.errno.is_none_or(|errno| subject.is_final(errno)) {
                findings.add(Code::ProgramMissing, at, error.to_string());
            }
            return;
        }
    };
    let Some(head) = head(root, place) else {
        return;
    };
    let shown = place.display();
    match Format::of(&head) {
        Format::Script(interpreter)
        | Format::Elf {
            interpreter: Some(interpreter),
            ..
        } if root
            .resolve(&interpreter)
            .is_err_and(|errno| errno == Errno::ENOENT)
            && !may_come(&interpreter) =>
        {
            let why = format!(
                "{shown} needs {}, which is not in the image",
                interpreter.display()
            );
            findings.add(Code::InterpreterMissing, at, why);
        }
        Format::Elf { machine, .. } if !MACHINES.contains(&machine) && !has_handlers(subject) => {
            let why = format!("{shown} is for another machine (ELF machine {machine})");
            findings.add(Code::ProgramForeign, at, why);
        }
        Format::Unknown if !has_handlers(subject) => {
            let why = format!("{shown} is neither an ELF file nor a script that begins with #!");
            findings.add(Code::ProgramForeign, at, why);
        }
        Format::Script(_) | Format::Elf { .. } | Format::Unknown => {}
    }
}

fn head(root: &Root, path: &Path) -> Option<Vec<u8>> {
    let file = root
        .open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())
        .ok()?;
    let mut bytes = vec![0; HEAD];
    let length = read(&file, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// True if formats are registered with the kernel (binfmt_misc): then `check` cannot know what the kernel
/// executes.
fn has_handlers(subject: &Subject<'_>) -> bool {
    let names = subject.files.names("/proc/sys/fs/binfmt_misc");
    names
        .iter()
        .any(|name| name != "register" && name != "status")
}

/// The `e_machine` values, elf(5), that this machine executes: `EM_X86_64` and `EM_386`.
#[cfg(target_arch = "x86_64")]
const MACHINES: [u16; 2] = [62, 3];
/// The `e_machine` values, elf(5), that this machine executes: `EM_AARCH64` and `EM_ARM`.
#[cfg(target_arch = "aarch64")]
const MACHINES: [u16; 2] = [183, 40];
/// The `e_machine` value, elf(5), that this machine executes: `EM_RISCV`.
#[cfg(target_arch = "riscv64")]
const MACHINES: [u16; 1] = [243];
/// `e_machine` of what this machine executes, elf(5): `EM_S390`, with 64 bits and with 31.
#[cfg(target_arch = "s390x")]
const MACHINES: [u16; 1] = [22];
/// `e_machine` of what this machine executes, elf(5): `EM_PPC64`.
#[cfg(target_arch = "powerpc64")]
const MACHINES: [u16; 1] = [21];
/// `e_machine` of what this machine executes, elf(5): `EM_ARM`.
#[cfg(target_arch = "arm")]
const MACHINES: [u16; 1] = [40];

/// The format that execve(2) sees in the first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Format {
    /// `#!` and this interpreter.
    Script(PathBuf),
    /// An ELF file for the machine with this number, and its dynamic loader, if it names one.
    Elf {
        machine: u16,
        interpreter: Option<PathBuf>,
    },
    Unknown,
}

impl Format {
    fn of(head: &[u8]) -> Format {
        if let Some(rest) = head.strip_prefix(b"#!") {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let mut words = line
                .split(|byte| matches!(byte, b' ' | b'\t'))
                .filter(|it| !it.is_empty());
            return words
                .next()
                .map_or(Format::Unknown, |name| Format::Script(path(name)));
        }
        let number = |at: usize, size: usize| -> Option<usize> {
            let bytes = head.get(at..at.checked_add(size)?)?;
            let little = bytes
                .iter()
                .rev()
                .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            usize::try_from(little).ok()
        };
        // Only little-endian files can be for this machine.
        let is_elf = head.starts_with(b"\x7fELF") && head.get(5) == Some(&1);
        let (true, Some(machine)) = (is_elf, number(18, 2)) else {
            return if head.starts_with(b"\x7fELF") {
                Format::Elf {
                    machine: 0,
                    interpreter: None,
                }
            } else {
                Format::Unknown
            };
        };
        // The class decides where the fields are: elf(5), Elf32_Ehdr and Elf64_Ehdr.
        let is_64 = head.get(4) == Some(&2);
        let interpreter = || {
            let (table, entry, count) = if is_64 {
                (number(32, 8)?, number(54, 2)?, number(56, 2)?)
            } else {
                (number(28, 4)?, number(42, 2)?, number(44, 2)?)
            };
            (0..count).find_map(|index| {
                const PT_INTERP: usize = 3;
                let at = table.checked_add(index.checked_mul(entry)?)?;
                let (offset, size) = if is_64 {
                    (
                        number(at.checked_add(8)?, 8)?,
                        number(at.checked_add(32)?, 8)?,
                    )
                } else {
                    (
                        number(at.checked_add(4)?, 4)?,
                        number(at.checked_add(16)?, 4)?,
                    )
                };
                let name = head.get(offset..offset.checked_add(size)?)?;
                let name = name.split(|byte| *byte == 0).next()?;
                (number(at, 4)? == PT_INTERP).then(|| path(name))
            })
        };
        Format::Elf {
            machine: u16::try_from(machine).expect("two bytes"),
            interpreter: interpreter(),
        }
    }
}

fn path(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_bytes_say_what_executes_them() {
        for (head, expected) in [
            (&b"#!/bin/sh -e\nx"[..], Format::Script("/bin/sh".into())),
            (
                b"#! \t/usr/bin/env python",
                Format::Script("/usr/bin/env".into()),
            ),
            (b"#!\n", Format::Unknown),
            (b"echo", Format::Unknown),
            (b"", Format::Unknown),
            (
                b"\x7fELF",
                Format::Elf {
                    machine: 0,
                    interpreter: None,
                },
            ),
        ] {
            assert_eq!(Format::of(head), expected, "{head:?}");
        }
    }

    #[test]
    fn the_tests_own_program_is_of_this_machine() {
        let program = std::fs::read("/proc/self/exe").expect("a program");
        let head = program.get(..HEAD).expect("a long one");
        assert!(
            matches!(Format::of(head), Format::Elf { machine, .. } if MACHINES.contains(&machine))
        );
    }

    #[test]
    fn the_loader_is_named_in_both_classes() {
        for (class, table, entry, count, fields) in [
            (2, 32, 54, 56, [(8, 64 + 56), (32, 5)]),
            (1, 28, 42, 44, [(4, 64 + 56), (16, 5)]),
        ] {
            let mut head = vec![0; 200];
            head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
            (head[18], head[table], head[entry], head[count]) = (3, 64, 56, 1);
            head[64] = 3;
            for (at, value) in fields {
                head[64 + at] = value;
            }
            head[120..125].copy_from_slice(b"/ld\0x");
            let interpreter = Some("/ld".into());
            assert_eq!(
                Format::of(&head),
                Format::Elf {
                    machine: 3,
                    interpreter
                }
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_format(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..6_usize) {
            let elf = [b"\x7fELF\x02\x01".get(..cut).unwrap_or_default(), &bytes].concat();
            let _ = (Format::of(&bytes), Format::of(&elf));
        }
    }
}
