//! What a sync holds: the connection, what is known of the tables, and the trait of every destination.
//!
//! Nothing is connected before the first call. After a failure, or a call that was dropped, the next one logs in and looks
//! anew.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::encoder::Piece;
use tidegate_warehouse::loader::{Loader, Snapshot, Stopped};
use tidegate_warehouse::profiles::{Profile, ViewOutcome};
use tidegate_warehouse::rights::Right;
use tidegate_warehouse::schema_cache::{FoundSchema, SchemaCache};
use tidegate_warehouse::table::{Changes, Table};
use tidegate_warehouse::waiting::Refusal;

use super::capabilities::{CAPABILITIES, CAPABILITIES_STREAMING};
use super::ddl::{self, SnowflakePlace};
use super::error::SnowflakeError;
use super::http::Http;
use super::jwt::JwtSigner;
use super::ledger::{self, LedgerHome};
use super::plan::PlanColumns;
use super::rights;
use super::session::SnowflakeSession;
use super::settings::{CheckedSnowflake, LoadMode};
use super::streaming::{self, Streams};
use super::view;

/// One sync's part of a Snowflake warehouse.
#[derive(Debug)]
pub struct SnowflakeWarehouse(Driver<SnowflakeLoader>);

/// Where to log in, and how.
pub(super) struct Account {
    pub(super) checked: Arc<CheckedSnowflake>,
    pub(super) http: Http,
    pub(super) signer: Option<JwtSigner>,
}

/// One schema, for one sync.
pub struct SnowflakeLoader {
    pub(super) account: Account,
    pub(super) link: Option<Link>,
    /// The schema as it was found.
    pub(super) found: FoundSchema,
    columns: PlanColumns,
}

/// What holds between two batches.
pub(super) struct Link {
    pub(super) session: SnowflakeSession,
    /// The schema has been looked at.
    is_known: bool,
    /// Where the stage and the ledger are, once they are there.
    pub(super) home: Option<LedgerHome>,
    pub(super) streams: Option<Streams>,
    /// Tables that have been looked at closely since the batch began.
    described: BTreeSet<String>,
    /// Rows of the transaction in hand, which are in the load table.
    pub(super) loaded: u64,
}

impl fmt::Debug for SnowflakeLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnowflakeLoader").field("checked", &self.account.checked).finish_non_exhaustive()
    }
}

impl SnowflakeWarehouse {
    pub(super) fn new(checked: CheckedSnowflake, http: Http, signer: Option<JwtSigner>) -> Self {
        let account = Account { checked: Arc::new(checked), http, signer };
        Self(Driver::new(SnowflakeLoader { account, link: None, found: FoundSchema::default(), columns: PlanColumns }))
    }

    /// What exists, looked up without changing anything.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub async fn find(&mut self) -> Result<FoundSchema, Failure> {
        let loader = self.0.loader_mut();
        let found = loader.once(async |session, checked| ddl::find(session, &checked.place).await).await;
        found.map_err(|error| loader.failure(error))
    }

    /// What the role may do, asked without changing anything.
    ///
    /// # Errors
    /// Nobody can log in.
    pub async fn rights(&mut self) -> Result<Vec<Right>, Failure> {
        let loader = self.0.loader_mut();
        let rights = loader.once(async |session, checked| {
            rights::of(session, &checked.place, checked.settings.warehouse.as_deref()).await
        });
        let unknown =
            || vec![Right::unknown("load", "look at SHOW GRANTS TO ROLE: Snowflake did not tell what the role may do")];
        let rights = rights.await;
        rights.map(|rights| rights.unwrap_or_else(unknown)).map_err(|error| loader.failure(error))
    }
}

impl SnowflakeLoader {
    /// Logs in for one question.
    async fn once<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut SnowflakeSession, &CheckedSnowflake) -> Result<T, SnowflakeError>,
    ) -> Result<T, SnowflakeError> {
        self.connected().await?;
        let (checked, mut link) = (Arc::clone(&self.account.checked), self.link.take().ok_or(SnowflakeError::Fenced)?);
        let answer = ask(&mut link.session, &checked).await;
        link.session.logout().await;
        answer
    }

    /// The link, logged in where there is none.
    async fn connected(&mut self) -> Result<&mut Link, SnowflakeError> {
        let Account { checked, http, signer } = &self.account;
        let link = match self.link.take() {
            Some(link) => link,
            None => Link {
                session: SnowflakeSession::login(http, checked, signer.as_ref()).await?,
                is_known: false,
                home: None,
                streams: None,
                described: BTreeSet::new(),
                loaded: 0,
            },
        };
        Ok(self.link.insert(link))
    }

    /// The session, and where the tables are.
    pub(super) fn session(&mut self) -> Result<(&mut SnowflakeSession, &CheckedSnowflake), SnowflakeError> {
        let link = self.link.as_mut().ok_or(SnowflakeError::Fenced)?;
        Ok((&mut link.session, &self.account.checked))
    }

    /// The session, and where the router's own things are.
    pub(super) fn own(&mut self) -> Result<(&mut SnowflakeSession, &SnowflakePlace), SnowflakeError> {
        match &mut self.link {
            Some(Link { session, home: Some(home), .. }) => Ok((session, &home.place)),
            _ => Err(SnowflakeError::Fenced),
        }
    }

    /// What the ledger says; of a batch that begins, the one that is written.
    async fn ledger(&mut self) -> Result<Option<u64>, SnowflakeError> {
        let Self { account, link: Some(link), .. } = self else { return Err(SnowflakeError::Fenced) };
        let CheckedSnowflake { place, sync, settings, .. } = &*account.checked;
        if let Some(streams) = &link.streams {
            return Ok(streams.durable_to());
        }
        let (home, durable_to) = match &link.home {
            Some(home) => (home.place.clone(), ledger::read(&mut link.session, &home.place, sync).await?),
            None => match ledger::durable_to(&mut link.session, place, sync).await? {
                Some((durable_to, home)) => (home, Some(durable_to)),
                None => return Ok(None),
            },
        };
        match settings.load {
            LoadMode::Staged => Ok(durable_to),
            LoadMode::Streaming => streaming::open(account, link, home, durable_to).await,
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
        let link = self.connected().await?;
        if link.home.is_none() {
            let home = ledger::prepare(&mut link.session, &checked.place, &checked.sync).await?;
            // Files that a crash has left; nobody waits for them to go.
            let sql = format!("REMOVE @{}/{}/", home.place.stage(), home.place.tag);
            let _ = link.session.run("tidying the stage", &sql).await;
            // A ledger that has moved has another channel.
            (link.home, link.streams) = (Some(home), None);
        }
        if !link.is_known {
            let found = ddl::find(&mut link.session, &checked.place).await?;
            let (limits, declared) = (checked.settings.limits, Arc::clone(&checked.declared));
            *known = SchemaCache::new("", found.objects(), limits, declared, &checked.waiting);
            link.is_known = true;
            self.found = found;
        }
        if let Some(link) = &mut self.link {
            link.described.clear();
        }
        Ok(Snapshot { durable_to: self.ledger().await?, targets: None })
    }

    /// Statements that change tables commit by themselves, so what they meet is looked at closely before.
    async fn check(&mut self, table: &Table) -> Result<(), SnowflakeError> {
        let Self { account, link: Some(link), .. } = self else { return Err(SnowflakeError::Fenced) };
        if link.described.insert(table.name.to_string()) {
            let found = ddl::describe(&mut link.session, &account.checked.place, &table.name).await?;
            if !ddl::is_as_known(table, found.as_ref()) {
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
        ddl::apply((session, &checked.place), table, changes, notices).await
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
        match self.account.checked.settings.load {
            LoadMode::Staged => self.write_staged(piece, load).await,
            LoadMode::Streaming => Ok(self.write_streaming(piece, load).await?),
        }
    }

    async fn commit(&mut self, next: u64, notices: &mut Vec<String>) -> Result<(), SnowflakeError> {
        match self.account.checked.settings.load {
            LoadMode::Staged => self.commit_staged().await?,
            LoadMode::Streaming => self.commit_streaming(next).await?,
        }
        notices.extend(self.link.as_mut().and_then(|link| link.home.as_mut()?.left.take()));
        Ok(())
    }

    async fn close(&mut self, error: Option<&SnowflakeError>) {
        let Some(link) = self.link.take() else { return };
        let is_of_the_way = error.is_some_and(SnowflakeError::is_of_the_way);
        if !is_of_the_way && !link.session.in_transaction {
            link.session.logout().await;
        }
    }

    fn abandon(&mut self) {
        self.link = None;
    }
}

impl Destination for SnowflakeWarehouse {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.0.durable_to())
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.0.load(&batch).await })
    }
}
