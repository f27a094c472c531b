//! One batch: staged or streamed. What a sync holds for it, between batches too.

use std::collections::BTreeSet;
use std::fmt;
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

use super::account::Account;
use super::capabilities::{CAPABILITIES, CAPABILITIES_STREAMING};
use super::error::SnowflakeError;
use super::ledger::{self, LedgerHome};
use super::plan::PlanColumns;
use super::session::SnowflakeSession;
use super::settings::{CheckedSnowflake, LoadMode};
use super::staged::StagedLoad;
use super::streaming::Streams;
use super::{apply, catalog, view};

/// One schema, for one sync.
pub struct SnowflakeLoader {
    account: Account,
    open: Option<OpenSession>,
    /// The schema as it was found.
    found: FoundSchema,
    columns: PlanColumns,
}

/// What holds between two batches.
struct OpenSession {
    session: SnowflakeSession,
    /// The schema has been looked at.
    is_known: bool,
    /// Where the stage and the ledger are, once they are there.
    home: Option<LedgerHome>,
    streams: Option<Streams>,
    /// Tables that have been looked at closely since the batch began.
    described: BTreeSet<String>,
    /// Rows of the transaction in hand, which are in the load table.
    loaded: u64,
}

impl OpenSession {
    fn staged<'l>(&'l mut self, account: &'l Account) -> Result<StagedLoad<'l>, SnowflakeError> {
        let home = self.home.as_ref().ok_or(SnowflakeError::Fenced)?;
        Ok(StagedLoad { account, session: &mut self.session, own: &home.place })
    }
}

impl fmt::Debug for SnowflakeLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnowflakeLoader").field("checked", &self.account.checked).finish_non_exhaustive()
    }
}

impl SnowflakeLoader {
    pub(super) fn new(account: Account) -> Self {
        Self { account, open: None, found: FoundSchema::default(), columns: PlanColumns }
    }

    /// Logs in for one question.
    pub(super) async fn once<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut SnowflakeSession, &CheckedSnowflake) -> Result<T, SnowflakeError>,
    ) -> Result<T, SnowflakeError> {
        self.connected().await?;
        let (checked, mut open) = (Arc::clone(&self.account.checked), self.open.take().ok_or(SnowflakeError::Fenced)?);
        let answer = ask(&mut open.session, &checked).await;
        open.session.logout().await;
        answer
    }

    /// The session, logged in where there is none.
    async fn connected(&mut self) -> Result<&mut OpenSession, SnowflakeError> {
        let Account { checked, http, signer } = &self.account;
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenSession {
                session: SnowflakeSession::login(http, checked, signer.as_ref()).await?,
                is_known: false,
                home: None,
                streams: None,
                described: BTreeSet::new(),
                loaded: 0,
            },
        };
        Ok(self.open.insert(open))
    }

    /// The session, and where the tables are.
    fn session(&mut self) -> Result<(&mut SnowflakeSession, &CheckedSnowflake), SnowflakeError> {
        let open = self.open.as_mut().ok_or(SnowflakeError::Fenced)?;
        Ok((&mut open.session, &self.account.checked))
    }

    /// What the ledger says; of a batch that begins, the one that is written.
    async fn ledger(&mut self) -> Result<Option<u64>, SnowflakeError> {
        let Self { account, open: Some(open), .. } = self else { return Err(SnowflakeError::Fenced) };
        let CheckedSnowflake { place, sync, settings, .. } = &*account.checked;
        if let Some(streams) = &open.streams {
            return Ok(streams.durable_to());
        }
        let (home, durable_to) = match &open.home {
            Some(home) => (home.place.clone(), ledger::read(&mut open.session, &home.place, sync).await?),
            None => match ledger::durable_to(&mut open.session, place, sync).await? {
                Some((durable_to, home)) => (home, Some(durable_to)),
                None => return Ok(None),
            },
        };
        match settings.load {
            LoadMode::Staged => Ok(durable_to),
            LoadMode::Streaming => {
                let streams = Streams::open(account, home, durable_to).await?;
                Ok(open.streams.insert(streams).durable_to())
            }
        }
    }
}

impl Loader for SnowflakeLoader {
    type Error = SnowflakeError;
    type Catalog = FoundSchema;
    type Encoder = PlanColumns;

    fn capabilities(&self) -> &'static Capabilities {
        match self.account.checked.settings.load {
            LoadMode::Staged => &CAPABILITIES,
            LoadMode::Streaming => &CAPABILITIES_STREAMING,
        }
    }

    fn place(&self) -> String {
        format!("warehouse {}", self.account.checked.settings.account)
    }

    fn failure(&self, error: SnowflakeError) -> Failure {
        error.failure(&self.account.checked.settings.account)
    }

    fn tools(&mut self) -> (&mut FoundSchema, &mut PlanColumns) {
        (&mut self.found, &mut self.columns)
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, SnowflakeError> {
        self.connected().await?;
        self.ledger().await
    }

    async fn snapshot(&mut self, _batch: &Batch, known: &mut SchemaCache) -> Result<Snapshot, SnowflakeError> {
        let checked = Arc::clone(&self.account.checked);
        let open = self.connected().await?;
        if open.home.is_none() {
            let home = ledger::prepare(&mut open.session, &checked.place, &checked.sync).await?;
            // Files that a crash has left; nobody waits for them to go.
            let sql = format!("REMOVE @{}/{}/", home.place.stage(), home.place.tag);
            let _ = open.session.run("tidying the stage", &sql).await;
            // A ledger that has moved has another channel.
            (open.home, open.streams) = (Some(home), None);
        }
        if !open.is_known {
            let found = catalog::find(&mut open.session, &checked.place).await?;
            let (limits, declared) = (checked.settings.limits, Arc::clone(&checked.declared));
            *known = SchemaCache::new("", found.objects(), limits, declared, &checked.waiting);
            open.is_known = true;
            self.found = found;
        }
        if let Some(open) = &mut self.open {
            open.described.clear();
        }
        Ok(Snapshot { durable_to: self.ledger().await?, targets: None })
    }

    /// Statements that change tables commit by themselves, so what they meet is looked at closely before.
    async fn check(&mut self, table: &Table) -> Result<(), SnowflakeError> {
        let Self { account, open: Some(open), .. } = self else { return Err(SnowflakeError::Fenced) };
        if open.described.insert(table.name.to_string()) {
            let found = catalog::describe(&mut open.session, &account.checked.place, &table.name).await?;
            if !catalog::is_as_known(table, found.as_ref()) {
                return Err(SnowflakeError::Altered { table: table.name.to_string() });
            }
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        _used: &[u32],
        notices: &mut Vec<String>,
    ) -> Result<Option<Refusal<SnowflakeError>>, SnowflakeError> {
        let (session, checked) = self.session()?;
        apply::apply((session, &checked.place), table, changes, notices).await
    }

    async fn view(&mut self, profile: &Profile, table: &Table) -> Result<ViewOutcome, SnowflakeError> {
        let (session, checked) = self.session()?;
        view::keep(session, &checked.place, profile, table).await
    }

    async fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, PlanColumns>,
    ) -> Result<(), Stopped<SnowflakeError>> {
        let Self { account, open: Some(open), found, .. } = self else { return Err(SnowflakeError::Fenced.into()) };
        match account.checked.settings.load {
            LoadMode::Staged => open.loaded = open.staged(account)?.write(found, &piece, load).await?,
            LoadMode::Streaming => {
                let streams = open.streams.as_mut().ok_or(SnowflakeError::Fenced)?;
                streams.write((&mut open.session, &account.checked), found, &piece, load).await?;
            }
        }
        Ok(())
    }

    async fn commit(&mut self, next: u64, notices: &mut Vec<String>) -> Result<(), SnowflakeError> {
        let Self { account, open: Some(open), .. } = self else { return Err(SnowflakeError::Fenced) };
        match account.checked.settings.load {
            LoadMode::Staged => {
                let rows = std::mem::take(&mut open.loaded);
                open.staged(account)?.commit(rows).await?;
            }
            LoadMode::Streaming => {
                let streams = open.streams.as_mut().ok_or(SnowflakeError::Fenced)?;
                streams.advance(&account.checked, next).await?;
            }
        }
        notices.extend(open.home.as_mut().and_then(|home| home.left.take()));
        Ok(())
    }

    async fn close(&mut self, error: Option<&SnowflakeError>) {
        let Some(open) = self.open.take() else { return };
        let is_of_the_way = error.is_some_and(SnowflakeError::is_of_the_way);
        if !is_of_the_way && !open.session.in_transaction {
            open.session.logout().await;
        }
    }

    fn abandon(&mut self) {
        self.open = None;
    }
}
