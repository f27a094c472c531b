//! The catalog in PostgreSQL: what several nodes share.
//!
//! Whoever writes takes a lock of the database first, so that writers take turns on all nodes; whoever reads sees one state
//! (`REPEATABLE READ`). One connection writes and one reads; each is made anew when it has ended.

mod connect;
mod said;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use self::connect::PostgresCatalogSettings;
use self::connect::PostgresLink;
use self::transaction::PostgresTransaction;
use crate::store::{CatalogStore, CatalogTransaction, Migration, StoreAccess, StoreError, StoreReply};

const MIGRATIONS: &[Migration] = &[
    (1, include_str!("../migrations/postgres/001.sql")),
    (2, include_str!("../migrations/postgres/002.sql")),
    (3, include_str!("../migrations/postgres/003.sql")),
];

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long whoever is in a transaction may say nothing, unless it is said.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection, while there is one.
type Place = Arc<Mutex<Option<PostgresLink>>>;

/// A schema of a PostgreSQL database that keeps the catalog.
pub struct PostgresCatalog {
    settings: PostgresCatalogSettings,
    silence_max: Duration,
    writer: Place,
    reader: Place,
}

impl PostgresCatalog {
    /// Connects with the first transaction.
    #[must_use]
    pub fn new(settings: PostgresCatalogSettings) -> Self {
        Self { settings, silence_max: SILENCE, writer: Place::default(), reader: Place::default() }
    }

    /// Whoever is in a transaction and says nothing for so long is out of it, and a server that takes no bytes for so long counts as gone;
    /// 60 s unless it is said. A node that stands still while it writes holds up all others for this time.
    #[must_use]
    pub fn with_silence_max(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    async fn begin(&self, access: StoreAccess) -> Result<PostgresTransaction, StoreError> {
        let place = match access {
            StoreAccess::Read => &self.reader,
            StoreAccess::Write => &self.writer,
        };
        let mut link = Arc::clone(place).lock_owned().await;
        let was_there = link.as_ref().is_some_and(|link| !link.client.is_closed());
        if !was_there {
            *link = Some(self.settings.connect(CONNECT, self.silence_max).await?);
        }
        match PostgresTransaction::begin(link, access, self.place()).await {
            // The server has ended the connection since: that is no reason to fail.
            Err(_) if was_there => {
                let mut link = Arc::clone(place).lock_owned().await;
                *link = Some(self.settings.connect(CONNECT, self.silence_max).await?);
                PostgresTransaction::begin(link, access, self.place()).await
            }
            begun => begun,
        }
    }
}

impl CatalogStore for PostgresCatalog {
    fn place(&self) -> String {
        self.settings.place()
    }

    fn migrations(&self) -> &'static [Migration] {
        MIGRATIONS
    }

    fn begin(&self, access: StoreAccess) -> StoreReply<'_, Box<dyn CatalogTransaction>> {
        Box::pin(async move {
            let transaction: Box<dyn CatalogTransaction> = Box::new(self.begin(access).await?);
            Ok(transaction)
        })
    }
}
