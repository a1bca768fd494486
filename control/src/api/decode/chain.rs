//! `spec` of a `ServiceFunctionChain`, raw.

use std::collections::HashSet;

use super::labels;
use super::walk::{At, Shape, Walk};
use crate::api::labels::{is_dns1035_label, is_dns1123_label};
use crate::issue::IssueReason;

const SPEC: Shape = Shape {
    known: &[
        "serviceFunctions",
        "sessionAffinity",
        "internalTrafficPolicy",
        "failurePolicy",
    ],
    required: &["serviceFunctions"],
    example: "write spec: {serviceFunctions: [{name: …, namespace: …, podSelector: …}]}",
    slip: |_| None,
};

const FUNCTION: Shape = Shape {
    known: &["name", "namespace", "podSelector"],
    required: &["name", "namespace", "podSelector"],
    example: "write {name: …, namespace: …, podSelector: {matchLabels: {…}}}",
    slip: |slip| match slip.key {
        "namespaceSelector" => Some("write namespace: and the name of one namespace".into()),
        "matchLabels" => Some("move it into podSelector: {matchLabels: …}".into()),
        _ => None,
    },
};

const AFFINITY: Shape = Shape {
    known: &["clientIpNoDestination", "clientIPNoDestination"],
    required: &[],
    example: "write sessionAffinity: {clientIpNoDestination: {}}",
    slip: |slip| match slip.key {
        "timeoutSeconds" => Some("move it into clientIpNoDestination: {timeoutSeconds: …}".into()),
        "clientIP" | "clientIp" => Some("write clientIpNoDestination: {}".into()),
        _ => None,
    },
};

const CLIENT_IP: Shape = Shape {
    known: &["timeoutSeconds"],
    required: &[],
    example: "write clientIpNoDestination: {} for 10800 seconds, or {timeoutSeconds: …}",
    slip: |_| None,
};

pub(super) fn spec(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &SPEC) else {
        return;
    };
    if let Some(list) = fields.get("serviceFunctions") {
        functions(walk, &list);
    }
    if let Some(affinity) = fields.get("sessionAffinity") {
        session_affinity(walk, &affinity);
    }
    if let Some(policy) = fields.get("internalTrafficPolicy") {
        walk.choice(&policy, &["Cluster", "Local", "PreferLocal"]);
    }
    if let Some(policy) = fields.get("failurePolicy") {
        walk.choice(&policy, &["Closed", "Open"]);
    }
}

fn functions(walk: &mut Walk, at: &At) {
    let mut names = HashSet::new();
    for item in walk.list(at, 1..=16, "write a list of {name, namespace, podSelector}") {
        let Some(fields) = walk.fields(&item, &FUNCTION) else {
            continue;
        };
        if let Some(at) = fields.get("name") {
            let rule = "1 to 63 lowercase letters, digits and '-', beginning with a letter";
            let name = walk.syntax(&at, is_dns1035_label, rule);
            if let Some(name) = name.filter(|&name| !names.insert(name)) {
                let message = format!("\"{name}\" names two functions of the chain");
                let mend = "give each function its own name";
                walk.error(&at.path, IssueReason::Duplicate, message, mend);
            }
        }
        if let Some(at) = fields.get("namespace") {
            walk.syntax(
                &at,
                is_dns1123_label,
                "1 to 63 lowercase letters, digits and '-'",
            );
        }
        if let Some(at) = fields.get("podSelector") {
            labels::function(walk, &at);
        }
    }
}

fn session_affinity(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &AFFINITY) else {
        return;
    };
    let given: Vec<At> = AFFINITY
        .known
        .iter()
        .filter_map(|key| fields.get(key))
        .collect();
    match given.len() {
        0 => {
            let mend = "write clientIpNoDestination: {}, or remove sessionAffinity";
            let field = format!("{}.clientIpNoDestination", at.path);
            walk.error(&field, IssueReason::MissingField, "is missing", mend);
        }
        1 => {}
        _ => {
            let message = "is spelled both clientIpNoDestination and clientIPNoDestination";
            let mend = "keep one of the two spellings";
            walk.error(&at.path, IssueReason::Duplicate, message, mend);
        }
    }
    for client in given {
        let Some(fields) = walk.fields(&client, &CLIENT_IP) else {
            continue;
        };
        if let Some(timeout) = fields.get("timeoutSeconds") {
            walk.integer(&timeout, 1..=86_400);
        }
    }
}
