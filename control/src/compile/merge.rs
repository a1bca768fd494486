//! A subject's selectors -> destination prefixes, each with every rule that applies to it.
//!
//! Longest prefix wins; at equal prefix an exact port beats a range beats all ports; then the
//! order of precedence of the selectors (SEMANTICS rules 2 and 3). A longer prefix inherits the
//! rules of the shorter ones behind its own, so that one lookup suffices. Both the kernel's and
//! the workers' tables are made from the result.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use xsteer_abi::Family;
use xsteer_abi::maps::{MAX_RULES, PROTOCOL_ANY, Rule};
use xsteer_dataplane::table::spec::{Decision, PrefixSpec};

use crate::issue::{Issue, IssueReason, ObjectRef, Severity};
use crate::resolve::SelectorIntent;

/// What merging needs of a selector. Inputs stand in order of precedence.
#[derive(Clone, Copy, Debug)]
pub struct MergeInput<'a> {
    /// The selector.
    pub selector: &'a SelectorIntent,
}

impl<'a> From<&'a SelectorIntent> for MergeInput<'a> {
    fn from(selector: &'a SelectorIntent) -> Self {
        Self { selector }
    }
}

impl MergeInput<'_> {
    fn decision(&self) -> Decision {
        Decision {
            path: self.selector.path,
            policy: self.selector.policy,
        }
    }
}

/// Selectors that name a prefix, and those that except it, by their position.
#[derive(Default)]
struct Node {
    named: Vec<usize>,
    excepted: Vec<usize>,
}

/// Merges the selectors of one subject. Rules beyond [`MAX_RULES`] at one prefix become issues.
pub fn merge(inputs: &[MergeInput<'_>], issues: &mut Vec<Issue>) -> Vec<PrefixSpec> {
    let mut nodes: BTreeMap<(IpAddr, u8), Node> = BTreeMap::new();
    for (i, input) in inputs.iter().enumerate() {
        for prefix in &input.selector.prefixes {
            nodes
                .entry((prefix.network(), prefix.prefix_len()))
                .or_default()
                .named
                .push(i);
        }
        for prefix in &input.selector.except {
            nodes
                .entry((prefix.network(), prefix.prefix_len()))
                .or_default()
                .excepted
                .push(i);
        }
    }
    let mut merged = Vec::with_capacity(nodes.len());
    let mut ancestors: Vec<(IpNet, Node)> = Vec::new();
    for ((address, len), node) in nodes {
        let Ok(prefix) = IpNet::new(address, len) else {
            continue;
        };
        while ancestors
            .last()
            .is_some_and(|(above, _)| !above.contains(&prefix))
        {
            ancestors.pop();
        }
        ancestors.push((prefix, node));
        let rules = rules_of(prefix, &ancestors, inputs, issues);
        merged.push(PrefixSpec { prefix, rules });
    }
    merged
}

/// The rules of the last of `ancestors`, its own first.
fn rules_of(
    prefix: IpNet,
    ancestors: &[(IpNet, Node)],
    inputs: &[MergeInput<'_>],
    issues: &mut Vec<Issue>,
) -> Vec<(Rule, Decision)> {
    let family = if prefix.addr().is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let excepted: HashSet<usize> = ancestors
        .iter()
        .flat_map(|(_, node)| node.excepted.iter().copied())
        .collect();
    let mut rules: Vec<(Rule, Decision)> = Vec::new();
    for (_, node) in ancestors.iter().rev() {
        let mut level: Vec<(usize, Rule)> = Vec::new();
        for i in node.named.iter().copied().filter(|i| !excepted.contains(i)) {
            level.extend(
                inputs[i]
                    .selector
                    .rules(family)
                    .into_iter()
                    .map(|rule| (i, rule)),
            );
        }
        level.sort_by_key(|(i, rule)| (vagueness(rule), *i));
        for (i, rule) in level {
            if rules.iter().any(|(before, _)| covers(before, &rule)) {
                continue;
            }
            if rules.len() == MAX_RULES {
                issues.push(too_many(inputs[i].selector, prefix));
                break;
            }
            rules.push((rule, inputs[i].decision()));
        }
    }
    rules
}

/// Exact port before range before all ports; a named protocol before any.
fn vagueness(rule: &Rule) -> (u8, bool) {
    let ports = match (rule.first_port, rule.last_port) {
        (0, u16::MAX) => 2,
        (first, last) if first != last => 1,
        _ => 0,
    };
    (ports, rule.protocol == PROTOCOL_ANY)
}

/// Whether nothing is left of `rule` behind `before`.
fn covers(before: &Rule, rule: &Rule) -> bool {
    (before.protocol == PROTOCOL_ANY || before.protocol == rule.protocol)
        && before.first_port <= rule.first_port
        && rule.last_port <= before.last_port
}

fn too_many(selector: &SelectorIntent, prefix: IpNet) -> Issue {
    Issue {
        object: ObjectRef::cluster("TrafficSelector", &selector.name),
        field: "spec.egress.ports".to_owned(),
        reason: IssueReason::Exhausted,
        message: format!("more than {MAX_RULES} rules apply to {prefix} at the same pod"),
        mend: "use port ranges, or fewer selectors for the same pods".to_owned(),
        severity: Severity::Warning,
    }
}
