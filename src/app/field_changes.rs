//! What is different between two events, field by field.

use serde_json::{Map, Value};
use tidegate_api_types::trace::TracedChange;
use tidegate_event::Event;
use tidegate_wasm::HiddenTexts;

/// Changes that are told; of more the first.
const CHANGES_MAX: usize = 200;

/// An event as JSON, without the secrets that functions were given.
pub(super) fn shown(event: &Event, hidden: &HiddenTexts) -> Value {
    let mut value: Value = serde_json::from_str(&event.to_json()).unwrap_or_default();
    hidden.clean_json(&mut value);
    value
}

/// The fields of `before` that are otherwise in `after`, in the order of their names.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<TracedChange> {
    let mut found = Vec::new();
    compare(&mut found, "", (Some(before), Some(after)));
    found
}

fn compare(found: &mut Vec<TracedChange>, path: &str, (before, after): (Option<&Value>, Option<&Value>)) {
    if found.len() >= CHANGES_MAX || before == after {
        return;
    }
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) {
        return compare_fields(found, path, (before, after));
    }
    found.push(TracedChange { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
}

fn compare_fields(
    found: &mut Vec<TracedChange>,
    path: &str,
    (before, after): (&Map<String, Value>, &Map<String, Value>),
) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let step = name.replace('~', "~0").replace('/', "~1");
        compare(found, &format!("{path}/{step}"), (before.get(name), after.get(name)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_different_is_told_by_its_place() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d/e": "x"}, "same": {"z": null}, "gone": true});
        let after = json!({"a": 2, "b": {"c": [1, 3], "d/e": "x", "new": {}}, "same": {"z": null}});
        let told: Vec<(String, Option<Value>, Option<Value>)> =
            changes(&before, &after).into_iter().map(|change| (change.path, change.before, change.after)).collect();
        let wanted = [
            ("/a", Some(json!(1)), Some(json!(2))),
            ("/b/c", Some(json!([1, 2])), Some(json!([1, 3]))),
            ("/b/new", None, Some(json!({}))),
            ("/gone", Some(json!(true)), None),
        ];
        assert_eq!(told, wanted.map(|(path, before, after)| (path.to_owned(), before, after)));
        assert!(changes(&before, &before).is_empty());
        assert_eq!(changes(&json!({"a/b~c": 1}), &json!({}))[0].path, "/a~1b~0c");
    }
}
