//! Leases of shards, as servers that share a store divide the streams of their sources among themselves.
//!
//! They are no objects: nobody edits them, they have no versions and no audit entries. A store may keep them alone, whatever else of a
//! catalog it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_stream::{
    LeaseClaim, LeaseHolder, LeaseRenewal, LeaseSeek, ShardLease, ShardLeases, StreamError, StreamReply,
};
use tokio::sync::OnceCell;

use crate::store::{CatalogStore, CatalogTransaction, StoreAccess, StoreCell, StoreError, StoredRow, migrate};

/// The columns of a lease, as rows are read.
const COLUMNS: &str = "shard, holder, holder_name, epoch, beat, checkpoint";
/// The leases of one stream, and one of them.
const OF_STREAM: &str = "workspace = $1 AND source = $2 AND topic = $3";
const OF_SHARD: &str = "workspace = $1 AND source = $2 AND topic = $3 AND shard = $4";

/// The leases that a store keeps.
pub struct LeaseTable {
    store: Arc<dyn CatalogStore>,
    /// The time now, in microseconds since the Unix epoch: for the record of migrations alone.
    now_us: fn() -> i64,
    migrated: OnceCell<()>,
}

/// The stream of a source of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedStream {
    pub workspace: String,
    pub source: String,
    /// The name of the stream, with what else its carrier tells it by.
    pub topic: String,
}

/// The leases of one stream for one holder.
pub struct StreamLeases {
    pub table: Arc<LeaseTable>,
    pub stream: LeasedStream,
    pub holder: LeaseHolder,
    pub lease_time: Duration,
}

impl LeaseTable {
    /// Asks the store nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn CatalogStore>, now_us: fn() -> i64) -> Self {
        Self { store, now_us, migrated: OnceCell::new() }
    }

    /// A transaction of a store that was brought up to this build.
    async fn begin(&self, access: StoreAccess) -> Result<Box<dyn CatalogTransaction>, StoreError> {
        self.migrated.get_or_try_init(|| migrate(self.store.as_ref(), (self.now_us)())).await?;
        self.store.begin(access).await
    }
}

impl std::fmt::Debug for LeaseTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseTable").field("store", &self.store.place()).finish_non_exhaustive()
    }
}

impl StreamLeases {
    /// The first cells of every statement, and more.
    fn cells(&self, more: impl IntoIterator<Item = StoreCell>) -> Vec<StoreCell> {
        let LeasedStream { workspace, source, topic } = &self.stream;
        let stream = [workspace, source, topic].map(|text| StoreCell::from(text.as_str()));
        stream.into_iter().chain(more).collect()
    }

    async fn listed(&self) -> Result<Vec<ShardLease>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM lease WHERE {OF_STREAM} ORDER BY shard");
        let mut transaction = self.table.begin(StoreAccess::Read).await?;
        transaction.run(&sql, self.cells([])).await?.iter().map(lease).collect()
    }

    async fn seeded(&self, checkpoints: BTreeMap<String, String>) -> Result<bool, StoreError> {
        let mut transaction = self.table.begin(StoreAccess::Write).await?;
        let first = format!("SELECT shard FROM lease WHERE {OF_STREAM} LIMIT 1");
        if !transaction.run(&first, self.cells([])).await?.is_empty() {
            return Ok(false);
        }
        let insert = "INSERT INTO lease (workspace, source, topic, shard, epoch, beat, checkpoint) \
                      VALUES ($1, $2, $3, $4, 1, 0, $5)";
        let rows = checkpoints.into_iter().map(|(shard, checkpoint)| self.cells([shard.into(), checkpoint.into()]));
        transaction.run_each(insert, rows.collect()).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn taken(&self, claims: Vec<LeaseClaim>) -> Result<Vec<ShardLease>, StoreError> {
        let insert = format!(
            "INSERT INTO lease (workspace, source, topic, shard, holder, holder_name, epoch, beat) \
             VALUES ($1, $2, $3, $4, $5, $6, 1, 0) ON CONFLICT (workspace, source, topic, shard) DO NOTHING \
             RETURNING {COLUMNS}"
        );
        let update = format!(
            "UPDATE lease SET holder = $5, holder_name = $6, epoch = epoch + 1, beat = 0 \
             WHERE {OF_SHARD} AND epoch = $7 AND beat = COALESCE($8, beat) RETURNING {COLUMNS}"
        );
        let mut transaction = self.table.begin(StoreAccess::Write).await?;
        let mut taken = Vec::new();
        for LeaseClaim { shard, epoch, beat } in claims {
            let id = StoreCell::from(self.holder.id.as_str());
            let name = StoreCell::from(self.holder.name.as_str());
            let rows = match epoch {
                None => transaction.run(&insert, self.cells([shard.into(), id, name])).await?,
                Some(epoch) => {
                    let cells = self.cells([shard.into(), id, name, epoch.into(), beat.into()]);
                    transaction.run(&update, cells).await?
                }
            };
            for row in &rows {
                taken.push(lease(row)?);
            }
        }
        transaction.commit().await?;
        Ok(taken)
    }

    /// Runs an update of what is held; answers the shards of which nothing was changed.
    async fn held(&self, set: &str, renewals: Vec<LeaseRenewal>) -> Result<Vec<String>, StoreError> {
        let update = format!(
            "UPDATE lease SET {set}, checkpoint = COALESCE($7, checkpoint) \
             WHERE {OF_SHARD} AND holder = $5 AND epoch = $6 RETURNING shard"
        );
        let mut transaction = self.table.begin(StoreAccess::Write).await?;
        let mut lost = Vec::new();
        for LeaseRenewal { shard, epoch, checkpoint } in renewals {
            let holder = StoreCell::from(self.holder.id.as_str());
            let cells = self.cells([shard.as_str().into(), holder, epoch.into(), checkpoint.into()]);
            if transaction.run(&update, cells).await?.is_empty() {
                lost.push(shard);
            }
        }
        transaction.commit().await?;
        Ok(lost)
    }

    async fn sought(&self, to: LeaseSeek) -> Result<(), StoreError> {
        let all = format!("UPDATE lease SET checkpoint = NULL, epoch = epoch + 1 WHERE {OF_STREAM}");
        let one = "INSERT INTO lease (workspace, source, topic, shard, epoch, beat, checkpoint) \
                   VALUES ($1, $2, $3, $4, 1, 0, $5) \
                   ON CONFLICT (workspace, source, topic, shard) DO UPDATE \
                   SET checkpoint = excluded.checkpoint, epoch = lease.epoch + 1";
        let mut transaction = self.table.begin(StoreAccess::Write).await?;
        if to.others_begin_anew {
            transaction.run(&all, self.cells([])).await?;
        }
        let rows = to.checkpoints.into_iter().map(|(shard, checkpoint)| self.cells([shard.into(), checkpoint.into()]));
        transaction.run_each(one, rows.collect()).await?;
        transaction.commit().await
    }

    async fn forgotten(&self, claims: Vec<LeaseClaim>) -> Result<(), StoreError> {
        let delete = format!("DELETE FROM lease WHERE {OF_SHARD} AND epoch = $5 AND beat = COALESCE($6, beat)");
        let mut transaction = self.table.begin(StoreAccess::Write).await?;
        let rows = claims.into_iter().map(|LeaseClaim { shard, epoch, beat }| {
            self.cells([shard.into(), epoch.unwrap_or_default().into(), beat.into()])
        });
        transaction.run_each(&delete, rows.collect()).await?;
        transaction.commit().await
    }
}

impl ShardLeases for StreamLeases {
    fn holder(&self) -> &LeaseHolder {
        &self.holder
    }

    fn lease_time(&self) -> Duration {
        self.lease_time
    }

    fn list(&self) -> StreamReply<'_, Vec<ShardLease>> {
        Box::pin(async move { self.listed().await.map_err(told) })
    }

    fn seed(&self, checkpoints: BTreeMap<String, String>) -> StreamReply<'_, bool> {
        Box::pin(async move { self.seeded(checkpoints).await.map_err(told) })
    }

    fn take(&self, claims: Vec<LeaseClaim>) -> StreamReply<'_, Vec<ShardLease>> {
        Box::pin(async move { self.taken(claims).await.map_err(told) })
    }

    fn renew(&self, renewals: Vec<LeaseRenewal>) -> StreamReply<'_, Vec<String>> {
        Box::pin(async move { self.held("beat = beat + 1", renewals).await.map_err(told) })
    }

    fn release(&self, renewals: Vec<LeaseRenewal>) -> StreamReply<'_, Vec<String>> {
        let set = "holder = NULL, holder_name = NULL, epoch = epoch + 1";
        Box::pin(async move { self.held(set, renewals).await.map_err(told) })
    }

    fn seek(&self, to: LeaseSeek) -> StreamReply<'_, ()> {
        Box::pin(async move { self.sought(to).await.map_err(told) })
    }

    fn forget(&self, claims: Vec<LeaseClaim>) -> StreamReply<'_, ()> {
        Box::pin(async move { self.forgotten(claims).await.map_err(told) })
    }
}

fn lease(row: &StoredRow) -> Result<ShardLease, StoreError> {
    let holder = row.text_or_null(1)?.zip(row.text_or_null(2)?);
    Ok(ShardLease {
        shard: row.text(0)?,
        holder: holder.map(|(id, name)| LeaseHolder { id, name }),
        epoch: row.unsigned(3)?,
        beat: row.unsigned(4)?,
        checkpoint: row.text_or_null(5)?,
    })
}

/// What the reader of a stream is told: what an operator has to mend, and what may pass.
fn told(error: StoreError) -> StreamError {
    match error {
        StoreError::Failed { .. } | StoreError::Taken { .. } => {
            StreamError::Retry(format!("the leases of its shards: {error}"))
        }
        StoreError::Damaged { .. }
        | StoreError::MigrationChanged { .. }
        | StoreError::Newer { .. }
        | StoreError::Unreadable(_) => StreamError::Stop {
            reason: format!("the leases of its shards: {error}"),
            advice: "see to what `leases` names in tidegate.yaml".to_owned(),
        },
    }
}
