use std::sync::Arc;

use tidegate_event::destination::{Batch, Destination};
use tidegate_event::{EventKind, Position, ViolationRecord};
use tidegate_stream::{MessageShape, StreamDestination};
use tidegate_stream_suite::{MemoryStream, MemoryTarget, batch};

fn violation(offset: u64) -> Arc<ViolationRecord> {
    Arc::new(ViolationRecord {
        source: "web".into(),
        position: Position::new(0, offset),
        message_id: format!("m{offset}"),
        received_at_us: 0,
        payload: "{}".to_owned(),
        event_name: None,
        event_type: EventKind::Track,
        schema_version: "1".to_owned(),
        has_undeclared_schema: false,
        has_undeclared_fields: true,
        has_schema_violated: false,
        violations: Vec::new(),
    })
}

async fn delivered(keeps_ledger: bool, violations_topic: Option<&str>) -> (MemoryStream, Vec<String>) {
    let stream = MemoryStream::default();
    let target = Arc::new(MemoryTarget { stream: stream.clone(), keeps_ledger });
    let shape = MessageShape {
        topic: "events".parse().unwrap(),
        key: None,
        headers: Vec::new(),
        violations_topic: violations_topic.map(str::to_owned),
        format: None,
    };
    let mut destination = StreamDestination::new(target, Arc::new(shape), "sync".to_owned(), None);
    let batch = Batch { violations: (0..8).map(violation).collect(), ..batch(0..10, "events") };
    let delivery = destination.deliver(Arc::new(batch)).await.unwrap();
    assert_eq!((delivery.delivered, delivery.rejected.len()), (10, 0));
    (stream, delivery.notices)
}

#[test]
fn violations_go_to_a_topic_of_their_own_and_never_hold_events_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for keeps_ledger in [false, true] {
            let (stream, notices) = delivered(keeps_ledger, None).await;
            assert_eq!((stream.payloads("events").len(), notices.len()), (10, 0));
            let (stream, notices) = delivered(keeps_ledger, Some("violations")).await;
            assert_eq!((stream.payloads("events").len(), stream.payloads("violations").len()), (10, 8));
            assert_eq!(notices.len(), 0);
            let (stream, notices) = delivered(keeps_ledger, Some("no topic")).await;
            assert_eq!(stream.payloads("events").len(), 10);
            assert!(notices.len() == 6 && notices[5].contains("3 more"), "{notices:?}");
        }
    });
}
