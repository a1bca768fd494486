//! Chains: which pods serve each function, and which of them a node uses.

use xsteer_dataplane::table::spec::ServicePathId;

use super::{ChainIntent, Endpoint, FunctionIntent, FunctionPodIntent, PodRef, View};
use crate::api::labels::contains;
use crate::api::{InternalTrafficPolicy, ServiceFunction};
use crate::inventory::{Chain, Pod};

/// Whether a pod is one of a function's, whatever its state.
pub(crate) fn is_member(pod: &Pod, function: &ServiceFunction) -> bool {
    pod.namespace == function.namespace
        && contains(&pod.labels, &function.pod_selector.match_labels)
}

/// Whether it can take packets: reachable, and ready or ending while it still serves.
fn serves(pod: &Pod, function: &ServiceFunction) -> bool {
    pod.is_reachable() && is_member(pod, function)
}

/// The chains that have a path id, by id.
pub(super) fn chains(view: &View, node_name: &str) -> Vec<ChainIntent> {
    let intent = |chain: &Chain| {
        let spec = &chain.object.spec;
        let policy = spec.internal_traffic_policy.unwrap_or_default();
        let function = |(i, function): (usize, &ServiceFunction)| FunctionIntent {
            name: function.name.clone(),
            namespace: function.namespace.clone(),
            address: chain.addresses.get(i).copied().flatten(),
            endpoints: nearby(endpoints(view, function), policy, node_name),
        };
        Some(ChainIntent {
            name: chain.name(),
            spi: chain.path?,
            functions: spec
                .service_functions
                .iter()
                .enumerate()
                .map(function)
                .collect(),
            affinity: spec.affinity(),
            policy: spec.failure_policy.unwrap_or_default().into(),
        })
    };
    let mut chains: Vec<ChainIntent> = view.inventory.chains.iter().filter_map(intent).collect();
    chains.sort_by_key(|chain| chain.spi);
    chains
}

/// A pod that is neither ready nor terminating serves nothing. One that is terminating and still
/// Ready keeps its flows: `ready` is false then.
fn endpoints(view: &View, function: &ServiceFunction) -> Vec<Endpoint> {
    let endpoint = |pod: &&Pod| Endpoint {
        pod: PodRef::from(*pod),
        node: pod.node.clone(),
        addresses: pod.addresses.clone(),
        ready: pod.ready && !pod.terminating,
    };
    let pods = view
        .pods
        .iter()
        .filter(|pod| serves(pod, function) && pod.ready);
    pods.map(endpoint).collect()
}

fn nearby(
    mut endpoints: Vec<Endpoint>,
    policy: InternalTrafficPolicy,
    node_name: &str,
) -> Vec<Endpoint> {
    let ready_here = || endpoints.iter().any(|e| e.ready && e.node == node_name);
    let local = match policy {
        InternalTrafficPolicy::Cluster => false,
        InternalTrafficPolicy::Local => true,
        InternalTrafficPolicy::PreferLocal => ready_here(),
    };
    if local {
        endpoints.retain(|endpoint| endpoint.node == node_name);
    }
    endpoints
}

/// Pods of this node that are functions. One that is not ready is a port all the same: its flows
/// end there, and packets in flight are still delivered.
pub(super) fn local_pods(view: &View, node_name: &str) -> Vec<FunctionPodIntent> {
    let here = view.pods.iter().filter(|pod| pod.node == node_name);
    let intent = |pod: &&Pod| {
        let mut serves: Vec<_> = view
            .inventory
            .chains
            .iter()
            .flat_map(|chain| served(pod, chain))
            .collect();
        serves.sort_unstable();
        (!serves.is_empty()).then(|| FunctionPodIntent {
            pod: PodRef::from(*pod),
            addresses: pod.addresses.clone(),
            serves,
        })
    };
    here.filter_map(intent).collect()
}

/// Path and SI of each function of `chain` that `pod` serves.
fn served(pod: &Pod, chain: &Chain) -> Vec<(ServicePathId, u8)> {
    let Some(path) = chain.path else {
        return Vec::new();
    };
    // SI counts down from the number of functions to 1, and a chain has 16 at the most.
    let with_index = (1_u8..).zip(chain.object.spec.service_functions.iter().rev());
    let mine = with_index.filter(|(_, function)| serves(pod, function));
    mine.map(|(index, _)| (path, index)).collect()
}
