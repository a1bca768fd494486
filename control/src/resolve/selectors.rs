//! Selectors: their chain, their policy, their precedence, and the pods they take.

use std::collections::HashMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kube::ResourceExt;
use xsteer_dataplane::table::spec::{FailurePolicy, ServicePathId};

use super::{PodRef, PortClass, PortMatch, SelectorIntent, SubjectIntent, View};
use crate::api::{self, PortRule, SELECTOR, TrafficSelector};
use crate::inventory::{Chain, Pod, age_key};
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// Whether the selector takes packets of the pod.
pub(crate) fn is_subject(view: &View, selector: &TrafficSelector, pod: &Pod) -> bool {
    let pods = &selector.spec.subject.pods;
    pods.pod_selector.matches(&pod.labels)
        && pods.namespace_selector.matches(view.namespace_labels(pod))
}

/// The objects in order of precedence: lowest path id, then oldest, then by name. A selector
/// without path comes last.
pub(super) fn by_precedence<'i>(view: &View<'i>) -> Vec<(&'i TrafficSelector, Option<&'i Chain>)> {
    let chains: HashMap<String, &Chain> = view
        .inventory
        .chains
        .iter()
        .map(|chain| (chain.name(), chain))
        .collect();
    let with_chain = |selector: &'i TrafficSelector| {
        (
            selector,
            chains.get(&selector.spec.service_function_chain).copied(),
        )
    };
    let mut order: Vec<_> = view.inventory.selectors.iter().map(with_chain).collect();
    order.sort_by_cached_key(|(selector, chain)| {
        let path = chain.and_then(|chain| chain.path);
        let age = age_key(selector.metadata.creation_timestamp.as_ref());
        (path.is_none(), path, age, selector.name_any())
    });
    order
}

type Resolved<'i> = Vec<(&'i TrafficSelector, SelectorIntent)>;

/// The selectors to program, in order of precedence, and what is wrong with the others.
pub(super) fn selectors<'i>(view: &View<'i>) -> (Resolved<'i>, Vec<Issue>) {
    let mut resolved = Vec::new();
    let mut issues = Vec::new();
    for (selector, chain) in by_precedence(view) {
        let path = chain.and_then(|chain| chain.path);
        if path.is_none() {
            issues.push(no_path(selector, chain.is_some()));
        }
        let own = selector.spec.failure_policy;
        if path.is_none() && own != Some(api::FailurePolicy::Closed) {
            continue;
        }
        let inherited = chain.and_then(|chain| chain.object.spec.failure_policy);
        let policy = own.or(inherited).unwrap_or_default().into();
        resolved.push((selector, intent(selector, path, policy)));
    }
    (resolved, issues)
}

fn intent(
    selector: &TrafficSelector,
    path: Option<ServicePathId>,
    policy: FailurePolicy,
) -> SelectorIntent {
    SelectorIntent {
        name: selector.name_any(),
        chain: selector.spec.service_function_chain.clone(),
        path,
        prefixes: prefixes(selector),
        except: except(selector),
        ports: port_matches(selector),
        policy,
    }
}

fn no_path(selector: &TrafficSelector, has_chain: bool) -> Issue {
    let chain = &selector.spec.service_function_chain;
    let closed = selector.spec.failure_policy == Some(api::FailurePolicy::Closed);
    let effect = if closed {
        "what it selects is dropped"
    } else {
        "it steers nothing"
    };
    let what = if has_chain {
        "has no path id yet"
    } else {
        "does not exist"
    };
    Issue {
        object: ObjectRef::cluster(SELECTOR, &selector.name_any()),
        field: "spec.serviceFunctionChain".to_owned(),
        reason: IssueReason::ChainNotFound,
        message: format!("chain {chain} {what}: {effect}"),
        mend: format!("create ServiceFunctionChain {chain}, or name another one"),
        severity: Severity::Warning,
    }
}

/// Destinations of a selector; all of both families when it names none.
pub(super) fn prefixes(selector: &TrafficSelector) -> Vec<IpNet> {
    match &selector.spec.egress.to {
        // Decoding has checked the text.
        Some(to) => to.ip_block.cidr.parse().into_iter().collect(),
        None => vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())],
    }
}

fn except(selector: &TrafficSelector) -> Vec<IpNet> {
    let to = selector.spec.egress.to.as_ref();
    let texts = to
        .map(|to| to.ip_block.except.as_slice())
        .unwrap_or_default();
    let mut nets: Vec<IpNet> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    nets.sort();
    nets.dedup();
    nets
}

/// Ports of a selector, the most specific first.
pub(super) fn port_matches(selector: &TrafficSelector) -> Vec<PortMatch> {
    let mut ports: Vec<PortMatch> = selector
        .spec
        .egress
        .ports
        .iter()
        .filter_map(port_match)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port_match(rule: &PortRule) -> Option<PortMatch> {
    if let Some(all) = &rule.all_ports {
        let class = PortClass::All;
        return Some(PortMatch {
            class,
            protocol: all.protocol,
            first: 0,
            last: u16::MAX,
        });
    }
    let number = rule.port_number.as_ref()?;
    let first = u16::try_from(number.port).ok()?;
    let last = u16::try_from(number.end_port.unwrap_or(number.port)).ok()?;
    let class = if first == last {
        PortClass::Exact
    } else {
        PortClass::Range
    };
    Some(PortMatch {
        class,
        protocol: number.protocol,
        first,
        last,
    })
}

/// Pods of the node that at least one of the selectors takes.
pub(super) fn subjects(
    view: &View,
    node_name: &str,
    selectors: &[(&TrafficSelector, SelectorIntent)],
) -> Vec<SubjectIntent> {
    let here = view
        .pods
        .iter()
        .filter(|pod| pod.node == node_name && pod.is_reachable());
    let subject = |pod: &&Pod| {
        let takes = |(i, (selector, _)): (usize, &(&TrafficSelector, _))| {
            is_subject(view, selector, pod).then_some(i)
        };
        let selectors: Vec<usize> = selectors.iter().enumerate().filter_map(takes).collect();
        (!selectors.is_empty()).then(|| SubjectIntent {
            pod: PodRef::from(*pod),
            addresses: pod.addresses.clone(),
            selectors,
        })
    };
    here.filter_map(subject).collect()
}
