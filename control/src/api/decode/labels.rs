//! Label selectors, raw: the place where a slip would select everything.

use super::flow_map;
use super::walk::{At, Shape, Slip, Walk};
use crate::api::labels::{is_label_value, is_qualified_name};
use crate::issue::IssueReason;

const SELECTOR: Shape = Shape {
    known: &["matchLabels", "matchExpressions"],
    required: &[],
    example: "write {matchLabels: {…}}, or {} for all",
    slip: bare_labels,
};

const FUNCTION: Shape = Shape {
    known: &["matchLabels"],
    required: &["matchLabels"],
    example: "write {matchLabels: {…}} with at least one label",
    slip: |slip| match slip.key {
        "matchExpressions" => {
            Some("select the pods of a function by matchLabels alone, as its Service does".into())
        }
        _ => bare_labels(slip),
    },
};

const REQUIREMENT: Shape = Shape {
    known: &["key", "operator", "values"],
    required: &["key", "operator"],
    example: "write {key: …, operator: In, values: […]}",
    slip: |_| None,
};

const LABEL_KEY: &str = "an optional DNS prefix and '/', then 1 to 63 letters, digits, '-', '_' \
                         and '.' that begin and end with a letter or digit";
const LABEL_VALUE: &str = "at most 63 letters, digits, '-', '_' and '.' that begin and end with a \
                           letter or digit";

/// Labels written where `matchLabels` belongs: the slip of a published example.
fn bare_labels(slip: &Slip) -> Option<String> {
    if super::walk::nearest(slip.key, SELECTOR.known).is_some() {
        return None;
    }
    let mut labels = slip.map.clone();
    labels.retain(|key, _| !SELECTOR.known.contains(&key.as_str()));
    if let Some(own) = slip
        .map
        .get("matchLabels")
        .and_then(|value| value.as_object())
    {
        labels.extend(own.clone());
    }
    let labels = flow_map(&labels)?;
    Some(format!(
        "write it as {}: {{matchLabels: {labels}}}",
        slip.parent
    ))
}

/// A full label selector; `{}` selects all.
pub(super) fn selector(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &SELECTOR) else {
        return;
    };
    if let Some(labels) = fields.get("matchLabels") {
        match_labels(
            walk,
            &labels,
            &format!("write {}: {{}} for all", at.field()),
        );
    }
    if let Some(list) = fields.get("matchExpressions") {
        for item in walk.list(&list, 1..=16, "write a list of {key, operator, values}") {
            requirement(walk, &item);
        }
    }
}

/// The pods of a function: labels alone, at least one.
pub(super) fn function(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &FUNCTION) else {
        return;
    };
    if let Some(labels) = fields.get("matchLabels") {
        match_labels(walk, &labels, "give at least one label");
    }
}

fn match_labels(walk: &mut Walk, at: &At, empty_mend: &str) {
    let Some(map) = at.value.as_object() else {
        walk.wrong_type(
            at,
            "an object",
            &format!("write matchLabels: {{key: value}}, or {empty_mend}"),
        );
        return;
    };
    if map.is_empty() {
        walk.error(&at.path, IssueReason::InvalidValue, "is empty", empty_mend);
    }
    if map.len() > 32 {
        let message = format!("has {} labels", map.len());
        walk.error(
            &at.path,
            IssueReason::OutOfRange,
            message,
            "give 1 to 32 labels",
        );
    }
    for (key, value) in map {
        let label = at.child(key, value);
        if !is_qualified_name(key) {
            let message = format!("\"{key}\" is not a label key");
            walk.error(
                &label.path,
                IssueReason::InvalidValue,
                message,
                format!("use {LABEL_KEY}"),
            );
        }
        walk.syntax(&label, is_label_value, LABEL_VALUE);
    }
}

fn requirement(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &REQUIREMENT) else {
        return;
    };
    if let Some(key) = fields.get("key") {
        walk.syntax(&key, is_qualified_name, LABEL_KEY);
    }
    let operator = fields
        .get("operator")
        .and_then(|operator| walk.choice(&operator, &["In", "NotIn", "Exists", "DoesNotExist"]));
    let values = fields.get("values");
    match operator {
        Some(word @ ("In" | "NotIn")) if values.is_none() => {
            let mend = format!("write values: […] beside operator: {word}");
            let field = format!("{}.values", at.path);
            walk.error(&field, IssueReason::MissingField, "is missing", mend);
        }
        Some(word @ ("Exists" | "DoesNotExist")) => no_values(walk, values.as_ref(), word),
        _ => {
            if let Some(values) = values {
                for value in walk.list(&values, 1..=32, "write values: […]") {
                    walk.syntax(&value, is_label_value, LABEL_VALUE);
                }
            }
        }
    }
}

fn no_values(walk: &mut Walk, values: Option<&At>, operator: &str) {
    let Some(values) = values else { return };
    if values.value.as_array().is_some_and(Vec::is_empty) {
        return;
    }
    let message = format!("{operator} takes no values");
    let mend = "remove values, or write operator: In";
    walk.error(&values.path, IssueReason::InvalidValue, message, mend);
}
