//! The network namespace: sets loopback up, and moves devices of the host in.

use super::join::{self, Joins};
use super::netlink::{Address, Netlink, Target};
use super::{Kind, Plan};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::host::Host;
use crate::step::{self, Step};
use crate::sys::namespace::{set_interface_flags, stop_being_dumpable};
use crate::sys::pidfd::pidfd_open;
use caps::Capability;
use nix::errno::Errno;
use nix::sched::setns;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::Pid;
use oci_spec::runtime::Linux;
use std::os::fd::{AsFd, OwnedFd};

/// How many numbers the kernel tries for a template (`__dev_alloc_name`).
const MAX_NUMBER: u32 = 32_768;

/// A network device that the container takes over from the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetDevice {
    /// The device's name on the host.
    pub host_name: String,
    /// The device's name in the container. `eth%d` is a template: the first free number takes the place of
    /// `%d`.
    pub name: String,
}

impl NetDevice {
    /// Returns the part before `%d`, if the name is a template.
    fn template(&self) -> Option<&str> {
        self.name.strip_suffix("%d")
    }
}

/// Reads `linux.netDevices` for the namespaces in `plan`.
pub(super) fn plan(linux: &Linux, host: &Host, plan: &mut Plan, problems: &mut Problems) {
    let Some(devices) = linux.net_devices().as_ref().filter(|it| !it.is_empty()) else {
        return;
    };
    let path = "linux.netDevices";
    if !plan.has(Kind::Network) {
        problems.add(path, "needs a network namespace in linux.namespaces");
    }
    if !host.has_capability(Capability::CAP_NET_ADMIN) {
        problems.add(
            path,
            "moving a device needs CAP_NET_ADMIN on the host, which the caller lacks",
        );
    }
    let mut list: Vec<NetDevice> = devices
        .iter()
        .map(|(host_name, device)| NetDevice {
            host_name: host_name.clone(),
            name: device
                .name()
                .clone()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| host_name.clone()),
        })
        .collect();
    // Templates last, so that they do not take a number that another device asks for by name.
    list.sort_by(|a, b| (a.template().is_some(), a).cmp(&(b.template().is_some(), b)));
    for (index, device) in list.iter().enumerate() {
        let path = format!("{path}.{}", device.host_name);
        if let Some(why) = invalid(&device.host_name) {
            problems.add(&path, format!("the host's device name {why}"));
        }
        if device.name == device.host_name {
            // Already checked.
        } else if let Some(why) = invalid(device.template().unwrap_or(&device.name)) {
            problems.add(format!("{path}.name"), why);
        }
        let earlier = list.iter().take(index).find(|it| it.name == device.name);
        if let Some(other) = earlier.filter(|it| it.template().is_none()) {
            problems.add(
                format!("{path}.name"),
                format!("{} is taken by {}", device.name, other.host_name),
            );
        }
    }
    plan.net_devices = list;
}

/// Returns why the kernel would refuse this name (`dev_valid_name`), if it would.
fn invalid(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("names a directory"),
        _ if name.len() >= libc::IFNAMSIZ => Some("is longer than 15 bytes"),
        _ if name.contains(['/', ':', '\0']) || name.contains(char::is_whitespace) => {
            Some("has a slash, a colon, white space or a zero byte")
        }
        _ if name.contains('%') => Some("has a % that is not a final %d"),
        _ => None,
    }
}

/// Init, in its new network namespace and with CAP_NET_ADMIN over it: sets `lo` up. The kernel then gives
/// `lo` its addresses. One ioctl is enough: a new `lo` has no other flag to keep.
///
/// # Errors
/// E_NETWORK: the step and errno.
pub(super) fn loopback_up() -> Result<()> {
    // A socket of any kind stands for its network namespace here; this kind exists in every kernel.
    let socket = socket(
        AddressFamily::Unix,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .context(Code::Network, "open", "socket")?;
    let up = libc::c_short::try_from(libc::IFF_UP).expect("a small number");
    set_interface_flags(socket.as_fd(), c"lo", up).context(Code::Network, "set up device", "lo")
}

/// Parent, after [`super::spawn()`] and the id maps, while init waits: moves the plan's network devices to
/// init's network namespace, or to the joined one, and renames them. A move removes the permanent addresses
/// of global scope, so the devices get them back, and are set up. Needs CAP_NET_ADMIN on the host. Returns
/// None for a plan without devices.
///
/// The parent enters the other network namespace for as long as it takes to open a socket there.
///
/// # Errors
/// E_NETWORK: the device and the errno. ENODEV says that the host has no such device, EEXIST that the name is
/// taken in the container. E_NAMESPACE if the parent cannot enter that namespace or return. Devices that were
/// moved before the failure are moved back.
pub(crate) fn move_devices(plan: &Plan, joins: &Joins, init: Pid) -> Result<Option<MovedDevices>> {
    if plan.net_devices.is_empty() {
        return Ok(None);
    }
    if joins.is_own(Kind::Network) {
        return Err(Error::new(
            Code::Network,
            "linux.netDevices: the network namespace to join is the host's own",
        ));
    }
    step::begin(Step::EnterNetwork)?;
    let home = join::own(Kind::Network)?;
    let host = Netlink::open().context(Code::Network, "open", "netlink socket")?;
    stop_being_dumpable().context(Code::Namespace, "prctl", "PR_SET_DUMPABLE")?;
    let (target, entered) = match joins.get(Kind::Network) {
        Some(join) => (
            Target::Namespace(&join.fd),
            join.enter().map_err(|errno| join.error(errno)),
        ),
        None => {
            let entered = pidfd_open(init)
                .and_then(|pidfd| setns(pidfd, Kind::Network.clone_flags()))
                .context(Code::Namespace, "enter network namespace of", init);
            (Target::Process(init), entered)
        }
    };
    entered?;
    let inside = step::begin_or_errno(Step::LookInside).and_then(|()| Netlink::open());
    setns(&home, Kind::Network.clone_flags()).context(
        Code::Namespace,
        "return to",
        "own network namespace",
    )?;
    let mut devices = MovedDevices {
        home,
        host,
        inside: inside.context(Code::Network, "open", "netlink socket")?,
        moved: Vec::new(),
    };
    for device in &plan.net_devices {
        if let Err(error) = devices.add(device, target) {
            devices.return_to_host();
            return Err(error);
        }
    }
    Ok(Some(devices))
}

/// The devices that the container has taken over, for as long as they can be brought back. The sockets hold
/// both network namespaces. Without them the kernel destroys a virtual device when init ends, and brings any
/// other one back without its name, its addresses and its state (network_namespaces(7)).
#[derive(Debug)]
pub(crate) struct MovedDevices {
    home: OwnedFd,
    host: Netlink,
    inside: Netlink,
    moved: Vec<Moved>,
}

/// A device that is in the container now, and what it takes to undo that.
#[derive(Debug)]
struct Moved {
    host_name: String,
    /// The device's name in the container.
    name: String,
    /// True if the device was set up on the host.
    up: bool,
    addresses: Vec<Address>,
}

impl MovedDevices {
    fn add(&mut self, device: &NetDevice, target: Target<'_>) -> Result<()> {
        let shown = device.host_name.as_str();
        let link = self
            .host
            .find(shown)
            .and_then(|found| found.ok_or(Errno::ENODEV))
            .context(Code::Network, "find network device", shown)?;
        let addresses =
            self.host
                .addresses(link.index)
                .context(Code::Network, "read addresses of", shown)?;
        let step = format!("move network device {shown} to the container as");
        // The kernel moves first and renames then, so a name that is taken must be noticed before.
        let name =
            free_name(device, &mut self.inside).context(Code::Network, &step, &device.name)?;
        step::begin(Step::MoveDevice)?;
        self.host
            .move_link(link.index, target, &name)
            .context(Code::Network, &step, &name)?;
        self.moved.push(Moved {
            host_name: shown.to_owned(),
            name: name.clone(),
            up: link.up,
            addresses: addresses.clone(),
        });
        step::begin(Step::DressDevice)?;
        // The kernel gives the device another index if its own is taken.
        let index = self
            .inside
            .find(&name)
            .and_then(|found| found.ok_or(Errno::ENODEV))
            .context(Code::Network, &step, &name)?
            .index;
        for address in &addresses {
            self.inside.add_address(index, address).context(
                Code::Network,
                "restore an address of network device",
                &name,
            )?;
        }
        step::begin(Step::SetUpDevice)?;
        self.inside
            .up(index)
            .context(Code::Network, "set up network device", &name)
    }

    /// Moves all devices back, the last one first, with the names, addresses and state that they had. Logs
    /// what it cannot undo.
    pub(crate) fn return_to_host(mut self) {
        while let Some(moved) = self.moved.pop() {
            if let Err(errno) = self.give_one_back(&moved) {
                log::warn!(
                    "undo: give back network device {}: {errno}",
                    moved.host_name
                );
            }
        }
    }

    fn give_one_back(&mut self, moved: &Moved) -> nix::Result<()> {
        let link = self.inside.find(&moved.name)?.ok_or(Errno::ENODEV)?;
        let home = Target::Namespace(&self.home);
        self.inside.move_link(link.index, home, &moved.host_name)?;
        let link = self.host.find(&moved.host_name)?.ok_or(Errno::ENODEV)?;
        for address in &moved.addresses {
            self.host.add_address(link.index, address)?;
        }
        if moved.up {
            self.host.up(link.index)
        } else {
            Ok(())
        }
    }
}

/// Returns the name in the container: as given if it is free there, or the first free one of a template.
fn free_name(device: &NetDevice, inside: &mut Netlink) -> nix::Result<String> {
    let Some(stem) = device.template() else {
        return match inside.find(&device.name)? {
            None => Ok(device.name.clone()),
            Some(_) => Err(Errno::EEXIST),
        };
    };
    for number in 0..MAX_NUMBER {
        let name = format!("{stem}{number}");
        if name.len() >= libc::IFNAMSIZ {
            break;
        }
        if inside.find(&name)?.is_none() {
            return Ok(name);
        }
    }
    Err(Errno::ENFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_the_kernels() {
        for name in ["eth0", "fifteen-letters", "a.b", "wg-1"] {
            assert_eq!(invalid(name), None, "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "sixteen--letters",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "eth%d",
            "100%",
        ] {
            assert!(invalid(name).is_some(), "{name}");
        }
    }
}
