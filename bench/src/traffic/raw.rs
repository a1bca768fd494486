//! Frames made by hand, which no socket of the kernel would send.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
};

use crate::testbed::{During as _, Failure, Namespace, Result};

/// A packet socket that sends whole Ethernet frames on one interface (packet(7)).
///
/// They pass the interface's tc egress like any packet, and no checksum is filled in.
#[derive(Debug)]
pub struct RawSender {
    socket: OwnedFd,
    interface: LinkAddr,
    name: String,
}

impl RawSender {
    /// Opens a socket for an interface of a namespace.
    ///
    /// # Errors
    /// When there is no such interface, or the process lacks `CAP_NET_RAW`.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let address = link_address(namespace, interface)?;
        namespace.enter(|| {
            let opened = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            );
            let socket = opened.during(|| format!("open a packet socket for {interface}"))?;
            Ok(Self {
                socket,
                interface: address,
                name: interface.to_owned(),
            })
        })
    }

    /// Sends one frame, from its Ethernet header on.
    ///
    /// # Errors
    /// When the interface is down or the frame is longer than it takes.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = sendto(
            self.socket.as_raw_fd(),
            frame,
            &self.interface,
            MsgFlags::empty(),
        );
        sent.map(drop)
            .during(|| format!("send {} bytes on {}", frame.len(), self.name))
    }
}

/// MAC address of an interface of a namespace.
///
/// # Errors
/// When there is no such interface, or it has none.
pub fn mac_address(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    link_address(namespace, interface)?
        .addr()
        .ok_or_else(|| Failure::Unexpected(format!("{interface} has no MAC address")))
}

fn link_address(namespace: &Namespace, interface: &str) -> Result<LinkAddr> {
    let found = namespace.enter(|| {
        let mut all = getifaddrs().during(|| "list interfaces".to_owned())?;
        Ok(all.find_map(|entry| {
            let address = entry
                .address
                .filter(|_| entry.interface_name == interface)?;
            let is_link = address.family() == Some(AddressFamily::Packet);
            address.as_link_addr().filter(|_| is_link).copied()
        }))
    })?;
    found.ok_or_else(|| {
        Failure::Unexpected(format!("{} has no interface {interface}", namespace.name()))
    })
}
