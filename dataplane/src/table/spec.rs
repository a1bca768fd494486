//! What a steering table is built from: plain data, worked out by the control side.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use xsteer_abi::Family;
use xsteer_abi::maps::Rule;

/// Service path identifier, 1..=1048575 (`status.servicePathId`); the `vni` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePathId(NonZeroU32);

impl ServicePathId {
    /// The largest id.
    pub const MAX: u32 = 1_048_575;

    /// `None` outside 1..=1048575.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(number) if id <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// Number of a published table; each one is larger than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// Id of a pod's port; GKE's columns call it the endpoint id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u32);

/// Id of an immutable classifier; never used again for other contents while an agent lives.
/// 0 stands for "none" in the kernel's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassifierId(pub u32);

/// Index of a node in [`TableSpec::next_hops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHopId(pub u32);

/// What happens to a selected packet while no pod serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailurePolicy {
    /// Drop and count.
    #[default]
    Closed,
    /// Pass unsteered and count.
    Open,
}

/// Everything one table is built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSpec {
    /// Number of the table.
    pub generation: Generation,
    /// The node's own side of the underlay.
    pub node: NodeSpec,
    /// The pods of this node that we attach to.
    pub ports: Vec<PortSpec>,
    /// One for each distinct set of selectors.
    pub classifiers: Vec<ClassifierSpec>,
    /// The service paths of the cluster.
    pub paths: Vec<PathSpec>,
    /// The other nodes.
    pub next_hops: Vec<NextHopSpec>,
}

/// This node on the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Source of outer headers.
    pub address: IpAddr,
    /// MAC of the uplink.
    pub mac: [u8; 6],
    /// MTU of the uplink, bytes.
    pub mtu: u16,
    /// Clamp the MSS of steered SYN and SYN-ACK to what fits.
    pub clamp_mss: bool,
    /// Compute the outer UDP checksum over IPv6 (over IPv4 it is zero).
    pub outer_checksum: bool,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            address: IpAddr::from([0, 0, 0, 0]),
            mac: [0; 6],
            mtu: 1500,
            clamp_mss: true,
            outer_checksum: false,
        }
    }
}

/// A pod of this node that we attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Its id.
    pub id: PortId,
    /// Host interface of the pod.
    pub ifindex: u32,
    /// The pod's own MAC: destination of what is delivered.
    pub pod_mac: [u8; 6],
    /// Source of what is delivered, and destination of what is handed back to the kernel's path:
    /// the MAC of the host interface, or of the bridge it is enslaved to.
    pub host_mac: [u8; 6],
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// Index of the worker that owns it.
    pub worker: u8,
    /// Ifindex of that worker's gate (`xstN`).
    pub gate: u32,
    /// What its pod's packets are matched on, if anything.
    pub classifier: Option<ClassifierId>,
}

/// One distinct set of selectors, merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierSpec {
    /// Its id.
    pub id: ClassifierId,
    /// The prefixes; each holds all rules that apply to it, those of shorter prefixes behind.
    pub prefixes: Vec<PrefixSpec>,
}

/// The rules of one destination prefix, in order of precedence: the first that fits decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrefixSpec {
    /// Destination.
    pub prefix: IpNet,
    /// Rules and what they decide. May be empty (an `except`).
    pub rules: Vec<(Rule, Decision)>,
}

/// What a matching rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The path; `None` where the chain is missing and the selector says Closed.
    pub path: Option<ServicePathId>,
    /// The selector's policy, or else the chain's.
    pub policy: FailurePolicy,
}

/// A service path: the functions in order of traversal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSpec {
    /// Its id.
    pub id: ServicePathId,
    /// 1..=16 functions; function `i` of `n` is served at SI = `n - i`.
    pub functions: Vec<FunctionSpec>,
    /// Pin clients (inner source addresses) to pods for this long after the last use.
    pub affinity: Option<Duration>,
}

/// The pods of one service function, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionSpec {
    /// Pods with an IPv4 address, in any order.
    pub v4: Vec<BackendSpec>,
    /// Pods with an IPv6 address, in any order.
    pub v6: Vec<BackendSpec>,
}

impl FunctionSpec {
    /// The pods of one family.
    #[must_use]
    pub fn backends(&self, family: Family) -> &[BackendSpec] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// One pod of a service function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendSpec {
    /// The pod's address.
    pub address: IpAddr,
    /// How to get there.
    pub via: Via,
    /// False: keeps its flows, takes no new ones (terminating but serving).
    pub ready: bool,
}

/// How to get to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// It is a port of this node.
    Local(PortId),
    /// Encapsulated, to another node.
    Remote(NextHopId),
}

/// Another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHopSpec {
    /// The id.
    pub id: NextHopId,
    /// Destination of outer headers.
    pub address: IpAddr,
    /// MAC of the node, or of the router towards it.
    pub mac: [u8; 6],
}
