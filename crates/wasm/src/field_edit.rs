//! Reading and changing a parsed event at a path, and taking a change back.

use std::sync::Arc;

use tidegate_event::value::{JsonObject, Value};

/// One edit of an event, with what it takes to undo it.
pub(super) enum FieldEdit {
    /// What stood at the first `depth` steps of the path was `old`, or nothing did.
    Put { path: Arc<[String]>, depth: usize, old: Option<Value> },
    /// `old` stood at the path; where it was an element of a list, the later ones moved up.
    Taken { path: Arc<[String]>, old: Value, element: bool },
    /// The same, but it stands at `to` now, where `old` stood at the first `depth` steps.
    Moved { path: Arc<[String]>, element: bool, to: Arc<[String]>, depth: usize, old: Option<Value> },
}

impl FieldEdit {
    /// What stood where it changed something.
    pub(super) const fn old(&self) -> Option<&Value> {
        match self {
            Self::Put { old, .. } | Self::Moved { old, .. } => old.as_ref(),
            Self::Taken { old, .. } => Some(old),
        }
    }

    /// Takes the edit back, if `event` is as it left it.
    pub(super) fn undo(self, event: &mut JsonObject) {
        match self {
            Self::Put { path, depth, old } => restore(event, &path[..depth], old, false),
            Self::Taken { path, old, element } => restore(event, &path, Some(old), element),
            Self::Moved { path, element, to, depth, old } => {
                let moved = find_mut(event, &to).map(std::mem::take);
                restore(event, &to[..depth], old, false);
                restore(event, &path, moved, element);
            }
        }
    }
}

/// What stands one step further down.
pub(super) fn inner<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(entries) => entries.get(step),
        Value::Array(items) => items.get(element(step)?),
        _ => None,
    }
}

fn inner_mut<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(entries) => entries.get_mut(step),
        Value::Array(items) => items.make_mut().get_mut(element(step)?),
        _ => None,
    }
}

/// An index of an array, as RFC 6901 spells it.
fn element(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { step.parse().ok() } else { None }
}

/// Puts `value` at `path`; answers how many steps of the path lead to what was changed, and what was there; or why not,
/// and the value.
pub(super) fn put(
    event: &mut JsonObject,
    path: &[String],
    value: Value,
) -> Result<(usize, Option<Value>), (String, Value)> {
    let Some((first, rest)) = path.split_first() else {
        return Err(("the pointer names the whole event".to_owned(), value));
    };
    let Some(mut place) = event.get_mut(first) else {
        event.insert(first.clone(), wrapped(rest, value));
        return Ok((1, None));
    };
    for (depth, step) in rest.iter().enumerate() {
        match place {
            // A null holds nothing, so it may become an object.
            Value::Null => {
                let old = std::mem::replace(place, wrapped(&rest[depth..], value));
                return Ok((depth + 1, Some(old)));
            }
            Value::Object(entries) if !entries.contains_key(step) => {
                entries.insert(step.clone(), wrapped(&rest[depth + 1..], value));
                return Ok((depth + 2, None));
            }
            _ => {}
        }
        let kind = kind(place);
        place = match inner_mut(place, step) {
            Some(place) => place,
            None => {
                let at = path[..=depth].join("/");
                return Err((format!("{kind} stands at /{at}, which has no {step:?}"), value));
            }
        };
    }
    Ok((path.len(), Some(std::mem::replace(place, value))))
}

/// Whether `value` has more than `levels` of lists and objects within each other.
pub(super) fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Object(entries) => levels == 0 || entries.values().any(inner),
        Value::Array(items) => levels == 0 || items.iter().any(inner),
        _ => false,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrapped(steps: &[String], value: Value) -> Value {
    steps.iter().rev().fold(value, |value, step| {
        let mut entries = JsonObject::new();
        entries.insert(step.clone(), value);
        Value::Object(entries)
    })
}

/// Takes away what stands at `path`; answers whether it was an element of a list.
pub(super) fn take(event: &mut JsonObject, path: &[String]) -> Option<(Value, bool)> {
    let (last, above) = path.split_last()?;
    if above.is_empty() {
        return event.remove(last).map(|value| (value, false));
    }
    match find_mut(event, above)? {
        Value::Object(entries) => entries.remove(last).map(|value| (value, false)),
        Value::Array(items) => {
            let at = element(last).filter(|at| *at < items.len())?;
            Some((items.remove(at), true))
        }
        _ => None,
    }
}

fn find_mut<'a>(event: &'a mut JsonObject, path: &[String]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(event.get_mut(first)?, |place, step| inner_mut(place, step))
}

/// Puts `old` at `path` again, or nothing; an `element` back between its neighbours.
fn restore(event: &mut JsonObject, path: &[String], old: Option<Value>, element: bool) {
    let Some((last, above)) = path.split_last() else { return };
    if above.is_empty() {
        match old {
            Some(old) => drop(event.insert(last.clone(), old)),
            None => drop(event.remove(last)),
        }
        return;
    }
    match (find_mut(event, above), old) {
        (Some(Value::Object(entries)), Some(old)) => drop(entries.insert(last.clone(), old)),
        (Some(Value::Object(entries)), None) => drop(entries.remove(last)),
        (Some(Value::Array(items)), Some(old)) => match self::element(last) {
            Some(at) if element && at <= items.len() => items.insert(at, old),
            Some(at) if at < items.len() => items.make_mut()[at] = old,
            _ => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::json;

    use super::*;

    fn path(text: &str) -> Arc<[String]> {
        text[1..].split('/').map(str::to_owned).collect()
    }

    #[test]
    fn objects_on_the_way_are_made_and_scalars_stand_in_it() {
        let mut event = json!({"a": 1, "n": null}).as_object().unwrap().clone();
        put(&mut event, &path("/x/y/z"), json!(1)).unwrap();
        put(&mut event, &path("/n/m"), json!(2)).unwrap();
        assert_eq!(Value::Object(event.clone()), json!({"a": 1, "n": {"m": 2}, "x": {"y": {"z": 1}}}));
        let (refused, value) = put(&mut event, &path("/a/b"), json!(3)).unwrap_err();
        assert_eq!((refused.as_str(), value), ("a number stands at /a, which has no \"b\"", json!(3)));
    }
}
