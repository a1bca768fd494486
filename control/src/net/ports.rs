//! From a pod's address to the host interface that its packets come in by.
//!
//! Two shapes carry a port: a route to a veth (ptp, GKE, Calico, AWS) and a bridge with veth ports.
//! Everything else is a [`PortProblem`] for the object's status: reported, never ignored.

use std::net::IpAddr;

use super::{Link, LinkKind, Mac, Route, Snapshot};

/// The host interface of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// Index of the veth.
    pub ifindex: u32,
    /// Name of the veth.
    pub name: String,
    /// The pod's MAC address; none until it is resolved ([`provoke`](super::neighbours::provoke) on
    /// [`neighbour_ifindex`](Self::neighbour_ifindex)).
    pub pod_mac: Option<Mac>,
    /// The MAC address the pod sends to: the veth's, or the bridge's.
    pub host_mac: Mac,
    /// The bridge in between, if there is one.
    pub via_bridge: Option<u32>,
}

impl HostInterface {
    /// The interface that the pod's neighbour entry belongs to.
    pub fn neighbour_ifindex(&self) -> u32 {
        self.via_bridge.unwrap_or(self.ifindex)
    }
}

/// Why a pod has no host interface to attach to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    /// The address is the node's own.
    #[error("{pod} is an address of the node itself; host-network pods cannot be steered")]
    HostNetwork {
        /// The pod's address.
        pod: IpAddr,
    },
    /// Nothing on this node leads to the pod.
    #[error(
        "no route on this node leads to pod {pod}; is its interface still being made, or no veth?"
    )]
    NoRoute {
        /// The pod's address.
        pod: IpAddr,
    },
    /// The pod is behind a router.
    #[error("pod {pod} is reached through {gateway} on {device}; it does not run on this node")]
    Remote {
        /// The pod's address.
        pod: IpAddr,
        /// The router.
        gateway: IpAddr,
        /// The interface towards it.
        device: String,
    },
    /// The route leads to an interface that is no pod's veth.
    #[error(
        "pod {pod} is reached by {device} ({kind}), not by a veth of its own; ipvlan, macvlan, SR-IOV \
         and host-device pods bypass the node's kernel: use a CNI that gives pods veths"
    )]
    NotVeth {
        /// The pod's address.
        pod: IpAddr,
        /// The interface of the route.
        device: String,
        /// What that interface is.
        kind: LinkKind,
    },
    /// The pod has not answered on its bridge: [`provoke`](super::neighbours::provoke) it.
    #[error("pod {pod} has not answered on bridge {bridge}; it is being asked")]
    Unresolved {
        /// The pod's address.
        pod: IpAddr,
        /// The bridge's name.
        bridge: String,
        /// The bridge's index.
        ifindex: u32,
    },
    /// The bridge does not know the pod's port: provoking it teaches the bridge, too.
    #[error("bridge {bridge} does not know the port of pod {pod}; it is being asked")]
    NotLearnt {
        /// The pod's address.
        pod: IpAddr,
        /// The bridge's name.
        bridge: String,
        /// The bridge's index.
        ifindex: u32,
    },
    /// The interface has no Ethernet address.
    #[error("interface {device} of pod {pod} has no Ethernet address")]
    NotEthernet {
        /// The pod's address.
        pod: IpAddr,
        /// The interface.
        device: String,
    },
}

impl PortProblem {
    /// The interface on which the pod should be provoked, when that can mend it.
    pub fn provoke_on(&self) -> Option<u32> {
        match self {
            Self::Unresolved { ifindex, .. } | Self::NotLearnt { ifindex, .. } => Some(*ifindex),
            _ => None,
        }
    }
}

/// Finds the host interface of the pod that has this address.
///
/// # Errors
/// [`PortProblem`], with the reason and what to do.
pub fn find(snapshot: &Snapshot, pod: IpAddr) -> Result<HostInterface, PortProblem> {
    if snapshot.is_local(pod) {
        return Err(PortProblem::HostNetwork { pod });
    }
    // A default route leads out: it only says that no route to the pod is there.
    let narrow = |route: &Route| route.prefix.prefix_len() > 0;
    let route = snapshot
        .route_where(pod, narrow)
        .ok_or(PortProblem::NoRoute { pod })?;
    let hop = route.hops.first().ok_or(PortProblem::NoRoute { pod })?;
    let device = snapshot
        .link(hop.ifindex)
        .ok_or(PortProblem::NoRoute { pod })?;
    if let Some(gateway) = hop.gateway {
        let device = device.name.clone();
        return Err(PortProblem::Remote {
            pod,
            gateway,
            device,
        });
    }
    match device.kind {
        LinkKind::Veth if is_host_route(route) => interface(snapshot, pod, device, None),
        LinkKind::Bridge => behind_bridge(snapshot, pod, device),
        _ => Err(not_veth(pod, device)),
    }
}

/// A wider route over a veth is a shared segment (the uplink of a node that is itself a container).
fn is_host_route(route: &Route) -> bool {
    route.prefix.prefix_len() == route.prefix.max_prefix_len()
}

fn behind_bridge(
    snapshot: &Snapshot,
    pod: IpAddr,
    bridge: &Link,
) -> Result<HostInterface, PortProblem> {
    let (ifindex, name) = (bridge.index, || bridge.name.clone());
    let mac = snapshot
        .mac_of(ifindex, pod)
        .ok_or_else(|| PortProblem::Unresolved {
            pod,
            bridge: name(),
            ifindex,
        })?;
    let port = snapshot
        .fdb
        .iter()
        .find(|entry| entry.bridge == ifindex && entry.mac == mac && !entry.local)
        .and_then(|entry| snapshot.link(entry.port))
        .ok_or_else(|| PortProblem::NotLearnt {
            pod,
            bridge: name(),
            ifindex,
        })?;
    match port.kind {
        LinkKind::Veth => interface(snapshot, pod, port, Some(bridge)),
        _ => Err(not_veth(pod, port)),
    }
}

fn interface(
    snapshot: &Snapshot,
    pod: IpAddr,
    veth: &Link,
    bridge: Option<&Link>,
) -> Result<HostInterface, PortProblem> {
    let facing = bridge.unwrap_or(veth);
    let host_mac = facing.mac.ok_or_else(|| PortProblem::NotEthernet {
        pod,
        device: facing.name.clone(),
    })?;
    Ok(HostInterface {
        ifindex: veth.index,
        name: veth.name.clone(),
        pod_mac: snapshot.mac_of(facing.index, pod),
        host_mac,
        via_bridge: bridge.map(|bridge| bridge.index),
    })
}

fn not_veth(pod: IpAddr, device: &Link) -> PortProblem {
    PortProblem::NotVeth {
        pod,
        device: device.name.clone(),
        kind: device.kind.clone(),
    }
}
