//! What an operator may say of a ClickHouse warehouse, and whether it can be used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tidegate_event::destination::Failure;
use tidegate_net::WebSettings;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::ledger;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse::waiting::Waiting;
use url::Url;

use super::capabilities::CAPABILITIES;
use super::error::ClickHouseError;

/// What an operator may say of a ClickHouse warehouse.
#[derive(Clone)]
pub struct ClickHouseSettings {
    /// `https://clickhouse.example.com:8443`.
    pub url: String,
    pub user: String,
    pub password: String,
    /// Where the tables of syncs without a schema are.
    pub database: String,
    pub web: WebSettings,
    /// Whether rows are compressed on their way.
    pub compress: bool,
    pub look_up: LookUp,
    /// How long one request may take.
    pub timeout: Duration,
    pub limits: Limits,
}

/// When tables are asked for ids that they have already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LookUp {
    /// With every batch: an id that comes again much later keeps its first row.
    #[default]
    Always,
    /// With the first batch and after failures: no event is written twice by the router, at no cost that grows with the
    /// tables. An id that a client sends again after the dedup window is there twice until ClickHouse merges its rows.
    AfterFailures,
}

impl fmt::Debug for ClickHouseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl ClickHouseSettings {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: "default".to_owned(),
            password: String::new(),
            database: "default".to_owned(),
            web: WebSettings::default(),
            compress: false,
            look_up: LookUp::default(),
            timeout: Duration::from_secs(300),
            limits: Limits::default(),
        }
    }

    /// The server's address; an error says what is wrong with the text.
    fn address(&self) -> Result<Url, &'static str> {
        let plain = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        let url = Url::parse(&self.url).ok().filter(plain);
        url.ok_or("the url is not http://host:port or https://host:port, without user or query")
    }

    /// What is wrong with these settings, whatever sync uses them.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if let Err(problem) = self.address() {
            return Some(problem);
        }
        if !is_database(&self.database) {
            return Some("the database is not letters, digits and underscores, or is the server's own");
        }
        let header = |text: &String| HeaderValue::from_bytes(text.as_bytes()).is_ok();
        (!header(&self.user) || !header(&self.password)).then_some("user or password holds a control character")
    }

    /// The first door: whether these settings can be used at all. The schema is a database.
    ///
    /// # Errors
    /// The settings cannot be used; another try would fail again.
    pub fn check(self, part: &SyncPart) -> Result<CheckedClickHouse, Failure> {
        let url = self.address();
        let problem = self.problem();
        let database = part.schema.clone().unwrap_or(self.database);
        let problem = if problem.is_some() {
            problem
        } else if part.sync.is_empty() {
            Some("the sync has no name")
        } else if !is_database(&database) {
            Some("the schema is not letters, digits and underscores, or is a database of the server's own")
        } else if ledger::is_beside(&database) {
            Some("the name of the schema ends in _tidegate, as those do in which ledgers are")
        } else if !(32..=CAPABILITIES.columns_max).contains(&self.limits.columns_max) {
            Some("columns_max is not between 32 and 1,900")
        } else if !(1..=10_000).contains(&self.limits.tables_max) {
            Some("tables_max is not between 1 and 10,000")
        } else {
            None
        };
        let url = match (url, problem) {
            (Ok(url), None) => url,
            (Err(problem), _) | (_, Some(problem)) => {
                return Err(ClickHouseError::Settings { problem: problem.to_owned() }.failure("ClickHouse"));
            }
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let place = format!("{}:{port}/{database}", url.host_str().unwrap_or_default());
        Ok(CheckedClickHouse {
            url,
            user: self.user,
            password: self.password,
            web: self.web,
            compress: self.compress,
            look_up: self.look_up,
            timeout: self.timeout,
            limits: self.limits,
            database,
            place,
            sync: part.sync.clone(),
            declared: Arc::clone(&part.declared),
            waiting: Waiting::default(),
        })
    }
}

fn is_database(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !["system", "information_schema"].contains(&name.to_lowercase().as_str())
}

/// Settings that can be used.
pub struct CheckedClickHouse {
    pub(super) url: Url,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) web: WebSettings,
    pub(super) compress: bool,
    pub(super) look_up: LookUp,
    pub(super) timeout: Duration,
    pub(super) limits: Limits,
    pub(super) database: String,
    /// For messages: host, port, database.
    pub(super) place: String,
    pub(super) sync: String,
    pub(super) declared: Arc<Declared>,
    pub(super) waiting: Waiting,
}

impl fmt::Debug for CheckedClickHouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("place", &self.place).field("sync", &self.sync).finish_non_exhaustive()
    }
}
