use super::*;
use crate::seccomp::profile::{Condition, Rule};
use oci_spec::runtime::{Arch, LinuxSeccompOperator};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

fn program() -> Vec<Instruction> {
    (0..5)
        .map(|k| Instruction {
            code: 6,
            jt: 1,
            jf: 2,
            k,
        })
        .collect()
}

fn filter() -> Filter {
    Filter {
        default: Action::Errno(1),
        architectures: vec![Arch::ScmpArchX86_64],
        rules: vec![Rule {
            names: vec!["read".into(), "write".into()],
            action: Action::Allow,
            conditions: vec![Condition {
                argument: 0,
                operator: LinuxSeccompOperator::ScmpCmpEq,
                value: 1,
                value_two: 2,
            }],
        }],
        flags: 0,
        listener_path: None,
        listener_metadata: None,
    }
}

/// A stored program: the folder's guard, the folder, the key and the file.
fn stored() -> (tempfile::TempDir, OwnedFd, Vec<u8>, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(".cache/seccomp");
    let folder = open(&path).unwrap();
    let key = key(&filter());
    write(&folder, &key, &program());
    let file = path.join(file_name(&key));
    (root, folder, key, file)
}

#[test]
fn what_was_stored_is_read_and_only_the_caller_can_look() {
    let (root, folder, key, file) = stored();
    assert_eq!(read(&folder, &key), Some(program()));
    for (path, mode) in [
        (root.path().join(".cache"), 0o700),
        (root.path().join(".cache/seccomp"), 0o700),
        (file, 0o600),
    ] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode);
    }
    assert_eq!(
        fs::read_dir(root.path().join(".cache/seccomp"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn every_part_that_decides_about_the_program_is_in_the_key() {
    let original = key(&filter());
    let changes: &[fn(&mut Filter)] = &[
        |it| it.default = Action::Errno(2),
        |it| it.architectures.push(Arch::ScmpArchX86),
        |it| it.rules[0].names.truncate(1),
        |it| it.rules[0].names = vec!["readwrite".into()],
        |it| it.rules[0].action = Action::Log,
        |it| it.rules[0].conditions.clear(),
        |it| it.rules[0].conditions[0].argument = 1,
        |it| it.rules[0].conditions[0].operator = LinuxSeccompOperator::ScmpCmpNe,
        |it| it.rules[0].conditions[0].value = 2,
        |it| it.rules[0].conditions[0].value_two = 1,
        |it| it.rules.push(it.rules[0].clone()),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut changed = filter();
        change(&mut changed);
        assert_ne!(key(&changed), original, "change {index}");
    }
    let mut loading = filter();
    loading.flags = 1;
    loading.listener_path = Some("/l".into());
    assert_eq!(key(&loading), original);
}

#[test]
fn another_key_in_the_file_is_a_miss() {
    let (_root, folder, key, file) = stored();
    let mut other = filter();
    other.default = Action::Allow;
    fs::write(&file, encode(&super::key(&other), &program())).unwrap();
    assert_eq!(read(&folder, &key), None);
}

#[test]
fn any_damaged_byte_and_any_cut_is_a_miss() {
    let (_root, folder, key, file) = stored();
    let sound = fs::read(&file).unwrap();
    for index in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[index] ^= 1;
        assert_eq!(decode(&damaged, &key), None, "byte {index}");
        assert_eq!(decode(&sound[..index], &key), None, "cut at {index}");
    }
    fs::write(&file, &sound[..sound.len() - 1]).unwrap();
    assert_eq!(read(&folder, &key), None);
    write(&folder, &key, &program());
    assert_eq!(read(&folder, &key), Some(program()));
}

#[test]
fn a_file_that_others_could_have_written_is_a_miss() {
    let (_root, folder, key, file) = stored();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(read(&folder, &key), None);
}

#[test]
fn a_symlink_is_not_followed() {
    let (root, folder, key, file) = stored();
    let elsewhere = root.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert_eq!(read(&folder, &key), None);
    write(&folder, &key, &program());
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
}

#[test]
fn a_folder_that_others_can_enter_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("seccomp");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).unwrap();
    assert!(open(&path).is_none());
    symlink(root.path(), root.path().join("link")).unwrap();
    assert!(open(&root.path().join("link")).is_none());
    assert!(open(&root.path().join("a/b/c")).is_none());
}

#[test]
fn a_full_folder_starts_again() {
    let (_root, folder, key, file) = stored();
    let path = file.parent().unwrap();
    for index in 1..MOST_FILES {
        fs::write(path.join(index.to_string()), "").unwrap();
    }
    write(&folder, &key, &program());
    assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    assert_eq!(read(&folder, &key), Some(program()));
}
