//! What the log takes for the messages of a stream: what many of them have in common is there once.

use tidegate_message::MappedEvent;
use tidegate_schema_registry::SchemaAnswers;

use super::*;
use crate::http::MappedFrames;
use crate::streams::framing::StreamFraming;

const MESSAGES: usize = 1_000;
/// Of a message: its payload, and its key.
const PAYLOAD_BYTES: usize = 300;
const KEY: &str = "user-17";
const PUBLISHED_US: i64 = 1_700_000_000_000_000;

fn payload(n: usize) -> String {
    let begin = format!(r#"{{"amount":"12.50","n":{n},"text":""#);
    let text = "x".repeat(PAYLOAD_BYTES - begin.len() - 2);
    format!(r#"{begin}{text}"}}"#)
}

fn message(n: usize) -> StreamMessage {
    StreamMessage {
        topic: "orders".into(),
        topic_mark: None,
        partition: "3".into(),
        at: (1_000_000 + n).to_string(),
        key: Some(Bytes::from_static(KEY.as_bytes())),
        payload: Some(Bytes::from(payload(n))),
        headers: Vec::new(),
        published_at_us: Some(PUBLISHED_US),
    }
}

/// What a message becomes, and the text of its context.
fn mapped(n: usize) -> (MappedEvent, String) {
    let (offset, published) = (1_000_000 + n, "2023-11-14T22:13:20.000Z");
    let properties = payload(n);
    let event = format!(r#"{{"event":"orders","properties":{properties},"timestamp":"{published}","type":"track"}}"#);
    let place = format!(r#""offset":{offset},"partition":3,"publishedAt":"{published}","topic":"orders""#);
    let id = format!("orders/3/{offset}");
    let event = MappedEvent { bytes: event.into_bytes(), id: id.clone(), delivery_id: id, unmappable: None };
    (event, format!(r#"{{"kafka":{{"key":"{KEY}",{place}}}}}"#))
}

#[test]
fn a_message_takes_a_third_less_of_the_log_than_with_the_text_of_its_context() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
    let limits = RequestLimits::default();
    let framing = StreamFraming {
        source: SOURCE.into(),
        kind: "kafka",
        settings: Arc::new(StreamSettings { mapping: stream_mapping(), ..StreamSettings::default() }),
        limits: limits.clone(),
        log: LogPartitions::new(vec![Arc::new(log) as Arc<dyn Log>]),
    };
    // An hour after they were published.
    let received_at_us = PUBLISHED_US + 3_600_000_000;
    let messages: Vec<StreamMessage> = (0..MESSAGES).map(message).collect();
    let framed = framing.frame(&messages, &SchemaAnswers::default(), received_at_us);
    let events: u64 = framed.appends.iter().map(|append| append.events).sum();
    let quarantined: u64 = framed.appends.iter().map(|append| append.quarantined).sum();
    assert_eq!((events, quarantined, framed.skipped), (MESSAGES as u64, 0, 0));
    let now: usize = framed.appends.iter().flat_map(|append| &append.parts).map(|(_, frames)| frames.bytes()).sum();

    let mut with_text = MappedFrames::new(SOURCE, &limits, framing.log.partitioner(), received_at_us);
    for (event, context) in (0..MESSAGES).map(mapped) {
        with_text.push(&event, &context);
    }
    let with_text: usize = with_text.into_parts().iter().map(|(_, frames)| frames.bytes()).sum();

    let of_events: usize = (0..MESSAGES).map(|n| mapped(n).0.bytes.len()).sum();
    let of_messages = MESSAGES * (PAYLOAD_BYTES + KEY.len());
    let ratio = |bytes: usize| bytes as f64 / of_messages as f64;
    let shown =
        format!("{:.3} bytes of the log for one of messages, and {:.3} with the text", ratio(now), ratio(with_text));
    println!("{shown}");
    assert!((1.34..1.38).contains(&ratio(now)), "{shown}");
    assert!((2.00..2.05).contains(&ratio(with_text)), "{shown}");
    // 28 bytes beside an event: 8 of the frame's table, 8 of the key, 12 for all else.
    assert!((now - of_events) / MESSAGES <= 29, "{}", (now - of_events) / MESSAGES);
}

/// As a source whose messages have a large header that is kept.
fn framing_with_headers(log: SegmentLog) -> StreamFraming {
    let kept_headers = vec!["trace".to_owned()];
    StreamFraming {
        source: SOURCE.into(),
        kind: "kafka",
        settings: Arc::new(StreamSettings { mapping: stream_mapping(), kept_headers, ..StreamSettings::default() }),
        limits: RequestLimits::default(),
        log: LogPartitions::new(vec![Arc::new(log) as Arc<dyn Log>]),
    }
}

fn with_parts(part: &str, count: usize, header_bytes: usize) -> StreamMessage {
    StreamMessage {
        payload: Some(Bytes::from(format!("[{}]", vec![part; count].join(",")))),
        headers: vec![("trace".to_owned(), "t".repeat(header_bytes))],
        ..message(0)
    }
}

#[test]
fn what_many_events_of_a_message_would_repeat_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
    let framing = framing_with_headers(log);
    for (count, header_bytes) in [(2_000, 15_000), (3, 100), (1, 15_000)] {
        let messages = [with_parts(r#"{"n":1}"#, count, header_bytes)];
        let framed = framing.frame(&messages, &SchemaAnswers::default(), PUBLISHED_US);
        let (events, quarantined): (u64, u64) = framed
            .appends
            .iter()
            .fold((0, 0), |(events, quarantined), append| (events + append.events, quarantined + append.quarantined));
        assert_eq!((events, quarantined), (count as u64, 0));
        let parts = framed.appends.iter().flat_map(|append| &append.parts);
        let bytes: usize = parts.map(|(_, frames)| frames.bytes()).sum();
        assert!(bytes < 400 * count + 2 * header_bytes + 1_000, "{count} events with {header_bytes}: {bytes}");
    }
}

#[test]
fn a_message_of_many_parts_that_are_no_events_and_a_large_header_is_quarantined_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
    let framing = framing_with_headers(log);
    for (count, header_bytes, records) in [(200, 15_000, 1), (200, 100, 200)] {
        let messages = [with_parts(r#"{"n":}"#, count, header_bytes)];
        let framed = framing.frame(&messages, &SchemaAnswers::default(), PUBLISHED_US);
        let quarantined: u64 = framed.appends.iter().map(|append| append.quarantined).sum();
        assert_eq!(quarantined, records, "{count} parts with {header_bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_several_partitions_keep_what_is_their_own() {
    let upstream = TestUpstream::numbered(30, 10);
    for (n, message) in upstream.0.lock().messages.iter_mut().enumerate() {
        message.partition = (n / 4 % 3).to_string().into();
        message.topic_mark = (n % 8 < 4).then(|| "1f2e3d4c".into());
        message.key = (n % 5 > 0).then(|| Bytes::from(format!("k{n}")));
        message.published_at_us = (n % 7 > 0).then_some(PUBLISHED_US + 1_000 * n as i64);
    }
    let messages = upstream.0.lock().messages.clone();
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 30).await;
    for (record, message) in stream.records().iter().zip(&messages) {
        assert_eq!(record.id, message.position());
        let context: serde_json::Value = serde_json::from_str(&record.context).unwrap();
        let kafka = &context["kafka"];
        assert_eq!(kafka["partition"].to_string(), &*message.partition);
        assert_eq!(kafka["offset"].to_string(), message.at);
        let key = message.key.as_deref().map(|key| std::str::from_utf8(key).unwrap());
        assert_eq!(kafka["key"].as_str(), key);
        let published = message.published_at_us.map(tidegate_event::time::format_millis);
        assert_eq!(kafka["publishedAt"].as_str(), published.as_deref());
    }
    assert_eq!(stream.records().len(), 30);
    stream.stop().await;
}
