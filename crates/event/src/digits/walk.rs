//! Through a guest's output and the event that it was given, together.

use crate::value::{JsonObject, Value};

use super::Numbers;
use super::index::{Index, shape};
use super::seen::{SeenNumbers, is_lossy, is_telling};

/// Values that a walk may compare for each byte of the guest's text. It is far from using that up; a text made to be
/// compared for ever does, and keeps what the guest wrote.
const COMPARED_FOR_EACH_BYTE: usize = 8;

/// The values that may be compared for a text of so many bytes.
pub(super) const fn fuel(bytes: usize) -> usize {
    bytes.saturating_add(128).saturating_mul(COMPARED_FOR_EACH_BYTE)
}

/// What stood in the input where a value of the output stands.
#[derive(Clone, Copy)]
enum WalkPlace<'a> {
    /// This did: the way leads through names alone, or through lists that are otherwise the same.
    Sure(&'a Value),
    /// This may have: an element with the same number in a list of the same length, where some element has changed.
    Likely(&'a Value),
    /// Nobody knows.
    Unknown,
}

impl<'a> WalkPlace<'a> {
    fn inner(self, find: impl FnOnce(&'a Value) -> Option<&'a Value>) -> Self {
        match self {
            Self::Sure(value) => find(value).map_or(Self::Unknown, Self::Sure),
            Self::Likely(value) => find(value).map_or(Self::Unknown, Self::Likely),
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Walks of the outputs that were made of one event.
pub(super) struct DigitsWalk<'a> {
    numbers: Numbers,
    /// All that the event holds.
    event: Vec<&'a Value>,
    /// Made when the first value is found in another place.
    index: Option<Index<'a>>,
    /// Values that may still be compared.
    fuel: usize,
    /// Whether anything was put back into the output at hand.
    pub(super) changed: bool,
}

impl<'a> DigitsWalk<'a> {
    /// Walks over an event whose top-level values are `event`.
    pub(super) fn new(numbers: Numbers, event: Vec<&'a Value>) -> Self {
        Self { numbers, event, index: None, fuel: 0, changed: false }
    }

    /// Begins with an output of so many bytes.
    pub(super) fn begin(&mut self, bytes: usize) {
        self.fuel = fuel(bytes);
        self.changed = false;
    }

    /// Puts digits back into the `entries` of an object that was `old`.
    pub(super) fn entries(&mut self, entries: &mut JsonObject, old: &'a JsonObject) {
        for (key, value) in entries {
            self.value(value, old.get(key).map_or(WalkPlace::Unknown, WalkPlace::Sure));
        }
    }

    /// Puts digits back into a value that was `old`.
    pub(super) fn whole(&mut self, value: &mut Value, old: Option<&'a Value>) {
        self.value(value, old.map_or(WalkPlace::Unknown, WalkPlace::Sure));
    }

    fn value(&mut self, value: &mut Value, place: WalkPlace<'a>) {
        match value {
            Value::Number(number) => {
                if let Some(found) = self.number(number.as_str(), place) {
                    self.put(value, found);
                }
            }
            Value::Null if self.numbers == Numbers::Unknown => self.null(value, place),
            Value::Object(entries) => match place {
                WalkPlace::Sure(Value::Object(_)) | WalkPlace::Likely(Value::Object(_)) => {
                    for (key, value) in entries {
                        self.value(value, place.inner(|old| old.get(key)));
                    }
                }
                _ if self.moved(value) => {}
                _ => value.as_object_mut().into_iter().flatten().for_each(|(_, value)| {
                    self.value(value, WalkPlace::Unknown);
                }),
            },
            Value::Array(_) => self.list(value, place),
            _ => {}
        }
    }

    fn list(&mut self, value: &mut Value, place: WalkPlace<'a>) {
        if let WalkPlace::Sure(old @ Value::Array(_)) = place
            && self.is_alike(value, old)
        {
            self.put(value, old);
            return;
        }
        if self.moved(value) {
            return;
        }
        let Value::Array(items) = value else { return };
        let old = match place {
            WalkPlace::Sure(Value::Array(old)) | WalkPlace::Likely(Value::Array(old)) if old.len() == items.len() => {
                old.as_slice()
            }
            _ => &[],
        };
        for (at, item) in items.make_mut().iter_mut().enumerate() {
            if !self.moved(item) {
                self.value(item, old.get(at).map_or(WalkPlace::Unknown, WalkPlace::Likely));
            }
        }
    }

    /// The number of the event that the guest wrote as `text`, if that is beyond doubt.
    fn number(&mut self, text: &str, place: WalkPlace<'a>) -> Option<&'a Value> {
        let seen = SeenNumbers::written(text, self.numbers);
        match place {
            WalkPlace::Sure(old) | WalkPlace::Likely(old) => {
                if let Value::Number(number) = old
                    && (number.as_str() == text || SeenNumbers::of(number.as_str(), self.numbers) == seen)
                {
                    let certain = matches!(place, WalkPlace::Sure(_)) || !is_lossy(number.as_str(), self.numbers);
                    return if certain { Some(old) } else { self.index().number(seen) };
                }
            }
            WalkPlace::Unknown => {}
        }
        match seen {
            SeenNumbers::Double(bits) if is_telling(text, bits) => self.index().number(seen),
            _ => None,
        }
    }

    /// Some guests write `null` for a number beyond the range of doubles.
    fn null(&mut self, value: &mut Value, place: WalkPlace<'a>) {
        if let WalkPlace::Sure(old @ Value::Number(number)) | WalkPlace::Likely(old @ Value::Number(number)) = place
            && SeenNumbers::of(number.as_str(), self.numbers).is_infinite()
        {
            self.put(value, old);
        }
    }

    /// Puts the digits back into a list or an object that stood somewhere else in the event, if one alone looked like it.
    fn moved(&mut self, value: &mut Value) -> bool {
        if !is_worth_finding(value) {
            return false;
        }
        let Some(shape) = shape(value, self.numbers, &mut self.fuel) else { return false };
        let Some(found) = self.index().around(shape) else { return false };
        let moved = self.is_alike(value, found);
        if moved {
            self.put(value, found);
        }
        moved
    }

    fn is_alike(&mut self, value: &Value, old: &Value) -> bool {
        is_alike(value, old, self.numbers, &mut self.fuel)
    }

    fn index(&mut self) -> &Index<'a> {
        let (event, numbers) = (&self.event, self.numbers);
        self.index.get_or_insert_with(|| Index::of(event, numbers))
    }

    fn put(&mut self, value: &mut Value, found: &Value) {
        if value != found {
            *value = found.clone();
            self.changed = true;
        }
    }
}

/// Whether a guest may have written `value` for `old` and changed nothing. `fuel` are the values that may still be compared.
pub(super) fn is_alike(value: &Value, old: &Value, numbers: Numbers, fuel: &mut usize) -> bool {
    let Some(left) = fuel.checked_sub(1) else { return false };
    *fuel = left;
    match (value, old) {
        (Value::Number(value), Value::Number(old)) => {
            value == old || SeenNumbers::written(value.as_str(), numbers) == SeenNumbers::of(old.as_str(), numbers)
        }
        (Value::Null, Value::Number(old)) if numbers == Numbers::Unknown => {
            SeenNumbers::of(old.as_str(), numbers).is_infinite()
        }
        (Value::Array(items), Value::Array(old)) => {
            items.len() == old.len() && items.iter().zip(old).all(|(item, old)| is_alike(item, old, numbers, fuel))
        }
        (Value::Object(entries), Value::Object(old)) => {
            entries.len() == old.len()
                && entries
                    .iter()
                    .zip(old)
                    .all(|((key, value), (old_key, old))| key == old_key && is_alike(value, old, numbers, fuel))
        }
        (value, old) => value == old,
    }
}

/// A list or an object with two values that say something: one alone may be there by chance.
pub(super) fn is_worth_finding(value: &Value) -> bool {
    /// How many of `left` values are still wanted.
    fn missing(value: &Value, left: usize) -> usize {
        let inner = |left: usize, value: &Value| if left == 0 { 0 } else { missing(value, left) };
        match value {
            Value::Null => left,
            Value::Array(items) => items.iter().fold(left, inner),
            Value::Object(entries) => entries.values().fold(left, inner),
            _ => left - 1,
        }
    }
    matches!(value, Value::Array(_) | Value::Object(_)) && missing(value, 2) == 0
}
