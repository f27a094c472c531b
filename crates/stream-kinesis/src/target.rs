//! Streams that messages go to.

use tidegate_stream::{StreamError, StreamReply, StreamTarget, StreamWriter};

use crate::connection::KinesisConnection;
use crate::writer::KinesisWriter;

/// A region that messages go to; the topic of a message is the name of its stream.
#[derive(Debug, Clone)]
pub struct KinesisTarget {
    pub connection: KinesisConnection,
    /// Streams that are known to be written to, for a check.
    pub streams: Vec<String>,
}

impl KinesisTarget {
    fn writer(&self) -> Result<Box<dyn StreamWriter>, StreamError> {
        Ok(Box::new(KinesisWriter::new(self.connection.connect()?)))
    }

    async fn look(&self) -> Result<Vec<String>, StreamError> {
        let client = self.connection.connect()?;
        let mut found = Vec::new();
        for stream in &self.streams {
            let summary = client.summary(stream).await.map_err(|error| error.told(&client.place))?;
            let summary = summary.stream_description_summary;
            let status: String = summary.stream_status.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
            let shards = summary.open_shard_count;
            let noun = if shards == 1 { "shard" } else { "shards" };
            found.push(format!("the stream {stream} is {status}, with {shards} open {noun}"));
        }
        if self.streams.is_empty() {
            found.push("which streams are written to, the events say: none was looked at".to_owned());
        }
        Ok(found)
    }
}

impl StreamTarget for KinesisTarget {
    fn kind(&self) -> &'static str {
        "kinesis"
    }

    fn place(&self) -> String {
        self.connection.place()
    }

    fn open(&self, _: &str) -> StreamReply<'_, Box<dyn StreamWriter>> {
        Box::pin(async move { self.writer() })
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(self.look())
    }
}
