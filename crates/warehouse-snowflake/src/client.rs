//! What a sync holds: the connection, what is known of the tables, and the trait of every destination.
//!
//! Nothing is connected before the first call. While a call runs, the session and the knowledge are its own; they come
//! back only when all went well, so that after a failure, or a call that was dropped, the next one logs in and looks anew.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};
use tidegate_warehouse::rights::Right;
use tidegate_warehouse::schema_cache::{Found, SchemaCache, Told};
use tidegate_warehouse::waiting::ROUNDS_MAX;

use super::ddl;
use super::error::SnowflakeError;
use super::http::Http;
use super::jwt::Signer;
use super::load;
use super::rights;
use super::session::Session;
use super::settings::{Checked, Load};
use super::streaming::{self, Streams};

/// Times that a batch is tried when somebody has altered the tables or the session is over.
const TRIES: usize = 3;

/// One sync's part of a Snowflake warehouse.
pub struct SnowflakeWarehouse {
    pub(super) checked: Arc<Checked>,
    pub(super) http: Http,
    pub(super) signer: Option<Signer>,
    link: Option<Link>,
    told: Told,
    /// The range of a batch of which some events were refused, and its duplicates: what is there of its other events is
    /// from that try and is no duplicate when it comes again.
    refused: Option<(Range<u64>, u64)>,
}

/// What holds between two batches.
pub(super) struct Link {
    pub(super) session: Session,
    /// The schema as it was found, and what has been learnt since.
    pub(super) known: Option<(Found, SchemaCache)>,
    /// The schema, the stage and the ledger are there.
    pub(super) is_prepared: bool,
    pub(super) streams: Option<Streams>,
}

impl fmt::Debug for SnowflakeWarehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnowflakeWarehouse").field("checked", &self.checked).finish_non_exhaustive()
    }
}

impl SnowflakeWarehouse {
    pub(super) fn new(checked: Checked, http: Http, signer: Option<Signer>) -> Self {
        Self { checked: Arc::new(checked), http, signer, link: None, told: Told::default(), refused: None }
    }

    /// What exists, looked up without changing anything.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub async fn find(&mut self) -> Result<Found, Failure> {
        let mut link = self.link().await.map_err(|error| error.failure(&self.checked.settings.account))?;
        let found = ddl::find(&mut link.session, &self.checked.place).await;
        link.session.logout().await;
        found.map_err(|error| error.failure(&self.checked.settings.account))
    }

    /// What the role may do, asked without changing anything.
    ///
    /// # Errors
    /// Nobody can log in.
    pub async fn rights(&mut self) -> Result<Vec<Right>, Failure> {
        let mut link = self.link().await.map_err(|error| error.failure(&self.checked.settings.account))?;
        let warehouse = self.checked.settings.warehouse.as_deref();
        let rights = rights::of(&mut link.session, &self.checked.place, warehouse).await;
        link.session.logout().await;
        let unknown =
            || vec![Right::unknown("load", "look at SHOW GRANTS TO ROLE: Snowflake did not tell what the role may do")];
        rights
            .map(|rights| rights.unwrap_or_else(unknown))
            .map_err(|error| error.failure(&self.checked.settings.account))
    }

    async fn link(&mut self) -> Result<Link, SnowflakeError> {
        if let Some(link) = self.link.take() {
            return Ok(link);
        }
        let session = Session::login(&self.http, &self.checked, self.signer.as_ref()).await?;
        Ok(Link { session, known: None, is_prepared: false, streams: None })
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.ask_ledger().await {
                Ok(offset) => return Ok(offset),
                Err(error) if error.is_of_session() && tries < TRIES => {}
                Err(error) => return Err(error.failure(&self.checked.settings.account)),
            }
        }
    }

    async fn ask_ledger(&mut self) -> Result<Option<u64>, SnowflakeError> {
        let mut link = self.link().await?;
        let offset = match self.checked.settings.load {
            Load::Staged => load::ledger(&mut link.session, &self.checked).await?,
            Load::Streaming => streaming::ledger(self, &mut link).await?,
        };
        self.link = Some(link);
        Ok(offset)
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        let (mut tries, mut rounds) = (0, 0);
        loop {
            tries += 1;
            match self.attempt(batch).await {
                Ok(delivery) => return Ok(delivery),
                Err(SnowflakeError::Waits) if rounds < ROUNDS_MAX => (tries, rounds) = (tries - 1, rounds + 1),
                Err(error) if (error.is_of_schema() || error.is_of_session()) && tries < TRIES => {}
                Err(error) => return Err(error.failure(&self.checked.settings.account)),
            }
        }
    }

    async fn attempt(&mut self, batch: &Batch) -> Result<Delivery, SnowflakeError> {
        let mut link = self.link().await?;
        let done = match self.checked.settings.load {
            Load::Staged => load::deliver(self, &mut link, batch).await,
            Load::Streaming => streaming::deliver(self, &mut link, batch).await,
        };
        match done {
            Ok(mut delivery) => {
                if let Some((range, duplicates)) = self.refused.take()
                    && range == batch.range
                    && self.checked.settings.load == Load::Streaming
                {
                    delivery.duplicates = duplicates;
                }
                if let Some((_, known)) = &mut link.known {
                    known.tables.trim();
                    delivery.notices = known.fresh_notices(&mut self.told);
                }
                self.link = Some(link);
                Ok(delivery)
            }
            Err(error) => {
                if let SnowflakeError::Rows { duplicates, .. } = &error {
                    self.refused.get_or_insert((batch.range.clone(), *duplicates));
                }
                if !error.is_of_the_way() && !link.session.in_transaction {
                    link.session.logout().await;
                }
                Err(error)
            }
        }
    }
}

impl Destination for SnowflakeWarehouse {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.durable_to())
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.deliver(&batch).await })
    }
}
