//! From a snapshot of objects to what one node is meant to do. Pure, and independent of the order
//! in which a source lists the objects.

mod intent;

pub use intent::{
    ChainIntent, Endpoint, FunctionIntent, FunctionPodIntent, Intent, NodeIntent, PodRef,
    PortClass, PortMatch, SelectorIntent, SubjectIntent,
};

use ipnet::IpNet;

/// What resolving needs to know beside the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolveConfig {
    /// The cluster's Service ranges: never steered.
    pub service_cidrs: Vec<IpNet>,
}
