//! Telling the group how far its partitions are, and what happens when it takes some of them away.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use krafka::KrafkaError;
use krafka::consumer::{Consumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition};
use krafka::error::ErrorCode;
use parking_lot::{Mutex, MutexGuard};

use super::claims::{Claims, DueCommit};

/// How long the last commit before a partition is given away may take: whoever gets it waits for that.
const LAST_COMMIT_TIME_MAX: Duration = Duration::from_secs(5);

/// The claims of a member, which its polls change too.
#[derive(Debug, Default)]
pub(super) struct HeldClaims {
    claims: Mutex<Claims>,
    /// Whoever commits or gives partitions up has it: nothing is committed for a partition after it was given up.
    turn: tokio::sync::Mutex<()>,
}

impl HeldClaims {
    pub(super) fn lock(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock()
    }
}

/// Commits what is acknowledged and not told yet: of all partitions, or of `only`. What the group refuses from this member waits: it has
/// given the partitions to somebody else, and the next poll says so. Says whether a topic was refused that was taken before.
///
/// # Errors
/// The group cannot be told. It was told nothing then, or a part of it.
pub(super) async fn commit(
    consumer: &Consumer,
    claims: &HeldClaims,
    only: Option<&[TopicPartition]>,
) -> Result<bool, KrafkaError> {
    let _turn = claims.turn.lock().await;
    let due = claims.lock().due(only);
    if due.is_empty() {
        return Ok(false);
    }
    match consumer.commit_offsets(offsets_of(&due)).await {
        Ok(()) => claims.lock().committed(&due),
        Err(error) if is_fenced(&error) => tracing::debug!(%error, "the group takes no offsets of this member now"),
        // One topic that was deleted or forbidden holds up no other.
        Err(error) if is_of_topic(&error) => return commit_by_topic(consumer, claims, &due).await,
        Err(error) => return Err(error),
    }
    Ok(false)
}

async fn commit_by_topic(consumer: &Consumer, claims: &HeldClaims, due: &[DueCommit]) -> Result<bool, KrafkaError> {
    let mut is_refused_anew = false;
    let topics: Vec<&[DueCommit]> = due.chunk_by(|one, next| one.name.0 == next.name.0).collect();
    for of_topic in topics {
        match consumer.commit_offsets(offsets_of(of_topic)).await {
            Ok(()) => claims.lock().committed(of_topic),
            Err(error) if is_fenced(&error) => return Ok(is_refused_anew),
            Err(error) if is_of_topic(&error) => {
                let Some(DueCommit { name: (topic, _), .. }) = of_topic.first() else { continue };
                let why = format!(
                    "what was read of topic {topic} is in the log, and the group takes no offsets of it ({error}): it was deleted, or this \
                     client's user may not READ it; they are told to the group as soon as it takes them"
                );
                if claims.lock().refuse(topic, why) {
                    is_refused_anew = true;
                    tracing::warn!(topic = &**topic, %error, "what was read of a topic cannot be committed; it is tried again");
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(is_refused_anew)
}

fn offsets_of(due: &[DueCommit]) -> Vec<(TopicPartition, OffsetAndMetadata)> {
    due.iter().map(DueCommit::offsets).collect()
}

/// Whether the group knows this member no more, or not yet under its new epoch.
fn is_fenced(error: &KrafkaError) -> bool {
    match error {
        KrafkaError::IllegalState { .. } => true,
        KrafkaError::Broker { code, .. } => matches!(
            code,
            ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::RebalanceInProgress
                | ErrorCode::FencedMemberEpoch
                | ErrorCode::StaleMemberEpoch
        ),
        _ => false,
    }
}

fn is_of_topic(error: &KrafkaError) -> bool {
    matches!(
        error,
        KrafkaError::Broker {
            code: ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::TopicAuthorizationFailed,
            ..
        }
    )
}

/// Keeps the claims as the group says.
pub(super) struct Handover {
    claims: Arc<HeldClaims>,
    consumer: OnceLock<Weak<Consumer>>,
}

impl Handover {
    pub(super) fn new(claims: Arc<HeldClaims>) -> Self {
        Self { claims, consumer: OnceLock::new() }
    }

    /// By whom the last offsets of a partition are committed.
    pub(super) fn commit_with(&self, consumer: &Arc<Consumer>) {
        // It is set once, right after the consumer was built.
        let _ = self.consumer.set(Arc::downgrade(consumer));
    }
}

impl ConsumerRebalanceListener for Handover {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            tracing::info!(partitions = partitions.len(), "the group has given partitions to this member");
        }
        self.claims.lock().assign(partitions);
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        tracing::info!(partitions = partitions.len(), "the group takes partitions from this member");
        if let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) {
            let told = commit(&consumer, &self.claims, Some(partitions));
            match tokio::time::timeout(LAST_COMMIT_TIME_MAX, told).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "partitions are given away without their last offsets"),
                Err(_) => tracing::warn!("partitions are given away without their last offsets: no answer in time"),
            }
        }
        let _turn = self.claims.turn.lock().await;
        self.claims.lock().give_up(partitions);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        tracing::warn!(
            partitions = partitions.len(),
            "the group has taken this member for gone and given its partitions away; it joins again and reads on from \
             what is committed"
        );
        // A commit that is under way would count as one of the member that joins next.
        let _turn = self.claims.turn.lock().await;
        self.claims.lock().give_up(partitions);
    }
}
