//! What differs between two values, field by field.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::object::ObjectContent;

/// One field that differs. What it was and is, is not printed: it may be a secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// A JSON pointer: `/spec/limits/rate`.
    pub path: String,
    /// None: it was not there.
    pub before: Option<Value>,
    /// None: it is there no more.
    pub after: Option<Value>,
}

impl std::fmt::Debug for FieldChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldChange").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What differs between two contents, in the order of the paths. Of none on one side everything does.
#[must_use]
pub fn field_changes(before: Option<&ObjectContent>, after: Option<&ObjectContent>) -> Vec<FieldChange> {
    let shown = |content: &ObjectContent| {
        let ObjectContent { name, labels, owner, spec, .. } = content;
        json!({ "name": name, "labels": labels, "owner": owner, "spec": spec })
    };
    let mut changes = Vec::new();
    let (before, after) = (before.map(shown), after.map(shown));
    let none = json!({});
    collect(before.as_ref().unwrap_or(&none), after.as_ref().unwrap_or(&none), "", &mut changes);
    changes
}

fn collect(before: &Value, after: &Value, path: &str, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                collect_either(old.get(name), new.get(name), path, changes);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for at in 0..old.len().max(new.len()) {
                collect_either(old.get(at), new.get(at), format!("{path}/{at}"), changes);
            }
        }
        (before, after) => changes.push(FieldChange {
            path: path.to_owned(),
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

fn collect_either(before: Option<&Value>, after: Option<&Value>, path: String, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (Some(before), Some(after)) => collect(before, after, &path, changes),
        (before, after) => changes.push(FieldChange { path, before: before.cloned(), after: after.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectKind;

    #[test]
    fn fields_are_told_by_pointers_with_what_was_there_and_what_is() {
        let content = |spec: Value| ObjectContent {
            kind: ObjectKind::Sync,
            name: "s".into(),
            labels: Default::default(),
            owner: None,
            spec,
        };
        let before = content(json!({ "a/b": 1, "list": [1, 2, 3], "deep": { "x": 1, "same": 2 } }));
        let after = content(json!({ "a/b": 2, "list": [1, 5], "deep": { "y": 1, "same": 2 } }));
        let found = field_changes(Some(&before), Some(&after));
        let told: Vec<String> = found
            .iter()
            .map(|it| {
                format!(
                    "{} {:?} {:?}",
                    it.path,
                    it.before.as_ref().map(Value::to_string),
                    it.after.as_ref().map(Value::to_string)
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                r#"/spec/a~1b Some("1") Some("2")"#,
                r#"/spec/deep/x Some("1") None"#,
                r#"/spec/deep/y None Some("1")"#,
                r#"/spec/list/1 Some("2") Some("5")"#,
                r#"/spec/list/2 Some("3") None"#,
            ]
        );
        assert_eq!(field_changes(Some(&before), Some(&before)), []);
        assert_eq!(field_changes(None, Some(&after)).len(), 4);
    }
}
