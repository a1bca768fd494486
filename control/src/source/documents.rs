//! YAML text to raw JSON values: several documents, merge keys, `List` kinds, no duplicate keys.

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Value as Yaml;

use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// The objects of a file, up to the first document that can't be read.
pub(crate) fn read(file: &str, text: &str) -> (Vec<Value>, Vec<Issue>) {
    let mut values = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        match Yaml::deserialize(document).and_then(to_json) {
            Ok(value) => flatten(value, &mut values),
            // The parser can't find the next document behind a syntax error.
            Err(error) => return (values, vec![unreadable(file, &error)]),
        }
    }
    (values, Vec::new())
}

fn flatten(value: Value, into: &mut Vec<Value>) {
    match value {
        Value::Null => {}
        Value::Object(mut map) if map.get("kind").is_some_and(|kind| kind == "List") => {
            if let Some(Value::Array(items)) = map.remove("items") {
                items.into_iter().for_each(|item| flatten(item, into));
            }
        }
        value => into.push(value),
    }
}

fn unreadable(file: &str, error: &serde_yaml::Error) -> Issue {
    let text = error.to_string();
    let at = error.location();
    let field = at
        .map(|at| format!("line {}, column {}", at.line(), at.column()))
        .unwrap_or_default();
    let duplicate = text.contains("duplicate entry");
    let (reason, mend) = if duplicate {
        (IssueReason::Duplicate, "keep one of the two keys")
    } else {
        (IssueReason::Unreadable, "mend the YAML there")
    };
    Issue {
        object: ObjectRef::cluster("File", file),
        field,
        reason,
        message: text,
        mend: mend.to_owned(),
        severity: Severity::Error,
    }
}

fn to_json(mut yaml: Yaml) -> Result<Value, serde_yaml::Error> {
    yaml.apply_merge()?;
    convert(yaml)
}

fn convert(yaml: Yaml) -> Result<Value, serde_yaml::Error> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::String(text) => Value::String(text),
        // JSON has no infinity: as a text it is refused where a number belongs.
        Yaml::Number(number) => serde_json::to_value(&number)
            .ok()
            .filter(|value| !value.is_null())
            .unwrap_or_else(|| Value::String(number.to_string())),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(convert).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let key = key_text(key)?;
                if map.insert(key.clone(), convert(value)?).is_some() {
                    let message = format!("duplicate entry with key {key:?}");
                    return Err(serde::de::Error::custom(message));
                }
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => {
            return Err(serde::de::Error::custom(format!(
                "unexpected tag {}",
                tagged.tag
            )));
        }
    })
}

/// Kubernetes reads a number or a boolean as a key by its text.
fn key_text(key: Yaml) -> Result<String, serde_yaml::Error> {
    match key {
        Yaml::String(text) => Ok(text),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(flag) => Ok(flag.to_string()),
        _ => Err(serde::de::Error::custom("a key that is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lists_and_merge_keys_are_read() {
        let text = "a: &x {k: 1}\n---\n---\nkind: List\nitems: [{b: 1}, {c: 2}]\n---\n\
                    base: &b {p: 1}\nd: {<<: *b, 2: z}\n";
        let (values, issues) = read("f.yaml", text);
        assert_eq!(issues, []);
        assert_eq!(values.len(), 4);
        assert_eq!(values[3]["d"], serde_json::json!({"p": 1, "2": "z"}));
    }

    #[test]
    fn an_error_names_the_line_and_keeps_what_came_before() {
        for (text, line, mend) in [
            ("a: 1\n---\nb: [1\n", "line 4", "mend the YAML"),
            ("a: 1\n---\nb: 1\nb: 2\n", "line 3", "keep one"),
            ("a: 1\n---\n\tb: 1\n", "line 3", "mend the YAML"),
        ] {
            let (values, issues) = read("f.yaml", text);
            assert_eq!(values.len(), 1);
            assert!(issues[0].field.starts_with(line), "{}", issues[0]);
            assert!(issues[0].mend.contains(mend), "{}", issues[0]);
            assert_eq!(issues[0].object.to_string(), "File/f.yaml");
        }
    }
}
