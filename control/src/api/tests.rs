use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;

fn schemas() -> [Value; 2] {
    [ServiceFunctionChain::crd(), TrafficSelector::crd()]
        .map(|crd| serde_json::to_value(crd).unwrap())
}

/// Calls `visit` on every object inside `value`.
fn walk(value: &Value, visit: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(map);
            map.values().for_each(|value| walk(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[test]
fn both_kinds_are_cluster_scoped_with_a_status_subresource() {
    for (crd, names) in schemas().iter().zip([
        ("servicefunctionchains.networking.gke.io", "sfc"),
        ("trafficselectors.networking.gke.io", "tsel"),
    ]) {
        assert_eq!(crd["metadata"]["name"], names.0);
        assert_eq!(crd["spec"]["names"]["shortNames"], json!([names.1]));
        assert_eq!(crd["spec"]["scope"], "Cluster");
        assert_eq!(
            crd["spec"]["versions"][0]["subresources"]["status"],
            json!({})
        );
    }
}

#[test]
fn the_schema_has_no_default_and_no_unsigned_format() {
    for crd in schemas() {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert!(schema.is_object());
        walk(schema, &mut |map| {
            assert!(!map.contains_key("default"), "{map:?}");
            let format = map
                .get("format")
                .and_then(Value::as_str)
                .unwrap_or_default();
            assert!(!format.starts_with('u'), "{map:?}");
        });
    }
}

#[test]
fn unknown_keys_survive_to_be_counted() {
    let [chain, selector] = schemas();
    let root = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    for (crd, path) in [
        (&selector, "/subject/properties/pods/properties/podSelector"),
        (
            &selector,
            "/subject/properties/pods/properties/namespaceSelector",
        ),
        (&selector, "/egress"),
        (&selector, "/egress/properties/to/properties/ipBlock"),
        (&selector, "/egress/properties/ports/items"),
    ] {
        let schema = crd.pointer(&format!("{root}{path}")).expect(path);
        assert_eq!(
            schema["x-kubernetes-preserve-unknown-fields"], true,
            "{path}"
        );
        assert!(schema["oneOf"].is_array(), "{path}: {schema}");
    }
    let path = "/serviceFunctions/items/properties/podSelector";
    let schema = chain.pointer(&format!("{root}{path}")).expect(path);
    assert_eq!(schema["maxProperties"], 1);
    assert_eq!(schema["required"], json!(["matchLabels"]));
}
