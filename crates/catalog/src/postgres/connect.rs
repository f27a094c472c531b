//! Where the database is, and a connection to it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_net::trust;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::said::plain;
use crate::store::StoreError;

/// How to reach the database. The server's certificate is verified with its name, by whom the machine trusts and the
/// authorities of `ca_file`; `sslmode` of the address says whether there is TLS.
#[derive(Clone)]
pub struct PostgresCatalogSettings {
    /// As libpq has it: `host=db.example.com user=tidegate password=… dbname=tidegate sslmode=require`.
    pub address: Config,
    /// The schema of the catalog's tables; made where it is missing.
    pub schema: String,
    /// A PEM file with authorities.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for PostgresCatalogSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresCatalogSettings").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// A connection, and the task that moves its bytes.
pub(super) struct PostgresLink {
    pub(super) client: Client,
    /// By text, as long as the connection is there.
    pub(super) prepared: HashMap<String, Statement>,
    task: JoinHandle<()>,
}

impl Drop for PostgresLink {
    /// The socket is closed at once: a transaction that has not been committed is not.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PostgresCatalogSettings {
    /// The settings of an address: a URL, or words as libpq has them.
    ///
    /// # Errors
    /// It is none: a sentence without anything of it, which may be a password.
    pub fn parse(address: &str, schema: String, ca_file: Option<PathBuf>) -> Result<Self, String> {
        match address.parse::<Config>() {
            Ok(address) => Ok(Self { address, schema, ca_file }),
            Err(_) => {
                Err("it is no address of a PostgreSQL database, or has a parameter that is not supported".to_owned())
            }
        }
    }

    /// `catalog tidegate in database tidegate`; of the address no password.
    pub(super) fn place(&self) -> String {
        format!("catalog {} in the database {}", self.schema, self.address.get_dbname().unwrap_or("(default)"))
    }

    pub(super) async fn connect(&self, limit: Duration, silence_max: Duration) -> Result<PostgresLink, StoreError> {
        let failed = |cause: String| StoreError::Failed { place: self.place(), action: "could not connect", cause };
        let tls = trust::client_config(self.ca_file.as_deref()).map_err(|error| failed(error.to_string()))?;
        let mut address = self.address.clone();
        if address.get_tcp_user_timeout().is_none() {
            // TCP itself tries a quarter of an hour to reach a server that went without a word.
            address.tcp_user_timeout(silence_max);
        }
        let connecting = tokio::time::timeout(limit, address.connect(MakeRustlsConnect::new(tls)));
        let connected = connecting.await.map_err(|_| failed(format!("no answer within {limit:?}")))?;
        let (client, connection) = connected.map_err(|error| failed(plain(&error)))?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told of a connection that ends.
            let _ = connection.await;
        });
        let link = PostgresLink { client, prepared: HashMap::new(), task };
        let schema = format!("\"{}\"", self.schema.replace('"', "\"\""));
        let settle = format!(
            "SET client_min_messages = warning; SET standard_conforming_strings = on; \
             SET search_path = {schema}; SET idle_in_transaction_session_timeout = '{}ms'",
            silence_max.as_millis()
        );
        link.client.batch_execute(&settle).await.map_err(|error| failed(plain(&error)))?;
        let exists = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        let found = link.client.query(exists, &[&self.schema]).await;
        if found.map_err(|error| failed(plain(&error)))?.is_empty() {
            let make = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
            if let Err(error) = link.client.batch_execute(&make).await {
                // Another node may have made it meanwhile, which the server may say as an error.
                let found = link.client.query(exists, &[&self.schema]).await;
                found.ok().filter(|rows| !rows.is_empty()).ok_or_else(|| failed(plain(&error)))?;
            }
        }
        Ok(link)
    }
}
