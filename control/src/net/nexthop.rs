//! The MAC address of a node: what a worker writes over the outer Ethernet header.

use std::net::IpAddr;

use super::{Mac, Snapshot};

/// Why a node has no next hop yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NextHopProblem {
    /// No route to the node leads through the uplink.
    #[error("no route to node {node} through {uplink}; add one, or name another uplink")]
    NoRoute {
        /// The node.
        node: IpAddr,
        /// The uplink's name.
        uplink: String,
    },
    /// The next hop's MAC address is not known (yet): [`provoke`](super::neighbours::provoke) it.
    #[error("{next_hop}, the next hop to node {node}, has not answered on {uplink}; is it up?")]
    Unresolved {
        /// The node.
        node: IpAddr,
        /// The address to resolve: the node's own, or its gateway's.
        next_hop: IpAddr,
        /// The uplink's index.
        ifindex: u32,
        /// The uplink's name.
        uplink: String,
    },
}

/// Finds the MAC address that frames to `node` carry on the uplink: the node's own when it is
/// on-link, else that of the gateway of the best route through the uplink.
///
/// Of a multipath route the first hop that is resolved is taken.
///
/// # Errors
/// [`NextHopProblem`], with what to do.
pub fn find(snapshot: &Snapshot, uplink: u32, node: IpAddr) -> Result<Mac, NextHopProblem> {
    let hops = addresses(snapshot, uplink, node);
    let name = || snapshot.name(uplink);
    let Some(first) = hops.first() else {
        return Err(NextHopProblem::NoRoute {
            node,
            uplink: name(),
        });
    };
    let resolved = hops.iter().find_map(|hop| snapshot.mac_of(uplink, *hop));
    resolved.ok_or_else(|| NextHopProblem::Unresolved {
        node,
        next_hop: *first,
        ifindex: uplink,
        uplink: name(),
    })
}

/// The addresses to keep resolved on the uplink for frames to `node`; empty without a route.
pub fn addresses(snapshot: &Snapshot, uplink: u32, node: IpAddr) -> Vec<IpAddr> {
    let route = snapshot.route_where(node, |route| {
        route.hops.iter().any(|hop| hop.ifindex == uplink)
    });
    let hops = route.into_iter().flat_map(|route| &route.hops);
    hops.filter(|hop| hop.ifindex == uplink)
        .map(|hop| hop.gateway.unwrap_or(node))
        .collect()
}
