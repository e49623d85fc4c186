use super::*;

fn map(lines: &[(u32, u32, u32)]) -> Vec<IdMap> {
    lines
        .iter()
        .map(|&(inside, outside, count)| IdMap {
            inside,
            outside,
            count,
        })
        .collect()
}

fn check(lines: &[(u32, u32, u32)]) -> Option<String> {
    let list: Vec<LinuxIdMapping> = lines
        .iter()
        .map(|(inside, outside, count)| {
            let json = serde_json::json!({"containerID": inside, "hostID": outside, "size": count});
            serde_json::from_value(json).expect("a mapping")
        })
        .collect();
    let mut problems = Problems::default();
    read(&list, "m", &mut problems);
    problems.into_result("c").err().map(|it| it.to_string())
}

#[test]
fn maps_the_kernel_takes_are_accepted() {
    assert_eq!(check(&[(0, 1000, 1)]), None);
    assert_eq!(check(&[(0, 100_000, 65536), (65536, 1000, 1)]), None);
    // All ids except the last, which means "none".
    assert_eq!(check(&[(0, 1, 1), (1, 0, 1), (2, 2, u32::MAX - 2)]), None);
}

#[test]
fn maps_the_kernel_refuses_are_problems() {
    for (lines, why) in [
        (&[(0, 0, 0)][..], "c: m[0].size: 0 maps nothing"),
        (
            &[(1, 0, u32::MAX)],
            "c: m[0]: containerID and size reach past the last id",
        ),
        (
            &[(0, 5, u32::MAX)],
            "c: m[0]: hostID and size reach past the last id",
        ),
        (
            &[(0, 100, 10), (9, 200, 1)],
            "c: m[1]: maps a containerID that m[0] maps already",
        ),
        (
            &[(0, 100, 10), (10, 109, 5)],
            "c: m[1]: maps a hostID that m[0] maps already",
        ),
    ] {
        assert_eq!(check(lines).as_deref(), Some(why));
    }
}

#[test]
fn more_lines_or_text_than_the_kernel_takes_are_problems() {
    let many: Vec<_> = (0..341).map(|n| (n, n, 1)).collect();
    let text = check(&many).expect("341 lines");
    assert!(text.contains("341 entries"), "{text}");
    let long: Vec<_> = (0..200)
        .map(|n| (2_000_000_000 + n, 3_000_000_000 + n, 1))
        .collect();
    let text = check(&long).expect("200 long lines");
    assert!(text.contains("4096 bytes"), "{text}");
}

#[test]
fn the_own_id_needs_no_program() {
    let host = |effective| Host {
        effective,
        ..Host::of_root()
    };
    let many = map(&[(0, 1000, 1), (1, 100_000, 65536)]);
    assert_eq!(
        writer(
            &map(&[(0, 1000, 1)]),
            1000,
            &host(0),
            Capability::CAP_SETUID
        ),
        Writer::OwnId
    );
    assert_eq!(
        writer(
            &map(&[(0, 1001, 1)]),
            1000,
            &host(0),
            Capability::CAP_SETUID
        ),
        Writer::Program
    );
    assert_eq!(
        writer(&many, 1000, &host(0), Capability::CAP_SETUID),
        Writer::Program
    );
    assert_eq!(
        writer(
            &many,
            1000,
            &host(1 << Capability::CAP_SETUID.index()),
            Capability::CAP_SETUID
        ),
        Writer::Privileged
    );
}

#[test]
fn host_ids_go_through_the_map() {
    let map = map(&[(0, 1000, 1), (1, 100_000, 10)]);
    assert_eq!(outside_of(&map, 0), Some(1000));
    assert_eq!(outside_of(&map, 10), Some(100_009));
    assert_eq!(outside_of(&map, 11), None);
    assert_eq!(outside_of(&[], 0), None);
}

#[test]
fn only_the_unprivileged_own_gid_denies_setgroups() {
    let plan = Plan {
        new: vec![Kind::User],
        gid_map: map(&[(0, 1000, 1)]),
        ..Plan::default()
    };
    let host = |effective| Host {
        egid: 1000,
        effective,
        ..Host::of_root()
    };
    assert!(plan.denies_setgroups(&host(0)));
    assert!(!plan.denies_setgroups(&host(1 << Capability::CAP_SETGID.index())));
    assert!(!Plan::default().denies_setgroups(&host(0)));
}

#[test]
fn the_kernels_text_is_read_back_in_any_order() {
    let found = parse("         0       1000          1\n         1     100000      65536\n");
    assert!(same(&found, &map(&[(1, 100_000, 65536), (0, 1000, 1)])));
    assert!(!same(&found, &map(&[(0, 1000, 1)])));
}
