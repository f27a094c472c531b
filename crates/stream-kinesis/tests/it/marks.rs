//! Checkpoints in memory, and a reader over them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_stream::{StreamCheckpoints, StreamError, StreamMessage, StreamOrigin, StreamReader};

use crate::double::KinesisDouble;

const DEADLINE: Duration = Duration::from_secs(60);
/// Longer than a reader waits for anything.
const SILENCE: Duration = Duration::from_secs(3);

/// Outlives readers, as the state does.
#[derive(Default)]
pub(crate) struct MemoryMarks {
    pub(crate) marks: Mutex<BTreeMap<String, String>>,
}

impl StreamCheckpoints for MemoryMarks {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(self.marks.lock().clone())
    }

    fn save(&self, changed: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        let mut marks = self.marks.lock();
        for (shard, mark) in changed {
            match mark {
                Some(mark) => marks.insert(shard.clone(), mark.clone()),
                None => marks.remove(shard),
            };
        }
        Ok(())
    }
}

pub(crate) async fn opened(double: &KinesisDouble, marks: &Arc<MemoryMarks>) -> Box<dyn StreamReader> {
    let checkpoints: Arc<dyn StreamCheckpoints> = Arc::<MemoryMarks>::clone(marks);
    double.origin().open("orders", checkpoints).await.unwrap()
}

/// Reads and acknowledges until there are so many messages.
pub(crate) async fn read(reader: &mut Box<dyn StreamReader>, count: usize) -> Vec<StreamMessage> {
    let (mut messages, since) = (Vec::new(), Instant::now());
    while messages.len() < count {
        assert!(since.elapsed() < DEADLINE, "only {} of {count} messages came", messages.len());
        let batch = reader.read().await.unwrap();
        messages.extend(batch.messages);
        reader.acknowledge(batch.receipt).await.unwrap();
    }
    messages
}

/// Reads until nothing has come for some time. A read without messages may say that a shard has ended.
pub(crate) async fn rest(reader: &mut Box<dyn StreamReader>) -> Vec<StreamMessage> {
    let (mut messages, mut heard_at) = (Vec::new(), Instant::now());
    while heard_at.elapsed() < SILENCE {
        let batch = reader.read().await.unwrap();
        if !batch.messages.is_empty() {
            heard_at = Instant::now();
        }
        messages.extend(batch.messages);
        reader.acknowledge(batch.receipt).await.unwrap();
    }
    messages
}

pub(crate) fn text(message: &StreamMessage) -> String {
    String::from_utf8(message.payload.clone().unwrap().to_vec()).unwrap()
}

pub(crate) fn texts(messages: &[StreamMessage]) -> Vec<String> {
    messages.iter().map(text).collect()
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}
