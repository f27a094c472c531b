//! The cases.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::{Batch, Destination, Failure};
use tidegate_stream::{OutgoingMessage, StreamTarget};

use crate::{StreamRig, batch, delivered, destination, event};

/// The payloads that there must be for the events at these offsets.
fn payloads<R: StreamRig>(rig: &R, range: Range<u64>) -> Vec<String> {
    range.map(|offset| event(offset, &rig.topic()).to_json()).collect()
}

/// The payloads of each user, in order.
fn of_users(payloads: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for payload in payloads {
        let (_, user) = payload.split_once(r#""userId":""#).unwrap_or_else(|| panic!("altered: {payload}"));
        found.entry(user).or_default().push(payload);
    }
    found
}

/// Each of these is there once, those of a user in order.
#[track_caller]
fn assert_each_once<R: StreamRig>(mut seen: Vec<String>, mut expected: Vec<String>) {
    if R::KEEPS_ORDER {
        assert_eq!(of_users(&seen), of_users(&expected));
    } else {
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }
}

/// The messages of the events at these offsets, for a writer.
fn messages<R: StreamRig>(rig: &R, range: Range<u64>) -> Vec<OutgoingMessage> {
    let message = |(index, offset): (usize, u64)| {
        let event = event(offset, &rig.topic());
        OutgoingMessage {
            index,
            topic: rig.topic(),
            key: event.user().unwrap_or_default().to_owned(),
            headers: Vec::new(),
            message_id: event.message_id().to_owned(),
            payload: event.to_json().into(),
        }
    };
    range.enumerate().map(message).collect()
}

fn keeps_ledger<R: StreamRig>(rig: &R) -> bool {
    rig.target().keeps_ledger()
}

/// What a writer that is opened now finds in the ledger.
async fn ledger_of(target: &Arc<dyn StreamTarget>, ledger: &str) -> Option<u64> {
    let mut writer = target.open(ledger).await.unwrap();
    let durable = writer.durable_to().await.unwrap();
    writer.close().await.unwrap();
    durable
}

pub async fn messages_arrive_as_they_are_and_those_of_a_user_in_order<R: StreamRig>(rig: &R) {
    let mut destination = destination(rig, "order", None);
    assert_eq!(destination.durable_to().await.unwrap(), None, "it has never seen the sync");
    for start in [0, 100, 200] {
        let done = delivered(&mut destination, batch(start..start + 100, &rig.topic())).await;
        assert_eq!((done.delivery.delivered, done.delivery.duplicates), (100, 0));
    }
    destination.close().await.unwrap();
    assert_each_once::<R>(rig.seen().await, payloads(rig, 0..300));
}

pub async fn a_batch_that_comes_again_after_a_reopening_is_there_once_where_there_is_a_ledger<R: StreamRig>(rig: &R) {
    let mut first = destination(rig, "again", None);
    delivered(&mut first, batch(0..100, &rig.topic())).await;
    drop(first);
    let mut second = destination(rig, "again", None);
    if !keeps_ledger(rig) {
        assert_eq!(second.durable_to().await.unwrap(), None);
        let mut third = destination(rig, "again", Some(100));
        assert_eq!(third.durable_to().await.unwrap(), Some(100));
        delivered(&mut third, batch(100..150, &rig.topic())).await;
        assert_eq!(third.durable_to().await.unwrap(), Some(150), "as the caller has recorded it");
        return;
    }
    assert_eq!(second.durable_to().await.unwrap(), Some(100));
    let done = delivered(&mut second, batch(50..150, &rig.topic())).await;
    assert_eq!((done.delivery.delivered, done.delivery.duplicates), (100, 50));
    let done = delivered(&mut second, batch(0..150, &rig.topic())).await;
    assert_eq!((done.delivery.delivered, done.delivery.duplicates), (150, 150));
    assert_each_once::<R>(rig.seen().await, payloads(rig, 0..150));
}

pub async fn what_is_refused_stands_alone<R: StreamRig>(rig: &R) {
    let Some(refused_topic) = rig.refused_topic() else { return };
    let mut destination = destination(rig, "refused", None);
    let mut mixed = batch(0..20, &rig.topic());
    mixed.events[7] = event(7, &refused_topic);
    // It has no topic at all.
    mixed.events[12] = event(12, "");
    let done = delivered(&mut destination, mixed).await;
    let mut refused = done.refused;
    refused.sort_unstable();
    assert_eq!(refused, ["m12", "m7"]);
    let mut expected = payloads(rig, 0..20);
    expected.remove(12);
    expected.remove(7);
    assert_each_once::<R>(rig.seen().await, expected);
    if keeps_ledger(rig) {
        assert_eq!(destination.durable_to().await.unwrap(), Some(20));
    }
}

pub async fn an_empty_batch_moves_the_ledger<R: StreamRig>(rig: &R) {
    let mut destination = destination(rig, "empty", None);
    delivered(&mut destination, Batch { range: 0..7, ..Batch::default() }).await;
    assert_eq!(destination.durable_to().await.unwrap(), Some(7));
    destination.close().await.unwrap();
    if keeps_ledger(rig) {
        assert_eq!(ledger_of(&rig.target(), "empty").await, Some(7));
    }
    assert_eq!(rig.seen().await, Vec::<String>::new());
}

pub async fn two_syncs_keep_their_own_ledgers<R: StreamRig>(rig: &R) {
    let (mut one, mut other) = (destination(rig, "one", None), destination(rig, "one/1", None));
    delivered(&mut one, batch(0..10, &rig.topic())).await;
    delivered(&mut other, batch(0..5, &rig.topic())).await;
    delivered(&mut one, batch(10..20, &rig.topic())).await;
    assert_eq!(one.durable_to().await.unwrap(), Some(20));
    assert_eq!(other.durable_to().await.unwrap(), Some(5));
}

pub async fn a_writer_that_was_replaced_writes_nothing_more<R: StreamRig>(rig: &R) {
    if !keeps_ledger(rig) {
        return;
    }
    let target = rig.target();
    let mut first = target.open("zombie").await.unwrap();
    assert_eq!(first.durable_to().await.unwrap(), None);
    assert_eq!(first.write(messages(rig, 0..10), 10).await.unwrap(), []);
    let mut second = target.open("zombie").await.unwrap();
    assert_eq!(second.durable_to().await.unwrap(), Some(10));
    assert!(first.write(messages(rig, 20..30), 30).await.is_err(), "it was replaced");
    drop(first);
    assert_eq!(second.write(messages(rig, 10..20), 20).await.unwrap(), []);
    assert_eq!(second.durable_to().await.unwrap(), Some(20));
    second.close().await.unwrap();
    assert_eq!(ledger_of(&target, "zombie").await, Some(20));
    assert_each_once::<R>(rig.seen().await, payloads(rig, 0..20));
}

pub async fn a_sync_whose_ledger_somebody_else_has_moved_stops<R: StreamRig>(rig: &R) {
    if !keeps_ledger(rig) {
        return;
    }
    let (mut one, mut other) = (destination(rig, "taken", None), destination(rig, "taken", None));
    delivered(&mut one, batch(0..10, &rig.topic())).await;
    assert_eq!(other.durable_to().await.unwrap(), Some(10));
    delivered(&mut other, batch(10..20, &rig.topic())).await;
    let own = Arc::new(batch(10..30, &rig.topic()));
    let mut reason = None;
    for _ in 0..10 {
        match one.deliver(Arc::clone(&own)).await {
            Err(Failure::Stop { reason: said, .. }) => {
                reason = Some(said);
                break;
            }
            Err(_) => {}
            Ok(delivery) => panic!("it was replaced: {delivery:?}"),
        }
    }
    let reason = reason.expect("it stops");
    assert!(reason.contains("somebody else") && reason.contains("taken"), "{reason}");
    delivered(&mut other, batch(20..25, &rig.topic())).await;
    // Whoever asks goes on from the answer.
    assert_eq!(one.durable_to().await.unwrap(), Some(25));
    delivered(&mut one, batch(25..30, &rig.topic())).await;
    assert_each_once::<R>(rig.seen().await, payloads(rig, 0..30));
}

pub async fn a_ledger_of_another_server_is_left_alone<R: StreamRig>(rig: &R) {
    if !keeps_ledger(rig) {
        return;
    }
    let of = |owner: &str, ledger: &str| destination(rig, ledger, None).owned_by(Some(owner.to_owned()));
    let mut first = of("1f", "owned");
    delivered(&mut first, batch(0..10, &rig.topic())).await;
    first.close().await.unwrap();
    let mut other = of("2e", "owned");
    let asked = other.durable_to().await;
    let Err(Failure::Stop { reason, advice, .. }) = &asked else { panic!("it was asked: {asked:?}") };
    assert!(reason.contains("owned") && advice.contains("`ledger`"), "{reason}; {advice}");
    let written = other.deliver(Arc::new(batch(10..20, &rig.topic()))).await;
    assert!(matches!(written, Err(Failure::Stop { .. })), "{written:?}");
    drop(other);
    // Under a name of its own it writes what it has.
    let mut other = of("2e", "owned-2");
    assert_eq!(other.durable_to().await.unwrap(), None);
    // And whose it is goes on, like a directory that was moved.
    let mut first = of("1f", "owned");
    assert_eq!(first.durable_to().await.unwrap(), Some(10));
    delivered(&mut first, batch(10..20, &rig.topic())).await;
    assert_each_once::<R>(rig.seen().await, payloads(rig, 0..20));
}

pub async fn cut_off_at_any_pause_nothing_is_lost_and_with_a_ledger_nothing_doubled<R: StreamRig>(rig: &R) {
    let mut destination = destination(rig, "cut", None);
    assert_eq!(destination.durable_to().await.unwrap(), None);
    for round in 0..20 {
        let of_round = Arc::new(batch(round * 10..round * 10 + 10, &rig.topic()));
        let mut patience = Duration::from_micros(50 * round);
        loop {
            match tokio::time::timeout(patience, destination.deliver(Arc::clone(&of_round))).await {
                Ok(Ok(_)) => break,
                Ok(Err(Failure::Retry { .. })) | Err(_) => patience = patience * 2 + Duration::from_micros(100),
                Ok(Err(failure)) => panic!("{failure}"),
            }
        }
        destination.recorded();
    }
    let (mut seen, expected) = (rig.seen().await, payloads(rig, 0..200));
    if keeps_ledger(rig) {
        assert_each_once::<R>(seen, expected);
    } else {
        seen.sort_unstable();
        seen.dedup();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }
}
