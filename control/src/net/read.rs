//! Netlink dumps into a [`Snapshot`]: the only place that knows the kernel's attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{Stream, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo,
        LinkMessage,
    },
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia},
};

use super::{
    Address, FdbEntry, Hop, Link, LinkKind, Mac, Neighbour, NetError, Netlink, Route, Snapshot,
};

/// Reads the whole namespace.
///
/// The tables are read one after the other: what changes meanwhile is announced to a
/// [`Watcher`](super::Watcher) that was opened before, so a later reading mends it.
///
/// # Errors
/// [`NetError::Request`] when a dump is refused, [`NetError::Closed`] when the socket ended.
pub async fn snapshot(netlink: &Netlink) -> Result<Snapshot, NetError> {
    let mut out = Snapshot {
        links: links(netlink).await?,
        ..Snapshot::default()
    };
    let addresses = netlink.handle().address().get().execute();
    out.addresses = collect("read addresses", addresses, parse_address).await?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        let routes = netlink.handle().route().get(wanted).execute();
        for found in collect("read routes", routes, parse_route).await? {
            match found {
                Found::Main(route) => out.routes.push(route),
                Found::Local(address) => out.local_hosts.push(address),
            }
        }
        let entries = netlink
            .handle()
            .neighbours()
            .get()
            .set_address_family(family)
            .execute();
        out.neighbours
            .extend(collect("read neighbours", entries, |entry| parse_neighbour(&entry)).await?);
    }
    let fdb = netlink
        .handle()
        .neighbours()
        .get()
        .set_address_family(AddressFamily::Bridge);
    out.fdb = collect("read bridge entries", fdb.execute(), |entry| {
        parse_fdb(&entry)
    })
    .await?;
    out.local_hosts
        .retain(|host| out.addresses.iter().all(|own| own.address != *host));
    netlink.check_alive()?;
    Ok(out)
}

/// Reads the interfaces alone.
pub(crate) async fn links(netlink: &Netlink) -> Result<Vec<Link>, NetError> {
    let links = netlink.handle().link().get().execute();
    let links = collect("read interfaces", links, |message| {
        Some(parse_link(message))
    })
    .await?;
    netlink.check_alive()?;
    Ok(links)
}

async fn collect<M, T>(
    what: &str,
    stream: impl Stream<Item = Result<M, rtnetlink::Error>>,
    parse: impl Fn(M) -> Option<T>,
) -> Result<Vec<T>, NetError> {
    let mut stream = std::pin::pin!(stream);
    let mut out = Vec::new();
    while let Some(message) = stream
        .try_next()
        .await
        .map_err(|source| NetError::request(what, source))?
    {
        out.extend(parse(message));
    }
    Ok(out)
}

fn parse_link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: LinkKind::Device,
        mac: None,
        mtu: 0,
        master: None,
        link: None,
        link_netnsid: None,
        up: flags.contains(LinkFlags::Up),
        arp: !flags.contains(LinkFlags::Noarp),
        ipv6_link_local: false,
        tx_queues: 1,
        rx_queues: 1,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = mac(&bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::Link(index) => link.link = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.link_netnsid = Some(id),
            LinkAttribute::NumTxQueues(count) => link.tx_queues = count,
            LinkAttribute::NumRxQueues(count) => link.rx_queues = count,
            LinkAttribute::LinkInfo(infos) => link.kind = parse_kind(&infos),
            LinkAttribute::AfSpecUnspec(specs) => link.ipv6_link_local = has_link_local(&specs),
            _ => {}
        }
    }
    link
}

fn parse_kind(infos: &[LinkInfo]) -> LinkKind {
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    match kind {
        None => LinkKind::Device,
        Some(InfoKind::Veth) => LinkKind::Veth,
        Some(InfoKind::Bridge) => LinkKind::Bridge,
        Some(InfoKind::IpVlan | InfoKind::IpVtap) => LinkKind::IpVlan,
        Some(InfoKind::MacVlan | InfoKind::MacVtap) => LinkKind::MacVlan,
        Some(InfoKind::Netkit) => LinkKind::Netkit,
        Some(other) => LinkKind::Other(other.to_string()),
    }
}

/// The attribute is missing where IPv6 is off altogether: then nothing generates addresses.
fn has_link_local(specs: &[AfSpecUnspec]) -> bool {
    specs.iter().any(|spec| {
        match spec {
        AfSpecUnspec::Inet6(inet6) => inet6.iter().any(|attribute| {
            matches!(attribute, AfSpecInet6::AddrGenMode(mode) if *mode != In6AddrGenMode::None)
        }),
        _ => false,
    }
    })
}

/// On a point-to-point IPv4 interface `Address` is the peer and `Local` is ours; IPv6 often has
/// only `Address` (linux/if_addr.h).
fn parse_address(message: AddressMessage) -> Option<Address> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => own = own.or(Some(*address)),
            _ => {}
        }
    }
    Some(Address {
        ifindex: message.header.index,
        address: own?,
        prefix_len: message.header.prefix_len,
    })
}

enum Found {
    Main(Route),
    Local(IpAddr),
}

fn parse_route(message: RouteMessage) -> Option<Found> {
    let (prefix, table) = (destination(&message)?, table(&message));
    let host_length = prefix.prefix_len() == prefix.max_prefix_len();
    match message.header.kind {
        RouteType::Local if host_length => Some(Found::Local(prefix.addr())),
        RouteType::Unicast if table == u32::from(RouteHeader::RT_TABLE_MAIN) => {
            let (metric, hops) = (metric(&message), hops(&message));
            Some(Found::Main(Route {
                prefix,
                metric,
                rejects: false,
                hops,
            }))
        }
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit
            if table == u32::from(RouteHeader::RT_TABLE_MAIN) =>
        {
            let metric = metric(&message);
            Some(Found::Main(Route {
                prefix,
                metric,
                rejects: true,
                hops: Vec::new(),
            }))
        }
        _ => None,
    }
}

fn destination(message: &RouteMessage) -> Option<IpNet> {
    let named = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => Some(route_address(address)),
            _ => None,
        });
    let address = match (named, message.header.address_family) {
        (Some(address), _) => address?,
        (None, AddressFamily::Inet) => Ipv4Addr::UNSPECIFIED.into(),
        (None, AddressFamily::Inet6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    IpNet::new(address, message.header.destination_prefix_length).ok()
}

fn table(message: &RouteMessage) -> u32 {
    let named = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    named.unwrap_or(u32::from(message.header.table))
}

fn metric(message: &RouteMessage) -> u32 {
    let named = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        });
    named.unwrap_or(0)
}

fn hops(message: &RouteMessage) -> Vec<Hop> {
    let multipath = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => Some(hops),
            _ => None,
        });
    if let Some(hops) = multipath {
        let hop = |hop: &rtnetlink::packet_route::route::RouteNextHop| Hop {
            ifindex: hop.interface_index,
            gateway: gateway(&hop.attributes),
        };
        return hops.iter().map(hop).collect();
    }
    let out = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(ifindex) => Some(*ifindex),
            _ => None,
        });
    out.map(|ifindex| Hop {
        ifindex,
        gateway: gateway(&message.attributes),
    })
    .into_iter()
    .collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => route_address(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

fn route_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// The kernel gives a link-layer address only with a valid entry (net/core/neighbour.c,
/// `neigh_fill_info`); on devices without resolution it is a dummy.
pub(crate) fn parse_neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let resolves = message.header.state != NeighbourState::Noarp;
    let (mut address, mut entry_mac, mut managed) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) if resolves => entry_mac = mac(bytes),
            NeighbourAttribute::ExtFlags(flags) => {
                managed = flags.contains(NeighbourExtFlags::Managed);
            }
            _ => {}
        }
    }
    Some(Neighbour {
        ifindex: message.header.ifindex,
        address: address?,
        mac: entry_mac,
        managed,
    })
}

/// Entries of a bridge name it as controller; a device's own filter entries do not.
pub(crate) fn parse_fdb(message: &NeighbourMessage) -> Option<FdbEntry> {
    let (mut bridge, mut entry_mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Controller(index) => bridge = Some(*index),
            NeighbourAttribute::LinkLayerAddress(bytes) => entry_mac = mac(bytes),
            _ => {}
        }
    }
    let local = message.header.state == NeighbourState::Permanent;
    Some(FdbEntry {
        bridge: bridge?,
        port: message.header.ifindex,
        mac: entry_mac?,
        local,
    })
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok()
}
