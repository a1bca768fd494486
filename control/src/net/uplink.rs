//! The interface to the other nodes, and what belongs to the node itself.

use std::net::IpAddr;

use super::{Link, Mac, Route, Snapshot};

/// The interface that encapsulated packets leave by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Number of its transmit queues.
    pub tx_queues: u32,
    /// Number of its receive queues.
    pub rx_queues: u32,
    /// Whether it is set up.
    pub up: bool,
}

/// Why there is no uplink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UplinkProblem {
    /// No interface of that name.
    #[error("no interface {name}; name one that `ip link` shows")]
    Missing {
        /// The name asked for.
        name: String,
    },
    /// No default route to choose by.
    #[error("no default route, so no uplink can be chosen; name one")]
    NoDefaultRoute,
    /// The interface carries no Ethernet frames.
    #[error("interface {name} is no Ethernet device; name the one below it")]
    NotEthernet {
        /// The interface.
        name: String,
    },
}

/// The uplink of that name; without a name the device of the default route, IPv4's before IPv6's.
///
/// # Errors
/// [`UplinkProblem`], with what to do.
pub fn uplink(snapshot: &Snapshot, name: Option<&str>) -> Result<Uplink, UplinkProblem> {
    let link = match name {
        Some(name) => snapshot
            .link_named(name)
            .ok_or_else(|| UplinkProblem::Missing {
                name: name.to_owned(),
            })?,
        None => default_link(snapshot).ok_or(UplinkProblem::NoDefaultRoute)?,
    };
    let mac = link.mac.ok_or_else(|| UplinkProblem::NotEthernet {
        name: link.name.clone(),
    })?;
    let own = snapshot
        .addresses
        .iter()
        .filter(|own| own.ifindex == link.index);
    Ok(Uplink {
        ifindex: link.index,
        name: link.name.clone(),
        mac,
        mtu: link.mtu,
        addresses: own.map(|own| own.address).collect(),
        tx_queues: link.tx_queues,
        rx_queues: link.rx_queues,
        up: link.up,
    })
}

fn default_link(snapshot: &Snapshot) -> Option<&Link> {
    let default = |route: &&Route| route.prefix.prefix_len() == 0 && !route.hops.is_empty();
    let best = snapshot
        .routes
        .iter()
        .filter(default)
        .min_by_key(|route| (route.prefix.addr().is_ipv6(), route.metric))?;
    snapshot.link(best.hops.first()?.ifindex)
}

/// Every address of the namespace, the host ends of the pods' veths included, each once.
///
/// Probes come from these, so packets to them are never steered (they are in no API object).
pub fn local_addresses(snapshot: &Snapshot) -> Vec<IpAddr> {
    let own = snapshot.addresses.iter().map(|own| own.address);
    let mut all: Vec<IpAddr> = own.chain(snapshot.local_hosts.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
