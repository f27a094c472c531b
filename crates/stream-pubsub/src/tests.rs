//! Against a Pub/Sub within the process: what is acknowledged, and when; what comes again.

mod fake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_net::WebSettings;
use tidegate_stream::{
    OutgoingMessage, SeekTarget, StreamBatch, StreamCheckpoints, StreamError, StreamOrigin as _, StreamReader,
    StreamTarget,
};
use tidegate_stream_suite::{StreamRig, stream_suite};
use tokio::time::timeout;

use self::fake::{FAILED_PRECONDITION, FakePubsub, NOT_FOUND, PERMISSION_DENIED, Refusal, UNAVAILABLE};
use crate::{PubsubConnection, PubsubEndpoint, PubsubOrigin, PubsubTarget};

struct PubsubRig(FakePubsub);

impl StreamRig for PubsubRig {
    async fn new() -> Result<Self, String> {
        Ok(Self(FakePubsub::start().await))
    }

    fn target(&self) -> Arc<dyn StreamTarget> {
        Arc::new(PubsubTarget { connection: connection(&self.0), ordering: true, topics: Vec::new() })
    }

    fn topic(&self) -> String {
        "bus".to_owned()
    }

    fn refused_topic(&self) -> Option<String> {
        Some("no/topic".to_owned())
    }

    async fn seen(&self) -> Vec<String> {
        let state = self.0.state.lock();
        let published = state.published.iter().flat_map(|request| &request.messages);
        published.map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect()
    }
}

stream_suite!(PubsubRig);

const DEADLINE: Duration = Duration::from_secs(60);

struct NoCheckpoints;

impl StreamCheckpoints for NoCheckpoints {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(BTreeMap::new())
    }

    fn save(&self, _: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        Ok(())
    }
}

fn connection(fake: &FakePubsub) -> PubsubConnection {
    let endpoint = PubsubEndpoint::Emulator(fake.address.clone());
    PubsubConnection { project: "shop".to_owned(), endpoint, web: WebSettings::default() }
}

fn origin(fake: &FakePubsub) -> PubsubOrigin {
    PubsubOrigin { connection: connection(fake), subscriptions: vec!["orders".to_owned()] }
}

async fn reader(fake: &FakePubsub) -> Box<dyn StreamReader> {
    origin(fake).open("shop", Arc::new(NoCheckpoints)).await.unwrap()
}

/// The next read that has messages.
async fn next(reader: &mut dyn StreamReader) -> StreamBatch {
    let read = async {
        loop {
            let batch = reader.read().await.unwrap();
            if !batch.messages.is_empty() {
                return batch;
            }
        }
    };
    timeout(DEADLINE, read).await.expect("no message came")
}

fn ids(batch: &StreamBatch) -> Vec<&str> {
    batch.messages.iter().map(|message| message.at.as_str()).collect()
}

#[tokio::test]
async fn a_message_has_its_place_and_its_attributes_and_is_acknowledged_with_its_receipt() {
    let fake = FakePubsub::start().await;
    fake.publish(&["m1", "m2"], "anna");
    let mut reader = reader(&fake).await;
    let batch = next(&mut *reader).await;
    assert_eq!(ids(&batch), ["m1", "m2"]);
    let message = &batch.messages[0];
    assert_eq!(message.position(), "orders/m1");
    assert_eq!((message.key.as_deref(), message.payload.as_deref()), (Some(&b"anna"[..]), Some(&b"{}"[..])));
    assert_eq!(message.headers, [("shop".to_owned(), "Berlin".to_owned())]);
    assert_eq!(message.published_at_us, Some(1_700_000_000_000_005));
    assert_eq!(fake.open().len(), 2);
    let progress = reader.progress();
    assert!(progress[0].lag.is_none() && progress[0].behind.is_some() && progress[0].acknowledged.is_empty());
    reader.acknowledge(batch.receipt).await.unwrap();
    assert_eq!((fake.open().len(), reader.progress()[0].acknowledged.as_str()), (0, "m2"));
    assert_eq!(reader.progress()[0].behind, None);
    assert_eq!(fake.state.lock().acknowledged, [["m1:1", "m2:1"]]);
    reader.close().await.unwrap();
}

#[tokio::test]
async fn what_was_read_and_not_acknowledged_is_given_back_by_a_close_and_comes_again() {
    let fake = FakePubsub::start().await;
    fake.publish(&["m1"], "");
    let mut first = reader(&fake).await;
    assert_eq!(ids(&next(&mut *first).await), ["m1"]);
    first.close().await.unwrap();
    assert_eq!(fake.state.lock().given_back, ["m1:1"]);
    let mut second = reader(&fake).await;
    let batch = next(&mut *second).await;
    assert_eq!(batch.messages[0].position(), "orders/m1");
    second.acknowledge(batch.receipt).await.unwrap();
    assert_eq!(fake.state.lock().acknowledged, [["m1:2"]]);
}

#[tokio::test]
async fn a_message_that_is_delivered_again_while_it_waits_for_the_log_is_read_once() {
    let fake = FakePubsub::start().await;
    // So there is one pull at a time.
    fake.state.lock().subscription.enable_message_ordering = true;
    fake.publish(&["m1"], "");
    let mut reader = reader(&fake).await;
    let first = next(&mut *reader).await;
    fake.expire();
    fake.publish(&["m2"], "");
    // What was pulled with m2, or before, has m1 again.
    assert_eq!(ids(&next(&mut *reader).await), ["m2"]);
    reader.acknowledge(first.receipt).await.unwrap();
    assert_eq!(fake.state.lock().acknowledged, [["m1:2"]]);
}

#[tokio::test]
async fn with_exactly_once_delivery_an_acknowledgement_counts_when_upstream_says_so() {
    let fake = FakePubsub::start().await;
    fake.state.lock().subscription.enable_exactly_once_delivery = true;
    fake.publish(&["m1", "m2", "m3"], "");
    let mut reader = reader(&fake).await;
    let batch = next(&mut *reader).await;
    let ack_ids = vec![
        ("m1:1".to_owned(), "PERMANENT_FAILURE_INVALID_ACK_ID"),
        ("m2:1".to_owned(), "TRANSIENT_FAILURE_SERVICE_UNAVAILABLE"),
    ];
    fake.refuse("Acknowledge", Refusal { code: FAILED_PRECONDITION, ack_ids });
    reader.acknowledge(batch.receipt).await.unwrap();
    assert_eq!(fake.state.lock().acknowledged, [["m3:1"], ["m2:1"]]);
    assert_eq!((fake.open(), reader.notices().len()), (vec!["m1".to_owned()], 1));
    fake.expire();
    let again = next(&mut *reader).await;
    assert_eq!(ids(&again), ["m1"]);
    reader.acknowledge(again.receipt).await.unwrap();
    assert!(fake.open().is_empty());
}

#[tokio::test]
async fn a_busy_upstream_is_asked_again_and_one_that_says_no_is_told() {
    let fake = FakePubsub::start().await;
    fake.publish(&["m1"], "");
    fake.refuse("Pull", Refusal::of(UNAVAILABLE));
    fake.refuse("Acknowledge", Refusal::of(UNAVAILABLE));
    let mut reader = reader(&fake).await;
    let batch = next(&mut *reader).await;
    reader.acknowledge(batch.receipt).await.unwrap();
    assert!(fake.open().is_empty());
    fake.refuse("Pull", Refusal::of(PERMISSION_DENIED));
    let told = async {
        loop {
            if let Err(error) = reader.read().await {
                return error;
            }
        }
    };
    let told = timeout(DEADLINE, told).await.expect("nothing was told");
    let StreamError::Stop { reason, advice } = &told else { panic!("{told}") };
    assert!(reason.contains("not now") && advice.contains("roles/pubsub.subscriber"), "{reason}; {advice}");
}

#[tokio::test]
async fn a_subscription_that_is_not_there_stops_and_one_that_may_not_be_looked_at_is_read() {
    let fake = FakePubsub::start().await;
    fake.refuse("GetSubscription", Refusal::of(NOT_FOUND));
    let opened = origin(&fake).open("shop", Arc::new(NoCheckpoints)).await;
    let Err(StreamError::Stop { advice, .. }) = opened else { panic!("it was opened") };
    assert!(advice.contains("projects/shop/subscriptions/orders is not there"), "{advice}");
    fake.publish(&["m1"], "");
    fake.refuse("GetSubscription", Refusal::of(PERMISSION_DENIED));
    assert_eq!(ids(&next(&mut *reader(&fake).await).await), ["m1"]);
    fake.state.lock().subscription.detached = true;
    let checked = origin(&fake).check().await;
    assert!(matches!(checked, Err(StreamError::Stop { .. })), "{checked:?}");
    fake.state.lock().subscription.detached = false;
    let said = origin(&fake).check().await.unwrap();
    assert!(said[0].contains("ack deadline 10 seconds"), "{said:?}");
}

#[tokio::test]
async fn a_subscription_that_is_gone_is_told_while_the_others_are_read() {
    let fake = FakePubsub::start().await;
    fake.state.lock().gone = Some("refunds");
    fake.publish(&["m1"], "");
    let subscriptions = vec!["refunds".to_owned(), "orders".to_owned()];
    let both = PubsubOrigin { subscriptions, ..origin(&fake) };
    assert_eq!(
        both.shared_reads().last(),
        origin(&fake).shared_reads().first(),
        "two sources of one subscription are told"
    );
    let mut reader = both.open("shop", Arc::new(NoCheckpoints)).await.unwrap();
    let batch = next(&mut *reader).await;
    assert_eq!(batch.messages[0].position(), "orders/m1");
    reader.acknowledge(batch.receipt).await.unwrap();
    assert!(fake.open().is_empty());
    let told = async {
        loop {
            if let Some(notice) = reader.notices().pop() {
                return notice;
            }
            reader.read().await.unwrap();
        }
    };
    let told = timeout(DEADLINE, told).await.expect("nothing was told");
    assert!(told.contains("projects/shop/subscriptions/refunds is not there"), "{told}");
    // Where none is left there is nothing to read.
    fake.state.lock().gone = Some("s");
    let ended = async { while reader.read().await.is_ok() {} };
    timeout(DEADLINE, ended).await.expect("it reads on");
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_seek_gives_back_what_is_held_and_goes_to_times_alone() {
    let fake = FakePubsub::start().await;
    fake.publish(&["m1"], "");
    let mut reader = reader(&fake).await;
    let before = next(&mut *reader).await;
    let position = SeekTarget::Position { topic: "orders".to_owned(), partition: String::new(), at: "m1".to_owned() };
    for to in [position, SeekTarget::Earliest] {
        let sought = reader.seek(to.clone()).await;
        assert!(matches!(sought, Err(StreamError::Stop { .. })), "{to:?}: {sought:?}");
    }
    reader.seek(SeekTarget::Time(1_600_000_000_000_001)).await.unwrap();
    assert_eq!(fake.state.lock().seeks_us, [1_600_000_000_000_001]);
    let again = next(&mut *reader).await;
    assert!(ids(&again) == ["m1"] && again.receipt > before.receipt);
    // The receipt of before counts no more.
    reader.acknowledge(before.receipt).await.unwrap();
    assert_eq!(fake.open(), ["m1"]);
    reader.acknowledge(again.receipt).await.unwrap();
    assert!(fake.open().is_empty());
}

fn outgoing(index: usize, payload: &'static str) -> OutgoingMessage {
    OutgoingMessage {
        index,
        topic: "bus".to_owned(),
        key: "u1".to_owned(),
        headers: vec![("kind".to_owned(), "track".to_owned())],
        message_id: format!("m{}", index + 1),
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

#[tokio::test]
async fn a_message_that_upstream_does_not_take_is_found_and_its_neighbours_are_published_in_order() {
    let fake = FakePubsub::start().await;
    fake.state.lock().poison = Some(r#"{"messageId":"m2"}"#);
    let target = PubsubTarget { connection: connection(&fake), ordering: true, topics: vec!["bus".to_owned()] };
    assert!(target.check().await.is_ok());
    let mut writer = target.open("tidegate-bus").await.unwrap();
    let payloads = [r#"{"messageId":"m1"}"#, r#"{"messageId":"m2"}"#, r#"{"messageId":"m3"}"#, r#"{"messageId":"m4"}"#];
    let messages = payloads.into_iter().enumerate().map(|(index, payload)| outgoing(index, payload)).collect();
    fake.refuse("Publish", Refusal::of(UNAVAILABLE));
    let refused = writer.write(messages, 4).await.unwrap();
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [1]);
    let state = fake.state.lock();
    assert!(state.published.iter().all(|request| request.topic == "projects/shop/topics/bus"));
    let published = state.published.iter().flat_map(|request| &request.messages);
    let ids: Vec<&str> = published.clone().map(|message| message.attributes["messageId"].as_str()).collect();
    assert_eq!(ids, ["m1", "m3", "m4"]);
    assert!(published.clone().all(|message| message.ordering_key == "u1" && message.attributes["kind"] == "track"));
}

#[tokio::test]
async fn a_topic_that_is_not_there_stops_the_writer_and_says_how_to_make_it() {
    let fake = FakePubsub::start().await;
    let target = PubsubTarget { connection: connection(&fake), ordering: false, topics: Vec::new() };
    let mut writer = target.open("tidegate-bus").await.unwrap();
    fake.refuse("Publish", Refusal::of(NOT_FOUND));
    let written = writer.write(vec![outgoing(0, "{}")], 1).await;
    let Err(StreamError::Stop { advice, .. }) = &written else { panic!("{written:?}") };
    assert!(advice.contains("gcloud pubsub topics create"), "{advice}");
}
