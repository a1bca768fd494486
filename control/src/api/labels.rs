//! Label selectors: what they match, and the syntax of labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A Kubernetes label selector: all requirements must hold; `{}` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-kubernetes-map-type" = "atomic",
    "x-kubernetes-preserve-unknown-fields" = true,
    "oneOf" = [
        {"maxProperties": 1, "required": ["matchLabels"]},
        {"maxProperties": 1, "required": ["matchExpressions"]},
        {"maxProperties": 2, "required": ["matchLabels", "matchExpressions"]},
        {"maxProperties": 0}
    ]
))]
pub struct LabelSelector {
    /// Labels that must be there with these values. To match everything write `{}` for the whole
    /// selector; an empty `matchLabels` is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("nullable" = true, "minProperties" = 1, "maxProperties" = 32))]
    pub match_labels: Labels,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("nullable" = true, "minItems" = 1, "maxItems" = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// Key of the label.
    pub key: String,
    /// How the label relates to `values`.
    pub operator: Operator,
    /// Values, for `In` and `NotIn` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32))]
    pub values: Vec<String>,
}

/// Operator of a [`Requirement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether an object with `labels` is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        contains(labels, &self.match_labels)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    /// Whether `labels` fulfil the requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Whether `labels` hold all of `wanted`.
#[must_use]
pub(crate) fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether `key` is a label key: an optional DNS subdomain and `/`, then a name of 1..=63.
#[must_use]
pub(crate) fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(key),
    }
}

/// Whether `value` is a label value: empty, or like a name of 1..=63.
#[must_use]
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name_part(value)
}

/// Whether `name` is an RFC 1123 label: lowercase letters, digits and `-`, 1..=63.
#[must_use]
pub(crate) fn is_dns1123_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    is_bounded(name, 63, inner, |b| b == b'-')
}

/// Whether `name` is an RFC 1035 label: as RFC 1123, but it begins with a letter.
#[must_use]
pub(crate) fn is_dns1035_label(name: &str) -> bool {
    is_dns1123_label(name) && name.as_bytes()[0].is_ascii_lowercase()
}

/// Whether `name` is an RFC 1123 subdomain: labels joined by dots, 1..=253.
#[must_use]
pub(crate) fn is_subdomain(name: &str) -> bool {
    let label = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        is_bounded(part, 253, inner, |b| b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_name_part(name: &str) -> bool {
    is_bounded(
        name,
        63,
        |b| b.is_ascii_alphanumeric(),
        |b| b"-_.".contains(&b),
    )
}

/// 1..=`max` bytes; the first and the last are `end`s, those between also `inner`s.
fn is_bounded(
    text: &str,
    max: usize,
    end: impl Fn(u8) -> bool,
    inner: impl Fn(u8) -> bool,
) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            bytes.len() <= max
                && end(first)
                && end(last)
                && bytes.iter().all(|&b| end(b) || inner(b))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn every_operator_follows_kubernetes() {
        let requirement = |operator, values: &[&str]| Requirement {
            key: "tier".to_owned(),
            operator,
            values: values.iter().map(|&v| v.to_owned()).collect(),
        };
        let (web, none) = (labels(&[("tier", "web")]), labels(&[("app", "x")]));
        for (operator, values, with, without) in [
            (Operator::In, &["web", "db"][..], true, false),
            (Operator::In, &["db"][..], false, false),
            (Operator::NotIn, &["web"][..], false, true),
            (Operator::NotIn, &["db"][..], true, true),
            (Operator::Exists, &[][..], true, false),
            (Operator::DoesNotExist, &[][..], false, true),
        ] {
            let requirement = requirement(operator, values);
            assert_eq!(requirement.matches(&web), with, "{requirement:?}");
            assert_eq!(requirement.matches(&none), without, "{requirement:?}");
        }
    }

    #[test]
    fn an_empty_selector_matches_everything_and_labels_are_joined_by_and() {
        assert!(LabelSelector::default().matches(&Labels::new()));
        let both = LabelSelector {
            match_labels: labels(&[("app", "vpn")]),
            match_expressions: vec![Requirement {
                key: "tier".to_owned(),
                operator: Operator::Exists,
                values: Vec::new(),
            }],
        };
        assert!(both.matches(&labels(&[("app", "vpn"), ("tier", "")])));
        assert!(!both.matches(&labels(&[("app", "vpn")])));
        assert!(!both.matches(&labels(&[("tier", "")])));
    }

    #[test]
    fn names_have_the_syntax_of_kubernetes() {
        let long = "a".repeat(64);
        for (name, qualified, value, rfc1123, rfc1035) in [
            ("app", true, true, true, true),
            ("kubernetes.io/metadata.name", true, false, false, false),
            ("A_b.c-9", true, true, false, false),
            ("9a", true, true, true, false),
            ("-a", false, false, false, false),
            ("a-", false, false, false, false),
            ("", false, true, false, false),
            ("a/b/c", false, false, false, false),
            ("/a", false, false, false, false),
            ("UPPER.io/a", false, false, false, false),
            (long.as_str(), false, false, false, false),
        ] {
            assert_eq!(is_qualified_name(name), qualified, "qualified {name}");
            assert_eq!(is_label_value(name), value, "value {name}");
            assert_eq!(is_dns1123_label(name), rfc1123, "1123 {name}");
            assert_eq!(is_dns1035_label(name), rfc1035, "1035 {name}");
        }
        assert!(is_subdomain("a.b-c.9") && !is_subdomain("a..b") && !is_subdomain("a.B"));
    }
}
