//! Where the lossy numbers of an event are: by what the guest saw of them, and by the lists and objects around them.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

use crate::value::{Text, Value};

use super::Numbers;
use super::seen::{SeenNumbers, is_lossy};

/// Each is found as long as it is the only one that looks so.
#[derive(Default)]
pub(super) struct Index<'a> {
    numbers: HashMap<SeenNumbers<'a>, Option<&'a Value>>,
    /// Lists and objects that hold a lossy number, by their shape.
    around: HashMap<u64, Option<&'a Value>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(values: &[&'a Value], numbers: Numbers) -> Self {
        let mut index = Self::default();
        for value in values {
            index.add(value, numbers);
        }
        index
    }

    /// The one lossy number that the guest saw so.
    pub(super) fn number(&self, seen: SeenNumbers<'_>) -> Option<&'a Value> {
        // The key lives as long as the event, the question need not.
        let SeenNumbers::Double(bits) = seen else { return None };
        self.numbers.get(&SeenNumbers::Double(bits)).copied().flatten()
    }

    /// The one list or object with this shape that holds a lossy number.
    pub(super) fn around(&self, shape: u64) -> Option<&'a Value> {
        self.around.get(&shape).copied().flatten()
    }

    /// Answers the shape of `value` and whether it holds a lossy number.
    fn add(&mut self, value: &'a Value, numbers: Numbers) -> (u64, bool) {
        let mut lossy = false;
        let mut inner = |value: &'a Value| {
            let (shape, holds_lossy) = self.add(value, numbers);
            lossy |= holds_lossy;
            shape
        };
        let shape = match value {
            Value::Object(entries) => object(entries.iter().map(|(key, value)| (key, inner(value)))),
            Value::Array(items) => list(items.iter().map(inner)),
            scalar => self::scalar(scalar, numbers),
        };
        match value {
            Value::Number(number) => {
                lossy = is_lossy(number.as_str(), numbers);
                note(self.numbers.entry(SeenNumbers::of(number.as_str(), numbers)), lossy.then_some(value));
            }
            Value::Object(_) | Value::Array(_) if lossy => note(self.around.entry(shape), Some(value)),
            _ => {}
        }
        (shape, lossy)
    }
}

/// A second value that looks the same and is not makes the entry ambiguous for good.
fn note<'a, K>(entry: Entry<'_, K, Option<&'a Value>>, value: Option<&'a Value>) {
    match entry {
        Entry::Vacant(entry) => _ = entry.insert(value),
        Entry::Occupied(mut entry) if *entry.get() != value => _ = entry.insert(None),
        Entry::Occupied(_) => {}
    }
}

/// The shape of a value: equal for those that look the same to a guest (and, rarely, for others). `fuel` are the values
/// that may still be looked at; `None` when it is used up.
pub(super) fn shape(value: &Value, numbers: Numbers, fuel: &mut usize) -> Option<u64> {
    *fuel = fuel.checked_sub(1)?;
    Some(match value {
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| Some((key, shape(value, numbers, fuel)?)));
            object(entries.collect::<Option<Vec<_>>>()?.into_iter())
        }
        Value::Array(items) => {
            list(items.iter().map(|item| shape(item, numbers, fuel)).collect::<Option<Vec<_>>>()?.into_iter())
        }
        scalar => self::scalar(scalar, numbers),
    })
}

fn object<'k>(entries: impl Iterator<Item = (&'k Text, u64)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    "object".hash(&mut hasher);
    entries.for_each(|entry| entry.hash(&mut hasher));
    hasher.finish()
}

fn list(items: impl Iterator<Item = u64>) -> u64 {
    let mut hasher = DefaultHasher::new();
    "list".hash(&mut hasher);
    items.for_each(|item| item.hash(&mut hasher));
    hasher.finish()
}

fn scalar(value: &Value, numbers: Numbers) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::String(text) => text.hash(&mut hasher),
        Value::Bool(value) => value.hash(&mut hasher),
        Value::Number(number) => match SeenNumbers::of(number.as_str(), numbers) {
            // Some guests write `null` for it.
            seen if seen.is_infinite() && numbers == Numbers::Unknown => 0_u8.hash(&mut hasher),
            seen => seen.hash(&mut hasher),
        },
        _ => 0_u8.hash(&mut hasher),
    }
    hasher.finish()
}
