//! Renames and removals of fields, by JSON pointer, before delivery.

use std::str::FromStr;

use tidegate_document::pointer;
use tidegate_event::value::{JsonObject, Value};

/// A place in an event: `/properties/order id`, with `~1` for `/` and `~0` for `~` (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    steps: Vec<String>,
}

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("{text:?} is no JSON pointer; write /properties/name"));
        };
        let steps: Vec<String> = pointer::steps(rest).collect();
        match steps[0].as_str() {
            "" => Err("the pointer is empty; write /properties/name".to_owned()),
            "messageId" | "type" | "receivedAt" | "timestamp" if steps.len() == 1 => {
                Err(format!("{text} is what an event is known by and cannot be moved"))
            }
            _ => Ok(Self { steps }),
        }
    }
}

/// What a sync changes in every event. Removals come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    pub remove: Vec<Pointer>,
    /// From, to.
    pub rename: Vec<(Pointer, Pointer)>,
}

impl Mapping {
    /// True when it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty()
    }

    /// Changes `body`. A rename whose target holds something already leaves both as they are.
    pub fn apply(&self, body: &mut JsonObject) {
        // Bodies are shared between syncs: to take away what is not there would copy them.
        for pointer in &self.remove {
            if find(body, &pointer.steps).is_some() {
                take(body, &pointer.steps);
            }
        }
        for (from, to) in &self.rename {
            if find(body, &to.steps).is_some() || find(body, &from.steps).is_none() {
                continue;
            }
            let Some(value) = take(body, &from.steps) else { continue };
            if let Err(value) = put(body, &to.steps, value) {
                // A scalar stands in the way: the field goes back to where it was.
                let _ = put(body, &from.steps, value);
            }
        }
    }
}

fn find<'a>(body: &'a JsonObject, steps: &[String]) -> Option<&'a Value> {
    let (first, rest) = steps.split_first()?;
    rest.iter().try_fold(body.get(first)?, |value, step| value.as_object()?.get(step))
}

fn take(body: &mut JsonObject, steps: &[String]) -> Option<Value> {
    match steps {
        [] => None,
        [last] => body.remove(last),
        [first, rest @ ..] => take(body.get_mut(first)?.as_object_mut()?, rest),
    }
}

fn put(body: &mut JsonObject, steps: &[String], value: Value) -> Result<(), Value> {
    match steps {
        [] => Err(value),
        [last] => {
            body.insert(last.clone(), value);
            Ok(())
        }
        [first, rest @ ..] => {
            let inner = body.entry(first.as_str()).or_insert_with(|| Value::Object(JsonObject::new()));
            match inner.as_object_mut() {
                Some(inner) => put(inner, rest, value),
                None => Err(value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_move_and_vanish_but_are_never_written_over() {
        let p = |text: &str| text.parse::<Pointer>().unwrap();
        let mapping = Mapping {
            remove: vec![p("/context/ip"), p("/nothing/here")],
            rename: vec![
                (p("/properties/a"), p("/traits/b~1c/d")),
                (p("/properties/x"), p("/properties/y")),
                (p("/properties/x"), p("/type2/z")),
            ],
        };
        let mut body =
            tidegate_event::json!({"context": {"ip": "1"}, "properties": {"a": 1, "x": 2, "y": 3}, "type2": 1});
        mapping.apply(body.as_object_mut().unwrap());
        let want = tidegate_event::json!({"context": {}, "properties": {"x": 2, "y": 3}, "traits": {"b/c": {"d": 1}}, "type2": 1});
        assert_eq!(body, want);
        assert!("properties".parse::<Pointer>().is_err() && "/messageId".parse::<Pointer>().is_err());
    }
}
