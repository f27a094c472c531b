//! Where reading begins and goes on, and what aggregates hold.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use tidegate_stream::{SeekTarget, StreamError};
use tidegate_stream_kinesis::KinesisStart;

use crate::double::{BEGIN_S, KinesisDouble, STREAM};
use crate::marks::{MemoryMarks, opened, read, rest, run, texts};

const SHARD: &str = "shardId-000000000000";

fn put(double: &KinesisDouble, texts: &[&str]) {
    for text in texts {
        double.state.lock().put("k", text.as_bytes());
    }
}

fn position(at: &str) -> SeekTarget {
    SeekTarget::Position { topic: STREAM.to_owned(), partition: SHARD.to_owned(), at: at.to_owned() }
}

#[test]
fn a_message_says_where_it_is_from() {
    run(async {
        let double = KinesisDouble::start(1).await;
        put(&double, &["one"]);
        let mut reader = opened(&double, &Arc::default()).await;
        let message = read(&mut reader, 1).await.remove(0);
        assert_eq!(message.position(), format!("{STREAM}/{SHARD}/1"));
        assert_eq!(message.key, Some(Bytes::from("k")));
        assert_eq!(message.published_at_us, Some((BEGIN_S as i64 + 1) * 1_000_000));
        let progress = reader.progress();
        assert!(matches!(&progress[..], [shard] if shard.acknowledged == "1" && shard.lag.is_none()), "{progress:?}");
    });
}

#[test]
fn latest_begins_behind_what_is_there_and_loses_nothing_though_nothing_was_read() {
    run(async {
        let mut double = KinesisDouble::start(1).await;
        double.start = KinesisStart::Latest;
        put(&double, &["before"]);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        assert!(rest(&mut reader).await.is_empty());
        drop(reader);
        // The records of the double are of the past: what is kept is a time before them.
        let mark = marks.marks.lock().get(SHARD).cloned().unwrap();
        assert!(mark.starts_with("time:"), "{mark}");
        let since = format!("time:{}", (BEGIN_S + 2) * 1_000_000);
        marks.marks.lock().insert(SHARD.to_owned(), since);
        put(&double, &["while nobody read"]);
        let mut reader = opened(&double, &marks).await;
        assert_eq!(texts(&read(&mut reader, 1).await), ["while nobody read"]);
    });
}

#[test]
fn a_stream_goes_on_where_it_is_sent() {
    run(async {
        let double = KinesisDouble::start(1).await;
        put(&double, &["1", "2", "3", "4"]);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        assert_eq!(read(&mut reader, 4).await.len(), 4);
        for (to, expected) in [
            (SeekTarget::Earliest, vec!["1", "2", "3", "4"]),
            (SeekTarget::Time((BEGIN_S as i64 + 3) * 1_000_000), vec!["3", "4"]),
            (position("2"), vec!["2", "3", "4"]),
            (SeekTarget::Latest, Vec::new()),
        ] {
            reader.seek(to.clone()).await.unwrap();
            assert_eq!(texts(&rest(&mut reader).await), expected, "{to:?}");
        }
        // It was saved before anything was read.
        reader.seek(SeekTarget::Earliest).await.unwrap();
        let mut reader = opened(&double, &marks).await;
        assert_eq!(read(&mut reader, 4).await.len(), 4);
    });
}

#[test]
fn what_was_deleted_before_it_was_read_is_told() {
    run(async {
        let double = KinesisDouble::start(1).await;
        put(&double, &["1", "2", "3"]);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        assert_eq!(read(&mut reader, 3).await.len(), 3);
        drop(reader);
        put(&double, &["4", "5", "6"]);
        double.state.lock().trim(2);
        let mut reader = opened(&double, &marks).await;
        assert_eq!(texts(&read(&mut reader, 3).await), ["4", "5", "6"]);
        assert_eq!(reader.notices(), Vec::<String>::new(), "what was read alone is deleted");
        drop(reader);
        put(&double, &["7", "8", "9"]);
        double.state.lock().trim(8);
        let mut reader = opened(&double, &marks).await;
        assert_eq!(texts(&read(&mut reader, 1).await), ["9"]);
        let told = |notices: &[String], words: [&str; 3]| {
            assert!(matches!(notices, [notice] if words.iter().all(|word| notice.contains(word))), "{notices:?}");
        };
        told(&reader.notices(), [SHARD, "6 is not kept", "number 9:"]);
        // An iterator that has ended is asked for anew behind what was read last.
        put(&double, &["10", "11", "12"]);
        double.state.lock().trim(11);
        assert_eq!(texts(&read(&mut reader, 1).await), ["12"]);
        told(&reader.notices(), ["9 is not kept", "number 12:", "2 gaps"]);
    });
}

#[test]
fn a_place_that_is_none_is_refused_and_reading_goes_on() {
    run(async {
        let double = KinesisDouble::start(1).await;
        put(&double, &["1"]);
        let mut reader = opened(&double, &Arc::default()).await;
        assert_eq!(read(&mut reader, 1).await.len(), 1);
        let other = |topic: &str, partition: &str, at: &str| SeekTarget::Position {
            topic: topic.to_owned(),
            partition: partition.to_owned(),
            at: at.to_owned(),
        };
        for (to, words) in [
            (other("other", SHARD, "1"), "reads the stream orders"),
            (other(STREAM, "shardId-9", "1"), "has no shard"),
            (other(STREAM, SHARD, "earliest"), "no sequence number"),
        ] {
            let refused = reader.seek(to).await.unwrap_err();
            assert!(matches!(&refused, StreamError::Stop { reason, .. } if reason.contains(words)), "{refused}");
        }
        put(&double, &["2"]);
        assert_eq!(texts(&read(&mut reader, 1).await), ["2"]);
    });
}

fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3) | 2];
    let mut length = payload.len();
    while length > 127 {
        out.push(((length & 127) as u8) | 128);
        length >>= 7;
    }
    out.push(length as u8);
    [out, payload.to_vec()].concat()
}

/// So many numbers as one record, as the producer library packs them.
fn packed(count: usize) -> Vec<u8> {
    let mut body = field(1, b"inner");
    for number in 0..count {
        let record = [vec![1 << 3, 0], field(3, number.to_string().as_bytes())].concat();
        body.extend(field(3, &record));
    }
    [&[0xf3, 0x89, 0x9a, 0xc2][..], &body[..], Md5::digest(&body).as_slice()].concat()
}

#[test]
fn an_aggregate_gives_its_records_and_is_gone_on_within() {
    run(async {
        let double = KinesisDouble::start(1).await;
        double.state.lock().put("outer", &packed(6_000));
        double.state.lock().put("outer", b"\xf3\x89\x9a\xc2 is only how it begins");
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        let first = read(&mut reader, 1).await;
        assert!(first.len() < 6_000, "{}", first.len());
        assert_eq!((first[0].at.as_str(), first[0].key.clone()), ("1:0", Some(Bytes::from("inner"))));
        let last = format!("1:{}", first.len() - 1);
        assert_eq!(marks.marks.lock().get(SHARD), Some(&last));
        drop(reader);
        let mut reader = opened(&double, &marks).await;
        let rest = rest(&mut reader).await;
        assert_eq!(rest.len(), 6_001 - first.len());
        assert_eq!(rest[0].at, format!("1:{}", first.len()));
        let plain = rest.last().unwrap();
        assert_eq!((plain.at.as_str(), plain.key.clone()), ("2", Some(Bytes::from("outer"))));
        let numbers: Vec<String> = first.iter().chain(&rest).take(6_000).map(crate::marks::text).collect();
        assert_eq!(numbers, (0..6_000).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(marks.marks.lock().get(SHARD).map(String::as_str), Some("2"));
        reader.seek(position("1:5998")).await.unwrap();
        assert_eq!(
            read(&mut reader, 3).await.iter().map(|message| &*message.at).collect::<Vec<_>>(),
            ["1:5998", "1:5999", "2"]
        );
    });
}
