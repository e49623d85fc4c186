//! The few rtnetlink(7) messages that moving a network device takes, built and read by hand.
//!
//! A message is a header (`nlmsghdr`, 16 bytes), a fixed part (`ifinfomsg` or `ifaddrmsg`) and
//! attributes of (length, type, value), all in the machine's byte order and padded to 4 bytes.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::os::fd::{AsRawFd, OwnedFd};

// Names and values of linux/rtnetlink.h and linux/netlink.h; libc has them only in part on musl.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_PERMANENT: u32 = 0x80;
/// The flags that a user sets and a new address can be given: IFA_F_NODAD, IFA_F_HOMEADDRESS,
/// IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE, IFA_F_MCAUTOJOIN.
const IFA_F_SETTABLE: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const RT_SCOPE_UNIVERSE: u8 = 0;
const IFF_UP: u32 = 1;

const HEADER: usize = 16;

/// A netlink socket of the network namespace in which it was opened, whichever one the process is
/// in later.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A network device, as far as a move needs to know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The device's index in its network namespace.
    pub(super) index: i32,
    /// True if the device is set up (`IFF_UP`).
    pub(super) up: bool,
}

/// A permanent address of global scope, without what ties it to one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    /// (type, value) of the attributes that make up the address.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// The network namespace that a device is moved to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// The network namespace of this process.
    Process(nix::unistd::Pid),
    /// This network namespace.
    Namespace(&'a OwnedFd),
}

impl Netlink {
    /// Opens a socket in the caller's network namespace. The kernel binds it at the first send.
    pub(super) fn open() -> nix::Result<Netlink> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    /// Returns the device `name`, None if there is none.
    pub(super) fn find(&mut self, name: &str) -> nix::Result<Option<Link>> {
        let mut message = Message::new(RTM_GETLINK, NLM_F_REQUEST);
        message.link(0, 0, 0);
        message.text(IFLA_IFNAME, name);
        let mut found = None;
        let outcome = self.ask(message, |kind, body| {
            if kind == RTM_NEWLINK {
                found = i32_at(body, 4).zip(u32_at(body, 8));
            }
            kind == RTM_NEWLINK
        });
        let found = found.map(|(index, flags)| Link {
            index,
            up: flags & IFF_UP != 0,
        });
        match outcome {
            Err(Errno::ENODEV) => Ok(None),
            outcome => outcome.map(|()| found),
        }
    }

    /// Returns the permanent addresses of global scope of the device `index`.
    pub(super) fn addresses(&mut self, index: i32) -> nix::Result<Vec<Address>> {
        let mut message = Message::new(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP);
        message.bytes(&[0; 8]);
        let mut list = Vec::new();
        self.ask(message, |kind, body| {
            if kind == RTM_NEWADDR && i32_at(body, 4) == Some(index) {
                list.extend(address(body));
            }
            false
        })?;
        Ok(list)
    }

    /// Moves the device `index` to `target` and names it `name` there.
    pub(super) fn move_link(
        &mut self,
        index: i32,
        target: Target<'_>,
        name: &str,
    ) -> nix::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        message.link(index, 0, 0);
        match target {
            Target::Process(pid) => {
                message.attribute(IFLA_NET_NS_PID, &pid.as_raw().to_ne_bytes());
            }
            Target::Namespace(fd) => {
                message.attribute(IFLA_NET_NS_FD, &fd.as_raw_fd().to_ne_bytes());
            }
        }
        message.text(IFLA_IFNAME, name);
        self.ask(message, |_, _| false)
    }

    /// Gives the device `index` the address.
    pub(super) fn add_address(&mut self, index: i32, address: &Address) -> nix::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut message = Message::new(RTM_NEWADDR, flags);
        // In struct ifaddrmsg the flags stay 0; they are in IFA_FLAGS, which is wider.
        message.bytes(&[address.family, address.prefix, 0, RT_SCOPE_UNIVERSE]);
        message.bytes(&index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            message.attribute(*kind, value);
        }
        self.ask(message, |_, _| false)
    }

    /// Sets the device `index` up.
    pub(super) fn up(&mut self, index: i32) -> nix::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        message.link(index, IFF_UP, IFF_UP);
        self.ask(message, |_, _| false)
    }

    /// Sends `message` and gives each answer (its type, and the bytes after its header) to `each`,
    /// until that returns true, the kernel acknowledges, or the dump is done.
    fn ask(
        &mut self,
        message: Message,
        mut each: impl FnMut(u16, &[u8]) -> bool,
    ) -> nix::Result<()> {
        self.sequence += 1;
        let socket = self.socket.as_raw_fd();
        let request = message.finish(self.sequence);
        retry(|| send(socket, &request, MsgFlags::empty()))?;
        // The kernel's dumps come in datagrams of at most 32 KiB.
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let length = retry(|| recv(socket, &mut buffer, MsgFlags::empty()))?;
            let mut rest = buffer.get(..length).ok_or(Errno::EMSGSIZE)?;
            while !rest.is_empty() {
                let total = u32_at(rest, 0).ok_or(Errno::EBADMSG)? as usize;
                let kind = u16_at(rest, 4).ok_or(Errno::EBADMSG)?;
                let sequence = u32_at(rest, 8).ok_or(Errno::EBADMSG)?;
                let body = rest.get(HEADER..total).ok_or(Errno::EBADMSG)?;
                rest = rest.get(aligned(total)..).unwrap_or_default();
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        return match i32_at(body, 0).ok_or(Errno::EBADMSG)? {
                            0 => Ok(()),
                            negative => Err(Errno::from_raw(negative.wrapping_neg())),
                        };
                    }
                    kind if each(kind, body) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Reads an `ifaddrmsg` and its attributes. Returns None for an address that does not move with its
/// device.
fn address(body: &[u8]) -> Option<Address> {
    let [family, prefix, narrow_flags, scope] = *body.first_chunk::<4>()?;
    let mut flags = u32::from(narrow_flags);
    let mut attributes = Vec::new();
    let mut rest = body.get(8..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let value = rest.get(4..usize::from(length))?;
        match kind {
            // IFA_LABEL holds the device's old name, IFA_CACHEINFO only time stamps.
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY => {
                attributes.push((kind, value.to_vec()));
            }
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
        rest = rest.get(aligned(length.into())..).unwrap_or_default();
    }
    if flags & IFA_F_PERMANENT == 0 || scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    attributes.push((IFA_FLAGS, (flags & IFA_F_SETTABLE).to_ne_bytes().to_vec()));
    Some(Address {
        family,
        prefix,
        attributes,
    })
}

/// A request that is being built.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // The sequence number, filled in by `finish`, and port 0: the kernel.
        bytes.extend([0; 8]);
        Message(bytes)
    }

    /// Appends a fixed part, or a piece of one.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Appends a `struct ifinfomsg` for any family and type.
    fn link(&mut self, index: i32, flags: u32, change: u32) {
        self.bytes(&[0; 4]);
        self.bytes(&index.to_ne_bytes());
        self.bytes(&flags.to_ne_bytes());
        self.bytes(&change.to_ne_bytes());
    }

    fn text(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("a name or a number of an interface");
        self.bytes(&length.to_ne_bytes());
        self.bytes(&kind.to_ne_bytes());
        self.bytes(value);
        self.0.resize(aligned(self.0.len()), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a few attributes");
        for (at, value) in [(0, length), (8, sequence)] {
            if let Some(place) = self.0.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        }
        self.0
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array_at(bytes, at).map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_message(scope: u8, flags: u32) -> Vec<u8> {
        let mut message = Message::new(RTM_NEWADDR, 0);
        message.bytes(&[2, 24, 0, scope]);
        message.bytes(&7_i32.to_ne_bytes());
        message.attribute(IFA_LOCAL, &[10, 0, 0, 1]);
        message.text(3, "eth0");
        message.attribute(IFA_FLAGS, &flags.to_ne_bytes());
        message.finish(1).split_off(HEADER)
    }

    #[test]
    fn permanent_global_addresses_move_without_their_label() {
        let noprefixroute = 0x200;
        let moved = address(&address_message(0, IFA_F_PERMANENT | noprefixroute)).expect("moves");
        assert_eq!((moved.family, moved.prefix), (2, 24));
        assert_eq!(
            moved.attributes,
            [
                (IFA_LOCAL, vec![10, 0, 0, 1]),
                (IFA_FLAGS, noprefixroute.to_ne_bytes().to_vec())
            ]
        );
    }

    #[test]
    fn dynamic_and_link_local_addresses_stay() {
        assert_eq!(address(&address_message(0, 0)), None);
        assert_eq!(address(&address_message(253, IFA_F_PERMANENT)), None);
    }

    #[test]
    fn attributes_are_padded_and_lengths_are_not() {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_REQUEST);
        message.text(IFLA_IFNAME, "eth0");
        let bytes = message.finish(5);
        assert_eq!(bytes.len(), HEADER + 12);
        assert_eq!(u32_at(&bytes, 0), Some(28));
        assert_eq!(u32_at(&bytes, 8), Some(5));
        assert_eq!(u16_at(&bytes, HEADER), Some(9));
    }
}
