//! Merging against a naive reading of SEMANTICS rules 2 and 3, and what `compile` makes of an intent.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use xsteer_abi::Family;
use xsteer_dataplane::table::spec::{Decision, FailurePolicy, ServicePathId};

use super::{MergeInput, merge};
use crate::api::Protocol;
use crate::resolve::{PortClass, PortMatch, SelectorIntent};

fn port_match() -> impl Strategy<Value = PortMatch> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    (protocol, 0u8..3, 1u16..6, 0u16..4).prop_map(|(protocol, class, first, more)| match class {
        0 => PortMatch {
            class: PortClass::Exact,
            protocol,
            first,
            last: first,
        },
        1 => PortMatch {
            class: PortClass::Range,
            protocol,
            first,
            last: first + more + 1,
        },
        _ => PortMatch {
            class: PortClass::All,
            protocol,
            first: 0,
            last: u16::MAX,
        },
    })
}

fn prefix() -> impl Strategy<Value = Ipv4Net> {
    (0u32..16, 0u8..=4).prop_map(|(bits, len)| {
        Ipv4Net::new(Ipv4Addr::from(bits << 28), len)
            .unwrap()
            .trunc()
    })
}

fn selector() -> impl Strategy<Value = SelectorIntent> {
    let ports = proptest::collection::vec(port_match(), 1..4);
    (prefix(), proptest::option::of(prefix()), ports, 1u32..9).prop_map(
        |(cidr, except, mut ports, path)| {
            ports.sort();
            let except = except.filter(|e| cidr.contains(e)).map(IpNet::V4);
            SelectorIntent {
                name: format!("s{path}"),
                chain: "c".into(),
                path: ServicePathId::new(path),
                prefixes: vec![IpNet::V4(cidr)],
                except: except.into_iter().collect(),
                ports,
                policy: FailurePolicy::Closed,
            }
        },
    )
}

/// Rules 2 and 3 as they are written, without any table.
fn naive(selectors: &[SelectorIntent], to: IpAddr, protocol: u8, dport: u16) -> Option<Decision> {
    let mut best: Option<((u8, u8, usize), Decision)> = None;
    for (i, s) in selectors.iter().enumerate() {
        if s.except.iter().any(|e| e.contains(&to)) {
            continue;
        }
        for cidr in s.prefixes.iter().filter(|p| p.contains(&to)) {
            for m in &s.ports {
                let fits = m.protocol.number(Family::V4) == protocol
                    && (m.first..=m.last).contains(&dport);
                let rank = (32 - cidr.prefix_len(), m.class as u8, i);
                if fits && best.as_ref().is_none_or(|(before, _)| rank < *before) {
                    best = Some((
                        rank,
                        Decision {
                            path: s.path,
                            policy: s.policy,
                        },
                    ));
                }
            }
        }
    }
    best.map(|(_, decision)| decision)
}

fn by_merged(
    selectors: &[SelectorIntent],
    to: IpAddr,
    protocol: u8,
    dport: u16,
) -> Option<Decision> {
    let inputs: Vec<MergeInput<'_>> = selectors.iter().map(MergeInput::from).collect();
    let merged = merge(&inputs, &mut Vec::new());
    let longest = merged
        .iter()
        .filter(|p| p.prefix.contains(&to))
        .max_by_key(|p| p.prefix.prefix_len())?;
    longest
        .rules
        .iter()
        .find(|(rule, _)| rule.matches(protocol, dport))
        .map(|(_, d)| *d)
}

proptest! {
    #[test]
    fn merging_keeps_what_the_rules_say(
        selectors in proptest::collection::vec(selector(), 0..6),
        bits in 0u32..16,
        protocol in prop_oneof![Just(6u8), Just(17u8), Just(1u8)],
        dport in 0u16..12,
    ) {
        let to = IpAddr::V4(Ipv4Addr::from(bits << 28 | 1));
        prop_assert_eq!(
            by_merged(&selectors, to, protocol, dport),
            naive(&selectors, to, protocol, dport)
        );
    }
}

#[test]
fn more_rules_than_a_set_holds_are_reported_by_name() {
    let ports = |n: u16| PortMatch {
        class: PortClass::Exact,
        protocol: Protocol::Tcp,
        first: n,
        last: n,
    };
    let selectors: Vec<SelectorIntent> = (0..7u16)
        .map(|i| SelectorIntent {
            name: format!("s{i}"),
            chain: "c".into(),
            path: ServicePathId::new(1),
            prefixes: vec!["10.0.0.0/8".parse().unwrap()],
            except: vec![],
            ports: (1..=10).map(|n| ports(i * 10 + n)).collect(),
            policy: FailurePolicy::Closed,
        })
        .collect();
    let inputs: Vec<MergeInput<'_>> = selectors.iter().map(MergeInput::from).collect();
    let mut issues = Vec::new();
    let merged = merge(&inputs, &mut issues);
    assert_eq!(merged[0].rules.len(), 64);
    assert_eq!(issues.len(), 1);
    assert!(
        issues[0].to_string().starts_with("TrafficSelector/s6"),
        "{}",
        issues[0]
    );
}
