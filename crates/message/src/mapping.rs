//! From a part of a message to an event.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_event::EventKind;
use tidegate_event::value::{JsonObject, Text, Value};

use crate::frame::SchemaFrame;
use crate::limits::{MessageLimits, TooManyParts};
use crate::parts::{self, EncodedPart, PartValue, UnreadPart};
use crate::place::{self, MessagePlace, ReadPart};
use crate::schema::{SchemaAnswer, SchemaPlace};
use crate::schema_text::SchemaId;
use crate::upstream::{MessageFormat, UpstreamMessage};

/// An id of a message that is longer is none.
const ID_BYTES_MAX: usize = 512;

/// The value of a part that cannot be read.
static NOTHING: Value = Value::Null;

/// A field of an event that a mapping may fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MappedField {
    Type,
    Event,
    Name,
    Category,
    UserId,
    AnonymousId,
    GroupId,
    PreviousId,
    MessageId,
    Timestamp,
    Properties,
    Traits,
    Context,
}

impl MappedField {
    pub const ALL: [Self; 13] = [
        Self::Type,
        Self::Event,
        Self::Name,
        Self::Category,
        Self::UserId,
        Self::AnonymousId,
        Self::GroupId,
        Self::PreviousId,
        Self::MessageId,
        Self::Timestamp,
        Self::Properties,
        Self::Traits,
        Self::Context,
    ];

    /// As events spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Event => "event",
            Self::Name => "name",
            Self::Category => "category",
            Self::UserId => "userId",
            Self::AnonymousId => "anonymousId",
            Self::GroupId => "groupId",
            Self::PreviousId => "previousId",
            Self::MessageId => "messageId",
            Self::Timestamp => "timestamp",
            Self::Properties => "properties",
            Self::Traits => "traits",
            Self::Context => "context",
        }
    }
}

/// Fields of which a text is made.
const TEXTS: [MappedField; 7] = [
    MappedField::Name,
    MappedField::Category,
    MappedField::UserId,
    MappedField::AnonymousId,
    MappedField::GroupId,
    MappedField::PreviousId,
    MappedField::MessageId,
];

/// Which events it makes, and of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventMapping {
    /// Places that must have these texts; without any it is for every part.
    pub matches: Vec<(MessagePlace, String)>,
    /// Of each field the places where its value may stand: the first that has one counts.
    pub fields: BTreeMap<MappedField, Vec<MessagePlace>>,
}

/// How the messages of a source become events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageMapping {
    pub format: MessageFormat,
    /// By what messages are read that do not say themselves what their bytes are.
    pub schemas: SchemaPlace,
    /// Parts that are events already (objects whose `type` is one of the six kinds) stay as they are.
    pub pass_events: bool,
    /// What the source says: the first whose `matches` hold.
    pub rules: Vec<EventMapping>,
    /// Fields that the rule says nothing of.
    pub base: EventMapping,
    /// What no rule is for is mapped by `base` alone; without rules everything is.
    pub base_takes_rest: bool,
    /// Where the id of a delivery stands; the first place that has one counts.
    pub delivery_id: Vec<MessagePlace>,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedEvent {
    /// The JSON text of the event; the part as it came when it is none.
    pub bytes: Vec<u8>,
    /// The `messageId` for an event that has none itself: the same when the message is delivered again. Empty when nothing tells the
    /// message from others.
    pub id: String,
    /// The id of the delivery, as it is upstream.
    pub delivery_id: String,
    /// Why it is no event.
    pub unmappable: Option<String>,
}

impl MessageMapping {
    /// The schema of the registry that a message names: [`map_by`](Self::map_by) must have it. None where a message needs none.
    #[must_use]
    pub fn needs(&self, message: &UpstreamMessage<'_>) -> Option<SchemaId> {
        if self.schemas != SchemaPlace::Registry || !self.format.may_name_schema() || self.is_envelope(message) {
            return None;
        }
        SchemaFrame::of(message.bytes).map(|frame| frame.id)
    }

    /// Maps a message that needs no schema of a registry, each of its parts by itself.
    ///
    /// # Errors
    /// It has more parts than the limits allow.
    pub fn map(&self, message: &UpstreamMessage<'_>, limits: &MessageLimits) -> Result<Vec<MappedEvent>, TooManyParts> {
        self.map_by(message, None, limits)
    }

    /// Maps a message, with what became of looking for the schema that it [needs](Self::needs).
    ///
    /// # Errors
    /// It has more parts than the limits allow.
    pub fn map_by(
        &self,
        message: &UpstreamMessage<'_>,
        schema: Option<&SchemaAnswer>,
        limits: &MessageLimits,
    ) -> Result<Vec<MappedEvent>, TooManyParts> {
        let parts = match self.encoded(message, schema) {
            Some(found) => vec![UnreadPart::by_schema(message.bytes, found)],
            None => parts::split(message, self.format, limits)?,
        };
        let is_one = parts.len() == 1;
        let mut events = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            // Values are large: there is one at a time.
            let read = part.read(message, limits);
            let number = (!is_one).then_some(at);
            let (delivery_id, id) = self.ids(message, read.as_ref().ok(), number);
            let mapped = read.and_then(|PartValue { value, .. }| self.event(part, &value, *message));
            let (bytes, unmappable) = match mapped {
                Ok(bytes) => (bytes, None),
                Err(reason) => (part.bytes.to_vec(), Some(reason)),
            };
            events.push(MappedEvent { bytes, id, delivery_id, unmappable });
        }
        Ok(events)
    }

    /// Whether a message is a CloudEvent that is all JSON, which names no schema.
    fn is_envelope(&self, message: &UpstreamMessage<'_>) -> bool {
        self.format.of(message) == MessageFormat::CloudEvents && message.attribute_prefix().is_none()
    }

    /// What is to be read by a schema; none where the format alone says how.
    fn encoded<'m>(
        &self,
        message: &UpstreamMessage<'m>,
        answer: Option<&SchemaAnswer>,
    ) -> Option<Result<EncodedPart<'m>, String>> {
        let is_data = matches!(self.format, MessageFormat::Detected | MessageFormat::CloudEvents)
            && message.attribute_prefix().is_some();
        match &self.schemas {
            SchemaPlace::Nowhere => None,
            SchemaPlace::Given(schema) => {
                let is_by_schema = match self.format {
                    MessageFormat::Detected => !self.is_envelope(message),
                    MessageFormat::CloudEvents => is_data,
                    format => format.schema_kind() == Some(schema.kind()),
                };
                let (schema, payload) = (Arc::clone(schema), message.bytes);
                is_by_schema.then(|| Ok(EncodedPart { schema, payload, is_framed: false, is_data }))
            }
            SchemaPlace::Registry if !self.format.may_name_schema() || self.is_envelope(message) => None,
            SchemaPlace::Registry => Some(self.registered(message, answer).map(|part| EncodedPart { is_data, ..part })),
        }
    }

    /// What is to be read by the schema that the message names.
    fn registered<'m>(
        &self,
        message: &UpstreamMessage<'m>,
        answer: Option<&SchemaAnswer>,
    ) -> Result<EncodedPart<'m>, String> {
        let SchemaFrame { id, payload } = SchemaFrame::of(message.bytes).ok_or_else(|| {
            let bytes = message.bytes.len();
            let looks = match message.bytes.first() {
                None => "it is empty".to_owned(),
                Some(b'{' | b'[') => "it looks like JSON".to_owned(),
                Some(first) => format!("its first byte is {first}, and it has {bytes}"),
            };
            format!(
                "it does not begin with a byte 0 and the id of a schema, as messages of a schema registry do: {looks}"
            )
        })?;
        let schema = SchemaAnswer::of_message(answer, id)?;
        match self.format.schema_kind() {
            Some(wanted) if wanted != schema.kind() => {
                Err(format!("its schema {id} is {}, and `format` says {wanted}", schema.kind()))
            }
            _ => Ok(EncodedPart { schema, payload, is_framed: true, is_data: false }),
        }
    }

    /// The id of a delivery, and that of the event: several events of one delivery are numbered.
    fn ids(&self, message: &UpstreamMessage<'_>, part: Option<&PartValue>, number: Option<usize>) -> (String, String) {
        let fits = |id: &str| !id.is_empty() && id.len() <= ID_BYTES_MAX;
        if let Some(id) = part.and_then(|part| part.id.as_ref()).filter(|id| fits(id)) {
            return (id.clone(), id.clone());
        }
        let numbered = |id: &str| number.map_or_else(|| id.to_owned(), |number| format!("{id}:{number}"));
        // Headers can be read where the part cannot.
        let value = part.map_or(&NOTHING, |part| &part.value);
        let read = ReadPart { value, message: *message };
        for place in &self.delivery_id {
            let Some(id) = place.text(read).filter(|id| fits(id)) else { continue };
            let own = if place.is_of_part() { id.to_string() } else { numbered(&id) };
            return (id.to_string(), own);
        }
        if fits(message.position) {
            return (message.position.to_owned(), numbered(message.position));
        }
        (String::new(), String::new())
    }

    /// The JSON text of the event that a part becomes.
    fn event(&self, unread: &UnreadPart<'_>, value: &Value, message: UpstreamMessage<'_>) -> Result<Vec<u8>, String> {
        if let Some(passed) = (self.pass_events && is_event(value)).then(|| unread.passed(value)).flatten() {
            return Ok(passed);
        }
        let part = ReadPart { value, message };
        let own = self.rules.iter().find(|rule| rule.is_for(part));
        if own.is_none() && !self.rules.is_empty() && !self.base_takes_rest {
            return Err("no mapping is for it: none has a `match` that it fits".to_owned());
        }
        let mapped = RuleInForce { own, base: &self.base, part }.event()?;
        Ok(mapped.to_string().into_bytes())
    }
}

/// Whether a value is an event as the SDKs send them.
fn is_event(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str).and_then(EventKind::parse).is_some()
}

impl EventMapping {
    /// A mapping of these fields, for every part.
    #[must_use]
    pub fn of(fields: impl IntoIterator<Item = (MappedField, Vec<MessagePlace>)>) -> Self {
        Self { matches: Vec::new(), fields: fields.into_iter().collect() }
    }

    fn is_for(&self, part: ReadPart<'_>) -> bool {
        self.matches.iter().all(|(place, text)| place.text(part).is_some_and(|found| found.as_str() == text))
    }
}

/// A rule with what stands behind it, and the part that it is applied to.
struct RuleInForce<'v> {
    own: Option<&'v EventMapping>,
    base: &'v EventMapping,
    part: ReadPart<'v>,
}

impl RuleInForce<'_> {
    fn places(&self, field: MappedField) -> &[MessagePlace] {
        let own = self.own.and_then(|own| own.fields.get(&field));
        own.or_else(|| self.base.fields.get(&field)).map_or(&[], Vec::as_slice)
    }

    fn value(&self, field: MappedField) -> Option<Value> {
        self.places(field).iter().find_map(|place| place.find(self.part)).map(std::borrow::Cow::into_owned)
    }

    fn text(&self, field: MappedField) -> Option<Text> {
        self.places(field).iter().find_map(|place| place.text(self.part))
    }

    fn event(&self) -> Result<JsonObject, String> {
        let kind = self.kind()?;
        let mut event = JsonObject::new();
        event.insert("type", kind.as_str().into());
        for field in TEXTS {
            if let Some(text) = self.text(field) {
                event.insert(field.as_str(), text.into());
            }
        }
        match (kind, self.text(MappedField::Event)) {
            (EventKind::Track, None) => return Err(self.missing(MappedField::Event)),
            (EventKind::Track, Some(name)) => {
                event.insert("event", name.into());
            }
            (EventKind::Page | EventKind::Screen, Some(name)) => {
                event.entry("name").or_insert_with(|| name.into());
            }
            (_, _) => {}
        }
        if let Some(time) = self.value(MappedField::Timestamp) {
            event.insert("timestamp", time);
        }
        if let Some(context) = self.value(MappedField::Context) {
            event.insert("context", place::object(context).into());
        }
        self.payload(kind, &mut event);
        Ok(event)
    }

    fn kind(&self) -> Result<EventKind, String> {
        let Some(word) = self.text(MappedField::Type) else {
            // Said and not found is something else than not said.
            let is_said = !self.places(MappedField::Type).is_empty();
            return if is_said { Err(self.missing(MappedField::Type)) } else { Ok(EventKind::Track) };
        };
        EventKind::parse(&word).ok_or_else(|| {
            let short: String = word.chars().take(80).collect();
            format!("its `type` is {short:?}, which is none of the six kinds")
        })
    }

    /// The properties or traits: what the mapping says, else the whole part, so that nothing of it is lost.
    fn payload(&self, kind: EventKind, event: &mut JsonObject) {
        let usual = match kind {
            EventKind::Identify | EventKind::Group => MappedField::Traits,
            EventKind::Track | EventKind::Page | EventKind::Screen | EventKind::Alias => MappedField::Properties,
        };
        let both = [MappedField::Properties, MappedField::Traits];
        if both.iter().all(|field| self.places(*field).is_empty()) {
            event.insert(usual.as_str(), place::object(self.part.value.clone()).into());
            return;
        }
        for field in both {
            if let Some(value) = self.value(field) {
                event.insert(field.as_str(), place::object(value).into());
            }
        }
    }

    fn missing(&self, field: MappedField) -> String {
        let places: Vec<String> = self.places(field).iter().map(ToString::to_string).collect();
        let field = field.as_str();
        if places.is_empty() {
            return format!("the mapping does not say where its `{field}` stands");
        }
        format!("it has no text for `{field}` at {}", places.join(" or "))
    }
}
