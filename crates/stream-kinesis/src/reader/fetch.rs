//! One fetch: an iterator, where there is none, and what it leads to.

use std::sync::Arc;

use crate::answers::RecordsAnswer;
use crate::client::{KinesisClient, RECORDS_MAX};
use crate::error::KinesisCallError;
use crate::place::ShardPlace;

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
}

/// What became of it.
pub(super) struct FetchDone {
    pub(super) shard: Arc<str>,
    pub(super) epoch: u64,
    /// The one that was asked with.
    pub(super) iterator: Option<String>,
    pub(super) is_closed: bool,
    pub(super) answer: Result<RecordsAnswer, KinesisCallError>,
}

pub(super) async fn fetch(order: FetchOrder) -> FetchDone {
    let FetchOrder { client, stream, shard, place, iterator, epoch, is_closed } = order;
    let iterator = match iterator {
        Some(iterator) => iterator,
        None => match client.iterator(&stream, &shard, &place).await {
            Ok(iterator) => iterator,
            Err(error) => return FetchDone { shard, epoch, iterator: None, is_closed, answer: Err(error) },
        },
    };
    let answer = client.records(&iterator, RECORDS_MAX).await;
    FetchDone { shard, epoch, iterator: Some(iterator), is_closed, answer }
}
