//! One fetch: an iterator, where there is none, and what it leads to. Where that is asked for, the oldest record that is kept as well: Kinesis
//! begins there without a word where what comes next was deleted.

use std::sync::Arc;

use crate::answers::{KinesisRecord, RecordsAnswer};
use crate::client::{KinesisClient, RECORDS_MAX};
use crate::error::KinesisCallError;
use crate::place::ShardPlace;

/// Answers without a record in which the oldest one is looked for.
const LOOKS_MAX: usize = 5;

/// What is to be fetched.
pub(super) struct FetchOrder {
    pub(super) client: Arc<KinesisClient>,
    pub(super) stream: Arc<str>,
    pub(super) shard: Arc<str>,
    /// Where an iterator begins, if one is needed.
    pub(super) place: ShardPlace,
    pub(super) iterator: Option<String>,
    /// Of the lease; 0 without leases.
    pub(super) epoch: u64,
    /// Nothing was written to the shard any more when the fetch began.
    pub(super) is_closed: bool,
    /// The oldest record is looked for, too.
    pub(super) looks_at_oldest: bool,
}

/// What became of it.
pub(super) struct FetchDone {
    pub(super) shard: Arc<str>,
    pub(super) epoch: u64,
    /// The one that was asked with.
    pub(super) iterator: Option<String>,
    pub(super) is_closed: bool,
    pub(super) answer: Result<RecordsAnswer, KinesisCallError>,
    /// The oldest record that the shard has kept, after the answer; none where nobody has looked, or it was not found.
    pub(super) oldest: Option<KinesisRecord>,
}

pub(super) async fn fetch(order: FetchOrder) -> FetchDone {
    let FetchOrder { client, stream, shard, place, iterator, epoch, is_closed, looks_at_oldest } = order;
    let iterator = match iterator {
        Some(iterator) => iterator,
        None => match client.iterator(&stream, &shard, &place).await {
            Ok(iterator) => iterator,
            Err(error) => {
                return FetchDone { shard, epoch, iterator: None, is_closed, answer: Err(error), oldest: None };
            }
        },
    };
    let answer = client.records(&iterator, RECORDS_MAX).await;
    let (answer, oldest) = match answer {
        Ok(answer) if looks_at_oldest => match oldest(&client, &stream, &shard).await {
            Ok(oldest) => (Ok(answer), oldest),
            // Whether anything before them is missing has to be known: they are fetched once more.
            Err(error) => (Err(error), None),
        },
        answer => (answer, None),
    };
    FetchDone { shard, epoch, iterator: Some(iterator), is_closed, answer, oldest }
}

async fn oldest(client: &KinesisClient, stream: &str, shard: &str) -> Result<Option<KinesisRecord>, KinesisCallError> {
    let mut iterator = client.iterator(stream, shard, &ShardPlace::Horizon).await?;
    for _ in 0..LOOKS_MAX {
        let answer = client.records(&iterator, 1).await?;
        if let Some(first) = answer.records.into_iter().next() {
            return Ok(Some(first));
        }
        let is_behind = answer.millis_behind_latest.is_some_and(|behind| behind > 0);
        match answer.next_shard_iterator.filter(|next| is_behind && !next.is_empty()) {
            Some(next) => iterator = next,
            None => break,
        }
    }
    Ok(None)
}
