//! What an operator may say of a Snowflake warehouse, and whether it can be used.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::Failure;
use tidegate_net::WebSettings;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::ledger;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse::waiting::Waiting;

use super::capabilities::CAPABILITIES;
use super::error::SnowflakeError;
use super::place::SnowflakePlace;

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How the router proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A file with an unencrypted PKCS#8 PEM; its public half is the user's `RSA_PUBLIC_KEY`.
    KeyFile(PathBuf),
    /// The same PEM itself.
    Key(Secret),
    /// An OAuth access token.
    OAuth(Secret),
    /// A programmatic access token.
    Token(Secret),
    Password(Secret),
}

/// How rows get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadMode {
    /// Files in a stage, then one transaction. Needs a running warehouse.
    #[default]
    Staged,
    /// Snowpipe Streaming. Within seconds, table by table, insert only.
    Streaming,
}

/// What an operator may say of a Snowflake warehouse.
#[derive(Debug, Clone)]
pub struct SnowflakeSettings {
    /// The account identifier: `myorg-account`, or a locator with its region.
    pub account: String,
    pub user: String,
    pub role: Option<String>,
    /// The virtual warehouse that computes.
    pub warehouse: Option<String>,
    pub database: String,
    /// Where the tables of syncs without a schema of their own are.
    pub schema: String,
    /// Another base URL than `https://<account>.snowflakecomputing.com`: a private link, a test.
    pub endpoint: Option<String>,
    pub web: WebSettings,
    pub auth: Auth,
    pub load: LoadMode,
    pub limits: Limits,
    /// How long one statement may run.
    pub statement_time_max: Duration,
}

impl SnowflakeSettings {
    /// Settings with the usual rest.
    #[must_use]
    pub fn new(account: &str, user: &str, database: &str, auth: Auth) -> Self {
        Self {
            account: account.to_owned(),
            user: user.to_owned(),
            role: None,
            warehouse: None,
            database: database.to_owned(),
            schema: "PUBLIC".to_owned(),
            endpoint: None,
            web: WebSettings::default(),
            auth,
            load: LoadMode::default(),
            limits: Limits::default(),
            statement_time_max: Duration::from_secs(600),
        }
    }

    /// The schema of a part with its database, as SQL spells them.
    #[must_use]
    pub fn schema_sql(&self, part: &SyncPart) -> String {
        SnowflakePlace::new(&self.database, part.schema.as_deref().unwrap_or(&self.schema), &part.sync).schema_sql()
    }

    /// The first door: whether these settings can be used at all.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(self, part: &SyncPart) -> Result<CheckedSnowflake, Failure> {
        let problem = if self.account.is_empty() || !self.account.bytes().all(is_of_host) {
            Some("account is not spelled like myorg-account or xy12345.eu-central-1")
        } else if self.user.is_empty() || self.database.is_empty() || self.schema.is_empty() {
            Some("user, database and schema must not be empty")
        } else if part.sync.is_empty() {
            Some("the sync has no name")
        } else if part.schema.as_deref().is_some_and(str::is_empty) {
            Some("the sync's schema must not be empty")
        } else if ledger::is_beside(part.schema.as_deref().unwrap_or(&self.schema).trim_matches('"')) {
            Some("the name of the schema ends in _tidegate, as those do in which ledgers are")
        } else if !(32..=CAPABILITIES.columns_max).contains(&self.limits.columns_max) {
            Some("columns_max is not between 32 and 2,000")
        } else if !(1..=10_000).contains(&self.limits.tables_max) {
            Some("tables_max is not between 1 and 10,000")
        } else if self.load == LoadMode::Streaming && matches!(self.auth, Auth::Password(_)) {
            Some("streaming takes a key pair or a token, not a password")
        } else {
            None
        };
        let base = match &self.endpoint {
            None => Ok(format!("https://{}.snowflakecomputing.com", self.account.replace('_', "-").to_lowercase())),
            Some(endpoint) => base_of(endpoint),
        };
        let (base, problem) = match (base, problem) {
            (Ok(base), None) => (base, None),
            (Ok(_), Some(problem)) => (String::new(), Some(problem.to_owned())),
            (Err(problem), _) => (String::new(), Some(problem)),
        };
        if let Some(problem) = problem {
            return Err(SnowflakeError::Settings { problem }.failure(&self.account));
        }
        let schema = part.schema.as_deref().unwrap_or(&self.schema);
        Ok(CheckedSnowflake {
            place: SnowflakePlace::new(&self.database, schema, &part.sync),
            sync: part.sync.clone(),
            declared: Arc::clone(&part.declared),
            waiting: Waiting::default(),
            base,
            settings: self,
        })
    }
}

const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn base_of(endpoint: &str) -> Result<String, String> {
    let url = url::Url::parse(endpoint).map_err(|error| format!("endpoint is no URL: {error}"))?;
    if !matches!(url.scheme(), "https" | "http")
        || url.host_str().is_none()
        || url.path() != "/"
        || url.query().is_some()
    {
        return Err("endpoint is not spelled like https://host or https://host:port".to_owned());
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

/// Settings that can be used.
#[derive(Debug)]
pub struct CheckedSnowflake {
    pub(super) settings: SnowflakeSettings,
    pub(super) sync: String,
    pub(super) place: SnowflakePlace,
    pub(super) declared: Arc<Declared>,
    pub(super) waiting: Waiting,
    /// Scheme, host and port of the account.
    pub(super) base: String,
}
