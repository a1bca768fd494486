//! A walk over a raw value: typed steps down, each of which reports what it finds wrong.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// A raw value and the path that leads to it.
pub(super) struct At<'v> {
    pub(super) path: String,
    pub(super) value: &'v Value,
}

impl<'v> At<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    /// The value of `key`, one step down.
    pub(super) fn child(&self, key: &str, value: &'v Value) -> Self {
        Self {
            path: join(&self.path, key),
            value,
        }
    }

    /// The last step of the path.
    pub(super) fn field(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

/// What an object may and must hold.
pub(super) struct Shape {
    pub(super) known: &'static [&'static str],
    pub(super) required: &'static [&'static str],
    /// What to write where the object is null or no object.
    pub(super) example: &'static str,
    /// The mend of a well-known slip.
    pub(super) slip: fn(&Slip) -> Option<String>,
}

/// An unknown key and where it stands.
pub(super) struct Slip<'v> {
    pub(super) parent: &'v str,
    pub(super) key: &'v str,
    pub(super) map: &'v Map<String, Value>,
}

/// The fields of an object whose shape was checked.
pub(super) struct Fields<'v> {
    path: String,
    map: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    /// A field that is there, null or not.
    pub(super) fn get(&self, key: &str) -> Option<At<'v>> {
        let value = self.map.get(key)?;
        Some(At {
            path: join(&self.path, key),
            value,
        })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }
}

/// Collects what is wrong with one object.
pub(super) struct Walk {
    object: ObjectRef,
    issues: Vec<Issue>,
}

impl Walk {
    pub(super) fn new(object: ObjectRef) -> Self {
        Self {
            object,
            issues: Vec::new(),
        }
    }

    pub(super) fn object(&self) -> &ObjectRef {
        &self.object
    }

    pub(super) fn finish(self) -> Vec<Issue> {
        self.issues
    }

    pub(super) fn error(
        &mut self,
        field: &str,
        reason: IssueReason,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.issues.push(Issue {
            object: self.object.clone(),
            field: field.to_owned(),
            reason,
            message: message.into(),
            mend: mend.into(),
            severity: Severity::Error,
        });
    }

    /// Reports a null as such, anything else as of the wrong type.
    pub(super) fn wrong_type(&mut self, at: &At, want: &str, mend: &str) {
        if at.value.is_null() {
            let message = format!("is null where {want} belongs, and null never means \"all\"");
            self.error(&at.path, IssueReason::NullValue, message, mend);
        } else {
            let message = format!("is {}, not {want}", type_name(at.value));
            self.error(&at.path, IssueReason::WrongType, message, mend);
        }
    }

    /// The fields of an object; reports unknown and missing ones.
    pub(super) fn fields<'v>(&mut self, at: &At<'v>, shape: &Shape) -> Option<Fields<'v>> {
        let Some(map) = at.value.as_object() else {
            self.wrong_type(at, "an object", shape.example);
            return None;
        };
        for key in map
            .keys()
            .filter(|key| !shape.known.contains(&key.as_str()))
        {
            self.unknown_key(at, map, key, shape);
        }
        for key in shape.required.iter().filter(|key| !map.contains_key(**key)) {
            let field = join(&at.path, key);
            self.error(
                &field,
                IssueReason::MissingField,
                "is missing",
                shape.example,
            );
        }
        Some(Fields {
            path: at.path.clone(),
            map,
        })
    }

    fn unknown_key(&mut self, at: &At, map: &Map<String, Value>, key: &str, shape: &Shape) {
        let slip = (shape.slip)(&Slip {
            parent: at.field(),
            key,
            map,
        });
        let mend = slip.or_else(|| {
            let near = nearest(key, shape.known)?;
            Some(format!("did you mean {near}? write {near}: …"))
        });
        let mend = mend.unwrap_or_else(|| match shape.known {
            [one] => format!("remove it: only {one} is known here"),
            known => format!("remove it: known here are {}", known.join(", ")),
        });
        self.error(
            &join(&at.path, key),
            IssueReason::UnknownField,
            "unknown field",
            mend,
        );
    }

    /// The items of a list of a bounded length.
    pub(super) fn list<'v>(
        &mut self,
        at: &At<'v>,
        length: RangeInclusive<usize>,
        mend: &str,
    ) -> Vec<At<'v>> {
        let Some(items) = at.value.as_array() else {
            self.wrong_type(at, "a list", mend);
            return Vec::new();
        };
        if !length.contains(&items.len()) {
            let message = format!("has {} items", items.len());
            let mend = format!("give {} to {} items", length.start(), length.end());
            self.error(&at.path, IssueReason::OutOfRange, message, mend);
        }
        let item = |(i, value)| At {
            path: format!("{}[{i}]", at.path),
            value,
        };
        items.iter().enumerate().map(item).collect()
    }

    pub(super) fn text<'v>(&mut self, at: &At<'v>) -> Option<&'v str> {
        if let Value::String(text) = at.value {
            return Some(text);
        }
        let mend = match at.value {
            Value::Number(_) | Value::Bool(_) => format!("quote it: \"{}\"", at.value),
            _ => format!(
                "write {}: and a text, or remove the field if it is optional",
                at.field()
            ),
        };
        self.wrong_type(at, "a string", &mend);
        None
    }

    /// A text of a certain syntax.
    pub(super) fn syntax<'v>(
        &mut self,
        at: &At<'v>,
        valid: impl Fn(&str) -> bool,
        rule: &str,
    ) -> Option<&'v str> {
        let text = self.text(at)?;
        if valid(text) {
            return Some(text);
        }
        let message = format!("\"{text}\" is not valid here");
        self.error(
            &at.path,
            IssueReason::InvalidValue,
            message,
            format!("use {rule}"),
        );
        None
    }

    /// One of a few words.
    pub(super) fn choice<'v>(&mut self, at: &At<'v>, words: &[&str]) -> Option<&'v str> {
        let text = self.text(at)?;
        if words.contains(&text) {
            return Some(text);
        }
        let message = format!("\"{text}\" is not one of {}", words.join(", "));
        let mend = match nearest(text, words) {
            Some(near) => format!("did you mean {near}? write {}: {near}", at.field()),
            None => format!("write {}: {}", at.field(), words[0]),
        };
        self.error(&at.path, IssueReason::InvalidValue, message, mend);
        None
    }

    pub(super) fn integer(&mut self, at: &At, range: RangeInclusive<i64>) -> Option<i64> {
        let bounds = format!("write a number from {} to {}", range.start(), range.end());
        let number = match at.value {
            Value::Number(number) => number,
            _ => {
                self.wrong_type(at, "a number", &bounds);
                return None;
            }
        };
        match number.as_i64() {
            Some(value) if range.contains(&value) => Some(value),
            _ => {
                let message = format!("{number} is out of range");
                self.error(&at.path, IssueReason::OutOfRange, message, bounds);
                None
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The known word that `word` was probably meant to be: at most two edits away, case apart.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Long words are not worth the quadratic comparison: no known word is half as long.
    let close = |k: &&'k str| {
        let limit = if k.len() <= 3 { 1 } else { 2 };
        let distance = edits(&word.to_lowercase(), &k.to_lowercase());
        (distance <= limit).then_some((distance, *k))
    };
    if word.len() > 64 {
        return None;
    }
    known
        .iter()
        .filter_map(close)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, k)| k)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
