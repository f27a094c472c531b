//! Numbers of events by the name that they stand under, and the digits in their texts.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use crate::value::Value;

use super::Numbers;
use super::seen::{SeenNumbers, is_lossy};

/// Fewer digits are no whole number that a guest loses any of, and more are none that it knows.
const RUN: RangeInclusive<usize> = 16..=309;

/// Each number is found as long as it is the only one that looks so under its name.
#[derive(Default)]
pub(super) struct FieldNames<'a> {
    numbers: HashMap<(&'a str, u64), Option<&'a Value>>,
    /// Runs of digits in texts.
    runs: HashSet<&'a str>,
}

impl<'a> FieldNames<'a> {
    pub(super) fn of(values: &[&'a Value], numbers: Numbers) -> Self {
        let mut names = Self::default();
        for value in values {
            names.add("", value, numbers);
        }
        names
    }

    /// The one lossy number under `name` that the guest saw so.
    pub(super) fn number(&self, name: &str, bits: u64) -> Option<&'a Value> {
        self.numbers.get(&(name, bits)).copied().flatten()
    }

    /// Whether a text of an event has this run of digits.
    pub(super) fn has_run(&self, digits: &str) -> bool {
        self.runs.contains(digits)
    }

    fn add(&mut self, name: &'a str, value: &'a Value, numbers: Numbers) {
        match value {
            Value::Object(entries) => entries.iter().for_each(|(key, value)| self.add(key, value, numbers)),
            Value::Array(items) => items.iter().for_each(|item| self.add(name, item, numbers)),
            Value::String(text) => {
                let mut from = 0;
                while let Some(run) = run(text, from) {
                    from = run.end;
                    self.runs.insert(&text[run]);
                }
            }
            Value::Number(number) => {
                let SeenNumbers::Double(bits) = SeenNumbers::of(number.as_str(), numbers) else { return };
                let lossy = is_lossy(number.as_str(), numbers).then_some(value);
                match self.numbers.entry((name, bits)) {
                    Entry::Vacant(entry) => _ = entry.insert(lossy),
                    Entry::Occupied(mut entry) if *entry.get() != lossy => _ = entry.insert(None),
                    Entry::Occupied(_) => {}
                }
            }
            _ => {}
        }
    }
}

/// The first run of digits at or behind `from` that a whole number may be written with: no part of a word or of a decimal.
pub(super) fn run(text: &str, mut from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    while let Some(start) = bytes.get(from..)?.iter().position(u8::is_ascii_digit).map(|at| from + at) {
        let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let end = start + length;
        let is_of_word = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_' || !byte.is_ascii();
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        let is_fraction = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        let is_alone = !before.is_some_and(|byte| is_of_word(byte) || *byte == b'.')
            && !bytes.get(end).is_some_and(is_of_word)
            && !is_fraction;
        if is_alone && RUN.contains(&length) {
            return Some(start..end);
        }
        from = end;
    }
    None
}
