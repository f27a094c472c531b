//! What a message is made of: an event's topic, key, headers, and the event itself, as JSON or in another format.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_event::Event;
use tidegate_event::destination::{Batch, Rejected};

use super::payload::PayloadFormat;
use super::template::{MessageTemplate, TemplateError};
use super::violation;
use crate::error::StreamError;
use crate::message::OutgoingMessage;

/// How events become messages.
#[derive(Debug, Clone)]
pub struct MessageShape {
    pub topic: MessageTemplate,
    /// The event's user when `None`. An event that has nothing for it has its `messageId` as key, which no other has.
    pub key: Option<MessageTemplate>,
    /// A header that an event has nothing for is left out.
    pub headers: Vec<(String, MessageTemplate)>,
    /// Where what contracts found goes; nowhere when `None`.
    pub violations_topic: Option<String>,
    /// What the messages of events hold; the event as JSON when `None`. What contracts found is JSON always.
    pub format: Option<Arc<dyn PayloadFormat>>,
}

/// The messages of a batch.
#[derive(Debug, Default)]
pub(super) struct ShapedBatch {
    /// Of events by their index, then of violations, which are counted on from there.
    pub(super) messages: Vec<OutgoingMessage>,
    /// Events of which no message can be made.
    pub(super) refused: Vec<Rejected>,
    /// Events that are at the far side already.
    pub(super) there: u64,
}

/// Why an event becomes no message: a code, and a sentence.
type NoMessage = (&'static str, String);

impl MessageShape {
    /// Asks for what the payloads of a batch need of elsewhere.
    ///
    /// # Errors
    /// It cannot be had now, or not at all.
    pub(super) async fn prepare(&self, batch: &Batch, skip_below: u64) -> Result<(), StreamError> {
        let Some(format) = &self.format else { return Ok(()) };
        let new = batch.events.iter().filter(|event| event.id.position.offset >= skip_below);
        let topics: BTreeSet<String> = new.filter_map(|event| self.topic.fill(event).ok()).collect();
        format.prepare(&topics).await
    }

    /// The message of one event for somebody who only looks: nothing is asked for elsewhere.
    ///
    /// # Errors
    /// It becomes no message, and this is the code and the reason.
    pub fn sample(&self, event: &Event) -> Result<OutgoingMessage, NoMessage> {
        let mut message = Self { format: None, ..self.clone() }.message(0, event)?;
        if let Some(format) = &self.format {
            message.payload = format.sample(event).map_err(no_payload)?;
        }
        Ok(message)
    }

    /// The messages of what lies at `skip_below` or above in `batch`, without the violations `left_out`.
    pub(super) fn messages(&self, batch: &Batch, skip_below: u64, left_out: &HashSet<usize>) -> ShapedBatch {
        let mut shaped = ShapedBatch::default();
        for (index, event) in batch.events.iter().enumerate() {
            if event.id.position.offset < skip_below {
                shaped.there += 1;
                continue;
            }
            match self.message(index, event) {
                Ok(message) => shaped.messages.push(message),
                Err((code, reason)) => {
                    shaped.refused.push(Rejected { index, code: code.into(), reason, detail: None });
                }
            }
        }
        let Some(topic) = &self.violations_topic else { return shaped };
        for (number, record) in batch.violations.iter().enumerate() {
            let index = batch.events.len() + number;
            if record.position.offset < skip_below || left_out.contains(&index) {
                continue;
            }
            shaped.messages.push(OutgoingMessage {
                index,
                topic: topic.clone(),
                key: record.message_id.clone(),
                headers: Vec::new(),
                message_id: record.message_id.clone(),
                payload: Bytes::from(violation::to_json(record)),
            });
        }
        shaped
    }

    fn message(&self, index: usize, event: &Event) -> Result<OutgoingMessage, NoMessage> {
        let topic = self.topic.fill(event).map_err(|error| ("no_topic", format!("its topic: {error}")))?;
        let key = match &self.key {
            None => event.user().map(str::to_owned),
            Some(template) => match template.fill(event) {
                Ok(key) => Some(key),
                Err(TemplateError::Missing(_)) => None,
                Err(error @ TemplateError::TooLong) => return Err(("no_key", format!("its key: {error}"))),
            },
        };
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, template) in &self.headers {
            match template.fill(event) {
                Ok(value) => headers.push((name.clone(), value)),
                Err(TemplateError::Missing(_)) => {}
                Err(error @ TemplateError::TooLong) => {
                    return Err(("no_header", format!("its header {name}: {error}")));
                }
            }
        }
        let message_id = event.message_id().to_owned();
        let key = key.unwrap_or_else(|| message_id.clone());
        let payload = match &self.format {
            None => Bytes::from(event.to_json()),
            Some(format) => format.payload(&topic, event).map_err(no_payload)?,
        };
        Ok(OutgoingMessage { index, topic, key, headers, message_id, payload })
    }
}

fn no_payload(reason: String) -> NoMessage {
    ("no_payload", format!("its payload: {reason}"))
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventId, EventKind, Position};

    use super::*;
    use crate::error::StreamReply;

    fn event(offset: u64, body: &str) -> Arc<Event> {
        Arc::new(Event {
            source: "web".into(),
            id: EventId::new(Position::new(0, offset), 0),
            kind: EventKind::Track,
            received_at_us: 1_714_979_290_000_001,
            body: body.parse().unwrap(),
        })
    }

    fn shape() -> MessageShape {
        MessageShape {
            topic: "events-{properties.plan|source}".parse().unwrap(),
            key: None,
            headers: vec![("plan".to_owned(), "{properties.plan}".parse().unwrap())],
            violations_topic: None,
            format: None,
        }
    }

    /// Has the topic and the event's id as payload, and none for events of others than `u`.
    #[derive(Debug)]
    struct IdsOfOne;

    impl PayloadFormat for IdsOfOne {
        fn prepare<'a>(&'a self, topics: &'a BTreeSet<String>) -> StreamReply<'a, ()> {
            Box::pin(async move {
                assert_eq!(*topics, BTreeSet::from(["events-web".to_owned()]));
                Ok(())
            })
        }

        fn payload(&self, topic: &str, event: &Event) -> Result<Bytes, String> {
            match event.user() {
                Some("u") => Ok(Bytes::from(format!("{topic} {}", event.message_id()))),
                _ => Err("the field userId is of somebody else".to_owned()),
            }
        }

        fn sample(&self, event: &Event) -> Result<Bytes, String> {
            self.payload("nowhere", event)
        }

        fn check(&self) -> StreamReply<'_, Vec<String>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }

    #[tokio::test]
    async fn an_event_that_does_not_fit_its_format_is_refused_alone() {
        let shape = MessageShape { format: Some(Arc::new(IdsOfOne)), ..shape() };
        let (own, other) = (r#"{"messageId":"a","userId":"u"}"#, r#"{"messageId":"b","userId":"v"}"#);
        let batch = Batch { range: 0..2, events: vec![event(0, other), event(1, own)], violations: Vec::new() };
        shape.prepare(&batch, 0).await.unwrap();
        let shaped = shape.messages(&batch, 0, &HashSet::new());
        assert_eq!(shaped.messages.len(), 1);
        assert_eq!(shaped.messages[0].payload, &b"events-web a"[..]);
        let [refused] = &shaped.refused[..] else { panic!("{shaped:?}") };
        assert!(refused.index == 0 && refused.code == "no_payload" && refused.reason.contains("userId"), "{refused:?}");
        assert_eq!(shape.sample(&batch.events[0]).unwrap_err().0, "no_payload");
        assert_eq!(shape.sample(&batch.events[1]).unwrap().payload, &b"nowhere a"[..]);
    }

    #[test]
    fn an_event_goes_as_it_is_under_the_key_of_its_user() {
        let body = r#"{"messageId":"m","properties":{"n":1.10,"plan":"pro"},"type":"track","userId":"u"}"#;
        let batch = Batch {
            range: 5..7,
            events: vec![event(5, body), event(6, r#"{"messageId":"k"}"#)],
            violations: Vec::new(),
        };
        let shaped = shape().messages(&batch, 0, &HashSet::new());
        let [first, second] = &shaped.messages[..] else { panic!("{shaped:?}") };
        assert_eq!((first.index, &*first.topic, &*first.key), (0, "events-pro", "u"));
        assert_eq!(first.headers, [("plan".to_owned(), "pro".to_owned())]);
        assert_eq!((&*first.message_id, &*second.message_id), ("m", "k"));
        assert_eq!(first.payload, body.as_bytes());
        assert_eq!((second.index, &*second.topic, &*second.key, second.headers.len()), (1, "events-web", "k", 0));
        let shaped = shape().messages(&batch, 6, &HashSet::new());
        assert_eq!((shaped.there, shaped.messages.len()), (1, 1));
    }

    #[test]
    fn an_event_without_a_topic_is_refused_alone() {
        let shape = MessageShape { topic: "{properties.plan}".parse().unwrap(), ..shape() };
        let (with, without) = (r#"{"messageId":"a","properties":{"plan":"pro"}}"#, r#"{"messageId":"b"}"#);
        let batch = Batch { range: 0..2, events: vec![event(0, without), event(1, with)], violations: Vec::new() };
        let shaped = shape.messages(&batch, 0, &HashSet::new());
        assert_eq!(shaped.messages.len(), 1);
        let [refused] = &shaped.refused[..] else { panic!("{shaped:?}") };
        assert!(refused.index == 0 && refused.reason.contains("{properties.plan}"), "{refused:?}");
    }
}
