//! What was observed of events: for each kind, name and version the places of its fields, with types, formats and few values.
//!
//! An [`Inference`] is a sum: that of two stretches of traffic is the merge of those of each, in any order and split. The
//! bounds keep it so, for what is left out does not depend on the order either: of events and of places the first ones are kept
//! (places by depth, then by name), and one that is left out once never comes back.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_event::EventKind;
use tidegate_event::value::{JsonObject, Value};

use super::formats::SharedFormats;
use super::judge::{name_of, version_of};
use super::personal;

/// The parts of an event that a contract is inferred of.
const INFERRED_PARTS: [&str; 2] = ["properties", "traits"];

/// What an [`Inference`] keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferLimits {
    /// Events by kind, name and version.
    pub events_max: usize,
    /// Places of fields of one event.
    pub places_max: usize,
    /// Steps from the top of an event to a place.
    pub depth_max: usize,
    /// Different texts of a place; with more than these it is no list of values.
    pub values_max: usize,
    /// Bytes of a text that is kept, as one of a list or as an example.
    pub value_bytes_max: usize,
    /// Bytes of the name of an event or a field.
    pub name_bytes_max: usize,
    /// Examples of a place.
    pub examples_max: usize,
}

impl Default for InferLimits {
    fn default() -> Self {
        Self {
            events_max: 300,
            places_max: 1_000,
            depth_max: 8,
            values_max: 20,
            value_bytes_max: 60,
            name_bytes_max: 200,
            examples_max: 3,
        }
    }
}

/// By what one event is told from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventIdentity {
    pub kind: EventKind,
    pub name: Option<String>,
    pub version: String,
}

impl EventIdentity {
    /// That of an event; `None` of one that no contract can declare.
    fn of(kind: EventKind, body: &JsonObject, limits: &InferLimits) -> Option<Self> {
        let name = name_of(kind, body).filter(|name| !name.is_empty());
        let version = version_of(body);
        let fits = |text: &str| text.len() <= limits.name_bytes_max;
        // The name stands in the file, and in that of the next one another one.
        let is_personal = name.is_some_and(personal::is_of_somebody);
        let can_be = (kind != EventKind::Track || name.is_some()) && !version.is_empty() && !is_personal;
        (can_be && name.is_none_or(fits) && fits(&version)).then(|| Self {
            kind,
            name: name.map(str::to_owned),
            version: version.into_owned(),
        })
    }
}

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathStep {
    /// To every item of a list.
    Items,
    Key(String),
}

/// Where a field is. Upper places come before lower ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FieldPath {
    depth: usize,
    pub(super) steps: Vec<PathStep>,
}

impl FieldPath {
    pub(super) fn of(steps: &[PathStep]) -> Self {
        Self { depth: steps.len(), steps: steps.to_vec() }
    }

    /// Whether a name on the way to it says that something personal stands there.
    pub(super) fn is_personal(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, PathStep::Key(key) if personal::is_name(key)))
    }

    fn parent(&self) -> Self {
        let above = self.steps.split_last().map_or(&[][..], |(_, above)| above);
        Self::of(above)
    }
}

/// The different texts of a place, as long as they are few, and how often each came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DistinctTexts {
    Few(BTreeMap<String, u64>),
    Many,
}

impl Default for DistinctTexts {
    fn default() -> Self {
        Self::Few(BTreeMap::new())
    }
}

impl DistinctTexts {
    fn add(&mut self, text: &str, limits: &InferLimits) {
        let Self::Few(few) = self else { return };
        if text.len() <= limits.value_bytes_max {
            *few.entry(text.to_owned()).or_default() += 1;
        }
        if text.len() > limits.value_bytes_max || few.len() > limits.values_max {
            *self = Self::Many;
        }
    }

    fn merge(&mut self, other: Self, limits: &InferLimits) {
        *self = match (std::mem::take(self), other) {
            (Self::Few(mut few), Self::Few(others)) => {
                for (text, count) in others {
                    *few.entry(text).or_default() += count;
                }
                if few.len() > limits.values_max { Self::Many } else { Self::Few(few) }
            }
            _ => Self::Many,
        };
    }
}

/// What was seen at one place, by the types of JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldShape {
    pub(super) nulls: u64,
    pub(super) booleans: u64,
    /// Numbers that are spelled without fraction and exponent.
    pub(super) integers: u64,
    /// All others.
    pub(super) numbers: u64,
    pub(super) texts: u64,
    pub(super) arrays: u64,
    pub(super) objects: u64,
    pub(super) formats: SharedFormats,
    pub(super) values: DistinctTexts,
    /// JSON texts; the first ones of all.
    pub(super) examples: BTreeSet<String>,
    /// Some text or number looks personal.
    pub(super) is_personal: bool,
    /// Something below it was left out.
    pub(super) is_cut: bool,
}

impl FieldShape {
    pub(super) const fn count(&self) -> u64 {
        self.nulls + self.booleans + self.integers + self.numbers + self.texts + self.arrays + self.objects
    }

    fn add(&mut self, value: &Value, limits: &InferLimits) {
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => {
                let counter = if number.is_spelled_whole() { &mut self.integers } else { &mut self.numbers };
                *counter += 1;
                self.is_personal = self.is_personal || personal::is_text(number.as_str());
                self.example(value, number.as_str().len(), limits);
            }
            Value::String(text) => {
                self.texts += 1;
                self.formats = self.formats.narrowed(text);
                self.is_personal = self.is_personal || personal::is_text(text);
                self.values.add(text, limits);
                self.example(value, text.len(), limits);
            }
            Value::Array(_) => self.arrays += 1,
            Value::Object(_) => self.objects += 1,
        }
    }

    fn example(&mut self, value: &Value, bytes: usize, limits: &InferLimits) {
        if bytes <= limits.value_bytes_max {
            self.examples.insert(value.to_string());
            self.keep_first_examples(limits);
        }
    }

    fn keep_first_examples(&mut self, limits: &InferLimits) {
        while self.examples.len() > limits.examples_max {
            self.examples.pop_last();
        }
    }

    fn merge(&mut self, other: Self, limits: &InferLimits) {
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.integers += other.integers;
        self.numbers += other.numbers;
        self.texts += other.texts;
        self.arrays += other.arrays;
        self.objects += other.objects;
        self.formats = self.formats.and(other.formats);
        self.values.merge(other.values, limits);
        self.examples.extend(other.examples);
        self.keep_first_examples(limits);
        self.is_personal |= other.is_personal;
        self.is_cut |= other.is_cut;
    }
}

/// What was seen of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EventShape {
    pub(super) seen: u64,
    pub(super) places: BTreeMap<FieldPath, FieldShape>,
}

impl EventShape {
    fn add(&mut self, steps: &mut Vec<PathStep>, value: &Value, limits: &InferLimits) {
        let shape = self.places.entry(FieldPath::of(steps)).or_default();
        shape.add(value, limits);
        if steps.len() >= limits.depth_max {
            shape.is_cut |= match value {
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
                _ => false,
            };
            self.keep_first_places(limits);
            return;
        }
        self.keep_first_places(limits);
        match value {
            Value::Array(items) => {
                steps.push(PathStep::Items);
                for item in items.iter() {
                    self.add(steps, item, limits);
                }
                steps.pop();
            }
            Value::Object(fields) => {
                for (key, value) in fields.iter() {
                    let key: &str = key;
                    // Files spell characters of control out, and their keys have an end.
                    let is_strange = key.chars().any(char::is_control) || personal::is_id(key);
                    if key.len() > limits.name_bytes_max || is_strange {
                        self.cut(&FieldPath::of(steps));
                        continue;
                    }
                    steps.push(PathStep::Key(key.to_owned()));
                    self.add(steps, value, limits);
                    steps.pop();
                }
            }
            _ => {}
        }
    }

    fn cut(&mut self, path: &FieldPath) {
        if let Some(shape) = self.places.get_mut(path) {
            shape.is_cut = true;
        }
    }

    fn keep_first_places(&mut self, limits: &InferLimits) {
        while self.places.len() > limits.places_max {
            let Some((path, _)) = self.places.pop_last() else { return };
            self.cut(&path.parent());
        }
    }

    pub(super) fn merge(&mut self, other: Self, limits: &InferLimits) {
        self.seen += other.seen;
        for (path, shape) in other.places {
            self.places.entry(path).or_default().merge(shape, limits);
        }
        self.keep_first_places(limits);
    }
}

/// What was observed of a traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    pub(super) limits: InferLimits,
    pub(super) events: BTreeMap<EventIdentity, EventShape>,
    /// All events.
    pub(super) seen: u64,
    /// Those that no contract can declare: a track without a name, an empty version, a name that is too long or somebody's.
    pub(super) undeclarable: u64,
    /// Some event was left out, there were too many.
    pub(super) is_cut: bool,
}

impl Inference {
    #[must_use]
    pub fn new(limits: InferLimits) -> Self {
        Self { limits, events: BTreeMap::new(), seen: 0, undeclarable: 0, is_cut: false }
    }

    /// Adds one event.
    pub fn observe(&mut self, kind: EventKind, body: &JsonObject) {
        self.seen += 1;
        let Some(identity) = EventIdentity::of(kind, body, &self.limits) else {
            self.undeclarable += 1;
            return;
        };
        let event = self.events.entry(identity).or_default();
        event.seen += 1;
        for part in INFERRED_PARTS {
            if let Some(value) = body.get(part) {
                event.add(&mut vec![PathStep::Key(part.to_owned())], value, &self.limits);
            }
        }
        self.keep_first_events();
    }

    /// Adds what was observed elsewhere, under the same limits.
    pub fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.undeclarable += other.undeclarable;
        self.is_cut |= other.is_cut;
        for (identity, event) in other.events {
            self.events.entry(identity).or_default().merge(event, &self.limits);
        }
        self.keep_first_events();
    }

    /// How many events were observed.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    fn keep_first_events(&mut self) {
        while self.events.len() > self.limits.events_max {
            self.events.pop_last();
            self.is_cut = true;
        }
    }
}
