//! A plain snapshot of the objects that steering depends on, whichever source they come from.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use xsteer_dataplane::table::spec::ServicePathId;

use crate::api::{Labels, ServiceFunctionChain, TrafficSelector};
use crate::issue::Issue;

/// The label that every namespace has with its own name as value.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What a source knows at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Namespaces; one that is not listed exists with its name as its only label.
    pub namespaces: Vec<Namespace>,
    /// Nodes of the cluster.
    pub nodes: Vec<Node>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Valid chains.
    pub chains: Vec<Chain>,
    /// Valid selectors.
    pub selectors: Vec<TrafficSelector>,
    /// What is wrong with what the source was given.
    pub issues: Vec<Issue>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, [`NAMESPACE_NAME_LABEL`] included.
    pub labels: Labels,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of its pods.
    pub pod_cidrs: Vec<IpNet>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// Ended: its address may belong to another pod by now.
    Ended,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, or empty.
    pub uid: String,
    /// The node it is bound to, or empty.
    pub node: String,
    /// Its addresses, of one or both families.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// Its phase.
    pub phase: Phase,
    /// Condition `Ready`.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// It uses the node's network.
    pub host_network: bool,
}

impl Pod {
    /// Whether packets of the pod can be told by its addresses: it runs, in a network of its own.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.phase == Phase::Running && !self.host_network && !self.addresses.is_empty()
    }
}

/// A chain and what was worked out for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The object.
    pub object: ServiceFunctionChain,
    /// Its path, once an id is assigned.
    pub path: Option<ServicePathId>,
    /// The "service function address" of each function (ClusterIP of its Service), in order.
    pub addresses: Vec<Option<IpAddr>>,
}

impl Chain {
    /// Name of the chain.
    #[must_use]
    pub fn name(&self) -> String {
        self.object.name_any()
    }
}

/// A key that sorts the older object first; one without timestamp counts as newest.
#[must_use]
pub(crate) fn age_key(created: Option<&Time>) -> (bool, Option<Time>) {
    (created.is_none(), created.cloned())
}

impl Inventory {
    /// Labels of a namespace; one that is not listed has only its name.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Labels {
        let listed = self
            .namespaces
            .iter()
            .find(|namespace| namespace.name == name);
        let mut labels = listed
            .map(|namespace| namespace.labels.clone())
            .unwrap_or_default();
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
        labels
    }
}
