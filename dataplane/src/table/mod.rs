//! Immutable lookup state of the packet path: ports, classifiers, service paths, next hops.
//!
//! A [`SteeringTable`] is built off the packet path from a [`TableSpec`], handed to the workers
//! behind an `Arc`, and never changes. What did not change from one table to the next is shared:
//! a new table with one new selector builds one classifier. Lookups allocate nothing.
#![forbid(unsafe_code)]

mod build;
pub mod classifier;
mod error;
pub mod hash;
mod lpm;
pub mod maglev;
mod next_hop;
mod path;
pub mod spec;

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

pub use classifier::Classifier;
pub use error::TableError;
pub use next_hop::NextHop;
pub use path::ServicePath;
use spec::{
    ClassifierId, Generation, NextHopId, NodeSpec, PortId, PortSpec, ServicePathId, TableSpec,
};

/// A pod of this node that we attach to.
pub type Port = PortSpec;

/// Keys are ids of ours or addresses from the API, but a crafted packet asks for any address.
type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Everything a worker looks up, in one generation.
#[derive(Debug)]
pub struct SteeringTable {
    generation: Generation,
    node: NodeSpec,
    ports: Vec<Port>,
    port_index: Map<PortId, u32>,
    targets: Map<IpAddr, u32>,
    classifiers: Map<ClassifierId, Arc<Classifier>>,
    paths: Map<ServicePathId, Arc<ServicePath>>,
    next_hops: Vec<NextHop>,
    next_hop_index: Map<NextHopId, u32>,
    nodes: Map<IpAddr, u32>,
}

impl SteeringTable {
    /// Builds a table, sharing what is the same in `previous`.
    ///
    /// # Errors
    /// Where `spec` contradicts itself: two things with one id or address, a reference to
    /// nothing, a prefix with host bits. The error names the thing.
    pub fn build(spec: TableSpec, previous: Option<&Self>) -> Result<Self, TableError> {
        build::build(spec, previous)
    }

    /// The number of this table.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// This node on the underlay.
    #[must_use]
    pub fn node(&self) -> &NodeSpec {
        &self.node
    }

    /// The port of that id.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.port_index.get(&id).map(|&i| &self.ports[i as usize])
    }

    /// The local pod with that address.
    #[must_use]
    pub fn target(&self, address: IpAddr) -> Option<&Port> {
        self.targets.get(&address).map(|&i| &self.ports[i as usize])
    }

    /// The classifier of that id.
    #[must_use]
    pub fn classifier(&self, id: ClassifierId) -> Option<&Classifier> {
        self.classifiers.get(&id).map(Arc::as_ref)
    }

    /// The service path of that id.
    #[must_use]
    pub fn path(&self, id: ServicePathId) -> Option<&ServicePath> {
        self.paths.get(&id).map(Arc::as_ref)
    }

    /// The other node of that id.
    #[must_use]
    pub fn next_hop(&self, id: NextHopId) -> Option<&NextHop> {
        self.next_hop_index
            .get(&id)
            .map(|&i| &self.next_hops[i as usize])
    }

    /// The other node with that address: the way back to where a packet came from.
    #[must_use]
    pub fn next_hop_at(&self, address: IpAddr) -> Option<&NextHop> {
        self.nodes
            .get(&address)
            .map(|&i| &self.next_hops[i as usize])
    }

    /// Whether that is the address of another node of the cluster.
    #[must_use]
    pub fn is_node(&self, address: IpAddr) -> bool {
        self.nodes.contains_key(&address)
    }

    /// All ports, by id.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    /// All classifiers, in no order.
    pub fn classifiers(&self) -> impl Iterator<Item = &Classifier> {
        self.classifiers.values().map(Arc::as_ref)
    }

    /// All service paths, in no order.
    pub fn paths(&self) -> impl Iterator<Item = &ServicePath> {
        self.paths.values().map(Arc::as_ref)
    }

    /// All other nodes, by id.
    pub fn next_hops(&self) -> impl Iterator<Item = &NextHop> {
        self.next_hops.iter()
    }
}

#[cfg(test)]
mod tests;
