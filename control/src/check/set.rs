//! What only shows across a set of objects: references, conflicts, labels that match nothing.

use kube::ResourceExt;
use serde_json::Value;

use crate::api::{CHAIN, SELECTOR, ServiceFunctionChain, TrafficSelector};
use crate::inventory::{Inventory, Pod};
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};
use crate::resolve::{ResolveConfig, View, is_member, is_subject, resolve};
use crate::source::assign::Assigner;
use crate::source::objects::Objects;

const WORKLOADS: &[&str] = &[
    "Deployment",
    "DaemonSet",
    "StatefulSet",
    "ReplicaSet",
    "Job",
];

/// A pod as the template of a workload would make it: enough to match labels on.
pub(super) fn template_pod(value: &Value) -> Option<Pod> {
    let kind = value.get("kind")?.as_str()?;
    if !WORKLOADS.contains(&kind) {
        return None;
    }
    let text = |pointer| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let labels = value.pointer("/spec/template/metadata/labels")?.clone();
    let host_network = value
        .pointer("/spec/template/spec/hostNetwork")
        .and_then(Value::as_bool);
    Some(Pod {
        namespace: text("/metadata/namespace").unwrap_or_else(|| "default".to_owned()),
        name: format!("{kind}-{}", text("/metadata/name")?),
        labels: serde_json::from_value(labels).ok()?,
        host_network: host_network.unwrap_or_default(),
        ..Pod::default()
    })
}

/// The issues of the whole set, in one order.
pub(super) fn issues(objects: Objects) -> Vec<Issue> {
    // In memory nothing can fail to be written.
    let (chains, mut issues) = Assigner::in_memory(None)
        .assign(objects.chains)
        .unwrap_or_default();
    let inventory = Inventory {
        namespaces: objects.namespaces,
        nodes: objects.nodes,
        pods: objects.pods,
        chains,
        selectors: objects.selectors,
        issues: Vec::new(),
    };
    issues.extend(resolve(&inventory, "", &ResolveConfig::default()).1);
    // A set without pods says nothing about which pods there will be.
    if !inventory.pods.is_empty() {
        let view = View::new(&inventory);
        let chains = inventory.chains.iter().map(|chain| &chain.object);
        issues.extend(chains.flat_map(|chain| idle_functions(&view, chain)));
        issues.extend(
            inventory
                .selectors
                .iter()
                .filter_map(|s| idle_selector(&view, s)),
        );
    }
    issues.sort();
    issues
}

fn idle_functions(view: &View, chain: &ServiceFunctionChain) -> Vec<Issue> {
    let functions = chain.spec.service_functions.iter().enumerate();
    let idle = functions.filter(|(_, f)| !view.pods.iter().any(|pod| is_member(pod, f)));
    let issue = |(i, function): (usize, &crate::api::ServiceFunction)| {
        no_pods(
            ObjectRef::cluster(CHAIN, &chain.name_any()),
            format!("spec.serviceFunctions[{i}].podSelector"),
            format!(
                "matches no pod of namespace {} in these files",
                function.namespace
            ),
        )
    };
    idle.map(issue).collect()
}

fn idle_selector(view: &View, selector: &TrafficSelector) -> Option<Issue> {
    let idle = !view.pods.iter().any(|pod| is_subject(view, selector, pod));
    idle.then(|| {
        no_pods(
            ObjectRef::cluster(SELECTOR, &selector.name_any()),
            "spec.subject.pods".to_owned(),
            "matches no pod in these files".to_owned(),
        )
    })
}

fn no_pods(object: ObjectRef, field: String, message: String) -> Issue {
    Issue {
        object,
        field,
        reason: IssueReason::NoMatchingPods,
        message,
        mend: "compare it with the labels of the pods".to_owned(),
        severity: Severity::Warning,
    }
}
