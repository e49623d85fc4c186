//! Network devices that move into a container.

use super::*;

fn ip(arguments: &str) -> Outcome {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = says("ip", output)?;
    ensure(output.status.success(), || {
        format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn address_count(name: &str) -> std::result::Result<(bool, usize), String> {
    let mut netlink = says("netlink", Netlink::open())?;
    let link = says("find", netlink.find(name))?.ok_or(format!("no {name}"))?;
    let addresses = says("addresses", netlink.addresses(link.index))?;
    Ok((link.up, addresses.len()))
}

/// Makes a network namespace that plays the host, with three devices; false if this machine cannot.
fn play_host() -> std::result::Result<bool, String> {
    says("unshare", unshare(CloneFlags::CLONE_NEWNET))?;
    if ip("link add name left type veth peer name right").is_err() {
        skip::because("needs ip and veth devices");
        return Ok(false);
    }
    ip("link add name third type bridge")?;
    ip("addr add 10.1.2.3/24 brd + dev left")?;
    ip("addr add fd00::5/64 dev left")?;
    ip("link set left up")?;
    Ok(true)
}

fn device(host_name: &str, name: &str) -> NetDevice {
    NetDevice {
        host_name: host_name.into(),
        name: name.into(),
    }
}

#[test]
fn network_devices_move_with_name_addresses_and_flags() {
    as_root(|| {
        if !play_host()? {
            return Ok(());
        }
        let before = link(Kind::Network);
        let mut plan = mapped(new(&[Kind::Network, Kind::User]), 0, 100_000, 10);
        plan.net_devices = vec![device("right", "eth0"), device("left", "eth%d")];
        let first = start(&plan, || {
            let found = address_count("eth1")?;
            ensure(found == (true, 2), || format!("eth1: {found:?}"))?;
            let found = address_count("eth0")?;
            ensure(found == (true, 0), || format!("eth0: {found:?}"))
        })?;
        ensure(link(Kind::Network) == before, || "not back".into())?;
        ensure(address_count("left").is_err(), || "left is here".into())?;

        // The second name is taken, so the device that was moved before comes back, as it was.
        ip("link add name fourth type veth peer name fifth")?;
        ip("addr add 10.9.9.9/32 dev fourth")?;
        let mut plan = joining(Plan::default(), &first, &[Kind::Network]);
        plan.net_devices = vec![device("fourth", "moved"), device("fifth", "eth0")];
        let error = start(&plan, nothing).err().unwrap_or_default();
        ensure(error.contains("as eth0: File exists"), || error.clone())?;
        let found = address_count("fourth")?;
        ensure(found == (false, 1), || format!("fourth: {found:?}"))?;

        plan.net_devices = vec![device("fourth", "moved")];
        let second = start(&plan, || {
            let found = address_count("moved")?;
            ensure(found == (true, 1), || format!("moved: {found:?}"))
        })?;
        drop(second);

        plan.net_devices = vec![device("missing", "missing")];
        let error = start(&plan, nothing).err().unwrap_or_default();
        ensure(
            error.contains("find network device missing: No such device"),
            || error.clone(),
        )
    });
}
