//! What a container that shares namespaces with the host may not ask for. Parent, before the clone.

use crate::error::{Code, Error, Result};
use crate::namespaces::{Joins, Kind};
use crate::rootfs::{self, sysctl::Sysctl};

/// A path in `linux.namespaces` may lead to the namespace that casulo itself is in, which only an open
/// descriptor tells. Then nothing may be done to it that is meant for a container alone: the host
/// would be renamed, its network tuned, its root moved away.
///
/// # Errors
/// `E_NAMESPACE` naming the field and the namespace.
pub(super) fn check(plan: &rootfs::Plan, joins: &Joins) -> Result<()> {
    let sysctl = |it: &Sysctl| Some((it.owner()?, format!("linux.sysctl[{:?}]", it.key)));
    let name =
        |given: &Option<String>, field: &str| given.as_ref().map(|_| (Kind::Uts, field.to_owned()));
    let fields = [
        Some((Kind::Mount, "root".to_owned())),
        name(&plan.hostname, "hostname"),
        name(&plan.domainname, "domainname"),
    ];
    let mut fields = fields
        .into_iter()
        .flatten()
        .chain(plan.sysctls.iter().filter_map(sysctl));
    match fields.find(|(kind, _)| joins.is_own(*kind)) {
        None => Ok(()),
        Some((kind, field)) => {
            let kind = kind.spec_name();
            let text = format!(
                "{field} would change the host: linux.namespaces joins its {kind} namespace"
            );
            Err(Error::new(Code::Namespace, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::namespaces::{self, Join, Joins, Kind};
    use crate::rootfs::{Plan, sysctl::Sysctl};

    fn joins(kind: Kind) -> Joins {
        let join = Join {
            kind,
            path: format!("/proc/self/ns/{}", kind.proc_name()).into(),
            index: 0,
        };
        let plan = namespaces::Plan {
            join: vec![join],
            ..Default::default()
        };
        namespaces::open_joins(&plan).expect("our own namespaces")
    }

    #[test]
    fn a_joined_namespace_of_the_host_is_not_changed() {
        let sysctl = Sysctl {
            key: "net.ipv4.ip_forward".to_owned(),
            path: "sys/net/ipv4/ip_forward".to_owned(),
            value: "1".to_owned(),
        };
        let plan = Plan {
            hostname: Some("web".to_owned()),
            sysctls: vec![sysctl],
            ..Plan::default()
        };
        for (kind, refused) in [
            (Kind::Uts, Some("hostname")),
            (Kind::Network, Some("linux.sysctl[\"net.ipv4.ip_forward\"]")),
            (Kind::Mount, Some("root")),
            (Kind::Ipc, None),
        ] {
            let error = check(&plan, &joins(kind)).err().map(|it| it.to_string());
            let field = error
                .as_deref()
                .and_then(|it| it.split_once(" would change the host"));
            assert_eq!(field.map(|(field, _)| field), refused, "{kind:?}");
        }
        assert!(check(&plan, &Joins::default()).is_ok());
    }
}
