//! Intent + what netlink found -> [`TableSpec`] and the kernel's maps: the compiler from objects to tables.
//!
//! `merge` turns a subject's selectors into prefixes with rules; `intern` gives equal contents
//! equal ids. Left out: what objects mean (`resolve`), when tables are published (`publish`).

mod intern;
mod merge;
#[cfg(test)]
mod tests;
mod unique;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use xsteer_dataplane::table::spec::{
    BackendSpec, ClassifierId, ClassifierSpec, FunctionSpec, NextHopId, NextHopSpec, NodeSpec,
    PathSpec, PortId, PortSpec, TableSpec, Via,
};

pub use intern::Interner;
pub use merge::{MergeInput, merge};

use crate::issue::Issue;
use crate::resolve::{ChainIntent, FunctionIntent, Intent, PodRef};

/// A pod of this node whose host interface is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedPod {
    /// Which pod.
    pub pod: PodRef,
    /// Everything of its port but the classifier.
    pub port: PortSpec,
}

/// What the node itself contributes to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its side of the underlay.
    pub node: NodeSpec,
    /// Pods with their ports.
    pub pods: Vec<AttachedPod>,
    /// Other nodes that can be reached: name -> address and MAC.
    pub nodes: BTreeMap<String, (IpAddr, [u8; 6])>,
}

/// What one compile makes; `spec.generation` is set by the publisher.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// For the workers.
    pub spec: TableSpec,
    /// What did not fit.
    pub issues: Vec<Issue>,
}

/// Compiles `intent` for the node of `facts`. Equal inputs give equal tables, in whatever order
/// their lists stand.
pub fn compile(intent: &Intent, facts: &NodeFacts, interner: &mut Interner) -> Compiled {
    let mut issues = Vec::new();
    let facts = &unique::facts(facts, &mut issues);
    let next_hops = next_hop_ids(facts);
    let local: HashMap<&PodRef, PortId> = facts.pods.iter().map(|p| (&p.pod, p.port.id)).collect();
    let via = |pod: &PodRef, node: &str| match local.get(pod) {
        Some(port) => Some(Via::Local(*port)),
        None => next_hops.get(node).map(|id| Via::Remote(*id)),
    };
    let paths = intent.chains.iter().map(|chain| path(chain, via)).collect();
    let (classifiers, of_pod) = classifiers(intent, interner, &mut issues);
    let ports = facts.pods.iter().map(|attached| {
        let classifier = of_pod.get(&attached.pod).copied();
        PortSpec {
            classifier,
            ..attached.port.clone()
        }
    });
    let spec = TableSpec {
        generation: Default::default(),
        node: facts.node,
        ports: ports.collect(),
        classifiers,
        paths,
        next_hops: facts
            .nodes
            .iter()
            .filter_map(|(name, (address, mac))| {
                Some(NextHopSpec {
                    id: *next_hops.get(name.as_str())?,
                    address: *address,
                    mac: *mac,
                })
            })
            .collect(),
    };
    Compiled { spec, issues }
}

fn next_hop_ids(facts: &NodeFacts) -> HashMap<&str, NextHopId> {
    (0..)
        .zip(facts.nodes.keys())
        .map(|(i, name)| (name.as_str(), NextHopId(i)))
        .collect()
}

fn path(chain: &ChainIntent, via: impl Fn(&PodRef, &str) -> Option<Via>) -> PathSpec {
    let functions = chain
        .functions
        .iter()
        .map(|function| backends(function, &via))
        .collect();
    PathSpec {
        id: chain.spi,
        functions,
        affinity: chain.affinity,
    }
}

/// The pods of one function that can be reached, by family, in order of their address.
fn backends(function: &FunctionIntent, via: impl Fn(&PodRef, &str) -> Option<Via>) -> FunctionSpec {
    let mut spec = FunctionSpec::default();
    for endpoint in &function.endpoints {
        let Some(via) = via(&endpoint.pod, &endpoint.node) else {
            continue;
        };
        for address in &endpoint.addresses {
            let backend = BackendSpec {
                address: *address,
                via,
                ready: endpoint.ready,
            };
            match address {
                IpAddr::V4(_) => spec.v4.push(backend),
                IpAddr::V6(_) => spec.v6.push(backend),
            }
        }
    }
    unique::backends(&mut spec.v4);
    unique::backends(&mut spec.v6);
    spec
}

type ClassifierOf = HashMap<PodRef, ClassifierId>;

/// One classifier for each distinct set of selectors, and which pod has which.
fn classifiers(
    intent: &Intent,
    interner: &mut Interner,
    issues: &mut Vec<Issue>,
) -> (Vec<ClassifierSpec>, ClassifierOf) {
    let mut by_set: BTreeMap<&[usize], ClassifierId> = BTreeMap::new();
    let mut specs = BTreeMap::new();
    let mut of_pod = HashMap::new();
    for subject in &intent.subjects {
        let set = subject.selectors.as_slice();
        let id = *by_set.entry(set).or_insert_with(|| {
            let inputs: Vec<MergeInput<'_>> = set
                .iter()
                .filter_map(|i| intent.selectors.get(*i))
                .map(MergeInput::from)
                .collect();
            let merged = merge(&inputs, issues);
            let id = interner.classifier(&merged);
            specs.insert(
                id,
                ClassifierSpec {
                    id,
                    prefixes: merged,
                },
            );
            id
        });
        of_pod.insert(subject.pod.clone(), id);
    }
    interner.keep_classifiers(|id| specs.contains_key(&id));
    (specs.into_values().collect(), of_pod)
}
