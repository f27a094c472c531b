//! What Kinesis refuses, and what an operator hears.

use std::sync::Arc;

use tidegate_stream::{SeekTarget, StreamCheckpoints, StreamError, StreamOrigin, StreamReader, StreamTarget};

use crate::double::{KinesisDouble, STREAM};
use crate::marks::{MemoryMarks, opened, read, run, texts};

const SHARD: &str = "shardId-000000000000";

async fn why_not_opened(double: &KinesisDouble, marks: MemoryMarks) -> (String, String) {
    let checkpoints: Arc<dyn StreamCheckpoints> = Arc::new(marks);
    match double.origin().open("orders", checkpoints).await {
        Err(StreamError::Stop { reason, advice }) => (reason, advice),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is open"),
    }
}

#[test]
fn what_may_not_be_read_is_told_with_the_rights_that_it_takes() {
    run(async {
        let double = KinesisDouble::start(1).await;
        double.state.lock().refusals.push_back(("ListShards", "AccessDeniedException"));
        let (reason, advice) = why_not_opened(&double, MemoryMarks::default()).await;
        assert!(
            reason.starts_with("kinesis at 127.0.0.1:") && advice.contains("kinesis:GetRecords"),
            "{reason}; {advice}"
        );
        double.state.lock().refusals.push_back(("ListShards", "UnrecognizedClientException"));
        let (reason, advice) = why_not_opened(&double, MemoryMarks::default()).await;
        assert!(advice.contains("access key id") && !reason.contains("s3cr3t"), "{reason}; {advice}");
    });
}

/// A reader over one mark of the first shard, and what it says of it.
async fn stopped_by(double: &KinesisDouble, mark: &str) -> (Box<dyn StreamReader>, String) {
    let marks = MemoryMarks::default();
    marks.marks.lock().insert(SHARD.to_owned(), mark.to_owned());
    let mut reader = opened(double, &Arc::new(marks)).await;
    let read = reader.read().await;
    match read {
        Err(error @ StreamError::Stop { .. }) => (reader, error.to_string()),
        read => panic!("{read:?}"),
    }
}

#[test]
fn marks_that_lead_nowhere_stop_the_stream_until_it_is_sent_elsewhere() {
    run(async {
        for (mark, words) in [("nowhere", "nowhere"), ("SHARD_END", "made anew")] {
            let double = KinesisDouble::start(1).await;
            double.state.lock().put("k", b"one");
            let (mut reader, said) = stopped_by(&double, mark).await;
            assert!(said.contains(words) && said.contains("source seek NAME --to earliest"), "{said}");
            let one =
                SeekTarget::Position { topic: STREAM.to_owned(), partition: SHARD.to_owned(), at: "1".to_owned() };
            assert!(matches!(reader.seek(one).await, Err(StreamError::Stop { .. })), "{mark}");
            reader.seek(SeekTarget::Earliest).await.unwrap();
            assert_eq!(texts(&read(&mut reader, 1).await), ["one"], "{mark}");
        }
    });
}

#[test]
fn marks_of_another_stream_say_nothing_of_this_one() {
    run(async {
        let double = KinesisDouble::start(1).await;
        double.state.lock().put("k", b"one");
        // What is split has ended there, and here it has not been read.
        double.state.lock().split();
        double.state.lock().put("k", b"two");
        let marks = Arc::new(MemoryMarks::default());
        let other = [(SHARD, "SHARD_END"), ("shardId-000000000009", "7"), ("kinesis/stream", "eu-west-1/clicks")];
        marks.marks.lock().extend(other.map(|(shard, mark)| (shard.to_owned(), mark.to_owned())));
        let mut reader = opened(&double, &marks).await;
        assert_eq!(texts(&read(&mut reader, 2).await), ["one", "two"]);
        let kept = marks.marks.lock().clone();
        assert_eq!(kept.get("kinesis/stream").map(String::as_str), Some("eu-west-1/orders"), "{kept:?}");
        assert!(!kept.contains_key("shardId-000000000009"), "{kept:?}");
    });
}

#[test]
fn a_check_says_what_there_is_and_changes_nothing() {
    run(async {
        let double = KinesisDouble::start(3).await;
        double.state.lock().split();
        let found = double.origin().check().await.unwrap();
        assert!(found[0].contains("4 open shards") && found[1].starts_with("1 more"), "{found:?}");
        let found = double.target().check().await.unwrap();
        assert_eq!(found, [format!("the stream {STREAM} is ACTIVE, with 4 open shards")]);
        double.state.lock().refusals.push_back(("GetRecords", "AccessDeniedException"));
        let refused = double.origin().check().await.unwrap_err();
        assert!(matches!(refused, StreamError::Stop { .. }), "{refused}");
        assert!(!double.state.lock().calls.iter().any(|call| call == "PutRecords"));
    });
}
