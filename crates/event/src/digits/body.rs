//! Digits in the bodies of requests that a destination makes of events.
//!
//! A body has somebody else's shape: nothing in it stands where it stood in an event. So a number comes back under the name
//! that it had, where its digits are so many that it is no chance, and inside of a list or an object that looks like one of
//! the events'; and a large whole number also in a text. Where numbers of several events look the same, an object of a list
//! is known by texts that one event alone has, or by its place in a list of as many objects as the request has events. Digits
//! change, and every other byte of the body stays.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::value::Value;

use super::index::{Index, shape};
use super::names::{FieldNames, run};
use super::seen::{SeenNumbers, is_mark, is_telling};
use super::walk::{fuel, is_alike, is_worth_finding};
use super::{Numbers, read};
use crate::decode::DEPTH_MAX;
use crate::json;

/// Puts the digits of `events`, and of all else that the guest was `given`, back into the JSON text `body` that it made of
/// them. `None`: the body stays as it is, whether JSON or not.
#[must_use]
pub fn restore_in_body(body: &str, events: &[&Value], given: &[Value], numbers: Numbers) -> Option<String> {
    let (value, infinite) = read(body, DEPTH_MAX).ok()?;
    let all: Vec<&Value> = events.iter().copied().chain(given).collect();
    let mut walk = DigitsBody {
        numbers,
        events,
        owners: OnceCell::new(),
        all: Source::of(&all, numbers),
        each: events.iter().map(|_| OnceCell::new()).collect(),
        text: body,
        at: 0,
        copied: 0,
        out: String::new(),
        fuel: fuel(body.len()),
        infinite,
    };
    walk.value(&value, NumberPlace { name: "", event: (events.len() == 1).then_some(0), old: None })?;
    (walk.copied > 0).then(|| walk.out + &body[walk.copied..])
}

/// The lossy numbers of some values, by all that they can be known by.
struct Source<'a> {
    index: Index<'a>,
    names: FieldNames<'a>,
}

impl<'a> Source<'a> {
    fn of(values: &[&'a Value], numbers: Numbers) -> Self {
        Self { index: Index::of(values, numbers), names: FieldNames::of(values, numbers) }
    }

    /// The number that the guest wrote as `text` under `name`.
    fn number(&self, name: &str, text: &str, seen: SeenNumbers<'_>) -> Option<&'a Value> {
        let SeenNumbers::Double(bits) = seen else { return None };
        let named = self.names.number(name, bits);
        named.or_else(|| is_telling(text, bits).then(|| self.index.number(seen)).flatten())
    }

    /// The number that the guest wrote as `digits` in a text.
    fn in_text(&self, digits: &str, seen: SeenNumbers<'_>) -> Option<&'a Value> {
        if self.names.has_run(digits) { None } else { self.index.number(seen) }
    }
}

/// Where a value of the body stands.
#[derive(Clone, Copy)]
struct NumberPlace<'a, 'v> {
    /// The name that it, or the list around it, is under.
    name: &'v str,
    /// Which event it was made of.
    event: Option<usize>,
    /// What it was in an event.
    old: Option<&'a Value>,
}

/// A walk through a body: its value, and its text in step. Where the text and the value part, it ends with `None`.
struct DigitsBody<'a, 't> {
    numbers: Numbers,
    events: &'t [&'a Value],
    /// Texts that one event alone has, and which it is.
    owners: OnceCell<HashMap<&'a str, Option<usize>>>,
    all: Source<'a>,
    each: Vec<OnceCell<Source<'a>>>,
    text: &'t str,
    at: usize,
    /// Up to here the text is in `out`, with other digits.
    copied: usize,
    out: String,
    /// Values that may still be compared.
    fuel: usize,
    /// Whether the text says `Infinity`.
    infinite: bool,
}

impl<'a> DigitsBody<'a, '_> {
    fn value(&mut self, value: &Value, place: NumberPlace<'a, '_>) -> Option<()> {
        self.space();
        match value {
            Value::Object(_) | Value::Array(_) => {
                let old = place.old.or_else(|| self.moved(value, place.event));
                match value {
                    Value::Array(items) => self.items(items, NumberPlace { old, ..place }),
                    _ => self.entries(value, NumberPlace { old, ..place }),
                }
            }
            Value::Number(number) => {
                let text = number.as_str();
                let found = self.number(text, place).filter(|found| *found != text).map(str::to_owned);
                // An infinite number that is none of the events': somebody else says that this is no JSON.
                if found.is_none() && self.infinite && is_mark(text) {
                    return None;
                }
                self.token(text.len(), found.as_deref())
            }
            Value::String(_) => self.string(place.event),
            Value::Bool(true) | Value::Null => self.token(4, None),
            Value::Bool(false) => self.token(5, None),
        }
    }

    fn entries(&mut self, object: &Value, place: NumberPlace<'a, '_>) -> Option<()> {
        self.token(1, None)?;
        for _ in 0..object.as_object()?.len() {
            self.space();
            let (key, end) = json::text(self.text.as_bytes(), self.at).ok()?;
            self.at = end;
            self.space();
            // The colon.
            self.token(1, None)?;
            let old = place.old.and_then(|old| old.get(&key));
            self.value(object.get(&key)?, NumberPlace { name: &key, event: place.event, old })?;
            self.space();
            // The comma, or the end.
            self.token(1, None)?;
        }
        if object.as_object()?.is_empty() {
            self.space();
            self.token(1, None)?;
        }
        Some(())
    }

    fn items(&mut self, items: &[Value], place: NumberPlace<'a, '_>) -> Option<()> {
        self.token(1, None)?;
        let each = place.event.is_none() && items.len() == self.events.len() && items.iter().all(Value::is_object);
        for (at, item) in items.iter().enumerate() {
            let of_request = place.event.is_none() && item.is_object();
            let own = of_request.then(|| self.owner(item).or(each.then_some(at))).flatten();
            let event = place.event.or(own);
            let old = place.old.and_then(|old| old.get(at));
            self.value(item, NumberPlace { name: place.name, event, old })?;
            self.space();
            self.token(1, None)?;
        }
        if items.is_empty() {
            self.space();
            self.token(1, None)?;
        }
        Some(())
    }

    /// The event that an object was made of, by the texts that are in no other event.
    fn owner(&self, object: &Value) -> Option<usize> {
        let owners = self.owners.get_or_init(|| {
            let mut owners = HashMap::new();
            for (at, event) in self.events.iter().enumerate() {
                texts(event, &mut |text| {
                    let owner = owners.entry(text).or_insert(Some(at));
                    *owner = owner.filter(|owner| *owner == at);
                });
            }
            owners
        });
        let (mut owner, mut is_one) = (None, true);
        texts(object, &mut |text| {
            if let Some(Some(found)) = owners.get(text) {
                is_one &= *owner.get_or_insert(*found) == *found;
            }
        });
        owner.filter(|_| is_one)
    }

    /// The list or object of an event that alone looks like `value` and holds digits which the guest lost.
    fn moved(&mut self, value: &Value, event: Option<usize>) -> Option<&'a Value> {
        if !is_worth_finding(value) {
            return None;
        }
        let shape = shape(value, self.numbers, &mut self.fuel)?;
        let found = self.find(event, |source| source.index.around(shape))?;
        is_alike(value, found, self.numbers, &mut self.fuel).then_some(found)
    }

    /// The spelling of the number that the guest wrote as `text`, if that is beyond doubt.
    fn number(&self, text: &str, place: NumberPlace<'a, '_>) -> Option<&'a str> {
        let seen = SeenNumbers::written(text, self.numbers);
        let same =
            |old: &&Value| matches!(old, Value::Number(old) if SeenNumbers::of(old.as_str(), self.numbers) == seen);
        let found =
            place.old.filter(same).or_else(|| self.find(place.event, |source| source.number(place.name, text, seen)));
        match found? {
            Value::Number(number) => Some(number.as_str()),
            _ => None,
        }
    }

    /// Whole numbers that the guest wrote into a text, such as an id.
    fn string(&mut self, event: Option<usize>) -> Option<()> {
        let text = self.text;
        let end = json::skip_string(text.as_bytes(), self.at)?;
        while let Some(run) = run(&text[..end], self.at) {
            // The sign is no part of the run.
            let is_minus = text[..run.start].ends_with('-');
            let signed = is_minus.then(|| self.in_text(&text[run.start - 1..run.end], event)).flatten();
            let found = signed.or_else(|| self.in_text(&text[run.clone()], event));
            self.at = run.start;
            self.token(run.len(), found.map(|digits| digits.trim_start_matches('-')))?;
        }
        self.at = end;
        Some(())
    }

    /// The digits of the whole number that the guest wrote so, if that is beyond doubt.
    fn in_text(&self, written: &str, event: Option<usize>) -> Option<&'a str> {
        if self.numbers == Numbers::ExactIntegers {
            return None;
        }
        let double = written.parse::<f64>().ok().filter(|double| double.is_finite())?;
        // All digits of the double, or the shortest that mean it.
        if format!("{double:.0}") != written && format!("{double}") != written {
            return None;
        }
        let digits = written.trim_start_matches('-');
        let Value::Number(number) =
            self.find(event, |source| source.in_text(digits, SeenNumbers::Double(double.to_bits())))?
        else {
            return None;
        };
        Some(number.as_str()).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
    }

    /// In the event that the value was made of, else in all that the request carries.
    fn find(&self, event: Option<usize>, ask: impl Fn(&Source<'a>) -> Option<&'a Value>) -> Option<&'a Value> {
        let own = event.filter(|_| self.events.len() > 1).and_then(|event| {
            let cell = self.each.get(event)?;
            ask(cell.get_or_init(|| Source::of(&self.events[event..=event], self.numbers)))
        });
        own.or_else(|| ask(&self.all))
    }

    fn space(&mut self) {
        self.at = json::space(self.text.as_bytes(), self.at);
    }

    /// Goes past so many bytes, or writes something else in their place.
    fn token(&mut self, bytes: usize, instead: Option<&str>) -> Option<()> {
        let end = self.at.checked_add(bytes).filter(|end| self.text.is_char_boundary(*end))?;
        if let Some(instead) = instead {
            self.out.push_str(self.text.get(self.copied..self.at)?);
            self.out.push_str(instead);
            self.copied = end;
        }
        self.at = end;
        Some(())
    }
}

/// Shorter texts say little.
const TEXT_BYTES_MIN: usize = 4;

/// Hands each text of a value to `see`.
fn texts<'v>(value: &'v Value, see: &mut impl FnMut(&'v str)) {
    match value {
        Value::String(text) if text.len() >= TEXT_BYTES_MIN => see(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, see)),
        Value::Object(entries) => entries.values().for_each(|value| texts(value, see)),
        _ => {}
    }
}
