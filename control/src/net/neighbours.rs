//! Neighbour entries that the kernel resolves and keeps for us.
//!
//! A silent pod has none, and AF_XDP transmit asks nobody: without an entry there is no MAC address
//! to write. The kernel does the asking, also again when the entry grows old.

use std::net::IpAddr;

use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{
        NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};

use super::{NetError, Netlink};

/// Has the kernel resolve `address` on an interface, and keep it resolved.
///
/// `NTF_USE` starts the resolution, `NTF_EXT_MANAGED` (Linux 5.16) repeats it; a valid entry stays
/// valid. It returns before the answer is there: the [`Watcher`](super::Watcher) tells.
///
/// # Errors
/// [`NetError::Request`] when the kernel refuses (no such interface, no right).
pub async fn provoke(netlink: &Netlink, ifindex: u32, address: IpAddr) -> Result<(), NetError> {
    let mut request = netlink.handle().neighbours().add(ifindex, address);
    request = request
        .state(NeighbourState::None)
        .flags(NeighbourFlags::Use)
        .replace();
    let managed = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
    request.message_mut().attributes.push(managed);
    let what = || format!("resolve {address} on interface {ifindex}");
    request
        .execute()
        .await
        .map_err(|source| NetError::request(what(), source))
}

/// Deletes the entry of an address that is no longer wanted; one that is gone already is fine.
///
/// Without it the kernel asks for a dead pod of a bridge for ever.
///
/// # Errors
/// [`NetError::Request`] when the kernel refuses.
pub async fn release(netlink: &Netlink, ifindex: u32, address: IpAddr) -> Result<(), NetError> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = ifindex;
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message
        .attributes
        .push(NeighbourAttribute::Destination(address.into()));
    match netlink.handle().neighbours().del(message).execute().await {
        Err(source) if !is_gone(&source) => {
            let what = format!("forget {address} on interface {ifindex}");
            Err(NetError::request(what, source))
        }
        _ => Ok(()),
    }
}

/// `ENOENT`: no entry, `ENODEV`: not even the interface.
pub(crate) fn is_gone(error: &rtnetlink::Error) -> bool {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return false;
    };
    let errno = message
        .to_io()
        .raw_os_error()
        .map(nix::errno::Errno::from_raw);
    matches!(
        errno,
        Some(nix::errno::Errno::ENOENT | nix::errno::Errno::ENODEV)
    )
}
