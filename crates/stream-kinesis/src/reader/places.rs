//! Marks: how they are loaded and saved, and which ones a place to go to makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_stream::{SeekTarget, StreamCheckpoints, StreamError};

use crate::client::ListedShards;
use crate::place::{ShardMark, ShardPlace, position};
use crate::shards::ShardTree;

/// Under which key it is kept which stream the marks are of. No shard is called so.
pub(super) const STREAM_KEY: &str = "kinesis/stream";
const SHOWN_CHARS_MAX: usize = 100;
const SEEK_ALL: &str = "go on with `tidegate source seek NAME --to earliest`, or to latest or a time";

/// The marks that are saved.
pub(super) struct SavedMarks {
    /// By shard.
    pub(super) marks: BTreeMap<String, String>,
    /// They are of another stream, and say nothing of this one.
    pub(super) are_of_another: bool,
    /// An earlier build has saved them, and not said which stream they are of.
    pub(super) are_of_unnamed: bool,
}

/// The marks that are saved, for a reader of the stream of this id.
pub(super) async fn load(checkpoints: &Arc<dyn StreamCheckpoints>, stream_id: &str) -> Result<SavedMarks, StreamError> {
    let checkpoints = Arc::clone(checkpoints);
    let loaded = tokio::task::spawn_blocking(move || checkpoints.load()).await;
    let mut marks =
        loaded.map_err(|error| StreamError::Retry(format!("the checkpoints cannot be read: {error}")))??;
    let of = marks.remove(STREAM_KEY);
    // What the source kept of topics when it was one of another kind.
    marks.retain(|shard, _| !shard.contains('/'));
    let are_of_another = of.as_ref().is_some_and(|of| of != stream_id);
    Ok(SavedMarks { marks, are_of_another, are_of_unnamed: of.is_none() })
}

/// Looks whether marks may be of a stream with these shards: one that has ended stays closed.
///
/// # Errors
/// One is open again, so it is another one of the same name.
pub(super) fn of_this_stream<'m>(
    place: &str,
    listed: &ListedShards,
    marks: impl IntoIterator<Item = (&'m str, &'m str)>,
) -> Result<(), StreamError> {
    let open: BTreeSet<&str> =
        listed.shards.iter().filter(|shard| !shard.is_closed).map(|shard| shard.id.as_ref()).collect();
    let mut ended = marks.into_iter().filter(|(_, mark)| ShardMark::parse(mark) == Some(ShardMark::End));
    match ended.find(|(shard, _)| open.contains(*shard)) {
        None => Ok(()),
        Some((shard, _)) => Err(StreamError::Stop {
            reason: format!(
                "{place}: {} was read to its end, and is open: the stream was made anew under its name",
                shortened(shard)
            ),
            advice: SEEK_ALL.to_owned(),
        }),
    }
}

/// Saves marks, all or none.
pub(super) async fn save(
    checkpoints: &Arc<dyn StreamCheckpoints>,
    changed: &BTreeMap<String, Option<String>>,
) -> Result<(), StreamError> {
    let (checkpoints, changed) = (Arc::clone(checkpoints), changed.clone());
    let saved = tokio::task::spawn_blocking(move || checkpoints.save(&changed)).await;
    saved.map_err(|error| StreamError::Retry(format!("the checkpoints cannot be written: {error}")))?
}

/// The marks by which a stream is read from there on; of all shards, but for a position, which is of one.
pub(super) fn of_target(
    place: &str,
    stream: &str,
    to: &SeekTarget,
    listed: &ListedShards,
) -> Result<BTreeMap<Arc<str>, ShardMark>, StreamError> {
    let mut tree = ShardTree::default();
    tree.update(listed.shards.clone());
    let all = |mark: ShardMark| -> BTreeMap<Arc<str>, ShardMark> {
        tree.ids().map(|id| (Arc::clone(id), mark.clone())).collect()
    };
    Ok(match to {
        // The children follow their parents.
        SeekTarget::Earliest => {
            tree.roots().map(|id| (Arc::clone(id), ShardMark::Place(ShardPlace::Horizon))).collect()
        }
        SeekTarget::Latest => {
            let mark = |id: &Arc<str>| {
                if tree.is_closed(id) {
                    ShardMark::End
                } else {
                    ShardMark::Place(ShardPlace::Latest { since_us: listed.at_us })
                }
            };
            tree.ids().map(|id| (Arc::clone(id), mark(id))).collect()
        }
        // Kinesis takes no time that has not come.
        SeekTarget::Time(at_us) => all(ShardMark::Place(ShardPlace::Time((*at_us).min(listed.at_us).max(0)))),
        SeekTarget::Position { topic, partition, at } => {
            let unknown = |reason: String, advice: &str| StreamError::Stop {
                reason: format!("{place}: {reason}"),
                advice: advice.to_owned(),
            };
            if topic != stream {
                let reason = format!("the source reads the stream {stream}, and not {}", shortened(topic));
                return Err(unknown(reason, "name that stream in the position"));
            }
            if !tree.has(partition) {
                let reason = format!("the stream {stream} has no shard {}", shortened(partition));
                return Err(unknown(reason, "name a shard that `tidegate status` shows, such as shardId-000000000000"));
            }
            let Some((sequence, sub)) = position(at) else {
                let reason = format!("{} is no sequence number", shortened(at));
                return Err(unknown(reason, "write the digits, and `:` and a number for a record of an aggregate"));
            };
            let mark = ShardMark::Place(ShardPlace::At { sequence, sub: sub.unwrap_or_default() });
            BTreeMap::from([(Arc::from(partition.as_str()), mark)])
        }
    })
}

/// A mark that nobody here has written.
pub(super) fn unreadable(place: &str, shard: &str, text: &str) -> StreamError {
    StreamError::Stop {
        reason: format!("{place}: the checkpoint of {} is {}, which is no place", shortened(shard), shortened(text)),
        advice: SEEK_ALL.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    format!("{shown:?}")
}
