//! Two objects that claim one address: one of them is taken and the other is an issue, so that it
//! does not make the whole table contradict itself.

use std::collections::HashSet;
use std::net::IpAddr;

use xsteer_dataplane::table::spec::BackendSpec;

use super::{AttachedPod, NodeFacts};
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// `facts` without what claims an interface or address that another has.
pub(super) fn facts(facts: &NodeFacts, issues: &mut Vec<Issue>) -> NodeFacts {
    let mut nodes = facts.nodes.clone();
    let mut taken = HashSet::from([facts.node.address]);
    nodes.retain(|name, (address, _)| {
        let is_new = taken.insert(*address);
        if !is_new {
            let object = ObjectRef::cluster("Node", name);
            issues.push(issue(object, "status.addresses", *address));
        }
        is_new
    });
    NodeFacts {
        node: facts.node,
        pods: pods(&facts.pods, issues),
        nodes,
    }
}

/// The newest pod has an address that was given twice: the network gives it away again before
/// the API has let go of the older one.
fn pods(all: &[AttachedPod], issues: &mut Vec<Issue>) -> Vec<AttachedPod> {
    let mut newest_first: Vec<&AttachedPod> = all.iter().collect();
    newest_first.sort_by_key(|attached| std::cmp::Reverse(attached.port.id));
    let (mut interfaces, mut addresses) = (HashSet::new(), HashSet::new());
    let mut kept = Vec::with_capacity(all.len());
    for attached in newest_first {
        let port = &attached.port;
        let taken = port.addresses.iter().find(|a| addresses.contains(*a));
        let shared = interfaces.contains(&port.ifindex);
        let claimed = taken.or(port.addresses.first().filter(|_| shared));
        if let Some(address) = claimed {
            let pod = &attached.pod;
            let object = ObjectRef::namespaced("Pod", &pod.namespace, &pod.name);
            issues.push(issue(object, "status.podIPs", *address));
            continue;
        }
        interfaces.insert(port.ifindex);
        addresses.extend(port.addresses.iter().copied());
        kept.push(attached.clone());
    }
    kept.sort_by_key(|attached| attached.port.id);
    kept
}

/// In order of their address; of two with one address the ready one.
pub(super) fn backends(all: &mut Vec<BackendSpec>) {
    all.sort_by_key(|backend| (backend.address, !backend.ready));
    all.dedup_by_key(|backend| backend.address);
}

fn issue(object: ObjectRef, field: &str, address: IpAddr) -> Issue {
    Issue {
        object,
        field: field.to_owned(),
        reason: IssueReason::Conflict,
        message: format!("{address} or its interface belongs to another object as well"),
        mend: "wait until the older one is gone, or give each an address of its own".to_owned(),
        severity: Severity::Warning,
    }
}
