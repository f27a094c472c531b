//! Texts with places for fields of an event: topics, keys, headers.
//!
//! `orders-{properties.country}`: between braces stands the path of a field, or several with `|`, of which the first that the event has
//! counts. A field is a text that is not empty, a number as it is spelled, or a boolean. `source` is the name of the event's source;
//! `year`, `month`, `day` and `hour` are of its `receivedAt`, in UTC. A text is filled as it stands or not at all: nothing is
//! shortened or replaced.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use tidegate_event::value::Value;
use tidegate_event::{Event, time};

/// The most bytes of a template.
pub const TEMPLATE_BYTES_MAX: usize = 500;
/// The most places in it, and the most fields of a place.
const PLACES_MAX: usize = 16;
/// How deep a field may lie.
const DEPTH_MAX: usize = 8;
/// The most bytes that a filled template may have.
pub const FILLED_BYTES_MAX: usize = 4096;

/// A text with places for fields of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate {
    written: String,
    parts: Vec<TemplatePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    /// The first of these that an event has.
    Field(Vec<TemplateField>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DatePart {
    Year,
    Month,
    Day,
    Hour,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplateField {
    Source,
    Received(DatePart),
    /// A path into the event.
    Path(Vec<String>),
}

/// Why a template is not filled with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the event has nothing for {{{0}}} that can stand in a text")]
    Missing(String),
    #[error("it would have more than {FILLED_BYTES_MAX} bytes")]
    TooLong,
}

impl MessageTemplate {
    /// Whether it says the same of every event.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, TemplatePart::Field(_)))
    }

    /// The text for `event`.
    ///
    /// # Errors
    /// The event lacks a field, or the text would be too long.
    pub fn fill(&self, event: &Event) -> Result<String, TemplateError> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => filled.push_str(text),
                TemplatePart::Field(fields) => match fields.iter().find_map(|field| field.of(event)) {
                    Some(value) => filled.push_str(&value),
                    None => return Err(TemplateError::Missing(shown(fields))),
                },
            }
            if filled.len() > FILLED_BYTES_MAX {
                return Err(TemplateError::TooLong);
            }
        }
        Ok(filled)
    }
}

impl TemplateField {
    fn read(written: &str) -> Result<Self, String> {
        let received = |part| Ok(Self::Received(part));
        match written {
            "source" => Ok(Self::Source),
            "year" => received(DatePart::Year),
            "month" => received(DatePart::Month),
            "day" => received(DatePart::Day),
            "hour" => received(DatePart::Hour),
            _ => {
                let path: Vec<String> = written.split('.').map(str::to_owned).collect();
                if path.iter().any(String::is_empty) {
                    return Err(format!("{{{written}}} names no field"));
                }
                if path.len() > DEPTH_MAX {
                    return Err(format!("{{{written}}} lies deeper than {DEPTH_MAX} fields"));
                }
                Ok(Self::Path(path))
            }
        }
    }

    fn of<'e>(&self, event: &'e Event) -> Option<Cow<'e, str>> {
        match self {
            Self::Source => Some(Cow::Owned(event.source.to_string())),
            Self::Received(part) => {
                let range = match part {
                    DatePart::Year => 0..4,
                    DatePart::Month => 5..7,
                    DatePart::Day => 8..10,
                    DatePart::Hour => 11..13,
                };
                time::format(event.received_at_us).get(range).map(|part| Cow::Owned(part.to_owned()))
            }
            Self::Path(path) => {
                let (first, rest) = path.split_first()?;
                let mut value = event.body.get(first)?;
                for key in rest {
                    value = value.get(key)?;
                }
                match value {
                    Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text.as_str())),
                    Value::Number(number) => Some(Cow::Borrowed(number.as_str())),
                    Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
                    _ => None,
                }
            }
        }
    }
}

impl fmt::Display for TemplateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Received(DatePart::Year) => f.write_str("year"),
            Self::Received(DatePart::Month) => f.write_str("month"),
            Self::Received(DatePart::Day) => f.write_str("day"),
            Self::Received(DatePart::Hour) => f.write_str("hour"),
            Self::Path(path) => f.write_str(&path.join(".")),
        }
    }
}

fn shown(fields: &[TemplateField]) -> String {
    let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
    fields.join("|")
}

/// Reads a template; an error says what is wrong with it.
impl FromStr for MessageTemplate {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if written.is_empty() {
            return Err("it is empty".to_owned());
        }
        if written.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("it has more than {TEMPLATE_BYTES_MAX} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((text, behind)) = rest.split_once('{') {
            let Some((place, after)) = behind.split_once('}') else {
                return Err("a brace is opened and not closed".to_owned());
            };
            if text.contains('}') {
                return Err("a brace is closed that was not opened".to_owned());
            }
            if !text.is_empty() {
                parts.push(TemplatePart::Text(text.to_owned()));
            }
            let fields: Vec<TemplateField> = place.split('|').map(TemplateField::read).collect::<Result<_, _>>()?;
            if fields.len() > PLACES_MAX || parts.len() > 2 * PLACES_MAX {
                return Err(format!("it has more than {PLACES_MAX} places, or a place more fields than that"));
            }
            parts.push(TemplatePart::Field(fields));
            rest = after;
        }
        if rest.contains('}') {
            return Err("a brace is closed that was not opened".to_owned());
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Self { written: written.to_owned(), parts })
    }
}

/// As it was written.
impl fmt::Display for MessageTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventId, EventKind};

    use super::*;

    fn event(body: &str) -> Event {
        Event {
            source: "web".into(),
            id: EventId::default(),
            kind: EventKind::Track,
            received_at_us: 1_714_979_290_000_001,
            body: body.parse().unwrap(),
        }
    }

    fn filled(template: &str, body: &str) -> Result<String, TemplateError> {
        template.parse::<MessageTemplate>().unwrap().fill(&event(body))
    }

    #[test]
    fn a_place_takes_the_first_field_that_the_event_has_as_it_is_spelled() {
        let body = r#"{"type":"track","event":"Order Done","properties":{"n":1.10,"ok":true,"no":"","list":[1]}}"#;
        for (template, text) in [
            ("events", "events"),
            ("events-{source}", "events-web"),
            ("{event}", "Order Done"),
            ("{properties.n}/{properties.ok}", "1.10/true"),
            ("{properties.no|properties.list|name|type}.x", "track.x"),
            ("{year}-{month}-{day}T{hour}", "2024-05-06T07"),
        ] {
            assert_eq!(filled(template, body).as_deref(), Ok(text), "{template}");
        }
        for template in ["{properties.no}", "{properties.list}", "{properties}", "{userId|anonymousId}"] {
            let error = filled(template, body).unwrap_err().to_string();
            assert!(error.contains(template), "{error}");
        }
    }

    #[test]
    fn what_is_filled_is_bounded() {
        let body = format!(r#"{{"userId":"{}"}}"#, "u".repeat(FILLED_BYTES_MAX + 1));
        assert_eq!(filled("{userId}", &body), Err(TemplateError::TooLong));
    }

    #[test]
    fn what_is_no_template_says_why() {
        let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        let places = "{a}".repeat(40);
        let deep = "{a.a.a.a.a.a.a.a.a}";
        for (written, words) in [
            ("", "empty"),
            (long.as_str(), "bytes"),
            ("a{b", "not closed"),
            ("a}b", "not opened"),
            ("}{a}", "not opened"),
            ("{}", "names no field"),
            ("{a..b}", "names no field"),
            ("{a|}", "names no field"),
            (places.as_str(), "places"),
            (deep, "deeper"),
        ] {
            let error = written.parse::<MessageTemplate>().unwrap_err();
            assert!(error.contains(words), "{written}: {error}");
        }
    }
}
