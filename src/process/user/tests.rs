use super::*;
use crate::process::fixtures::{spec, status_line};
use crate::skip;
use crate::sys::forked::words_of_child;

fn planned(
    json: &str,
    annotations: &str,
    ns: &namespaces::Plan,
    host: &Host,
) -> (Identity, Option<String>) {
    let user: User = serde_json::from_str(json).expect("a user");
    let spec = spec(&format!(
        r#"{{"ociVersion":"1.3.0","annotations":{annotations}}}"#
    ));
    let mut problems = Problems::default();
    let plan = plan(&user, &spec, ns, host, "process.user", &mut problems);
    (
        plan,
        problems.into_result("c").err().map(|it| it.to_string()),
    )
}

fn userns(map: &[(u32, u32, u32)]) -> namespaces::Plan {
    let map: Vec<IdMap> = map
        .iter()
        .map(|(inside, outside, count)| IdMap {
            inside: *inside,
            outside: *outside,
            count: *count,
        })
        .collect();
    namespaces::Plan {
        new: vec![Kind::User],
        uid_map: map.clone(),
        gid_map: map,
        ..Default::default()
    }
}

fn rootless() -> Host {
    Host {
        euid: 1000,
        rootless: true,
        egid: 1000,
        effective: 0,
        ..Host::of_root()
    }
}

#[test]
fn the_umask_is_022_unless_given() {
    let none = namespaces::Plan::default();
    let (plan, _) = planned(r#"{"uid":1,"gid":2}"#, "{}", &none, &Host::of_root());
    assert_eq!((plan.uid, plan.gid, plan.umask), (1, 2, 0o022));
    assert_eq!(plan.groups, Groups::Drop);
    let (plan, _) = planned(
        r#"{"uid":1,"gid":2,"umask":63}"#,
        "{}",
        &none,
        &Host::of_root(),
    );
    assert_eq!(plan.umask, 0o077);
    let (_, error) = planned(
        r#"{"uid":1,"gid":2,"umask":512}"#,
        "{}",
        &none,
        &Host::of_root(),
    );
    assert_eq!(
        error.as_deref(),
        Some("c: process.user.umask: 512 is above 511 (octal 777)")
    );
}

#[test]
fn nobodys_id_is_a_problem_wherever_it_stands() {
    let whole = userns(&[(0, 0, u32::MAX)]);
    for ns in [namespaces::Plan::default(), whole] {
        for keep in ["{}", r#"{"run.oci.keep_original_groups":"1"}"#] {
            let json = r#"{"uid":4294967295,"gid":4294967295,"additionalGids":[1,4294967295]}"#;
            let (_, error) = planned(json, keep, &ns, &Host::of_root());
            let why = "4294967295 is nobody's id: the kernel takes it for \"unchanged\"";
            assert_eq!(
                error,
                Some(format!(
                    "c: process.user.uid: {why}; process.user.gid: {why}; \
                     process.user.additionalGids[1]: {why}"
                ))
            );
        }
    }
    // The second look, where the identity is assumed.
    assert_eq!(set_user(u32::MAX), Err(Errno::EINVAL));
    assert_eq!(set_group(u32::MAX), Err(Errno::EINVAL));
}

#[test]
fn unmapped_ids_are_problems_that_name_id_and_map() {
    let ns = userns(&[(0, 100_000, 10), (20, 100_020, 5)]);
    let (_, error) = planned(
        r#"{"uid":10,"gid":24,"additionalGids":[9,25]}"#,
        "{}",
        &ns,
        &Host::of_root(),
    );
    assert_eq!(
        error.expect("two problems"),
        "c: process.user.uid: uid 10 is not mapped in the user namespace, which has 0-9, 20-24; \
         process.user.additionalGids[1]: gid 25 is not mapped in the user namespace, which has 0-9, 20-24"
    );
    let all = userns(&[(0, 0, u32::MAX)]);
    assert_eq!(
        planned(
            r#"{"uid":4294967294,"gid":0}"#,
            "{}",
            &all,
            &Host::of_root()
        )
        .1,
        None
    );
}

#[test]
fn a_joined_user_namespace_is_left_to_the_kernel() {
    let joined = namespaces::Plan {
        join: vec![namespaces::Join {
            kind: Kind::User,
            path: "/proc/1/ns/user".into(),
            index: 0,
        }],
        ..Default::default()
    };
    let (plan, error) = planned(r#"{"uid":77,"gid":77}"#, "{}", &joined, &Host::of_root());
    assert_eq!((plan.userns, error), (true, None));
}

#[test]
fn additional_groups_need_setgroups() {
    let own = userns(&[(0, 1000, 1)]);
    let user = r#"{"uid":0,"gid":0,"additionalGids":[0]}"#;
    let (plan, error) = planned(user, "{}", &own, &rootless());
    assert_eq!(plan.groups, Groups::Keep);
    assert!(error.is_some_and(
        |it| it.contains("process.user.additionalGids: ") && it.contains("denies setgroups")
    ));
    // newgidmap writes a range and leaves setgroups allowed.
    let range = userns(&[(0, 1000, 1), (1, 100_000, 65536)]);
    let (plan, error) = planned(user, "{}", &range, &rootless());
    assert_eq!((plan.groups, error), (Groups::Set(vec![0]), None));
    let none = r#"{"uid":0,"gid":0}"#;
    assert_eq!(
        planned(none, "{}", &own, &rootless()).0.groups,
        Groups::Keep
    );
    assert_eq!(
        planned(none, "{}", &own, &Host::of_root()).0.groups,
        Groups::Drop
    );
}

#[test]
fn the_annotation_keeps_the_callers_groups() {
    let none = namespaces::Plan::default();
    let user = r#"{"uid":0,"gid":0,"additionalGids":[7]}"#;
    let rows = [
        (r#"{"run.oci.keep_original_groups":"1"}"#, Groups::Keep),
        (
            r#"{"run.oci.keep_original_groups":"0"}"#,
            Groups::Set(vec![7]),
        ),
        ("{}", Groups::Set(vec![7])),
    ];
    for (annotations, groups) in rows {
        assert_eq!(
            planned(user, annotations, &none, &Host::of_root()).0.groups,
            groups
        );
    }
}

#[test]
fn the_child_becomes_the_user_with_groups_and_umask() {
    if skip::unless_root() {
        return;
    }
    let identity = Identity {
        uid: 1234,
        gid: 2345,
        groups: Groups::Set(vec![5, 6]),
        umask: 0o027,
        userns: false,
    };
    let result = words_of_child(|| {
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        nix::unistd::dup2_stdout(&write).expect("dup");
        identity.own_stdio()?;
        let stat = fstat(&read).expect("stat");
        let owner = format!("{}:{}", stat.st_uid, stat.st_gid);
        identity.assume()?;
        let lines = ["Uid", "Gid", "Groups", "Umask"].map(status_line);
        Ok(format!("{owner} {}", lines.join("|")))
    });
    assert_eq!(
        result,
        "1234:2345 1234\t1234\t1234\t1234|2345\t2345\t2345\t2345|5 6|0027"
    );
}

#[test]
fn an_id_that_the_kernel_refuses_is_named() {
    if skip::unless_root() {
        return;
    }
    let identity = Identity {
        uid: u32::MAX,
        gid: 5,
        groups: Groups::Drop,
        umask: 0,
        userns: true,
    };
    // In a user namespace without a map no id is mapped.
    let result = words_of_child(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        identity.assume().map(|()| String::new())
    });
    assert_eq!(
        result,
        "become gid 5: gid 5 is not mapped in the user namespace: Invalid argument"
    );
}

#[test]
fn the_callers_groups_are_dropped_where_none_are_asked_for() {
    if skip::unless_root() {
        return;
    }
    let groups_after = |groups| {
        let identity = Identity {
            uid: 1234,
            gid: 2345,
            groups,
            umask: 0,
            userns: false,
        };
        words_of_child(|| {
            nix::unistd::setgroups(&[7.into(), 77.into()]).expect("groups of the caller's");
            identity.assume().map(|()| status_line("Groups"))
        })
    };
    assert_eq!(groups_after(Groups::Keep), "7 77");
    assert_eq!(groups_after(Groups::Drop), "");
}
