use serde_json::{Value, json};

use super::*;

fn good_chain() -> Value {
    json!({
        "apiVersion": "networking.gke.io/v1", "kind": "ServiceFunctionChain",
        "metadata": {"name": "firewall"},
        "spec": {"serviceFunctions": [
            {"name": "fw", "namespace": "firewall", "podSelector": {"matchLabels": {"app": "fw"}}}
        ]}
    })
}

fn good_selector() -> Value {
    json!({
        "apiVersion": "networking.gke.io/v1", "kind": "TrafficSelector",
        "metadata": {"name": "to-firewall"},
        "spec": {
            "serviceFunctionChain": "firewall",
            "subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "vpn"}}}},
            "egress": {"to": {"ipBlock": {"cidr": "10.0.0.0/8"}}, "ports": [{"allPorts": {"protocol": "TCP"}}]}
        }
    })
}

/// `value` with `new` at a JSON pointer; a new key or list item is added.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = new,
        parent => parent[key] = new,
    }
    value
}

fn without(mut value: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    value
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(key)
        .unwrap();
    value
}

fn assert_names(issues: &[Issue], field: &str, mend: &str) {
    let hit = issues
        .iter()
        .any(|issue| issue.field == field && issue.mend.contains(mend));
    let lines: Vec<String> = issues.iter().map(ToString::to_string).collect();
    assert!(hit, "no issue at {field} with {mend:?} in {lines:#?}");
}

#[test]
fn every_malformed_chain_is_refused_with_field_and_mend() {
    let f = "/spec/serviceFunctions/0";
    let function = |name: &str| json!({"name": name, "namespace": "n", "podSelector": {"matchLabels": {"a": "b"}}});
    let many: Vec<Value> = (0..17).map(|i| function(&format!("f{i}"))).collect();
    let client = "/spec/sessionAffinity";
    for (pointer, value, field, mend) in [
        ("/spec", json!(null), "spec", "serviceFunctions"),
        ("/spec", json!([]), "spec", "serviceFunctions"),
        ("/spek", json!({}), "spek", "did you mean spec"),
        ("/metadata", json!(null), "metadata", "name"),
        ("/metadata", json!({}), "metadata.name", "name"),
        (
            "/metadata",
            json!({"name": "Fire_wall"}),
            "metadata.name",
            "lowercase",
        ),
        ("/metadata", json!({"name": 1}), "metadata.name", "quote it"),
        (
            "/apiVersion",
            json!("networking.gke.io/v2"),
            "apiVersion",
            "networking.gke.io/v1",
        ),
        (
            "/spec/serviceFunctions",
            json!([]),
            "spec.serviceFunctions",
            "1 to 16",
        ),
        (
            "/spec/serviceFunctions",
            json!(many),
            "spec.serviceFunctions",
            "1 to 16",
        ),
        (
            "/spec/serviceFunctions",
            json!({}),
            "spec.serviceFunctions",
            "a list",
        ),
        (f, json!(null), "spec.serviceFunctions[0]", "namespace"),
        (
            "/spec/serviceFunctions",
            json!([function("a"), function("a")]),
            "spec.serviceFunctions[1].name",
            "its own name",
        ),
        (
            "/spec/serviceFunctions/0/name",
            json!("9a"),
            "spec.serviceFunctions[0].name",
            "letter",
        ),
        (
            "/spec/serviceFunctions/0/name",
            json!("a".repeat(64)),
            "spec.serviceFunctions[0].name",
            "63",
        ),
        (
            "/spec/serviceFunctions/0/namespace",
            json!(""),
            "spec.serviceFunctions[0].namespace",
            "63",
        ),
        (
            "/spec/serviceFunctions/0/namespaceSelector",
            json!({}),
            "spec.serviceFunctions[0].namespaceSelector",
            "namespace:",
        ),
        (
            "/spec/serviceFunctions/0/podSelector",
            json!({"app": "fw"}),
            "spec.serviceFunctions[0].podSelector.app",
            "podSelector: {matchLabels: {app: fw}}",
        ),
        (
            "/spec/serviceFunctions/0/podSelector",
            json!({}),
            "spec.serviceFunctions[0].podSelector.matchLabels",
            "at least one",
        ),
        (
            "/spec/serviceFunctions/0/podSelector",
            json!({"matchLabels": {}}),
            "spec.serviceFunctions[0].podSelector.matchLabels",
            "at least one",
        ),
        (
            "/spec/serviceFunctions/0/podSelector",
            json!({"matchLabels": null}),
            "spec.serviceFunctions[0].podSelector.matchLabels",
            "at least one",
        ),
        (
            "/spec/serviceFunctions/0/podSelector/matchExpressions",
            json!([]),
            "spec.serviceFunctions[0].podSelector.matchExpressions",
            "matchLabels alone",
        ),
        (
            client,
            json!({}),
            "spec.sessionAffinity.clientIpNoDestination",
            "clientIpNoDestination: {}",
        ),
        (
            client,
            json!(null),
            "spec.sessionAffinity",
            "clientIpNoDestination: {}",
        ),
        (
            client,
            json!({"clientIpNoDestination": null}),
            "spec.sessionAffinity.clientIpNoDestination",
            "10800",
        ),
        (
            client,
            json!({"clientIpNoDestination": {}, "clientIPNoDestination": {}}),
            "spec.sessionAffinity",
            "keep one",
        ),
        (
            client,
            json!({"timeoutSeconds": 3}),
            "spec.sessionAffinity.timeoutSeconds",
            "move it into",
        ),
        (
            client,
            json!({"clientIPNoDestination": {"timeoutSeconds": 0}}),
            "spec.sessionAffinity.clientIPNoDestination.timeoutSeconds",
            "1 to 86400",
        ),
        (
            client,
            json!({"clientIpNoDestination": {"timeoutSeconds": 86401}}),
            "spec.sessionAffinity.clientIpNoDestination.timeoutSeconds",
            "1 to 86400",
        ),
        (
            client,
            json!({"clientIpNoDestination": {"timeoutSeconds": "60"}}),
            "spec.sessionAffinity.clientIpNoDestination.timeoutSeconds",
            "a number",
        ),
        (
            "/spec/internalTrafficPolicy",
            json!("local"),
            "spec.internalTrafficPolicy",
            "did you mean Local",
        ),
        (
            "/spec/failurePolicy",
            json!("Fail"),
            "spec.failurePolicy",
            "failurePolicy: Closed",
        ),
        (
            "/spec/failurePolicy",
            json!(null),
            "spec.failurePolicy",
            "remove the field",
        ),
        (
            "/spec/failurePolcy",
            json!("Open"),
            "spec.failurePolcy",
            "failurePolicy",
        ),
    ] {
        let issues = chain(&with(good_chain(), pointer, value)).unwrap_err();
        assert_names(&issues, field, mend);
    }
}

#[test]
fn every_malformed_selector_is_refused_with_field_and_mend() {
    let pods = "/spec/subject/pods/podSelector";
    let cidr = "/spec/egress/to/ipBlock/cidr";
    let block = "/spec/egress/to/ipBlock";
    let port = "/spec/egress/ports/0";
    let all = |n: usize| Value::from(vec![json!({"allPorts": {"protocol": "TCP"}}); n]);
    for (pointer, value, field, mend) in [
        ("/spec/ingress", json!({}), "spec.ingress", "egress"),
        ("/spec/ingress", json!(null), "spec.ingress", "egress"),
        (
            "/spec/serviceFunctionChain",
            json!("A b"),
            "spec.serviceFunctionChain",
            "ServiceFunctionChain",
        ),
        (
            "/spec/failurePolicy",
            json!("open"),
            "spec.failurePolicy",
            "did you mean Open",
        ),
        (
            "/spec/subject",
            json!({}),
            "spec.subject.pods",
            "podSelector",
        ),
        ("/spec/subject", json!(null), "spec.subject", "podSelector"),
        (
            "/spec/subject/network",
            json!("blue"),
            "spec.subject.network",
            "default",
        ),
        (
            "/spec/subject/podSelector",
            json!({}),
            "spec.subject.podSelector",
            "move it into pods",
        ),
        (
            pods,
            json!(null),
            "spec.subject.pods.podSelector",
            "{} for all",
        ),
        (
            pods,
            json!("vpn"),
            "spec.subject.pods.podSelector",
            "{} for all",
        ),
        (
            pods,
            json!({"matchLabels": {}}),
            "spec.subject.pods.podSelector.matchLabels",
            "podSelector: {} for all",
        ),
        (
            pods,
            json!({"matchLabels": null}),
            "spec.subject.pods.podSelector.matchLabels",
            "podSelector: {} for all",
        ),
        (
            pods,
            json!({"app": "firewall"}),
            "spec.subject.pods.podSelector.app",
            "write it as podSelector: {matchLabels: {app: firewall}}",
        ),
        (
            pods,
            json!({"app": "x", "matchLabels": {"tier": "y"}}),
            "spec.subject.pods.podSelector.app",
            "{matchLabels: {app: x, tier: y}}",
        ),
        (
            pods,
            json!({"matchLabel": {"app": "x"}}),
            "spec.subject.pods.podSelector.matchLabel",
            "did you mean matchLabels",
        ),
        (
            pods,
            json!({"matchLabels": {"app": 1}}),
            "spec.subject.pods.podSelector.matchLabels.app",
            "quote it: \"1\"",
        ),
        (
            pods,
            json!({"matchLabels": {"-app": "x"}}),
            "spec.subject.pods.podSelector.matchLabels.-app",
            "DNS prefix",
        ),
        (
            pods,
            json!({"matchLabels": {"app": "-"}}),
            "spec.subject.pods.podSelector.matchLabels.app",
            "at most 63",
        ),
        (
            pods,
            json!({"matchExpressions": []}),
            "spec.subject.pods.podSelector.matchExpressions",
            "1 to 16",
        ),
        (
            pods,
            json!({"matchExpressions": null}),
            "spec.subject.pods.podSelector.matchExpressions",
            "a list",
        ),
        (
            pods,
            json!({"matchExpressions": [{"key": "a"}]}),
            "spec.subject.pods.podSelector.matchExpressions[0].operator",
            "operator: In",
        ),
        (
            pods,
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "spec.subject.pods.podSelector.matchExpressions[0].values",
            "operator: In",
        ),
        (
            pods,
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}),
            "spec.subject.pods.podSelector.matchExpressions[0].values",
            "1 to 32",
        ),
        (
            pods,
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            "spec.subject.pods.podSelector.matchExpressions[0].values",
            "remove values",
        ),
        (
            pods,
            json!({"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]}),
            "spec.subject.pods.podSelector.matchExpressions[0].operator",
            "did you mean In",
        ),
        ("/spec/egress", json!(null), "spec.egress", "ports"),
        ("/spec/egress", json!({}), "spec.egress.ports", "allPorts"),
        (
            "/spec/egress/too",
            json!({}),
            "spec.egress.too",
            "did you mean to",
        ),
        (
            "/spec/egress/ipBlock",
            json!({}),
            "spec.egress.ipBlock",
            "to: {ipBlock",
        ),
        (
            "/spec/egress/to",
            json!(null),
            "spec.egress.to",
            "remove to",
        ),
        (
            "/spec/egress/to",
            json!({}),
            "spec.egress.to.ipBlock",
            "remove to",
        ),
        (
            "/spec/egress/to",
            json!({"cidr": "10.0.0.0/8"}),
            "spec.egress.to.cidr",
            "ipBlock",
        ),
        (block, json!(null), "spec.egress.to.ipBlock", "cidr"),
        (block, json!({}), "spec.egress.to.ipBlock.cidr", "cidr"),
        (
            cidr,
            json!("10.0.0.1/8"),
            "spec.egress.to.ipBlock.cidr",
            "write 10.0.0.0/8",
        ),
        (
            cidr,
            json!("fd00::1/8"),
            "spec.egress.to.ipBlock.cidr",
            "write fd00::/8",
        ),
        (
            cidr,
            json!("10.0.0.1"),
            "spec.egress.to.ipBlock.cidr",
            "write 10.0.0.1/32",
        ),
        (
            cidr,
            json!("all"),
            "spec.egress.to.ipBlock.cidr",
            "10.0.0.0/8",
        ),
        (
            cidr,
            json!("::ffff:10.0.0.0/104"),
            "spec.egress.to.ipBlock.cidr",
            "IPv4",
        ),
        (
            "/spec/egress/to/ipBlock/except",
            json!(["192.168.0.0/16"]),
            "spec.egress.to.ipBlock.except[0]",
            "inside 10.0.0.0/8",
        ),
        (
            "/spec/egress/to/ipBlock/except",
            json!(["fd00::/8"]),
            "spec.egress.to.ipBlock.except[0]",
            "inside 10.0.0.0/8",
        ),
        (
            "/spec/egress/to/ipBlock/except",
            json!("10.1.0.0/16"),
            "spec.egress.to.ipBlock.except",
            "except: [",
        ),
        (
            "/spec/egress/ports",
            json!([]),
            "spec.egress.ports",
            "1 to 10",
        ),
        (
            "/spec/egress/ports",
            all(11),
            "spec.egress.ports",
            "1 to 10",
        ),
        (
            "/spec/egress/ports",
            json!(null),
            "spec.egress.ports",
            "a list",
        ),
        (
            port,
            json!({}),
            "spec.egress.ports[0]",
            "allPorts: {protocol: TCP}",
        ),
        (
            port,
            json!({"allPorts": null, "protocol": "UDP"}),
            "spec.egress.ports[0].protocol",
            "allPorts: {protocol: UDP}",
        ),
        (
            port,
            json!({"allPorts": null, "protocol": "UDP"}),
            "spec.egress.ports[0].allPorts",
            "allPorts: {protocol:",
        ),
        (
            port,
            json!({"port": 443, "protocol": "TCP"}),
            "spec.egress.ports[0].port",
            "portNumber: {port: 443, protocol: TCP}",
        ),
        (
            port,
            json!({"allPorts": {"protocol": "TCP"}, "portNumber": {"port": 1, "protocol": "TCP"}}),
            "spec.egress.ports[0]",
            "two items",
        ),
        (
            port,
            json!({"allPorts": {}}),
            "spec.egress.ports[0].allPorts.protocol",
            "protocol: TCP",
        ),
        (
            port,
            json!({"allPorts": {"protocol": "tcp"}}),
            "spec.egress.ports[0].allPorts.protocol",
            "did you mean TCP",
        ),
        (
            port,
            json!({"allPorts": {"protocol": "TCP", "port": 1}}),
            "spec.egress.ports[0].allPorts.port",
            "portNumber",
        ),
        (
            port,
            json!({"portNumber": {"port": 0, "protocol": "TCP"}}),
            "spec.egress.ports[0].portNumber.port",
            "1 to 65535",
        ),
        (
            port,
            json!({"portNumber": {"port": "443", "protocol": "TCP"}}),
            "spec.egress.ports[0].portNumber.port",
            "1 to 65535",
        ),
        (
            port,
            json!({"portNumber": {"port": 9, "endPort": 8, "protocol": "TCP"}}),
            "spec.egress.ports[0].portNumber.endPort",
            "port: 8 and endPort: 9",
        ),
        (
            port,
            json!({"portNumber": {"port": 9, "protocol": "ICMP"}}),
            "spec.egress.ports[0].portNumber.protocol",
            "allPorts",
        ),
    ] {
        let issues = selector(&with(good_selector(), pointer, value)).unwrap_err();
        assert_names(&issues, field, mend);
    }
}

#[test]
fn every_required_field_is_missed() {
    for pointer in [
        "/spec",
        "/metadata",
        "/spec/serviceFunctionChain",
        "/spec/subject",
        "/spec/subject/pods/podSelector",
        "/spec/subject/pods/namespaceSelector",
        "/spec/egress",
        "/spec/egress/ports",
    ] {
        let issues = selector(&without(good_selector(), pointer)).unwrap_err();
        let field = pointer[1..].replace('/', ".");
        assert_names(&issues, &field, "write");
        assert_eq!(issues[0].reason, IssueReason::MissingField);
    }
}

#[test]
fn all_issues_of_an_object_are_reported_at_once() {
    let mut object = with(
        good_selector(),
        "/spec/subject/pods/podSelector",
        json!(null),
    );
    object = with(object, "/spec/egress/to/ipBlock/cidr", json!("10.0.0.1/8"));
    object = with(object, "/spec/failurePolicy", json!("Maybe"));
    let issues = selector(&object).unwrap_err();
    assert_eq!(issues.len(), 3, "{issues:?}");
    assert!(
        issues
            .iter()
            .all(|issue| issue.object.to_string() == "TrafficSelector/to-firewall")
    );
}

#[test]
fn an_issue_is_one_line_with_object_field_and_mend() {
    let slip = with(
        good_selector(),
        "/spec/subject/pods/podSelector",
        json!({"app": "firewall"}),
    );
    assert_eq!(
        selector(&slip).unwrap_err()[0].to_string(),
        "TrafficSelector/to-firewall: spec.subject.pods.podSelector.app: unknown field; \
         write it as podSelector: {matchLabels: {app: firewall}}"
    );
}

#[test]
fn both_spellings_of_affinity_and_all_optional_fields_are_taken() {
    for (affinity, seconds) in [
        (json!({"clientIpNoDestination": {}}), 10_800),
        (
            json!({"clientIPNoDestination": {"timeoutSeconds": 86_400}}),
            86_400,
        ),
        (json!({"clientIpNoDestination": {"timeoutSeconds": 1}}), 1),
    ] {
        let object = chain(&with(good_chain(), "/spec/sessionAffinity", affinity)).unwrap();
        assert_eq!(
            object.spec.affinity(),
            Some(std::time::Duration::from_secs(seconds))
        );
    }
    assert_eq!(chain(&good_chain()).unwrap().spec.affinity(), None);
    let object = with(good_selector(), "/spec/subject/network", json!("default"));
    let object = with(object, "/spec/failurePolicy", json!("Open"));
    let object = with(
        object,
        "/spec/egress/to/ipBlock/except",
        json!(["10.1.0.0/16"]),
    );
    let object = with(object, "/status", json!({"conditions": []}));
    let ports = json!([{"portNumber": {"port": 80, "endPort": 80, "protocol": "Any"}}]);
    let object = selector(&with(object, "/spec/egress/ports", ports)).unwrap();
    assert_eq!(
        object.spec.egress.to.unwrap().ip_block.except,
        ["10.1.0.0/16"]
    );
}

#[test]
fn a_null_creation_timestamp_is_what_kubectl_prints() {
    let object = with(good_chain(), "/metadata/creationTimestamp", json!(null));
    assert!(chain(&object).is_ok());
    let object = with(
        good_chain(),
        "/metadata/creationTimestamp",
        json!("yesterday"),
    );
    assert_names(&chain(&object).unwrap_err(), "metadata", "API reference");
}
