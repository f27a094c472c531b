//! Two versions over the same events: where their outcomes differ, field by field.

use tidegate_event::Event;
use tidegate_event::value::Value;
use tidegate_wasm::function::{Function, Outcome};

/// Differences that are kept of one batch.
const SAMPLES_MAX: usize = 5;
/// Fields that are named of one event.
const FIELDS_MAX: usize = 20;

/// What a candidate would have done otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub function: String,
    pub live: String,
    pub candidate: String,
    pub same: u64,
    pub different: u64,
    /// `messageId`, and the differences in words.
    pub samples: Vec<(String, Vec<String>)>,
}

impl Comparison {
    /// Whether it is of the same two versions.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        (&self.function, &self.live, &self.candidate) == (&other.function, &other.live, &other.candidate)
    }

    /// Adds what was found in other events of the batch.
    pub(super) fn add(&mut self, other: Self) {
        self.same += other.same;
        self.different += other.different;
        self.samples.extend(other.samples);
        self.samples.truncate(SAMPLES_MAX);
    }
}

type Side<'a> = (&'a [Event], &'a [Outcome]);

pub(super) fn compare(live: &Function, candidate: &Function, ours: Side<'_>, theirs: Side<'_>) -> Comparison {
    let mut found = Comparison {
        function: live.name().to_owned(),
        live: live.version().to_owned(),
        candidate: candidate.version().to_owned(),
        ..Comparison::default()
    };
    let pairs = ours.0.iter().zip(ours.1).zip(theirs.0.iter().zip(theirs.1));
    for ((our_event, our_outcome), (their_event, their_outcome)) in pairs {
        let (us, them) = (result(our_event, our_outcome), result(their_event, their_outcome));
        if us == them {
            found.same += 1;
            continue;
        }
        found.different += 1;
        if found.samples.len() < SAMPLES_MAX {
            let mut fields = Vec::new();
            differences("", &us, &them, &mut fields);
            let fields = fields.iter().map(|field| candidate.cleaned(&live.cleaned(field))).collect();
            found.samples.push((our_event.message_id().to_owned(), fields));
        }
    }
    found
}

/// What goes on, or why nothing does.
fn result(event: &Event, outcome: &Outcome) -> Value {
    let text = |text: &String| text.parse().unwrap_or_else(|_| text.into());
    match outcome {
        Outcome::Keep | Outcome::Edited => Value::Object(event.body.clone()),
        Outcome::Replace(json) => text(json),
        Outcome::Emit(children) => Value::Array(children.iter().map(text).collect()),
        Outcome::Drop(reason) => format!("dropped: {reason}").into(),
        Outcome::Fail { code, .. } => format!("failed: {code}").into(),
        Outcome::Error { code, .. } => format!("error: {code}").into(),
    }
}

fn differences(place: &str, live: &Value, candidate: &Value, out: &mut Vec<String>) {
    if live == candidate || out.len() >= FIELDS_MAX {
        return;
    }
    if let (Value::Object(live), Value::Object(candidate)) = (live, candidate) {
        for (key, value) in live {
            differences(&format!("{place}/{key}"), value, candidate.get(key).unwrap_or(&Value::Null), out);
        }
        for (key, value) in candidate.iter().filter(|(key, _)| !live.contains_key(key)) {
            differences(&format!("{place}/{key}"), &Value::Null, value, out);
        }
        return;
    }
    out.push(format!("{}: {} became {}", if place.is_empty() { "/" } else { place }, short(live), short(candidate)));
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use tidegate_event::json;

    use super::*;

    #[test]
    fn differences_name_the_field_and_both_values() {
        let mut out = Vec::new();
        let live = json!({"a": {"b": 1, "c": 2}, "gone": true});
        differences("", &live, &json!({"a": {"b": 1, "c": 3}, "new": "x"}), &mut out);
        assert_eq!(out, ["/a/c: 2 became 3", "/gone: true became null", "/new: null became \"x\""]);
    }
}
