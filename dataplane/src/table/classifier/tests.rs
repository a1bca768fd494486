use proptest::prelude::*;

use super::*;
use crate::table::spec::{FailurePolicy, ServicePathId};

fn decision(path: u32) -> Decision {
    Decision {
        path: ServicePathId::new(path),
        policy: FailurePolicy::Closed,
    }
}

fn rule(protocol: u8, ports: std::ops::RangeInclusive<u16>) -> Rule {
    Rule {
        protocol,
        first_port: *ports.start(),
        last_port: *ports.end(),
        ..Rule::default()
    }
}

fn spec(prefixes: &[(&str, &[(Rule, Decision)])]) -> ClassifierSpec {
    let prefixes = prefixes.iter().map(|(prefix, rules)| PrefixSpec {
        prefix: prefix.parse().unwrap(),
        rules: rules.to_vec(),
    });
    ClassifierSpec {
        id: ClassifierId(1),
        prefixes: prefixes.collect(),
    }
}

/// The oracle.
fn scan(spec: &ClassifierSpec, to: IpAddr, protocol: u8, dport: u16) -> Option<Decision> {
    let covering = spec.prefixes.iter().filter(|p| p.prefix.contains(&to));
    let rules = &covering.max_by_key(|p| p.prefix.prefix_len())?.rules;
    rules
        .iter()
        .find(|(rule, _)| rule.matches(protocol, dport))
        .map(|r| r.1)
}

#[test]
fn the_longest_prefix_decides_by_its_first_fitting_rule() {
    let https = (rule(6, 443..=443), decision(1));
    let tcp = (rule(6, 0..=65535), decision(2));
    let any = (rule(PROTOCOL_ANY, 0..=65535), decision(3));
    let c = Classifier::build(&spec(&[
        ("0.0.0.0/0", &[any]),
        ("10.0.0.0/8", &[https, tcp]),
        ("10.1.0.0/16", &[]),
        ("fd00::/8", &[tcp]),
    ]))
    .unwrap();
    let at = |to: &str, protocol, dport| c.classify(to.parse().unwrap(), protocol, dport);
    assert_eq!(at("10.9.9.9", 6, 443), Some(decision(1)));
    assert_eq!(at("10.9.9.9", 6, 80), Some(decision(2)));
    assert_eq!(at("10.9.9.9", 17, 443), None);
    assert_eq!(at("10.1.0.0", 6, 443), None);
    assert_eq!(at("11.0.0.0", 1, 0), Some(decision(3)));
    assert_eq!(at("fdff::1", 6, 1), Some(decision(2)));
    assert_eq!(at("fe80::1", 6, 1), None);
}

#[test]
fn a_fragment_may_match_by_its_protocol_alone() {
    let https = (rule(6, 443..=443), decision(1));
    let c = Classifier::build(&spec(&[("10.0.0.0/8", &[https])])).unwrap();
    assert!(c.may_match([10, 0, 0, 1].into(), 6));
    assert!(!c.may_match([10, 0, 0, 1].into(), 17));
    assert!(!c.may_match([11, 0, 0, 1].into(), 6));
}

#[test]
fn bad_prefixes_are_named() {
    let build = |prefixes| Classifier::build(&spec(prefixes)).unwrap_err().to_string();
    assert_eq!(
        build(&[("10.0.0.1/8", &[])]),
        "prefix 10.0.0.1/8 of classifier 1 has host bits set"
    );
    assert_eq!(
        build(&[("fd00::/8", &[]), ("fd00::/8", &[])]),
        "classifier 1 has prefix fd00::/8 twice"
    );
}

#[test]
fn prefixes_are_listed_with_their_rules() {
    let (a, b) = (
        [(rule(6, 1..=1), decision(1))],
        [(rule(17, 2..=3), decision(2))],
    );
    let list = [
        ("10.0.0.0/8", &a[..]),
        ("10.0.0.0/16", &b[..]),
        ("fd00::/8", &a[..]),
    ];
    let c = Classifier::build(&spec(&list)).unwrap();
    let found: Vec<_> = c
        .prefixes()
        .map(|(net, rules)| (net.to_string(), rules))
        .collect();
    let wanted: Vec<_> = list
        .iter()
        .map(|&(net, rules)| (net.to_owned(), rules))
        .collect();
    assert_eq!(found, wanted);
    assert_eq!((c.len(), c.is_empty(), c.rules.len()), (3, false, 2));
}

#[test]
fn prefixes_that_share_rules_cost_at_most_what_is_stated() {
    let rules = vec![(rule(6, 443..=443), decision(1))];
    let many = |net: &dyn Fn(u32) -> IpNet| {
        let prefixes = (0..1000)
            .map(|i| PrefixSpec {
                prefix: net(i),
                rules: rules.clone(),
            })
            .collect();
        Classifier::build(&ClassifierSpec {
            id: ClassifierId(1),
            prefixes,
        })
        .unwrap()
        .heap_bytes()
    };
    assert!(many(&|i| v4_net(i << 16, 24)) <= 27_000 + 200);
    assert!(many(&|i| v6_net(u128::from(i) << 80, 64)) <= 63_000 + 200);
}

fn any_spec() -> impl Strategy<Value = ClassifierSpec> {
    let rule = (
        prop::sample::select(vec![0u8, 6, 17]),
        0u16..4,
        0u16..4,
        1u32..5,
    )
        .prop_map(|(protocol, a, b, path)| (rule(protocol, a.min(b)..=a.max(b)), decision(path)));
    let net = prop_oneof![
        (0u32..64, 0u8..=32).prop_map(|(a, len)| v4_net(a << 26 | a, len).trunc()),
        (0u128..64, 0u8..=128).prop_map(|(a, len)| v6_net(a << 122 | a, len).trunc()),
    ];
    let prefixes = prop::collection::btree_map(net, prop::collection::vec(rule, 0..4), 0..30);
    prefixes.prop_map(|prefixes| ClassifierSpec {
        id: ClassifierId(1),
        prefixes: prefixes
            .into_iter()
            .map(|(prefix, rules)| PrefixSpec { prefix, rules })
            .collect(),
    })
}

proptest! {
    #[test]
    fn classifies_as_a_scan_does(
        spec in any_spec(),
        to in prop::collection::vec((0u32..64, any::<bool>()), 30),
        protocol in prop::sample::select(vec![1u8, 6, 17]),
        dport in 0u16..5,
    ) {
        let c = Classifier::build(&spec).unwrap();
        for (bits, v4) in to {
            let to: IpAddr = if v4 {
                (bits << 26 | bits).to_be_bytes().into()
            } else {
                (u128::from(bits) << 122 | u128::from(bits)).to_be_bytes().into()
            };
            prop_assert_eq!(c.classify(to, protocol, dport), scan(&spec, to, protocol, dport));
        }
    }
}
