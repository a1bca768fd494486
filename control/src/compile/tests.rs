//! Merging against a naive reading of SEMANTICS rules 2 and 3, and what `compile` makes of an intent.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use xsteer_abi::Family;
use xsteer_dataplane::table::SteeringTable;
use xsteer_dataplane::table::spec::{
    Decision, FailurePolicy, NodeSpec, PortId, PortSpec, ServicePathId, Via,
};

use super::{AttachedPod, Interner, MergeInput, NodeFacts, compile, merge};
use crate::api::Protocol;
use crate::resolve::{
    ChainIntent, Endpoint, FunctionIntent, Intent, PodRef, PortClass, PortMatch, SelectorIntent,
};

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

fn pod(name: &str) -> PodRef {
    PodRef {
        name: name.to_owned(),
        ..PodRef::default()
    }
}

fn attached(id: u32, name: &str, address: [u8; 4], ifindex: u32) -> AttachedPod {
    let port = PortSpec {
        id: PortId(id),
        ifindex,
        pod_mac: [2, 0, 0, 0, 0, 1],
        host_mac: [2, 0, 0, 0, 0, 2],
        addresses: vec![address.into()],
        worker: 0,
        gate: 9,
        classifier: None,
    };
    AttachedPod {
        pod: pod(name),
        port,
    }
}

fn chain_of(endpoints: Vec<Endpoint>) -> ChainIntent {
    let function = FunctionIntent {
        name: "fw".into(),
        namespace: "default".into(),
        address: None,
        endpoints,
    };
    ChainIntent {
        name: "c".into(),
        spi: ServicePathId::new(1).unwrap(),
        functions: vec![function],
        affinity: None,
        policy: FailurePolicy::Closed,
    }
}

#[test]
fn two_objects_with_one_address_do_not_stop_the_others() {
    let endpoint = |name: &str, node: &str, address: [u8; 4], ready| Endpoint {
        pod: pod(name),
        node: node.to_owned(),
        addresses: vec![address.into()],
        ready,
    };
    let endpoints = vec![
        endpoint("ending", "n2", [10, 0, 2, 7], false),
        endpoint("new", "n2", [10, 0, 2, 7], true),
    ];
    let intent = Intent {
        chains: vec![chain_of(endpoints)],
        ..Intent::default()
    };
    let mac = [2, 0, 0, 0, 9, 9];
    let nodes = [
        ("n2", [198, 18, 0, 2]),
        ("n3", [198, 18, 0, 2]),
        ("n4", [198, 18, 0, 1]),
    ];
    let facts = NodeFacts {
        node: NodeSpec {
            address: [198, 18, 0, 1].into(),
            ..NodeSpec::default()
        },
        pods: vec![
            attached(3, "a-ending", [10, 0, 1, 5], 30),
            attached(4, "b-new", [10, 0, 1, 5], 40),
            attached(5, "c-same-interface", [10, 0, 1, 6], 40),
            attached(6, "d", [10, 0, 1, 8], 60),
        ],
        nodes: nodes
            .into_iter()
            .map(|(name, address)| (name.to_owned(), (address.into(), mac)))
            .collect(),
    };
    let compiled = compile(&intent, &facts, &mut Interner::starting_above(0, 0));
    let ports: Vec<u32> = compiled.spec.ports.iter().map(|port| port.id.0).collect();
    assert_eq!(ports, [3, 5, 6], "the newest has the interface");
    let pods = &compiled.spec.paths[0].functions[0].v4;
    assert_eq!(pods.len(), 1);
    assert!(pods[0].ready && matches!(pods[0].via, Via::Remote(_)));
    assert_eq!(compiled.spec.next_hops.len(), 1);
    let named: Vec<&str> = compiled
        .issues
        .iter()
        .map(|i| i.object.name.as_str())
        .collect();
    assert_eq!(named, ["n3", "n4", "b-new"]);
    SteeringTable::build(compiled.spec, None).unwrap();
}
