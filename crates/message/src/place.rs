//! Where a value stands in a message.

use std::borrow::Cow;

use tidegate_event::is_blank;
use tidegate_event::value::{JsonObject, Text, Value};

use crate::upstream::UpstreamMessage;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessagePlace {
    /// The steps of a JSON pointer (RFC 6901) into the part; without any it is the whole part.
    Pointer(Vec<String>),
    /// A header, by its name in lower case.
    Header(String),
    /// Something that the carrier says.
    Meta(String),
    /// The same for each message.
    Constant(Value),
    /// The texts of several places, those that are there, with a text between each two.
    Joined { places: Vec<MessagePlace>, between: String },
}

/// A text that is no place, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongPlace {
    /// `~` in a JSON pointer stands before 0 or 1 alone.
    Escape,
    /// No header can have this name.
    HeaderName,
}

/// A part that was read, and what came with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadPart<'v> {
    pub(crate) value: &'v Value,
    pub(crate) message: UpstreamMessage<'v>,
}

impl MessagePlace {
    /// `/a/b` is a JSON pointer, and so is an empty text, which is the whole; `header:NAME` and `meta:NAME` say where they lead; anything else is
    /// a constant.
    ///
    /// # Errors
    /// It begins like a place and is none.
    pub fn parse(text: &str) -> Result<Self, WrongPlace> {
        if text.is_empty() {
            return Ok(Self::Pointer(Vec::new()));
        }
        if let Some(behind) = text.strip_prefix('/') {
            let steps: Option<Vec<String>> = behind.split('/').map(step).collect();
            return steps.map(Self::Pointer).ok_or(WrongPlace::Escape);
        }
        if let Some(name) = text.strip_prefix("header:") {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let fits = !name.is_empty() && name.bytes().all(is_token);
            return fits.then(|| Self::Header(name.to_ascii_lowercase())).ok_or(WrongPlace::HeaderName);
        }
        if let Some(name) = text.strip_prefix("meta:") {
            return Ok(Self::Meta(name.to_owned()));
        }
        Ok(Self::Constant(text.into()))
    }

    /// Whether each part of a message has a value of its own there.
    pub(crate) fn is_of_part(&self) -> bool {
        match self {
            Self::Pointer(_) => true,
            Self::Joined { places, .. } => places.iter().any(Self::is_of_part),
            Self::Header(_) | Self::Meta(_) | Self::Constant(_) => false,
        }
    }

    /// What stands there; `null` counts as nothing.
    pub(crate) fn find<'v>(&'v self, part: ReadPart<'v>) -> Option<Cow<'v, Value>> {
        let found = match self {
            Self::Pointer(steps) => Cow::Borrowed(led(part.value, steps)?),
            Self::Header(name) => Cow::Owned(part.message.header(name)?.into()),
            Self::Meta(name) => Cow::Borrowed(part.message.meta.get(name)?),
            Self::Constant(value) => Cow::Borrowed(value),
            Self::Joined { places, between } => {
                let texts: Vec<Text> = places.iter().filter_map(|place| place.text(part)).collect();
                if texts.is_empty() {
                    return None;
                }
                let texts: Vec<&str> = texts.iter().map(Text::as_str).collect();
                Cow::Owned(texts.join(between.as_str()).into())
            }
        };
        (!found.is_null()).then_some(found)
    }

    /// The text that stands there: a number as it is spelled, a truth as its word.
    pub(crate) fn text(&self, part: ReadPart<'_>) -> Option<Text> {
        self.find(part).and_then(|found| scalar(&found))
    }
}

impl std::fmt::Display for MessagePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pointer(steps) if steps.is_empty() => f.write_str("the whole message"),
            Self::Pointer(steps) => {
                steps.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
            }
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Meta(name) => write!(f, "meta:{name}"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Joined { places, .. } => {
                for (at, place) in places.iter().enumerate() {
                    let before = if at == 0 { "" } else { " + " };
                    write!(f, "{before}{place}")?;
                }
                Ok(())
            }
        }
    }
}

/// One step of a pointer without its escapes.
fn step(written: &str) -> Option<String> {
    let mut step = String::with_capacity(written.len());
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        step.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(step)
}

fn led<'v>(value: &'v Value, steps: &[String]) -> Option<&'v Value> {
    steps.iter().try_fold(value, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(items) => items.get(index(step)?),
        _ => None,
    })
}

/// The place in an array that a step names: digits without a zero in front.
fn index(step: &str) -> Option<usize> {
    let is_number = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    step.parse().ok().filter(|_| is_number)
}

/// The text of a value that is one: a text that is not blank, a number as it is spelled, a truth.
pub(crate) fn scalar(value: &Value) -> Option<Text> {
    match value {
        Value::String(text) if !is_blank(text) => Some(text.clone()),
        Value::Number(number) => Some(number.as_str().into()),
        Value::Bool(true) => Some("true".into()),
        Value::Bool(false) => Some("false".into()),
        _ => None,
    }
}

/// A value that must be an object: another one stands in an object under `body`.
pub(crate) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        other => [("body", other)].into_iter().collect(),
    }
}
