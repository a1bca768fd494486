//! Conflicts: two selectors that take the same packets of the same pods. The one of higher
//! precedence wins; the loser hears by whom.

use kube::ResourceExt;

use super::selectors::{by_precedence, is_subject, port_matches, prefixes};
use super::{PortMatch, View};
use crate::api::{Protocol, SELECTOR, TrafficSelector};
use crate::inventory::Pod;
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// One warning for each selector that loses packets to another, naming the first winner.
pub(super) fn conflicts(view: &View) -> Vec<Issue> {
    let order: Vec<&TrafficSelector> = by_precedence(view)
        .into_iter()
        .map(|(selector, _)| selector)
        .collect();
    let subjects: Vec<Vec<bool>> = order
        .iter()
        .map(|selector| matched(view, selector))
        .collect();
    let mut issues = Vec::new();
    for (lower, loser) in order.iter().enumerate() {
        let beats = |higher: &usize| {
            let winner = order[*higher];
            let shared = subjects[*higher]
                .iter()
                .zip(&subjects[lower])
                .any(|(a, b)| *a && *b);
            (shared || winner.spec.subject == loser.spec.subject) && overlap(winner, loser)
        };
        if let Some(higher) = (0..lower).find(beats) {
            issues.push(conflict(loser, order[higher]));
        }
    }
    issues
}

/// For each pod of the view, whether the selector matches it. A pod that does not run yet counts:
/// it will.
fn matched(view: &View, selector: &TrafficSelector) -> Vec<bool> {
    let can = |pod: &Pod| !pod.host_network && pod.phase != crate::inventory::Phase::Ended;
    view.pods
        .iter()
        .map(|pod| can(pod) && is_subject(view, selector, pod))
        .collect()
}

/// Whether the two share a prefix, and for it ports of the same class and a protocol.
fn overlap(a: &TrafficSelector, b: &TrafficSelector) -> bool {
    let (theirs, ours) = (prefixes(a), prefixes(b));
    let ports = port_matches(b);
    theirs.iter().any(|prefix| ours.contains(prefix))
        && port_matches(a)
            .iter()
            .any(|x| ports.iter().any(|y| same_packets(x, y)))
}

fn same_packets(a: &PortMatch, b: &PortMatch) -> bool {
    let protocol =
        a.protocol == b.protocol || a.protocol == Protocol::Any || b.protocol == Protocol::Any;
    protocol && a.class == b.class && a.first <= b.last && b.first <= a.last
}

fn conflict(loser: &TrafficSelector, winner: &TrafficSelector) -> Issue {
    let (loser, winner) = (loser.name_any(), winner.name_any());
    Issue {
        object: ObjectRef::cluster(SELECTOR, &loser),
        field: "spec.egress".to_owned(),
        reason: IssueReason::Conflict,
        message: format!(
            "TrafficSelector/{winner} takes the same packets of the same pods and has precedence"
        ),
        mend: format!("narrow one of {loser} and {winner}, or remove one"),
        severity: Severity::Warning,
    }
}
