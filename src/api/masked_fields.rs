//! Fields of events that stay masked for everybody but admins of the workspace.

use std::collections::BTreeSet;

use serde_json::Value;

/// Stands for a text that may not be seen.
pub(super) const MASK: &str = "***";

/// A place in events: names with dots between them, of which `*` is any name or any place of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedField(Vec<String>);

impl MaskedField {
    /// The place that a path names, such as `properties.card.*`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.split('.').map(str::to_owned).collect())
    }

    /// Takes the values out of an event that stand there or below. A trait may stand in `context.traits` as well.
    pub(super) fn mask(&self, event: &mut Value) {
        mask_at(event, &self.0);
        if self.0.first().is_some_and(|first| first == "traits")
            && let Some(context) = event.get_mut("context")
        {
            mask_at(context, &self.0);
        }
    }

    /// Whether the value at these steps into an event, or a part of it, stands there.
    fn covers(&self, steps: &[&str]) -> bool {
        let steps = match steps {
            ["context", rest @ ..]
                if self.0.first().is_some_and(|first| first == "traits") && rest.first() == Some(&"traits") =>
            {
                rest
            }
            steps => steps,
        };
        let mut reached = BTreeSet::from([0_usize]);
        for step in steps {
            let is_place = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
            let mut next = BTreeSet::new();
            for at in reached {
                let Some(name) = self.0.get(at) else { return true };
                if name == "*" || name == step {
                    next.insert(at + 1);
                }
                // A path goes into each object of a list, and does not say at which place.
                if is_place {
                    next.insert(at);
                }
            }
            reached = next;
        }
        !reached.is_empty()
    }
}

fn mask_at(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        mask_value(value);
        return;
    };
    match value {
        Value::Object(fields) if first == "*" => fields.values_mut().for_each(|field| mask_at(field, rest)),
        Value::Object(fields) => {
            if let Some(field) = fields.get_mut(first) {
                mask_at(field, rest);
            }
        }
        Value::Array(items) if first == "*" => items.iter_mut().for_each(|item| mask_at(item, rest)),
        // What a path names of an object is meant of each object of a list.
        Value::Array(items) => items.iter_mut().for_each(|item| mask_at(item, path)),
        // A text may be what the path names a part of.
        Value::String(text) => MASK.clone_into(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Takes all values out, and leaves the fields.
pub(super) fn mask_value(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Bool(_) => *value = Value::Bool(false),
        Value::Number(_) => *value = Value::from(0),
        Value::String(text) => MASK.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(mask_value),
        Value::Object(fields) => fields.values_mut().for_each(mask_value),
    }
}

/// Puts back into an edited event what whoever edited it saw masked, and left as they saw it. False where they changed an item of a list that has
/// something masked, or how many there are: what belongs where cannot be told then.
pub(super) fn unmask(edited: &mut Value, before: &Value, seen: &Value) -> bool {
    if before == seen {
        return true;
    }
    if *edited == *seen {
        edited.clone_from(before);
        return true;
    }
    match (edited, before, seen) {
        (Value::Object(edited), Value::Object(before), Value::Object(seen)) => {
            let mut is_clear = true;
            for (name, field) in edited {
                if let (Some(before), Some(seen)) = (before.get(name), seen.get(name)) {
                    is_clear &= unmask(field, before, seen);
                }
            }
            is_clear
        }
        (Value::Array(edited), Value::Array(before), Value::Array(seen)) => {
            let is_clear = edited.len() == before.len()
                && before.iter().zip(seen).zip(&*edited).all(|((before, seen), item)| before == seen || item == seen);
            if is_clear {
                let items = edited.iter_mut().zip(before.iter().zip(seen)).filter(|(_, (before, seen))| before != seen);
                items.for_each(|(item, (before, _))| item.clone_from(before));
            }
            is_clear
        }
        // Something else stands there by now.
        _ => true,
    }
}

/// Whether a change at a JSON pointer is of a masked field.
pub(super) fn covers_pointer(fields: &[MaskedField], pointer: &str) -> bool {
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    fields.iter().any(|field| field.covers(&steps))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_path_names_is_masked_and_nothing_else_is() {
        let event = json!({"traits": {"email": "a@b", "plan": "pro"}, "context": {"traits": {"email": "c@d"}},
            "properties": {"card": {"number": "4111", "cvc": 123}, "lines": [{"sku": "s", "n": 1}, {"sku": "t"}]}});
        let masked = |path: &str| {
            let mut event = event.clone();
            MaskedField::new(path).mask(&mut event);
            event
        };
        let found = masked("traits.email");
        assert_eq!((&found["traits"]["email"], &found["context"]["traits"]["email"]), (&json!("***"), &json!("***")));
        assert_eq!((&found["traits"]["plan"], &found["properties"]), (&json!("pro"), &event["properties"]));
        assert_eq!(masked("properties.card.*")["properties"]["card"], json!({"number": "***", "cvc": 0}));
        assert_eq!(masked("properties.card")["properties"]["card"], json!({"number": "***", "cvc": 0}));
        let lines = json!([{"sku": "***", "n": 1}, {"sku": "***"}]);
        assert_eq!(masked("properties.lines.sku")["properties"]["lines"], lines);
        assert_eq!(masked("properties.lines.*.sku")["properties"]["lines"], lines);
        assert_eq!(masked("nowhere.at.all"), event);
        let fields = ["traits.email", "properties.card.*", "properties.lines.sku"].map(MaskedField::new);
        for (pointer, is_covered) in [
            ("/traits/email", true),
            ("/context/traits/email", true),
            ("/traits", true),
            ("/properties/card/number", true),
            ("/traits/plan", false),
            ("/properties/plan", false),
            ("/properties/lines/0/sku", true),
            ("/properties/lines/0/more/12/sku", false),
            ("/properties/lines/12", true),
            ("/properties/lines/sku/0", true),
            ("/properties/lines/0/n", false),
            ("/properties/0/lines/1/sku", true),
        ] {
            assert_eq!(covers_pointer(&fields, pointer), is_covered, "{pointer}");
        }
    }

    #[test]
    fn what_somebody_saw_masked_and_left_so_is_as_it_was() {
        let before = json!({"userId": "ann", "properties": {"plan": "pro", "card": {"number": "4111", "cvc": 123},
            "lines": [{"sku": "s", "n": 1}, {"n": 2}]}});
        let mut seen = before.clone();
        for path in ["userId", "properties.card.*", "properties.lines.sku"] {
            MaskedField::new(path).mask(&mut seen);
        }
        let edited = |change: &dyn Fn(&mut Value)| {
            let mut edited = seen.clone();
            change(&mut edited);
            let is_clear = unmask(&mut edited, &before, &seen);
            (is_clear, edited)
        };
        let with = |pointer: &str, value: Value| {
            let mut with = before.clone();
            *with.pointer_mut(pointer).unwrap() = value;
            (true, with)
        };
        assert_eq!(edited(&|_| ()), (true, before.clone()));
        assert_eq!(edited(&|event| event["properties"]["plan"] = json!(7)), with("/properties/plan", json!(7)));
        let number = |event: &mut Value| event["properties"]["card"]["number"] = json!("4222");
        assert_eq!(edited(&number), with("/properties/card/number", json!("4222")));
        assert_eq!(edited(&|event| event["properties"]["card"] = json!(1)), with("/properties/card", json!(1)));
        let lines = |event: &mut Value| event["properties"]["lines"][1] = json!({"n": 3});
        assert_eq!(edited(&lines), with("/properties/lines/1", json!({"n": 3})));
        assert!(!edited(&|event| event["properties"]["lines"][0]["n"] = json!(3)).0);
        assert!(!edited(&|event| event["properties"]["lines"].as_array_mut().unwrap().reverse()).0);
        assert!(!edited(&|event| drop(event["properties"]["lines"].as_array_mut().unwrap().pop())).0);
    }
}
