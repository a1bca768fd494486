//! What makes a table spec unusable.

use std::net::IpAddr;

use ipnet::IpNet;

use super::spec::{ClassifierId, NextHopId, PortId, ServicePathId};

/// A table spec that contradicts itself. The last good table stays in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two ports have one id.
    #[error("port {} is given twice", .0.0)]
    DuplicatePort(PortId),
    /// Two ports have one address.
    #[error("address {address} belongs to port {} and to port {}", .first.0, .second.0)]
    DuplicateAddress {
        /// The address.
        address: IpAddr,
        /// The port with the lower id.
        first: PortId,
        /// The other one.
        second: PortId,
    },
    /// A port names a classifier that is not there.
    #[error("port {} names classifier {}, which does not exist", .port.0, .classifier.0)]
    UnknownClassifier {
        /// The port.
        port: PortId,
        /// What it names.
        classifier: ClassifierId,
    },
    /// Two classifiers have one id.
    #[error("classifier {} is given twice", .0.0)]
    DuplicateClassifier(ClassifierId),
    /// A classifier has one prefix twice.
    #[error("classifier {} has prefix {prefix} twice", .classifier.0)]
    DuplicatePrefix {
        /// The classifier.
        classifier: ClassifierId,
        /// The prefix.
        prefix: IpNet,
    },
    /// A prefix says more than its length lets it.
    #[error("prefix {prefix} of classifier {} has host bits set", .classifier.0)]
    HostBits {
        /// The classifier.
        classifier: ClassifierId,
        /// The prefix.
        prefix: IpNet,
    },
    /// Two service paths have one id.
    #[error("service path {} is given twice", .0.get())]
    DuplicatePath(ServicePathId),
    /// A service path has no function, or more than 16.
    #[error("service path {} has {functions} functions, not 1 to 16", .path.get())]
    FunctionCount {
        /// The path.
        path: ServicePathId,
        /// How many it has.
        functions: usize,
    },
    /// A function has one pod twice.
    #[error("service path {} has {address} twice at index {si}", .path.get())]
    DuplicateBackend {
        /// The path.
        path: ServicePathId,
        /// Service index of the function.
        si: u8,
        /// Address of the pod.
        address: IpAddr,
    },
    /// A pod stands among those of the other family.
    #[error("service path {} has {address} among the other family's pods at index {si}", .path.get())]
    BackendFamily {
        /// The path.
        path: ServicePathId,
        /// Service index of the function.
        si: u8,
        /// Address of the pod.
        address: IpAddr,
    },
    /// A function has more pods than can be told apart.
    #[error("service path {} has {backends} pods at index {si}, more than {}", .path.get(), super::maglev::MAX_BACKENDS)]
    BackendCount {
        /// The path.
        path: ServicePathId,
        /// Service index of the function.
        si: u8,
        /// How many.
        backends: usize,
    },
    /// A pod of a function is at a port that is not there.
    #[error("service path {} has {address} at port {}, which does not exist", .path.get(), .port.0)]
    UnknownPort {
        /// The path.
        path: ServicePathId,
        /// Address of the pod.
        address: IpAddr,
        /// What it names.
        port: PortId,
    },
    /// A pod of a function is at a node that is not there.
    #[error("service path {} has {address} at next hop {}, which does not exist", .path.get(), .next_hop.0)]
    UnknownNextHop {
        /// The path.
        path: ServicePathId,
        /// Address of the pod.
        address: IpAddr,
        /// What it names.
        next_hop: NextHopId,
    },
    /// Two next hops have one id.
    #[error("next hop {} is given twice", .0.0)]
    DuplicateNextHop(NextHopId),
    /// Two next hops have one address.
    #[error("node address {0} is given twice")]
    DuplicateNode(IpAddr),
    /// A node's address is not of the family of our own.
    #[error("next hop {} has {address}, which this node's {node} cannot reach", .next_hop.0)]
    NodeFamily {
        /// The next hop.
        next_hop: NextHopId,
        /// Its address.
        address: IpAddr,
        /// Ours.
        node: IpAddr,
    },
}
