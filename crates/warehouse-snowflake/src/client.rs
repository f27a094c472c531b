//! Settings, and the warehouse as a destination.
//!
//! Nothing is connected before the first call. After a failure, or a call that was dropped, the next one logs in and looks
//! anew.

use std::sync::Arc;

use tidegate_document::file;
use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::loader::Loader as _;
use tidegate_warehouse::rights::Right;
use tidegate_warehouse::schema_cache::FoundSchema;

use super::account::Account;
use super::catalog;
use super::error::SnowflakeError;
use super::http::Http;
use super::jwt::JwtSigner;
use super::load::SnowflakeLoader;
use super::rights;
use super::settings::{Auth, CheckedSnowflake};

impl CheckedSnowflake {
    /// The second door: reads the key; connects to nothing yet.
    ///
    /// # Errors
    /// A key that cannot be read or used.
    pub fn open(self) -> Result<SnowflakeWarehouse, Failure> {
        let name = self.settings.account.clone();
        let open = || -> Result<SnowflakeWarehouse, SnowflakeError> {
            let pem = match &self.settings.auth {
                Auth::KeyFile(path) => {
                    let read = file::read_text(path, file::SECRET_BYTES_MAX);
                    Some(read.map_err(|error| SnowflakeError::Key {
                        problem: format!("the private key {} cannot be read: {error}", path.display()),
                    })?)
                }
                Auth::Key(pem) => Some(pem.expose().to_owned()),
                Auth::OAuth(_) | Auth::Token(_) | Auth::Password(_) => None,
            };
            let signer =
                pem.map(|pem| JwtSigner::new(&self.settings.account, &self.settings.user, &pem)).transpose()?;
            let http = Http::new(&self.base, &self.settings.web)?;
            let account = Account { checked: Arc::new(self), http, signer };
            Ok(SnowflakeWarehouse(Driver::new(SnowflakeLoader::new(account))))
        };
        open().map_err(|error| error.failure(&name))
    }
}

/// One sync's part of a Snowflake warehouse.
#[derive(Debug)]
pub struct SnowflakeWarehouse(Driver<SnowflakeLoader>);

impl SnowflakeWarehouse {
    /// What exists, looked up without changing anything.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub async fn find(&mut self) -> Result<FoundSchema, Failure> {
        let loader = self.0.loader_mut();
        let found = loader.once(async |session, checked| catalog::find(session, &checked.place).await).await;
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

impl Destination for SnowflakeWarehouse {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.0.durable_to())
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.0.load(&batch).await })
    }

    fn holds_part(&self) -> bool {
        self.0.holds_part()
    }
}
