//! Strict decoding of raw objects: every rule of the API is checked on the raw value, everything
//! that is wrong is reported, and only what is right becomes a typed object.

mod chain;
mod labels;
mod selector;
mod walk;

#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(crate) use self::walk::nearest;
use self::walk::{At, Shape, Walk};
use super::{API_VERSION, CHAIN, SELECTOR, ServiceFunctionChain, TrafficSelector};
use crate::api::labels as syntax;
use crate::issue::{Issue, IssueReason, ObjectRef};

/// Decodes a `ServiceFunctionChain`.
///
/// # Errors
/// All that is wrong with it; never empty.
pub fn chain(value: &Value) -> Result<ServiceFunctionChain, Vec<Issue>> {
    decode(value, CHAIN, chain::spec)
}

/// Decodes a `TrafficSelector`.
///
/// # Errors
/// All that is wrong with it; never empty.
pub fn selector(value: &Value) -> Result<TrafficSelector, Vec<Issue>> {
    decode(value, SELECTOR, selector::spec)
}

/// Names the object that a raw value holds, as well as it can be named.
#[must_use]
pub fn object_ref(value: &Value) -> ObjectRef {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let metadata = value.get("metadata");
    let name = text(metadata.and_then(|metadata| metadata.get("name")));
    ObjectRef {
        kind: text(value.get("kind")),
        namespace: text(metadata.and_then(|metadata| metadata.get("namespace"))),
        name: if name.is_empty() {
            "(no name)".to_owned()
        } else {
            name
        },
    }
}

const ROOT: Shape = Shape {
    known: &["apiVersion", "kind", "metadata", "spec", "status"],
    required: &["metadata", "spec"],
    example: "write apiVersion, kind, metadata and spec",
    slip: |_| None,
};

fn decode<T: DeserializeOwned>(
    value: &Value,
    kind: &str,
    spec: fn(&mut Walk, &At),
) -> Result<T, Vec<Issue>> {
    let mut walk = Walk::new(ObjectRef {
        kind: kind.to_owned(),
        ..cluster_scoped(value)
    });
    if let Some(root) = walk.fields(&At::root(value), &ROOT) {
        type_meta(&mut walk, value, kind);
        if let Some(metadata) = root.get("metadata") {
            name(&mut walk, &metadata);
        }
        if let Some(at) = root.get("spec") {
            spec(&mut walk, &at);
        }
    }
    let object = walk.object().clone();
    let issues = walk.finish();
    if !issues.is_empty() {
        return Err(issues);
    }
    serde_json::from_value(value.clone()).map_err(|error| {
        let mut walk = Walk::new(object);
        let mend = "mend it as Kubernetes' API reference says";
        walk.error("metadata", IssueReason::WrongType, error.to_string(), mend);
        walk.finish()
    })
}

fn cluster_scoped(value: &Value) -> ObjectRef {
    ObjectRef {
        namespace: String::new(),
        ..object_ref(value)
    }
}

fn type_meta(walk: &mut Walk, value: &Value, kind: &str) {
    for (field, want) in [("apiVersion", API_VERSION), ("kind", kind)] {
        if value.get(field).and_then(Value::as_str) != Some(want) {
            let message = format!("is not {want}");
            walk.error(
                field,
                IssueReason::UnknownKind,
                message,
                format!("write {field}: {want}"),
            );
        }
    }
}

fn name(walk: &mut Walk, metadata: &At) {
    let Some(map) = metadata.value.as_object() else {
        walk.wrong_type(metadata, "an object", "write metadata: {name: …}");
        return;
    };
    match map.get("name") {
        None | Some(Value::Null) => {
            let mend = "write metadata: {name: …}";
            walk.error(
                "metadata.name",
                IssueReason::MissingField,
                "is missing",
                mend,
            );
        }
        Some(value) => {
            let at = metadata.child("name", value);
            let valid = |text: &str| syntax::is_subdomain(text);
            walk.syntax(
                &at,
                valid,
                "lowercase letters, digits, '-' and '.', at most 253",
            );
        }
    }
}

/// The user's own keys, written in flow style, where all values are scalars.
fn flow_map(map: &Map<String, Value>) -> Option<String> {
    let pair = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            Value::String(text) => text.clone(),
            Value::Number(number) => format!("\"{number}\""),
            Value::Bool(flag) => format!("\"{flag}\""),
            _ => return None,
        };
        Some(format!("{key}: {value}"))
    };
    let pairs: Option<Vec<String>> = map.iter().map(pair).collect();
    pairs.map(|pairs| format!("{{{}}}", pairs.join(", ")))
}
