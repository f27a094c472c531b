//! Secrets: put in last, taken out of everything that people or guests may see.

use std::collections::BTreeMap;

use base64::Engine as _;
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::placeholder::{CLOSE, OPEN, placeholder};
use super::policy::{PolicyRefusal, shown};

const NAME_BYTES_MAX: usize = 128;

/// All but what a URL never needs to encode.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// How a value is written where it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Plain,
    Percent,
    Json,
}

impl Spelling {
    fn spell(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Percent => utf8_percent_encode(value, ENCODED).to_string(),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
            }
        }
    }
}

/// Values by name. They never print.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// What must not be seen, the longest first, and what stands in for it.
    traces: Vec<(Vec<u8>, String)>,
}

impl Secrets {
    /// Secrets by the names of their settings. An empty one is as good as none.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let values: BTreeMap<String, String> = values.into_iter().collect();
        let mut secrets = Self { values: BTreeMap::new(), traces: Vec::new() };
        for (name, value) in &values {
            secrets.hide(&placeholder(name), value);
        }
        Self { values, ..secrets }
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// True when there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Lets `value`, however it is spelled, be seen as `stand_in` only.
    pub(super) fn hide(&mut self, stand_in: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let mut spellings: Vec<String> =
            [Spelling::Plain, Spelling::Percent, Spelling::Json].iter().map(|spelling| spelling.spell(value)).collect();
        spellings.push(base64::engine::general_purpose::STANDARD.encode(value));
        for spelling in spellings {
            let trace = (spelling.into_bytes(), stand_in.to_owned());
            if !self.traces.iter().any(|(known, _)| *known == trace.0) {
                self.traces.push(trace);
            }
        }
        self.traces.sort_by_key(|(bytes, _)| std::cmp::Reverse(bytes.len()));
    }

    /// `text` with its placeholders filled. `place` says where it stands, for the refusal.
    pub(super) fn fill(&self, text: &str, spelling: Spelling, place: &str) -> Result<String, PolicyRefusal> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(OPEN) {
            let behind = rest.get(at + OPEN.len()..).unwrap_or_default();
            let name = behind.find(CLOSE).filter(|end| *end <= NAME_BYTES_MAX).and_then(|end| behind.get(..end));
            let Some(name) = name else {
                return Err(PolicyRefusal::new("secret-unknown", format!("{place} has a placeholder without its end")));
            };
            let Some(value) = self.get(name) else {
                let reason = format!("{place} asks for the secret {}, which this plugin does not have", shown(name));
                return Err(PolicyRefusal::new("secret-unknown", reason));
            };
            out.push_str(rest.get(..at).unwrap_or_default());
            out.push_str(&spelling.spell(value));
            rest = behind.get(name.len() + CLOSE.len()..).unwrap_or_default();
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `bytes` with every secret in it replaced by its placeholder.
    #[must_use]
    pub fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for (trace, stand_in) in &self.traces {
            if memmem::find(&out, trace).is_none() {
                continue;
            }
            let mut clean = Vec::with_capacity(out.len());
            let mut from = 0;
            for at in memmem::find_iter(&out, trace) {
                clean.extend_from_slice(&out[from..at]);
                clean.extend_from_slice(stand_in.as_bytes());
                from = at + trace.len();
            }
            clean.extend_from_slice(&out[from..]);
            out = clean;
        }
        out
    }

    /// The same for text.
    #[must_use]
    pub fn redact_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact(text.as_bytes())).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::new([("key".to_owned(), "s\"cr/t".to_owned()), ("long".to_owned(), "s\"cr/t-and-more".to_owned())])
    }

    #[test]
    fn a_secret_is_spelled_for_its_place() {
        let fill = |text: &str, spelling| secrets().fill(text, spelling, "here");
        assert_eq!(fill("a={{secret.key}}&b", Spelling::Percent).unwrap(), "a=s%22cr%2Ft&b");
        assert_eq!(fill("{\"k\":\"{{secret.key}}\"}", Spelling::Json).unwrap(), "{\"k\":\"s\\\"cr/t\"}");
        assert_eq!(fill("{{secret.key}}{{secret.long}}", Spelling::Plain).unwrap(), "s\"cr/ts\"cr/t-and-more");
        for text in ["{{secret.other}}", "{{secret.key}", "{{secret.}}", "{{secret.{{secret.key}}}}"] {
            assert_eq!(fill(text, Spelling::Plain).unwrap_err().code, "secret-unknown", "{text}");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_left_in_what_people_see() {
        let encoded = base64::engine::general_purpose::STANDARD.encode("s\"cr/t-and-more");
        let seen = secrets().redact_text(&format!("s\"cr/t s\"cr/t-and-more s%22cr%2Ft s\\\"cr/t {encoded} fine"));
        assert_eq!(seen, "{{secret.key}} {{secret.long}} {{secret.key}} {{secret.key}} {{secret.long}} fine");
    }
}
