//! Values that a guest was given and nobody else may read: they are taken out of whatever it says.
//!
//! A value is found as a guest may have come to write it: as it is, as a part of JSON or of a URL, in base64 wherever it begins there, in
//! hexadecimal digits, with its invisible characters spelled out, each of its lines by itself, and cut off at the end of a text. What a guest
//! writes in a way of its own is not found.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value};

use super::call_log::CallLog;
use super::legible::legible;

/// What is shorter cannot be told from other text.
const CHARS_MIN: usize = 4;
/// A spelling of base64, or a line, that is shorter cannot.
const PART_CHARS_MIN: usize = 8;
/// Stands for a value.
const STAND_IN: &str = "(secret)";

/// Values that are taken out of texts. They never print.
#[derive(Clone, Default)]
pub struct HiddenTexts {
    values: Arc<[String]>,
    /// What must not be seen, the longest first.
    traces: Arc<[String]>,
}

impl HiddenTexts {
    /// These, and further values.
    #[must_use]
    pub fn and(&self, values: &[String]) -> Self {
        if values.is_empty() {
            return self.clone();
        }
        let mut all: Vec<String> = self.values.iter().chain(values).cloned().collect();
        all.sort_unstable();
        all.dedup();
        let mut traces: Vec<String> = all.iter().flat_map(|value| spellings(value)).collect();
        traces.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        traces.dedup();
        Self { values: all.into(), traces: traces.into() }
    }

    /// These, and those of others.
    #[must_use]
    pub fn joined(&self, others: &Self) -> Self {
        self.and(&others.values)
    }

    /// Whether there is nothing to take out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes the values out of a text.
    pub fn clean(&self, text: &mut String) {
        for trace in &*self.traces {
            if text.contains(trace.as_str()) {
                *text = text.replace(trace.as_str(), STAND_IN);
            }
        }
        // Texts of guests are cut to a size, perhaps within a value.
        if let Some(at) = self.traces.iter().filter_map(|trace| cut_off_at(text, trace)).min() {
            text.truncate(at);
            text.push_str(STAND_IN);
        }
    }

    /// The same of every text of a value.
    pub fn clean_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.clean(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean_json(item)),
            Value::Object(fields) => {
                let mut clean = Map::new();
                for (mut name, mut value) in std::mem::take(fields) {
                    self.clean(&mut name);
                    self.clean_json(&mut value);
                    clean.insert(name, value);
                }
                *fields = clean;
            }
            _ => {}
        }
    }

    /// The same of what a guest logged and counted.
    pub(super) fn clean_log(&self, call_log: &mut CallLog) {
        for line in &mut call_log.lines {
            self.clean(&mut line.text);
        }
        for (mut name, count) in std::mem::take(&mut call_log.counters) {
            self.clean(&mut name);
            let sum = call_log.counters.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// The values, in an order of their own.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }
}

impl PartialEq for HiddenTexts {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Eq for HiddenTexts {}

impl fmt::Debug for HiddenTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HiddenTexts").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

/// How a value may be written.
fn spellings(value: &str) -> Vec<String> {
    let is_long = |text: &String, chars_min: usize| text.chars().nth(chars_min - 1).is_some();
    let json = Value::from(value).to_string();
    let json = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned();
    let percent: String = value.bytes().map(percent_encoded).collect();
    let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let debug = value.escape_debug().to_string();
    let mut whole = vec![value.to_owned(), legible(value, usize::MAX), debug, json, percent, hexadecimal];
    whole.retain(|text| is_long(text, CHARS_MIN));
    let mut parts: Vec<String> = value.lines().map(|line| line.trim().to_owned()).collect();
    for before in 0..3 {
        let bytes = [vec![0; before].as_slice(), value.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        // The digits that hold bits of nothing else.
        let digits = encoded.get((before * 8).div_ceil(6)..bytes.len() * 8 / 6).unwrap_or_default();
        parts.push(digits.to_owned());
        parts.push(digits.replace('+', "-").replace('/', "_"));
    }
    parts.retain(|text| is_long(text, PART_CHARS_MIN));
    if is_long(&value.to_owned(), CHARS_MIN) { whole.into_iter().chain(parts).collect() } else { Vec::new() }
}

/// A byte as a URL has it.
fn percent_encoded(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// Where a text begins to end with the beginning of a trace.
fn cut_off_at(text: &str, trace: &str) -> Option<usize> {
    let ends = trace.char_indices().skip(CHARS_MIN).map(|(end, _)| end).take_while(|end| *end <= text.len());
    let beginnings = ends.filter_map(|end| trace.get(..end));
    let longest = beginnings.filter(|beginning| text.ends_with(*beginning)).last()?;
    text.len().checked_sub(longest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "s\"cr/t-kéy\nand a second line";

    fn cleaned(text: &str) -> String {
        let mut text = text.to_owned();
        HiddenTexts::default().and(&[KEY.to_owned()]).clean(&mut text);
        text
    }

    #[test]
    fn a_value_is_taken_out_however_it_is_written() {
        let json = Value::from(KEY).to_string();
        for written in [
            KEY.to_owned(),
            legible(KEY, 1_000),
            format!("{KEY:?}"),
            json.clone(),
            "s%22cr%2Ft-k%C3%A9y%0Aand%20a%20second%20line".to_owned(),
            "and a second line".to_owned(),
            STANDARD_NO_PAD.encode(format!("ann:{KEY}")),
            KEY.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ] {
            let cleaned = cleaned(&format!("{written}, fine"));
            assert!(cleaned.contains(STAND_IN) && cleaned.ends_with(", fine"), "{cleaned}");
            assert!(!cleaned.contains("cr/t") && !cleaned.contains("second"), "{cleaned}");
        }
    }

    #[test]
    fn a_value_that_was_cut_off_is_taken_out_and_other_text_is_left() {
        assert_eq!(cleaned("the key s\"cr/t"), "the key (secret)");
        assert_eq!(cleaned("the key s\"cr"), "the key (secret)");
        assert_eq!(cleaned("the key s\"c"), "the key s\"c");
        assert_eq!(cleaned("nothing of it"), "nothing of it");
        let mut text = "a b".to_owned();
        HiddenTexts::default().and(&["a".to_owned(), String::new()]).clean(&mut text);
        assert_eq!(text, "a b");
    }

    #[test]
    fn values_are_told_apart_and_not_printed() {
        let one = HiddenTexts::default().and(&["hunter2".to_owned()]);
        assert_eq!(one, one.and(&["hunter2".to_owned()]));
        assert_ne!(one, one.and(&["hunter3".to_owned()]));
        assert!(!format!("{one:?}").contains("hunter"));
    }

    #[test]
    fn names_and_values_of_json_are_looked_through() {
        let mut value = serde_json::json!({"hunter2": ["x hunter2", {"n": 1}]});
        HiddenTexts::default().and(&["hunter2".to_owned()]).clean_json(&mut value);
        assert_eq!(value, serde_json::json!({"(secret)": ["x (secret)", {"n": 1}]}));
    }
}
