//! One reading of a network namespace, and the look-ups that need nothing else.
//!
//! Plain data without a netlink type, so that the finders are tested on hand-written snapshots.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// What the namespace looked like when it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every interface.
    pub links: Vec<Link>,
    /// Every address of an interface.
    pub addresses: Vec<Address>,
    /// Routes of the main table, both families.
    pub routes: Vec<Route>,
    /// Single addresses that are local by a route only (no interface has them).
    pub local_hosts: Vec<IpAddr>,
    /// ARP and neighbour discovery entries.
    pub neighbours: Vec<Neighbour>,
    /// Forwarding entries of bridges.
    pub fdb: Vec<FdbEntry>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name, as in `ip link`.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Ethernet address; none on devices without one.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// The bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// The other end of a veth, the device below a vlan or macvlan; an index of `link_netnsid`.
    pub link: Option<u32>,
    /// The namespace of `link`, none when it is this one.
    pub link_netnsid: Option<i32>,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it resolves addresses by ARP and ND.
    pub arp: bool,
    /// Whether the kernel gives it an IPv6 link-local address by itself.
    pub ipv6_link_local: bool,
    /// Number of transmit queues.
    pub tx_queues: u32,
    /// Number of receive queues.
    pub rx_queues: u32,
}

/// The kinds that steering tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// One end of a virtual pair.
    Veth,
    /// A Linux bridge.
    Bridge,
    /// An ipvlan slave.
    IpVlan,
    /// A macvlan slave.
    MacVlan,
    /// A netkit end.
    Netkit,
    /// A device without a software kind: a NIC, a virtual function, loopback.
    Device,
    /// Another software kind, by the kernel's name.
    Other(String),
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Bridge => "bridge",
            Self::IpVlan => "ipvlan",
            Self::MacVlan => "macvlan",
            Self::Netkit => "netkit",
            Self::Device => "device",
            Self::Other(kind) => kind,
        })
    }
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub ifindex: u32,
    /// The local address.
    pub address: IpAddr,
    /// Length of its on-link prefix.
    pub prefix_len: u8,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub prefix: IpNet,
    /// Priority; the lowest wins among equal prefixes.
    pub metric: u32,
    /// Whether it refuses (blackhole, unreachable, prohibit) instead of forwarding.
    pub rejects: bool,
    /// Where it leads; several with multipath, none when it rejects.
    pub hops: Vec<Hop>,
}

/// One next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The interface out.
    pub ifindex: u32,
    /// The gateway, of either family (RFC 5549); none when the destination is on-link.
    pub gateway: Option<IpAddr>,
}

/// A neighbour entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface.
    pub ifindex: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its MAC address; none while unresolved or failed.
    pub mac: Option<Mac>,
    /// Whether the kernel keeps it resolved (`NTF_EXT_MANAGED`).
    pub managed: bool,
}

/// A forwarding entry of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdbEntry {
    /// The bridge.
    pub bridge: u32,
    /// The bridge port.
    pub port: u32,
    /// The MAC address.
    pub mac: Mac,
    /// Whether it is an address of the bridge itself and not one behind the port.
    pub local: bool,
}

impl Snapshot {
    /// The interface of that index.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The interface of that name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The name of an interface, for messages; its number when it is gone.
    pub fn name(&self, index: u32) -> String {
        self.link(index)
            .map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    /// The route the kernel takes to `address`: longest prefix, then lowest metric.
    pub fn route(&self, address: IpAddr) -> Option<&Route> {
        self.route_where(address, |_| true)
    }

    /// The best route to `address` among those that `wanted` admits.
    pub fn route_where(&self, address: IpAddr, wanted: impl Fn(&Route) -> bool) -> Option<&Route> {
        self.routes
            .iter()
            .filter(|route| route.prefix.contains(&address) && wanted(route))
            .min_by_key(|route| (u8::MAX - route.prefix.prefix_len(), route.metric))
    }

    /// The neighbour entry of `address` on an interface.
    pub fn neighbour(&self, ifindex: u32, address: IpAddr) -> Option<&Neighbour> {
        self.neighbours
            .iter()
            .find(|entry| entry.ifindex == ifindex && entry.address == address)
    }

    /// The resolved MAC address of `address` on an interface.
    pub fn mac_of(&self, ifindex: u32, address: IpAddr) -> Option<Mac> {
        self.neighbour(ifindex, address).and_then(|entry| entry.mac)
    }

    /// Whether this namespace itself owns `address`.
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
            || self.local_hosts.contains(&address)
    }
}
