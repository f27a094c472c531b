//! From messages to framed records: what each becomes by its mapping, and what of it is kept beside its events.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use tidegate_event::record::{CarriedMessage, MessageOrigin};
use tidegate_log::LogPartitions;
use tidegate_message::{MappedEvent, TooManyParts, UpstreamMessage};
use tidegate_schema_registry::SchemaAnswers;
use tidegate_stream::StreamMessage;

use super::batch::{FramedAppend, FramedBatch};
use super::settings::{StreamSettings, TombstoneRule};
use crate::http::{MappedFrames, RequestLimits};

/// An append has about so many bytes.
const APPEND_BYTES: usize = 1 << 20;
/// A record that would be larger keeps the beginning of its message.
const RECORD_BYTES_MAX: usize = 8 << 20;
/// So much of it.
const KEPT_BYTES: usize = 64 << 10;
/// Of a key and the headers that are kept: each event of a message has them.
const BESIDE_BYTES_MAX: usize = 16 << 10;
/// What the events of a message would repeat of those, together, they share as a text.
const REPEATED_BYTES_MAX: usize = 1 << 10;
/// Of those beside the parts of a message that are no events, together: each has a reason of its own, and shares nothing.
const QUARANTINED_BYTES_MAX: usize = 1 << 20;
/// What a record has beside its event and what is counted of its message, about.
const RECORD_BYTES: usize = 64;

/// How the messages of a source become records.
pub(super) struct StreamFraming {
    pub(super) source: Arc<str>,
    /// Of the carrier, and the field of `context` that says where an event is from.
    pub(super) kind: &'static str,
    pub(super) settings: Arc<StreamSettings>,
    pub(super) limits: RequestLimits,
    pub(super) log: LogPartitions,
}

/// An event on its way into a record, and what is kept of its message.
struct KeptEvent<'m> {
    event: MappedEvent,
    message: Rc<CarriedMessage<'m>>,
    /// What is kept as the text of a context, where the events of a message share that.
    text: Option<Rc<str>>,
    /// Of the event, and of what is kept beside it.
    bytes: usize,
}

impl StreamFraming {
    /// Records of the messages, in their order, by the schemas that they name.
    pub(super) fn frame(
        &self,
        messages: &[StreamMessage],
        schemas: &SchemaAnswers,
        received_at_us: i64,
    ) -> FramedBatch {
        let mut batch = FramedBatch::default();
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for message in messages {
            let Some(events) = self.events(message, schemas) else {
                batch.skipped += 1;
                continue;
            };
            for event in events {
                bytes += event.bytes;
                waiting.push(event);
                if bytes >= APPEND_BYTES {
                    self.flush(std::mem::take(&mut waiting), received_at_us, &mut batch);
                    bytes = 0;
                }
            }
        }
        self.flush(waiting, received_at_us, &mut batch);
        batch
    }

    /// The events of a message; none where it is passed over.
    fn events<'m>(&self, message: &'m StreamMessage, schemas: &SchemaAnswers) -> Option<Vec<KeptEvent<'m>>> {
        let position = message.position();
        let mut carried = self.carried(message);
        let beside = carried.own_bytes();
        let is_too_much = beside > BESIDE_BYTES_MAX;
        if is_too_much {
            (carried.key, carried.headers) = (None, Vec::new());
        }
        let events = match &message.payload {
            None if self.settings.tombstones == TombstoneRule::Skip => return None,
            payload if is_too_much => {
                let reason = format!(
                    "its key and the headers that are kept have {beside} bytes, and each event would have them: no more than \
                     {BESIDE_BYTES_MAX} are kept, and here are none"
                );
                vec![unmappable(payload.as_deref().unwrap_or_default(), &position, reason)]
            }
            None => {
                let reason = "it is a tombstone: it has no payload, and says that its key is gone; \
                              `tombstones: skip` of the source passes over such messages";
                vec![unmappable(&[], &position, reason.to_owned())]
            }
            Some(payload) => {
                let content_type = header(message, "content-type").unwrap_or_default();
                let upstream = UpstreamMessage {
                    bytes: payload,
                    content_type,
                    headers: &message.headers,
                    meta: &carried.fields(),
                    is_http: false,
                    position: &position,
                };
                let bounds = self.limits.of_message(self.limits.request_events_max);
                let mapping = &self.settings.mapping;
                let mapped = mapping.map_by(&upstream, schemas.of(mapping, &upstream), &bounds);
                mapped.unwrap_or_else(|TooManyParts(max)| {
                    let reason = format!("it has more than {max} events, which is the most of one message");
                    vec![unmappable(payload, &position, reason)]
                })
            }
        };
        Some(kept(message, carried, events))
    }

    /// What records say of a message.
    fn carried<'m>(&self, message: &'m StreamMessage) -> CarriedMessage<'m> {
        let origin = MessageOrigin {
            kind: self.kind,
            place_field: place_field(self.kind),
            has_numbers: self.kind == "kafka",
            topic: &message.topic,
            topic_mark: message.topic_mark.as_deref().unwrap_or_default(),
            partition: &message.partition,
        };
        let kept = message.headers.iter().filter(|(name, _)| self.is_kept(name));
        CarriedMessage {
            origin,
            at: Cow::Borrowed(message.at.as_str()),
            published_at_us: message.published_at_us,
            key: message.key.as_deref(),
            headers: kept.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }

    fn is_kept(&self, header: &str) -> bool {
        self.settings.kept_headers.iter().any(|kept| kept == header)
            || header.starts_with("ce-")
            || header.starts_with("ce_")
    }

    /// Adds an append of these events, or several where the log could never take one. An event that it could never take alone keeps the
    /// beginning of its message.
    fn flush(&self, mut events: Vec<KeptEvent<'_>>, received_at_us: i64, batch: &mut FramedBatch) {
        if events.is_empty() {
            return;
        }
        let append = self.framed(&events, received_at_us);
        if self.log.can_ever_take(&append.parts) {
            batch.appends.push(append);
            return;
        }
        if events.len() > 1 {
            let rest = events.split_off(events.len() / 2);
            self.flush(events, received_at_us, batch);
            self.flush(rest, received_at_us, batch);
            return;
        }
        for kept in &mut events {
            cut(&mut kept.event);
        }
        batch.appends.push(self.framed(&events, received_at_us));
    }

    fn framed(&self, events: &[KeptEvent<'_>], received_at_us: i64) -> FramedAppend {
        let room = events.iter().map(|kept| kept.bytes + RECORD_BYTES).sum();
        let frames = MappedFrames::new(&self.source, &self.limits, self.log.partitioner(), received_at_us);
        let mut frames = frames.with_room(room);
        for KeptEvent { event, message, text, .. } in events {
            match (text, event.unmappable.as_deref()) {
                (None, _) => frames.push_carried(event, message),
                (Some(text), None) => frames.push(event, text),
                (Some(_), reason) => frames.push(event, &message.context(reason)),
            }
        }
        let (bytes, quarantined) = (frames.bytes(), frames.malformed());
        FramedAppend { parts: frames.into_parts(), events: events.len() as u64, bytes, quarantined }
    }
}

/// The events of a message, with what is kept of it.
fn kept<'m>(message: &StreamMessage, carried: CarriedMessage<'m>, mut events: Vec<MappedEvent>) -> Vec<KeptEvent<'m>> {
    let own = carried.own_bytes();
    let quarantined = events.iter().filter(|event| event.unmappable.is_some()).count();
    if own.saturating_mul(quarantined) > QUARANTINED_BYTES_MAX {
        let reason = format!(
            "{quarantined} of its {} parts are no events, and each would have the {own} bytes of its key and of the headers that are kept: it \
             is here as a whole",
            events.len()
        );
        let payload = message.payload.as_deref().unwrap_or_default();
        events = vec![unmappable(payload, &message.position(), reason)];
    }
    let count = events.len();
    let is_shared = count > 1 && own.saturating_mul(count) > REPEATED_BYTES_MAX;
    let text: Option<Rc<str>> = is_shared.then(|| carried.context(None).into());
    let beside = if is_shared { own.div_ceil(count) } else { own };
    let message = Rc::new(carried);
    let with_kept = |mut event: MappedEvent| {
        if event.bytes.len() > RECORD_BYTES_MAX {
            cut(&mut event);
        }
        let bytes = event.bytes.len().saturating_add(beside);
        KeptEvent { event, message: Rc::clone(&message), text: text.clone(), bytes }
    };
    events.into_iter().map(with_kept).collect()
}

/// A message of which there is no event.
fn unmappable(bytes: &[u8], position: &str, reason: String) -> MappedEvent {
    MappedEvent {
        bytes: bytes.to_vec(),
        id: position.to_owned(),
        delivery_id: position.to_owned(),
        unmappable: Some(reason),
    }
}

/// Keeps the beginning of what is too large for a record, and says so.
fn cut(event: &mut MappedEvent) {
    let bytes = event.bytes.len();
    event.bytes.truncate(KEPT_BYTES);
    let why = format!("it has {bytes} bytes, which is more than a record may have; here are the first of them");
    event.unmappable = Some(match event.unmappable.take() {
        Some(reason) => format!("{reason}; {why}"),
        None => why,
    });
}

fn header<'m>(message: &'m StreamMessage, name: &str) -> Option<&'m str> {
    message.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The name of a place in an upstream partition, as the carrier calls it.
fn place_field(kind: &str) -> &'static str {
    match kind {
        "kafka" => "offset",
        "kinesis" => "sequenceNumber",
        "pubsub" => "messageId",
        _ => "at",
    }
}
