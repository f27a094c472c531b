//! Batches of events, delivered as the worker of a sync does it.

use std::ops::Range;
use std::sync::Arc;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure};
use tidegate_event::{Event, EventId, EventKind, Position};
use tidegate_stream::{MessageShape, StreamDestination};

use crate::StreamRig;

/// Users that events are of, one after the other.
const USERS: u64 = 7;
/// How often a batch is tried that fails.
const TRIES_MAX: u32 = 50;

/// What became of a batch in the end.
#[derive(Debug, Default)]
pub struct DeliveredBatch {
    pub delivery: Delivery,
    /// The `messageId` of each event that was refused.
    pub refused: Vec<String>,
}

/// The event at an offset, for a topic.
///
/// # Panics
/// Never: the JSON is right.
#[must_use]
pub fn event(offset: u64, topic: &str) -> Arc<Event> {
    let user = offset % USERS;
    let body = format!(
        r#"{{"messageId":"m{offset}","properties":{{"n":{offset}.10,"topic":"{topic}"}},"type":"track","userId":"u{user}"}}"#
    );
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, offset), 0),
        kind: EventKind::Track,
        received_at_us: 1_714_979_290_000_001,
        body: body.parse().unwrap(),
    })
}

/// The events at these offsets.
#[must_use]
pub fn batch(range: Range<u64>, topic: &str) -> Batch {
    let events = range.clone().map(|offset| event(offset, topic)).collect();
    Batch { range, events, violations: Vec::new() }
}

/// A sync to the rig; each event names its topic itself.
///
/// # Panics
/// Never: the template is right.
#[must_use]
pub fn destination<R: StreamRig>(rig: &R, ledger: &str, cursor: Option<u64>) -> StreamDestination {
    let shape = MessageShape {
        topic: "{properties.topic}".parse().unwrap(),
        key: None,
        headers: Vec::new(),
        violations_topic: None,
        format: None,
    };
    StreamDestination::new(rig.target(), Arc::new(shape), ledger.to_owned(), cursor)
}

/// Delivers as a worker does: what is refused is kept and the others come again, what fails is tried again.
///
/// # Panics
/// The batch is never delivered.
pub async fn delivered(destination: &mut StreamDestination, batch: Batch) -> DeliveredBatch {
    let (mut batch, mut done) = (Arc::new(batch), DeliveredBatch::default());
    let id = |batch: &Batch, index: usize| batch.events[index].message_id().to_owned();
    for _ in 0..TRIES_MAX {
        match destination.deliver(Arc::clone(&batch)).await {
            Ok(delivery) => {
                destination.recorded();
                done.refused.extend(delivery.rejected.iter().map(|rejected| id(&batch, rejected.index)));
                done.delivery = delivery;
                return done;
            }
            Err(Failure::Refused { rejected }) => {
                assert!(!rejected.is_empty(), "nothing was named");
                done.refused.extend(rejected.iter().map(|rejected| id(&batch, rejected.index)));
                batch = Arc::new(batch.without(&rejected));
            }
            Err(Failure::Retry { .. }) => {}
            Err(stop @ Failure::Stop { .. }) => panic!("it stops: {stop}"),
        }
    }
    panic!("a batch is never delivered: {:?}", batch.range)
}
