//! What is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_stream::{OutgoingMessage, StreamError, StreamTarget};
use tidegate_stream_suite::{StreamRig, stream_suite};

use crate::double::{KinesisDouble, STREAM};
use crate::marks::run;

struct WrittenKinesis(KinesisDouble);

impl StreamRig for WrittenKinesis {
    async fn new() -> Result<Self, String> {
        Ok(Self(KinesisDouble::start(3).await))
    }

    fn target(&self) -> Arc<dyn StreamTarget> {
        Arc::new(self.0.target())
    }

    fn topic(&self) -> String {
        STREAM.to_owned()
    }

    fn refused_topic(&self) -> Option<String> {
        Some("no stream".to_owned())
    }

    async fn seen(&self) -> Vec<String> {
        self.0.state.lock().payloads()
    }
}

stream_suite!(WrittenKinesis);

fn message(index: usize, topic: &str) -> OutgoingMessage {
    OutgoingMessage {
        index,
        topic: topic.to_owned(),
        key: format!("user-{}", index % 7),
        headers: Vec::new(),
        message_id: index.to_string(),
        payload: index.to_string().into(),
    }
}

#[test]
fn records_that_are_refused_for_now_are_written_again_in_the_order_of_their_keys() {
    run(async {
        let double = KinesisDouble::start(2).await;
        double.state.lock().put_refused_every = Some(97);
        let mut writer = double.target().open("sync").await.unwrap();
        let messages = (0..600).map(|index| message(index, STREAM)).collect();
        assert_eq!(writer.write(messages, 600).await.unwrap(), []);
        let mut last_written: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for payload in double.state.lock().payloads() {
            let number: usize = payload.parse().unwrap();
            let written = last_written.entry(number % 7).or_default();
            written.retain(|known| *known != number);
            written.push(number);
        }
        for (key, written) in &last_written {
            assert!(written.is_sorted(), "{key}: {written:?}");
        }
        assert_eq!(last_written.values().map(Vec::len).sum::<usize>(), 600);
    });
}

#[test]
fn a_stream_that_is_not_there_stops_the_sync() {
    run(async {
        let double = KinesisDouble::start(1).await;
        let mut writer = double.target().open("sync").await.unwrap();
        let refused = writer.write(vec![message(0, "missing")], 1).await.unwrap_err();
        assert!(
            matches!(&refused, StreamError::Stop { advice, .. } if advice.contains("create the stream")),
            "{refused}"
        );
    });
}
