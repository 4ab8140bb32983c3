//! Network devices of the host that become a container's: netlink messages for the four requests that takes.
//!
//! A device loses its addresses when it moves to another network namespace, so they are read before and set again after. The requests
//! in the container's namespace go through a socket that was opened there: nobody has to enter it.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Error, ErrorKind, Result};

/// A device to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// Its name on the host.
    pub(crate) host: String,
    /// Its name in the container.
    pub(crate) container: String,
}

/// Longest name of a device, `IFNAMSIZ` without its zero.
const NAME_BYTES: usize = 15;

/// Largest answer that is read at once; the kernel sends no larger ones to a buffer of this size.
const ANSWER_BYTES: usize = 32 << 10;

/// Whether the kernel takes this as the name of a device.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace())
}

/// A socket for requests in the network namespace of the calling thread. Makes one system call.
pub(crate) fn socket() -> Result<OwnedFd, Errno> {
    // The default protocol, zero, is NETLINK_ROUTE.
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Moves a device into the namespace `namespace`, gives it its new name there and the addresses it had, and brings it up. `inside` is
/// a [`socket`] of that namespace.
pub(crate) fn give(
    device: &NetDevice,
    namespace: BorrowedFd<'_>,
    inside: BorrowedFd<'_>,
) -> Result<()> {
    let failed = |errno: Errno| {
        let step = format!("move the network device {}", device.host);
        let error = Error::from_errno(errno.raw_os_error(), step);
        match errno {
            Errno::NODEV => error
                .with_kind(ErrorKind::NotFound)
                .with_hint("the host has no such device in the caller's network namespace"),
            Errno::EXIST => error.with_hint(format!(
                "the container has a device named {} already",
                device.container
            )),
            Errno::INVAL => error.with_hint("this device cannot leave its network namespace"),
            Errno::PERM => error.with_hint("CAP_NET_ADMIN is needed in both network namespaces"),
            _ => error,
        }
    };
    let outside = socket().map_err(failed)?;
    let outside = std::os::fd::AsFd::as_fd(&outside);
    let index = index_of(outside, &device.host).map_err(failed)?;
    let addresses = addresses(outside, index).map_err(failed)?;
    // The kernel would move it first and then fail to rename it: a virtual device would end with the container's namespace.
    match index_of(inside, &device.container) {
        Err(Errno::NODEV) => {}
        Ok(_) => return Err(failed(Errno::EXIST)),
        Err(errno) => return Err(failed(errno)),
    }
    let mut moved = Message::link(RTM_SETLINK, 0, index, 0);
    moved.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    moved.name(&device.container);
    ask(outside, moved).map_err(failed)?;
    let index = index_of(inside, &device.container).map_err(failed)?;
    for address in addresses {
        ask(inside, address.message(index)).map_err(failed)?;
    }
    ask(inside, Message::link(RTM_SETLINK, 0, index, IFF_UP)).map_err(failed)?;
    Ok(())
}

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
// linux/if_link.h, linux/if.h
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFF_UP: u32 = 1;
// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// What of an address's flags is somebody's choice: nodad, managetempaddr, noprefixroute.
const IFA_CHOSEN: u32 = 0x302;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// Sizes of `struct nlmsghdr`, `struct ifinfomsg` and `struct ifaddrmsg`.
const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

/// A request. Its length is filled in when it is sent.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        Self(bytes)
    }

    /// About a device; `up` is a flag to set, or zero.
    fn link(kind: u16, flags: u16, index: i32, up: u32) -> Self {
        let mut message = Self::new(kind, flags | NLM_F_ACK);
        message.0.extend([0; 4]);
        message.0.extend(index.to_ne_bytes());
        message.0.extend(up.to_ne_bytes());
        message.0.extend(up.to_ne_bytes());
        message
    }

    /// Lengths fit: no attribute of ours is longer than a name.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn name(&mut self, name: &str) {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.attribute(IFLA_IFNAME, &value);
    }
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// Address, local address and broadcast address, as they were told.
    parts: Vec<(u16, Vec<u8>)>,
}

impl Address {
    fn message(&self, index: i32) -> Message {
        let mut message = Message::new(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        message
            .0
            .extend([self.family, self.prefix, 0, RT_SCOPE_UNIVERSE]);
        message.0.extend(index.to_ne_bytes());
        for (kind, value) in &self.parts {
            message.attribute(*kind, value);
        }
        message.attribute(IFA_FLAGS, &self.flags.to_ne_bytes());
        message
    }

    /// Reads an answer; `None` if it is about another device, or an address that comes and goes by itself.
    fn read(payload: &[u8], index: i32) -> Option<Self> {
        let (head, rest) = payload.split_at_checked(ADDRESS_BYTES)?;
        let &[family, prefix, short_flags, scope, ..] = head else {
            return None;
        };
        let found = attributes(rest);
        let long_flags = found.iter().find(|(kind, _)| *kind == IFA_FLAGS);
        let flags = long_flags
            .and_then(|(_, value)| value.as_slice().try_into().ok())
            .map_or(u32::from(short_flags), u32::from_ne_bytes);
        let ours = i32::from_ne_bytes(head.get(4..8)?.try_into().ok()?) == index;
        if !ours || flags & IFA_F_PERMANENT == 0 || scope != RT_SCOPE_UNIVERSE {
            return None;
        }
        let kept = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST];
        let parts = found
            .into_iter()
            .filter(|(kind, _)| kept.contains(kind))
            .collect();
        Some(Self {
            family,
            prefix,
            flags: flags & IFA_CHOSEN,
            parts,
        })
    }
}

/// The attributes in `bytes`, up to the first that is damaged.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((length, kind)) = pair(bytes) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        found.push((kind, value.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn pair(bytes: &[u8]) -> Option<(u16, u16)> {
    let half = |at: usize| {
        let two = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_ne_bytes(two))
    };
    Some((half(0)?, half(2)?))
}

fn index_of(socket: BorrowedFd<'_>, name: &str) -> Result<i32, Errno> {
    let mut message = Message::link(RTM_GETLINK, 0, 0, 0);
    message.name(name);
    let answers = ask(socket, message)?;
    let link = answers
        .iter()
        .find(|(kind, payload)| *kind == RTM_NEWLINK && payload.len() >= LINK_BYTES)
        .and_then(|(_, payload)| payload.get(4..8)?.try_into().ok());
    link.map(i32::from_ne_bytes).ok_or(Errno::NODEV)
}

fn addresses(socket: BorrowedFd<'_>, index: i32) -> Result<Vec<Address>, Errno> {
    let mut message = Message::new(RTM_GETADDR, NLM_F_DUMP);
    message.0.extend([0; ADDRESS_BYTES]);
    let answers = ask(socket, message)?;
    let told = answers.iter().filter(|(kind, _)| *kind == RTM_NEWADDR);
    Ok(told
        .filter_map(|(_, payload)| Address::read(payload, index))
        .collect())
}

/// Sends a request; gives the kinds and contents of the answers.
fn ask(socket: BorrowedFd<'_>, mut message: Message) -> Result<Vec<(u16, Vec<u8>)>, Errno> {
    let length = message.0.len() as u32;
    message.0[..4].copy_from_slice(&length.to_ne_bytes());
    rustix::net::send(socket, &message.0, SendFlags::empty())?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; ANSWER_BYTES];
    loop {
        let (length, _) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
        if read_answers(buffer.get(..length).unwrap_or_default(), &mut answers)? {
            return Ok(answers);
        }
    }
}

/// Reads one datagram of answers; whether it was the last.
fn read_answers(mut bytes: &[u8], answers: &mut Vec<(u16, Vec<u8>)>) -> Result<bool, Errno> {
    while let Some((kind, _)) = bytes.get(4..).and_then(pair) {
        let length = bytes.get(..4).and_then(|four| four.try_into().ok());
        let length = length.map_or(0, u32::from_ne_bytes) as usize;
        let payload = bytes.get(HEADER_BYTES..length).ok_or(Errno::BADMSG)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            // Zero is an acknowledgement.
            NLMSG_ERROR => {
                let code = payload.get(..4).and_then(|four| four.try_into().ok());
                return match code.map(i32::from_ne_bytes) {
                    Some(0) => Ok(true),
                    Some(code) => Err(Errno::from_raw_os_error(code.wrapping_neg())),
                    None => Err(Errno::BADMSG),
                };
            }
            kind => answers.push((kind, payload.to_vec())),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsFd;

    #[test]
    fn names_are_the_kernels() {
        for good in ["eth0", "a", "exactly-15-char", "veth.1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:1",
            "sixteen-letters!",
            "a\0",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_kernel_answers() {
        let socket = socket().unwrap();
        let index = index_of(socket.as_fd(), "lo").unwrap();
        assert_eq!(index, 1);
        addresses(socket.as_fd(), index).unwrap();
        assert_eq!(index_of(socket.as_fd(), "no-such-dev"), Err(Errno::NODEV));
    }

    #[test]
    fn an_address_survives() {
        let address = Address {
            family: 2,
            prefix: 24,
            flags: 0x200,
            parts: vec![
                (IFA_LOCAL, vec![10, 0, 0, 1]),
                (IFA_BROADCAST, vec![10, 0, 0, 255]),
            ],
        };
        let mut payload = address.message(7).0.split_off(HEADER_BYTES);
        assert_eq!(Address::read(&payload, 7), None, "it is not permanent");
        let flags = payload.len() - 4;
        payload[flags..].copy_from_slice(&0x280_u32.to_ne_bytes());
        assert_eq!(Address::read(&payload, 7), Some(address));
        assert_eq!(Address::read(&payload, 8), None, "it is another's");
    }

    proptest! {
        #[test]
        fn no_answer_makes_us_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), index: i32) {
            let mut answers = Vec::new();
            let _last = read_answers(&bytes, &mut answers);
            Address::read(&bytes, index);
        }
    }
}
