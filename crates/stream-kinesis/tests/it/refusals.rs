//! What Kinesis refuses, and what an operator hears.

use std::sync::Arc;

use tidegate_stream::{StreamCheckpoints, StreamError, StreamOrigin, StreamTarget};

use crate::double::{KinesisDouble, STREAM};
use crate::marks::{MemoryMarks, run};

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

#[test]
fn a_checkpoint_that_is_no_place_stops_the_stream() {
    run(async {
        let double = KinesisDouble::start(1).await;
        let marks = MemoryMarks::default();
        marks.marks.lock().insert("shardId-000000000000".to_owned(), "nowhere".to_owned());
        let (reason, advice) = why_not_opened(&double, marks).await;
        assert!(reason.contains("nowhere") && advice.contains("seek"), "{reason}; {advice}");
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
