//! From a snapshot of objects to what one node is meant to do. Pure, and independent of the order
//! in which a source lists the objects.

mod conflict;
mod functions;
mod intent;
mod selectors;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use ipnet::IpNet;

pub use intent::{
    ChainIntent, Endpoint, FunctionIntent, FunctionPodIntent, Intent, NodeIntent, PodRef,
    PortClass, PortMatch, SelectorIntent, SubjectIntent,
};

pub(crate) use functions::is_member;
pub(crate) use selectors::is_subject;

use crate::api::Labels;
use crate::inventory::{Inventory, Pod};
use crate::issue::Issue;

/// What resolving needs to know beside the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolveConfig {
    /// The cluster's Service ranges: never steered.
    pub service_cidrs: Vec<IpNet>,
}

/// Works out what the node `node_name` is meant to do.
///
/// Issues are about references and precedence; the source's own are not repeated.
#[must_use]
pub fn resolve(
    inventory: &Inventory,
    node_name: &str,
    config: &ResolveConfig,
) -> (Intent, Vec<Issue>) {
    let view = View::new(inventory);
    let chains = functions::chains(&view, node_name);
    let (selectors, mut issues) = selectors::selectors(&view);
    issues.extend(conflict::conflicts(&view));
    issues.sort();
    let mut exempt = config.service_cidrs.clone();
    exempt.sort();
    exempt.dedup();
    let intent = Intent {
        functions: functions::local_pods(&view, node_name),
        subjects: selectors::subjects(&view, node_name, &selectors),
        selectors: selectors.into_iter().map(|(_, intent)| intent).collect(),
        chains,
        nodes: nodes(inventory),
        exempt,
    };
    (intent, issues)
}

fn nodes(inventory: &Inventory) -> Vec<NodeIntent> {
    let intent = |node: &crate::inventory::Node| NodeIntent {
        name: node.name.clone(),
        addresses: node.addresses.clone(),
        pod_cidrs: node.pod_cidrs.clone(),
    };
    let mut nodes: Vec<NodeIntent> = inventory.nodes.iter().map(intent).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// The inventory in one order, with the namespaces' labels at hand.
pub(crate) struct View<'i> {
    pub(crate) inventory: &'i Inventory,
    /// Pods by namespace, name and UID.
    pub(crate) pods: Vec<&'i Pod>,
    namespaces: HashMap<&'i str, Labels>,
}

impl<'i> View<'i> {
    pub(crate) fn new(inventory: &'i Inventory) -> Self {
        let mut pods: Vec<&Pod> = inventory.pods.iter().collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
        let mut namespaces = HashMap::new();
        for pod in &pods {
            let name = pod.namespace.as_str();
            namespaces
                .entry(name)
                .or_insert_with(|| inventory.namespace_labels(name));
        }
        Self {
            inventory,
            pods,
            namespaces,
        }
    }

    /// Labels of the namespace of a pod.
    pub(crate) fn namespace_labels(&self, pod: &Pod) -> &Labels {
        &self.namespaces[pod.namespace.as_str()]
    }
}

impl From<&Pod> for PodRef {
    fn from(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }
    }
}
