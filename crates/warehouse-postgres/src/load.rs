//! One batch, one transaction: its tables held, its parts copied, the ledger written, all of it committed.
//!
//! While the server takes one part the next is encoded, and the tables of a part follow each other without waiting. When
//! something is refused the batch comes again over another connection, with care: the keys of a part (and of some after
//! it) are looked up before it is copied, its tables are copied one by one under a savepoint, and what is refused then is
//! written in another way where there is one (`recover`), else found by halves.

use std::sync::Arc;

use tidegate_event::destination::{Batch, Failure};
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::encoder::Piece;
use tidegate_warehouse::loader::{Loader, Snapshot, Stopped};
use tidegate_warehouse::profiles::{Profile, ViewOutcome};
use tidegate_warehouse::schema_cache::{FoundSchema, SchemaCache};
use tidegate_warehouse::table::{Changes, Table};
use tidegate_warehouse::waiting::Refusal;

use super::apply;
use super::capabilities::CAPABILITIES;
use super::error::PostgresError;
use super::part::{CopyPart, CopyShapes};
use super::session::PostgresSession;
use super::settings::CheckedPostgres;
use super::view;
use super::wire::PostgresWire;

/// After a key that was there already, the keys of so many parts are looked up before they are copied.
pub(super) const LOOKED_UP_PARTS: u32 = 32;
/// After rows that were refused, so many batches are copied table by table.
const BY_TABLE_BATCHES: u32 = 8;

/// One server, for one sync.
pub struct PostgresLoader {
    pub(super) settings: Arc<CheckedPostgres>,
    session: Option<PostgresSession>,
    pub(super) found: FoundSchema,
    pub(super) shapes: CopyShapes,
    /// So many parts more are looked up before they are copied.
    pub(super) looked_up_parts: u32,
    /// So many batches more are copied table by table, so that what is refused can be found.
    by_table_batches: u32,
}

impl PostgresLoader {
    pub(super) fn new(settings: Arc<CheckedPostgres>) -> Self {
        let shapes = CopyShapes::new(&settings.schema);
        Self { settings, session: None, found: FoundSchema::default(), shapes, looked_up_parts: 0, by_table_batches: 0 }
    }

    /// The session, connected where there is none.
    async fn connected(&mut self) -> Result<&mut PostgresSession, PostgresError> {
        let session = match self.session.take().filter(|session| session.wire.is_open()) {
            Some(session) => session,
            None => PostgresSession::open(&self.settings).await?,
        };
        Ok(self.session.insert(session))
    }

    pub(super) fn session(&mut self) -> Result<&mut PostgresSession, PostgresError> {
        self.session.as_mut().ok_or(PostgresError::Gone)
    }

    pub(super) fn copied(&mut self, duplicates: u64) {
        self.looked_up_parts = if duplicates > 0 { LOOKED_UP_PARTS } else { self.looked_up_parts.saturating_sub(1) };
    }
}

impl Loader for PostgresLoader {
    type Error = PostgresError;
    type Catalog = FoundSchema;
    type Encoder = CopyShapes;

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        format!("warehouse {}", self.settings.place.shown)
    }

    fn failure(&self, error: PostgresError) -> Failure {
        error.failure(&self.settings.place)
    }

    fn tools(&mut self) -> (&mut FoundSchema, &mut CopyShapes) {
        (&mut self.found, &mut self.shapes)
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, PostgresError> {
        self.connected().await?.durable_to().await
    }

    async fn snapshot(&mut self, batch: &Batch, known: &mut SchemaCache) -> Result<Snapshot, PostgresError> {
        self.connected().await?;
        let Self { session: Some(session), found, shapes, .. } = self else { return Err(PostgresError::Gone) };
        if !session.looked {
            *found = session.look(known).await?;
            shapes.clear();
        }
        session.prepare().await?;
        let (snapshot, looked_anew) = session.begin(batch, known, found).await?;
        if looked_anew {
            shapes.clear();
        }
        Ok(snapshot)
    }

    async fn check(&mut self, table: &Table) -> Result<(), PostgresError> {
        let session = self.session()?;
        session.before = view::Before::default();
        if !table.changes().is_empty() {
            session.before = view::before(&session.wire, table).await?;
            session.altered.insert(table.name.to_string());
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        _used: &[u32],
        notices: &mut Vec<String>,
    ) -> Result<Option<Refusal<PostgresError>>, PostgresError> {
        let session = self.session()?;
        apply::apply((&session.wire, &session.before), table, changes, notices).await
    }

    async fn view(&mut self, profile: &Profile, table: &Table) -> Result<ViewOutcome, PostgresError> {
        let session = self.session()?;
        view::keep(&session.wire, profile, table, &session.before).await
    }

    async fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, Self::Encoder>,
    ) -> Result<(), Stopped<PostgresError>> {
        let Piece { items, mut part } = piece;
        let (look, row) = (self.looked_up_parts > 0, self.by_table_batches == 0);
        let Self { session: Some(session), found, shapes, .. } = self else { return Err(PostgresError::Gone.into()) };
        let (copied, ahead) = tokio::join!(copy(&mut session.wire, &mut part, look, row), load.ahead((found, shapes)));
        match copied {
            Ok(duplicates) => {
                self.copied(duplicates);
                load.count(&items, duplicates);
            }
            Err(error) if row => return Err(error.into()),
            Err(error) => self.recover((items, part), error, load).await?,
        }
        Ok(ahead.map_err(PostgresError::from)?)
    }

    async fn commit(&mut self, next: u64, notices: &mut Vec<String>) -> Result<(), PostgresError> {
        self.session()?.commit(next, notices).await?;
        self.by_table_batches = self.by_table_batches.saturating_sub(1);
        Ok(())
    }

    /// What rows of the last batch were refused for may be in the next too.
    fn keep_parts_undoable(&mut self) -> bool {
        let was = self.by_table_batches;
        (self.looked_up_parts, self.by_table_batches) = (LOOKED_UP_PARTS, BY_TABLE_BATCHES);
        was == 0
    }

    /// The connection ends before the next begins, for its transaction may hold what the next needs.
    async fn close(&mut self, _error: Option<&PostgresError>) {
        if let Some(session) = self.session.take() {
            session.wire.close().await;
        }
    }

    fn abandon(&mut self) {
        self.session = None;
    }
}

/// Copies the rows of a part, all or none; those whose keys are there already are left out if they are looked up first.
/// How many events were there.
pub(super) async fn copy(
    wire: &mut PostgresWire,
    part: &mut CopyPart,
    look: bool,
    row: bool,
) -> Result<u64, PostgresError> {
    let mut skipped = 0;
    if look {
        let mut found = Vec::with_capacity(part.runs.len());
        for run in 0..part.runs.len() {
            found.push(wire.keys_there(part.table(run), part.keys(run)).await?);
        }
        skipped = part.skip(&found);
    }
    wire.copy(part.copies(), row).await?;
    Ok(skipped)
}
