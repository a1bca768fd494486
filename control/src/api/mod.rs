//! The two kinds of `networking.gke.io/v1`: typed objects, and their strict decoding.
//!
//! `decode` first checks the raw value against every rule of the API and reports all that is
//! wrong; only then it makes the typed object. Serde alone would prune what it does not know, and
//! a pruned label selector selects every pod.

mod chain;
mod decode;
pub(crate) mod labels;
mod selector;
#[cfg(test)]
mod tests;

pub use chain::{
    ClientIpAffinity, FailurePolicy, FunctionSelector, InternalTrafficPolicy, ServiceFunction,
    ServiceFunctionChain, ServiceFunctionChainSpec, ServiceFunctionChainStatus, SessionAffinity,
};
pub(crate) use decode::nearest;
pub use decode::{chain as decode_chain, object_ref, selector as decode_selector};
pub use labels::{LabelSelector, Labels, Operator, Requirement};
pub use selector::{
    AllPorts, Destination, Egress, IpBlock, Pods, PortNumber, PortRule, Protocol, Subject,
    TrafficSelector, TrafficSelectorSpec, TrafficSelectorStatus,
};

/// API group of both kinds.
pub const GROUP: &str = "networking.gke.io";
/// API version of both kinds.
pub const VERSION: &str = "v1";
/// `apiVersion` of both kinds.
pub const API_VERSION: &str = "networking.gke.io/v1";
/// Kind of a chain.
pub const CHAIN: &str = "ServiceFunctionChain";
/// Kind of a selector.
pub const SELECTOR: &str = "TrafficSelector";
