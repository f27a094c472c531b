//! Fields of events that stay masked for everybody but admins of the workspace.

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
        self.0.iter().zip(steps).all(|(name, step)| name == "*" || name == step)
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
        let fields = [MaskedField::new("traits.email"), MaskedField::new("properties.card.*")];
        for (pointer, is_covered) in [
            ("/traits/email", true),
            ("/context/traits/email", true),
            ("/traits", true),
            ("/properties/card/number", true),
            ("/traits/plan", false),
            ("/properties/plan", false),
        ] {
            assert_eq!(covers_pointer(&fields, pointer), is_covered, "{pointer}");
        }
    }
}
