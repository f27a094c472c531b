//! Every record once, those of a key in their order, whatever becomes of the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_stream::StreamMessage;

use crate::double::KinesisDouble;
use crate::marks::{MemoryMarks, opened, read, rest, run, text};

fn put(double: &KinesisDouble, range: std::ops::Range<u32>) {
    let mut state = double.state.lock();
    for number in range {
        state.put(&format!("user-{}", number % 23), number.to_string().as_bytes());
    }
}

/// Each number once, those of a key in their order.
fn assert_each_once_in_order(messages: &[StreamMessage], count: u32) {
    let mut of_keys: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for message in messages {
        let key = message.key.clone().unwrap().to_vec();
        of_keys.entry(key).or_default().push(text(message).parse().unwrap());
    }
    for (key, numbers) in &of_keys {
        assert!(numbers.is_sorted(), "{}: {numbers:?}", String::from_utf8_lossy(key));
    }
    let mut all: Vec<u32> = of_keys.into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
}

#[test]
fn records_of_split_and_merged_shards_are_read_once_and_in_order() {
    run(async {
        let double = KinesisDouble::start(2).await;
        put(&double, 0..300);
        double.state.lock().split();
        put(&double, 300..600);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        let mut messages = read(&mut reader, 200).await;
        // While it is read.
        double.state.lock().merge();
        put(&double, 600..900);
        double.state.lock().split();
        double.state.lock().merge();
        put(&double, 900..1_000);
        let more = read(&mut reader, 1_000 - messages.len()).await;
        messages.extend(more);
        messages.extend(rest(&mut reader).await);
        assert_each_once_in_order(&messages, 1_000);
        let ended = marks.marks.lock().values().filter(|mark| *mark == "SHARD_END").count();
        assert!(ended >= 4, "shards that were split or merged have ended: {:?}", marks.marks.lock());
    });
}

#[test]
fn a_reader_that_is_opened_anew_goes_on_behind_what_was_acknowledged() {
    run(async {
        let double = KinesisDouble::start(3).await;
        let marks = Arc::new(MemoryMarks::default());
        let (mut messages, mut put_count) = (Vec::new(), 0);
        for round in 0..6 {
            put(&double, put_count..put_count + 150);
            put_count += 150;
            if round % 2 == 0 {
                double.state.lock().split()
            } else {
                double.state.lock().merge()
            }
            let mut reader = opened(&double, &marks).await;
            messages.extend(read(&mut reader, 60).await);
            // It is read and never acknowledged: it comes again.
            let _ = reader.read().await.unwrap();
        }
        let mut reader = opened(&double, &marks).await;
        let more = read(&mut reader, put_count as usize - messages.len()).await;
        messages.extend(more);
        messages.extend(rest(&mut reader).await);
        assert_each_once_in_order(&messages, put_count);
    });
}

#[test]
fn shards_that_are_gone_hold_nobody_up() {
    run(async {
        let double = KinesisDouble::start(1).await;
        put(&double, 0..50);
        double.state.lock().split();
        double.state.lock().forget_closed();
        put(&double, 50..100);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        let mut numbers: Vec<u32> =
            read(&mut reader, 50).await.iter().map(|message| text(message).parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (50..100).collect::<Vec<_>>());
    });
}

#[test]
fn iterators_that_end_and_answers_that_fail_cost_no_record() {
    run(async {
        let double = KinesisDouble::start(2).await;
        put(&double, 0..400);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        let mut messages = Vec::new();
        for code in ["ExpiredIteratorException", "ProvisionedThroughputExceededException", "InternalFailure"] {
            messages.extend(read(&mut reader, 50).await);
            let mut state = double.state.lock();
            state.generation += 1;
            state.refusals.push_back(("GetRecords", code));
            state.refusals.push_back(("GetShardIterator", "ProvisionedThroughputExceededException"));
        }
        let more = read(&mut reader, 400 - messages.len()).await;
        messages.extend(more);
        messages.extend(rest(&mut reader).await);
        assert_each_once_in_order(&messages, 400);
    });
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    run(async {
        let double = KinesisDouble::start(2).await;
        put(&double, 0..300);
        let marks = Arc::new(MemoryMarks::default());
        let mut reader = opened(&double, &marks).await;
        let mut messages = Vec::new();
        for round in 0..200_u64 {
            let patience = std::time::Duration::from_micros(round * 100);
            if let Ok(batch) = tokio::time::timeout(patience, reader.read()).await {
                let batch = batch.unwrap();
                messages.extend(batch.messages);
                reader.acknowledge(batch.receipt).await.unwrap();
            }
        }
        let more = read(&mut reader, 300 - messages.len()).await;
        messages.extend(more);
        messages.extend(rest(&mut reader).await);
        assert_each_once_in_order(&messages, 300);
    });
}
