//! A source of Kinesis: which stream is read, and from where.

use std::sync::Arc;

use tidegate_stream::{StreamCheckpoints, StreamError, StreamOrigin, StreamReader, StreamReply};

use crate::connection::KinesisConnection;
use crate::place::ShardPlace;
use crate::reader::{KinesisReader, KinesisReading, KinesisStart};

/// A stream that is read.
#[derive(Debug, Clone)]
pub struct KinesisOrigin {
    pub connection: KinesisConnection,
    pub stream: String,
    pub start: KinesisStart,
}

impl KinesisOrigin {
    async fn reader(&self, checkpoints: Arc<dyn StreamCheckpoints>) -> Result<Box<dyn StreamReader>, StreamError> {
        let client = self.connection.connect()?;
        let reading = KinesisReading {
            client,
            stream: self.stream.as_str().into(),
            lease_key: self.connection.lease_key(&self.stream),
            start: self.start,
            checkpoints,
        };
        Ok(Box::new(KinesisReader::open(reading).await?))
    }

    /// Asks for everything that reading needs; behind the last record of a shard there is nothing that would be read.
    async fn look(&self) -> Result<Vec<String>, StreamError> {
        let (client, stream) = (self.connection.connect()?, &self.stream);
        let place = client.place.clone();
        let listed = client.list_shards(stream).await.map_err(|error| error.told(&place))?;
        let open: Vec<_> = listed.shards.iter().filter(|shard| !shard.is_closed).collect();
        if let Some(shard) = open.first() {
            let latest = ShardPlace::Latest { since_us: listed.at_us };
            let iterator = client.iterator(stream, &shard.id, &latest).await.map_err(|error| error.told(&place))?;
            match client.records(&iterator, 1).await {
                Err(error) if !error.is_throttled() => return Err(error.told(&place)),
                _ => {}
            }
        }
        let closed = listed.shards.len() - open.len();
        let noun = if open.len() == 1 { "shard" } else { "shards" };
        let mut found = vec![format!("the stream {stream} has {} open {noun}, and may be read", open.len())];
        if closed > 0 {
            found.push(format!("{closed} more were split or merged, and are read first where they have not been"));
        }
        Ok(found)
    }
}

impl StreamOrigin for KinesisOrigin {
    fn kind(&self) -> &'static str {
        "kinesis"
    }

    fn place(&self) -> String {
        format!("{}, stream {}", self.connection.place(), self.stream)
    }

    fn open(&self, _: &str, checkpoints: Arc<dyn StreamCheckpoints>) -> StreamReply<'_, Box<dyn StreamReader>> {
        Box::pin(self.reader(checkpoints))
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(self.look())
    }
}
