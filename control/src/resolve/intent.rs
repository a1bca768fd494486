//! What a node is meant to do: references followed, labels matched, precedence decided. Plain
//! data, the input of `compile`; knows no interface, no map and no table.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use xsteer_abi::Family;
use xsteer_abi::maps::{
    ACTION_DIVERT, ACTION_DROP, POLICY_CLOSED, POLICY_OPEN, PROTOCOL_ANY, Rule,
};
use xsteer_dataplane::table::spec::{FailurePolicy, ServicePathId};

use crate::api::Protocol;

/// What one node is meant to do. Every list has one order, whatever the order of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The chains that have a path id, by id.
    pub chains: Vec<ChainIntent>,
    /// The selectors to program, in order of precedence.
    pub selectors: Vec<SelectorIntent>,
    /// Pods of this node that at least one selector takes, by name.
    pub subjects: Vec<SubjectIntent>,
    /// Pods of this node that serve a function, by name.
    pub functions: Vec<FunctionPodIntent>,
    /// All nodes, by name.
    pub nodes: Vec<NodeIntent>,
    /// Destinations that are never steered.
    pub exempt: Vec<IpNet>,
}

/// A service path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainIntent {
    /// Name of the chain.
    pub name: String,
    /// Its id.
    pub spi: ServicePathId,
    /// The functions, in order of traversal; function `i` of `n` is served at SI = `n - i`.
    pub functions: Vec<FunctionIntent>,
    /// Pin clients to pods for this long after the last use.
    pub affinity: Option<Duration>,
    /// What happens while no pod is ready, where the selector does not say otherwise.
    pub policy: FailurePolicy,
}

/// One function of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionIntent {
    /// Its name.
    pub name: String,
    /// Namespace of its pods.
    pub namespace: String,
    /// The "service function address" that the command line shows.
    pub address: Option<IpAddr>,
    /// The pods this node uses, the traffic policy applied; by name.
    pub endpoints: Vec<Endpoint>,
}

/// A pod that serves a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod.
    pub pod: PodRef,
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// False: keeps its flows, takes no new ones (terminating but serving).
    pub ready: bool,
}

/// Names a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, or empty.
    pub uid: String,
}

/// A selector to program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorIntent {
    /// Its name.
    pub name: String,
    /// Name of its chain.
    pub chain: String,
    /// The path; `None` (the chain is missing, the policy Closed) drops what is selected.
    pub path: Option<ServicePathId>,
    /// Destinations.
    pub prefixes: Vec<IpNet>,
    /// Destinations inside that this selector does not take.
    pub except: Vec<IpNet>,
    /// Protocols and ports, the most specific first.
    pub ports: Vec<PortMatch>,
    /// The selector's policy, or else the chain's.
    pub policy: FailurePolicy,
}

/// A protocol and a range of destination ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMatch {
    /// Exact, range or all: the order of precedence.
    pub class: PortClass,
    /// The protocol.
    pub protocol: Protocol,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

/// How specific a [`PortMatch`] is; the more specific is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortClass {
    /// One port.
    Exact,
    /// A range of ports.
    Range,
    /// Every port.
    All,
}

/// A pod of this node that at least one selector takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectIntent {
    /// The pod.
    pub pod: PodRef,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Indices in [`Intent::selectors`], ascending: the order of precedence.
    pub selectors: Vec<usize>,
}

/// A pod of this node that serves at least one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPodIntent {
    /// The pod.
    pub pod: PodRef,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Path and SI of what it serves, ascending.
    pub serves: Vec<(ServicePathId, u8)>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIntent {
    /// Its name.
    pub name: String,
    /// Addresses that steered packets travel between.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of its pods.
    pub pod_cidrs: Vec<IpNet>,
}

impl Protocol {
    /// The number in the IP header; ICMP has one for each family.
    #[must_use]
    pub const fn number(self, family: Family) -> u8 {
        match (self, family) {
            (Self::Tcp, _) => 6,
            (Self::Udp, _) => 17,
            (Self::Sctp, _) => 132,
            (Self::Icmp, Family::V4) => 1,
            (Self::Icmp, Family::V6) => 58,
            (Self::Any, _) => PROTOCOL_ANY,
        }
    }
}

impl SelectorIntent {
    /// The rules of the selector for prefixes of one family, the most specific first.
    #[must_use]
    pub fn rules(&self, family: Family) -> Vec<Rule> {
        let action = if self.path.is_some() {
            ACTION_DIVERT
        } else {
            ACTION_DROP
        };
        let policy = match self.policy {
            FailurePolicy::Closed => POLICY_CLOSED,
            FailurePolicy::Open => POLICY_OPEN,
        };
        let rule = |ports: &PortMatch| Rule {
            protocol: ports.protocol.number(family),
            action,
            policy,
            reserved: 0,
            first_port: ports.first,
            last_port: ports.last,
        };
        self.ports.iter().map(rule).collect()
    }
}
