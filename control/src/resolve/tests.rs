use proptest::prelude::*;
use serde_json::{Value, json};
use xsteer_abi::Family;
use xsteer_dataplane::table::spec::{FailurePolicy, ServicePathId};

use super::*;
use crate::api::{decode_chain, decode_selector};
use crate::inventory::{Chain, Namespace, Node, Phase};
use crate::issue::IssueReason;

fn pod(namespace: &str, name: &str, node: &str, last: u8) -> Pod {
    Pod {
        namespace: namespace.into(),
        name: name.into(),
        node: node.into(),
        addresses: vec![[10, 244, 0, last].into()],
        labels: [("app".to_owned(), namespace.to_owned())].into(),
        phase: Phase::Running,
        ready: true,
        ..Pod::default()
    }
}

fn chain(name: &str, id: Option<u32>, extra: Value) -> Chain {
    let mut object = json!({
        "apiVersion": "networking.gke.io/v1", "kind": "ServiceFunctionChain",
        "metadata": {"name": name},
        "spec": {"serviceFunctions": [
            {"name": "fw", "namespace": "fw", "podSelector": {"matchLabels": {"app": "fw"}}},
            {"name": "px", "namespace": "px", "podSelector": {"matchLabels": {"app": "px"}}}
        ]}
    });
    object["spec"]
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let path = id.and_then(ServicePathId::new);
    Chain {
        object: decode_chain(&object).unwrap(),
        path,
        addresses: vec![None, None],
    }
}

fn selector(name: &str, chain: &str, pods: Value, egress: Value) -> TrafficSelectorValue {
    TrafficSelectorValue(json!({
        "apiVersion": "networking.gke.io/v1", "kind": "TrafficSelector",
        "metadata": {"name": name},
        "spec": {
            "serviceFunctionChain": chain,
            "subject": {"pods": {"namespaceSelector": {}, "podSelector": pods}},
            "egress": egress
        }
    }))
}

/// A raw selector, to be changed before it is decoded.
struct TrafficSelectorValue(Value);

impl TrafficSelectorValue {
    fn set(mut self, pointer: &str, key: &str, value: Value) -> Self {
        self.0.pointer_mut(pointer).unwrap()[key] = value;
        self
    }

    fn object(self) -> crate::api::TrafficSelector {
        decode_selector(&self.0).unwrap()
    }
}

fn all_tcp() -> Value {
    json!({"ports": [{"allPorts": {"protocol": "TCP"}}]})
}

fn vpn() -> Value {
    json!({"matchLabels": {"app": "vpn"}})
}

fn inventory() -> Inventory {
    Inventory {
        namespaces: vec![Namespace {
            name: "vpn".into(),
            labels: [("tier".to_owned(), "edge".to_owned())].into(),
        }],
        nodes: vec![
            Node {
                name: "n2".into(),
                ..Node::default()
            },
            Node {
                name: "n1".into(),
                ..Node::default()
            },
        ],
        pods: vec![
            pod("vpn", "vpn-0", "n1", 1),
            pod("fw", "fw-1", "n2", 3),
            pod("fw", "fw-0", "n1", 2),
            pod("px", "px-0", "n2", 4),
        ],
        chains: vec![
            chain("late", Some(9), json!({})),
            chain("main", Some(3), json!({})),
        ],
        selectors: vec![selector("all", "main", vpn(), all_tcp()).object()],
        issues: Vec::new(),
    }
}

fn on_n1(inventory: &Inventory) -> (Intent, Vec<Issue>) {
    resolve(inventory, "n1", &ResolveConfig::default())
}

fn names(function: &FunctionIntent) -> Vec<(&str, bool)> {
    function
        .endpoints
        .iter()
        .map(|e| (e.pod.name.as_str(), e.ready))
        .collect()
}

#[test]
fn a_whole_inventory_becomes_one_intent() {
    let (intent, issues) = on_n1(&inventory());
    assert_eq!(issues, []);
    let ids: Vec<u32> = intent.chains.iter().map(|chain| chain.spi.get()).collect();
    assert_eq!(ids, [3, 9]);
    assert_eq!(
        names(&intent.chains[0].functions[0]),
        [("fw-0", true), ("fw-1", true)]
    );
    assert_eq!(intent.nodes[0].name, "n1");
    assert_eq!(intent.subjects.len(), 1);
    assert_eq!(
        (
            intent.subjects[0].pod.name.as_str(),
            &intent.subjects[0].selectors
        ),
        ("vpn-0", &vec![0])
    );
    let three = ServicePathId::new(3).unwrap();
    let nine = ServicePathId::new(9).unwrap();
    assert_eq!(intent.functions.len(), 1, "only fw-0 is on n1");
    assert_eq!(
        intent.functions[0].serves,
        [(three, 2), (nine, 2)],
        "first of two is SI 2"
    );
    assert_eq!(intent.selectors[0].path, Some(three));
    let prefixes: Vec<String> = intent.selectors[0]
        .prefixes
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(prefixes, ["0.0.0.0/0", "::/0"]);
}

#[test]
fn the_state_of_a_pod_decides_whether_it_serves() {
    type Change = fn(&mut Pod);
    type Serving = &'static [(&'static str, bool)];
    let cases: [(&str, Change, Serving, bool); 7] = [
        ("not ready", |p| p.ready = false, &[], true),
        (
            "terminating, serving",
            |p| p.terminating = true,
            &[("fw-0", false)],
            true,
        ),
        (
            "terminating, not ready",
            |p| (p.terminating, p.ready) = (true, false),
            &[],
            true,
        ),
        ("ended", |p| p.phase = Phase::Ended, &[], false),
        ("pending", |p| p.phase = Phase::Pending, &[], false),
        ("host network", |p| p.host_network = true, &[], false),
        ("no address", |p| p.addresses.clear(), &[], false),
    ];
    for (case, change, serving, is_port) in cases {
        let mut inventory = inventory();
        inventory.pods.retain(|pod| pod.name != "fw-1");
        change(
            inventory
                .pods
                .iter_mut()
                .find(|pod| pod.name == "fw-0")
                .unwrap(),
        );
        let (intent, _) = on_n1(&inventory);
        assert_eq!(names(&intent.chains[0].functions[0]), serving, "{case}");
        assert_eq!(!intent.functions.is_empty(), is_port, "{case}");
    }
}

#[test]
fn a_pod_that_ended_or_uses_the_host_network_is_no_subject() {
    let changes: [fn(&mut Pod); 3] = [
        |pod| pod.phase = Phase::Ended,
        |pod| pod.host_network = true,
        |pod| pod.labels.clear(),
    ];
    for change in changes {
        let mut inventory = inventory();
        change(&mut inventory.pods[0]);
        assert_eq!(on_n1(&inventory).0.subjects, []);
    }
}

#[test]
fn the_traffic_policy_chooses_the_pods() {
    let policy = |word: &str| json!({"internalTrafficPolicy": word});
    for (word, ready_here, want) in [
        ("Cluster", true, &["fw-0", "fw-1"][..]),
        ("Local", true, &["fw-0"]),
        ("Local", false, &[]),
        ("PreferLocal", true, &["fw-0"]),
        ("PreferLocal", false, &["fw-1"]),
    ] {
        let mut inventory = inventory();
        inventory.chains = vec![chain("main", Some(3), policy(word))];
        inventory.pods[2].ready = ready_here;
        let (intent, _) = on_n1(&inventory);
        let got: Vec<&str> = names(&intent.chains[0].functions[0])
            .iter()
            .map(|n| n.0)
            .collect();
        assert_eq!(got, want, "{word} {ready_here}");
    }
}

#[test]
fn a_missing_chain_means_pass_unless_the_selector_is_closed() {
    for (policy, programmed) in [(None, false), (Some("Open"), false), (Some("Closed"), true)] {
        for chains in [vec![], vec![chain("main", None, json!({}))]] {
            let mut inventory = inventory();
            inventory.chains = chains;
            let mut raw = selector("all", "main", vpn(), all_tcp());
            if let Some(policy) = policy {
                raw = raw.set("/spec", "failurePolicy", json!(policy));
            }
            inventory.selectors = vec![raw.object()];
            let (intent, issues) = on_n1(&inventory);
            assert_eq!(issues[0].reason, IssueReason::ChainNotFound);
            assert_eq!(
                intent.selectors.len(),
                usize::from(programmed),
                "{policy:?}"
            );
            if programmed {
                let rule = intent.selectors[0].rules(Family::V4)[0];
                assert_eq!(rule.action, xsteer_abi::maps::ACTION_DROP);
                assert_eq!(intent.subjects[0].selectors, [0]);
            }
        }
    }
}

#[test]
fn the_selectors_policy_goes_before_the_chains() {
    for (own, chains, want) in [
        (None, json!({}), FailurePolicy::Closed),
        (None, json!({"failurePolicy": "Open"}), FailurePolicy::Open),
        (
            Some("Closed"),
            json!({"failurePolicy": "Open"}),
            FailurePolicy::Closed,
        ),
        (Some("Open"), json!({}), FailurePolicy::Open),
    ] {
        let mut inventory = inventory();
        inventory.chains = vec![chain("main", Some(3), chains)];
        if let Some(own) = own {
            let raw = selector("all", "main", vpn(), all_tcp());
            inventory.selectors = vec![raw.set("/spec", "failurePolicy", json!(own)).object()];
        }
        assert_eq!(on_n1(&inventory).0.selectors[0].policy, want);
    }
}

#[test]
fn rules_are_of_the_family_and_the_most_specific_first() {
    let ports = json!({"ports": [
        {"allPorts": {"protocol": "ICMP"}},
        {"portNumber": {"port": 80, "endPort": 90, "protocol": "SCTP"}},
        {"portNumber": {"port": 443, "protocol": "UDP"}},
        {"allPorts": {"protocol": "Any"}}
    ]});
    let mut inventory = inventory();
    inventory.selectors = vec![selector("all", "main", vpn(), ports).object()];
    let (intent, _) = on_n1(&inventory);
    let rules = |family| -> Vec<(u8, u16, u16)> {
        let rules = intent.selectors[0].rules(family);
        rules
            .iter()
            .map(|rule| (rule.protocol, rule.first_port, rule.last_port))
            .collect()
    };
    assert_eq!(
        rules(Family::V4),
        [(17, 443, 443), (132, 80, 90), (1, 0, 65535), (0, 0, 65535)]
    );
    assert_eq!(rules(Family::V6)[2], (58, 0, 65535));
}

#[test]
fn precedence_is_path_then_age_then_name_and_the_loser_hears_by_whom() {
    let old = json!("2024-01-01T00:00:00Z");
    let new = json!("2025-01-01T00:00:00Z");
    let make = |name: &str, chain: &str, created: &Value| {
        let raw = selector(name, chain, vpn(), all_tcp());
        raw.set("/metadata", "creationTimestamp", created.clone())
            .object()
    };
    let mut inventory = inventory();
    inventory.selectors = vec![
        make("a-late", "late", &old),
        make("b-new", "main", &new),
        make("d-old", "main", &old),
        make("c-old", "main", &old),
    ];
    let (intent, issues) = on_n1(&inventory);
    let order: Vec<&str> = intent.selectors.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(order, ["c-old", "d-old", "b-new", "a-late"]);
    assert_eq!(issues.len(), 3);
    assert!(
        issues
            .iter()
            .all(|issue| issue.reason == IssueReason::Conflict
                && issue.message.contains("TrafficSelector/c-old"))
    );
}

#[test]
fn what_does_not_overlap_is_no_conflict() {
    let to = |cidr: &str| json!({"to": {"ipBlock": {"cidr": cidr}}, "ports": [{"allPorts": {"protocol": "TCP"}}]});
    let port = |port: u16| json!({"ports": [{"portNumber": {"port": port, "protocol": "TCP"}}]});
    let udp = json!({"ports": [{"allPorts": {"protocol": "UDP"}}]});
    let px = json!({"matchLabels": {"app": "px"}});
    for (a, b, pods, conflict) in [
        (all_tcp(), all_tcp(), vpn(), true),
        (all_tcp(), to("0.0.0.0/0"), vpn(), true),
        (all_tcp(), to("10.0.0.0/8"), vpn(), false),
        (all_tcp(), udp, vpn(), false),
        (all_tcp(), port(443), vpn(), false),
        (port(443), port(443), vpn(), true),
        (port(443), port(80), vpn(), false),
        (all_tcp(), all_tcp(), px, false),
        (all_tcp(), all_tcp(), json!({}), true),
    ] {
        let mut inventory = inventory();
        inventory.selectors = vec![
            selector("a", "main", vpn(), a.clone()).object(),
            selector("b", "main", pods, b.clone()).object(),
        ];
        assert_eq!(on_n1(&inventory).1.len(), usize::from(conflict), "{a} {b}");
    }
}

#[test]
fn namespace_labels_count_declared_or_not() {
    for (namespaces, want) in [
        (
            json!({"matchLabels": {"kubernetes.io/metadata.name": "fw"}}),
            vec!["fw-0"],
        ),
        (json!({"matchLabels": {"tier": "edge"}}), vec!["vpn-0"]),
        (
            json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
            vec!["fw-0"],
        ),
    ] {
        let mut inventory = inventory();
        let raw = selector("all", "main", json!({}), all_tcp());
        inventory.selectors = vec![
            raw.set("/spec/subject/pods", "namespaceSelector", namespaces)
                .object(),
        ];
        let (intent, _) = on_n1(&inventory);
        let got: Vec<&str> = intent
            .subjects
            .iter()
            .map(|s| s.pod.name.as_str())
            .collect();
        assert_eq!(got, want);
    }
}

proptest! {
    #[test]
    fn the_order_of_the_inventory_does_not_matter(
        pods in Just(inventory().pods).prop_shuffle(),
        nodes in Just(inventory().nodes).prop_shuffle(),
        chains in Just(inventory().chains).prop_shuffle(),
        selectors in Just(vec![
            selector("a", "main", vpn(), all_tcp()).object(),
            selector("b", "late", json!({}), all_tcp()).object(),
            selector("c", "gone", json!({}), all_tcp()).object(),
            selector("d", "main", json!({}), all_tcp()).object(),
        ]).prop_shuffle(),
    ) {
        let mut sorted = inventory();
        sorted.selectors = selectors.clone();
        sorted.selectors.sort_by_key(|s| s.metadata.name.clone());
        let shuffled = Inventory { pods, nodes, chains, selectors, ..sorted.clone() };
        prop_assert_eq!(on_n1(&sorted), on_n1(&shuffled));
    }
}
