//! What can go wrong, and what an operator should do about it.
//!
//! Every error becomes a [`Failure`] in [`PostgresError::failure`], which alone decides between trying again and stopping.

use std::path::PathBuf;

use tidegate_event::destination::Failure;
use tidegate_warehouse::loader::LoadError;
use tidegate_warehouse::schema_cache::NameTaken;
use tokio_postgres::error::DbError;

use super::sql::quoted;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("{doing}: {}", spoken(source))]
    Server { doing: &'static str, source: tokio_postgres::Error },
    #[error("{doing}: no answer within {seconds} s")]
    Slow { doing: &'static str, seconds: u64 },
    #[error("{name} exists but is not a table of this warehouse")]
    Taken { name: String },
    #[error("the tables are altered faster than they can be read")]
    Restless,
    #[error("the connection is gone")]
    Gone,
    #[error("the ledger holds an offset that is no offset")]
    Ledger,
    #[error("the settings cannot be used: {problem}")]
    Settings { problem: String },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("TLS cannot be set up: {problem}")]
    Tls { problem: String },
    #[error("the tables cannot be swapped yet: {problem}")]
    Swap { problem: String },
    #[error("the server is PostgreSQL {version}")]
    Old { version: String },
    #[error("the database is encoded in {encoding}")]
    Encoding { encoding: String },
}

/// What the server said, with the details that it gives apart.
fn spoken(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        // The cause of what fails on this side says more than its kind.
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let kind = error.to_string();
        return if kind.contains(&cause) { kind } else { format!("{kind}: {cause}") };
    };
    let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
    for more in [db.detail(), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.extend(more.chars().take(1000));
    }
    text
}

/// What was being done when the server refused.
pub(super) fn doing(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> PostgresError + Copy {
    move |source| PostgresError::Server { doing, source }
}

impl From<NameTaken> for PostgresError {
    fn from(NameTaken(name): NameTaken) -> Self {
        Self::Taken { name }
    }
}

/// Who talks to which server, for messages.
#[derive(Debug, Clone)]
pub(super) struct PostgresPlace {
    /// `user@host/database`.
    pub(super) shown: String,
    pub(super) user: String,
    pub(super) dbname: String,
    pub(super) schema: String,
}

const UNIQUE: &str = "23505";

impl LoadError for PostgresError {
    /// Said while rows were copied.
    fn is_of_row(&self) -> bool {
        let code = self.code();
        // Data, constraints, a limit of a row, and what a trigger raises.
        code.starts_with("22") || code.starts_with("23") || code == "54000" || code == "P0001"
    }

    fn is_of_schema(&self) -> bool {
        // Something is gone, there already, of another type; a plan or a key was in the way of two who made the same.
        let known = ["42P01", "42703", "42P07", "42701", "42710", "42804", "3F000", "42P06", "23505"];
        known.contains(&self.code()) || self.db().is_some_and(|db| db.message().contains("concurrently"))
    }

    /// A connection that is new and fails at once will not do better a moment later.
    fn is_of_session(&self, reused: bool) -> bool {
        reused && self.is_of_connection()
    }

    fn words(&self) -> String {
        match self {
            Self::Server { source, .. } => spoken(source),
            other => other.to_string(),
        }
    }
}

impl PostgresError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Server { source, .. } => source.as_db_error(),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> &str {
        self.db().map_or("", |db| db.code().code())
    }

    /// Whether a key is there already.
    pub(super) fn is_of_key(&self) -> bool {
        self.code() == UNIQUE
    }

    /// Whether the row does not fit a page, even with its long values elsewhere.
    pub(super) fn is_of_width(&self) -> bool {
        self.code() == "54000"
    }

    /// Said of a statement that alters a table: whether somebody else is in its way, or a rule of theirs, and rows can be
    /// written without it.
    pub(super) fn is_of_alteration(&self) -> bool {
        let code = self.code();
        // A lost connection, a lost race, a full disk, a server that is ending or only reads, a bug.
        let passes = ["08", "25", "40", "53", "57P", "58", "XX"].iter().any(|class| code.starts_with(class));
        // What was known is no longer so: another look tells.
        let known = ["42P01", "42703", "42P07", "42701", "42710", "3F000"];
        !code.is_empty() && !passes && !known.contains(&code)
    }

    /// The same, and whether the whole table is meant: a lock that was waited for until the time was over, or no permission.
    pub(super) fn is_of_table(&self) -> bool {
        matches!(self.code(), "55P03" | "55006" | "57014" | "42501")
    }

    /// Whether somebody else did the same at the same time.
    pub(super) fn is_of_race(&self) -> bool {
        self.is_of_key()
            || self.code().starts_with("40")
            || self.db().is_some_and(|db| db.message().contains("concurrently"))
    }

    /// Whether the connection is no more, or the server is about to end it.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Server { source, .. } => source.as_db_error().is_none() || self.code().starts_with("57P0"),
            _ => false,
        }
    }

    /// The failure to report.
    pub(super) fn failure(self, place: &PostgresPlace) -> Failure {
        let reason = format!("warehouse {}: {self}", place.shown);
        let advice = self.advice(place);
        let cause: Option<Box<dyn std::error::Error + Send + Sync>> = Some(Box::new(self));
        match advice {
            None => Failure::Retry { reason, cause },
            Some(advice) => Failure::Stop { reason, advice, cause },
        }
    }

    /// What an operator should do; `None` where waiting helps.
    fn advice(&self, place: &PostgresPlace) -> Option<String> {
        match self {
            Self::Server { source, .. } => match source.as_db_error() {
                Some(db) => advice_of_code(db, place),
                None => advice_of_connection(source),
            },
            Self::Slow { .. } | Self::Restless | Self::Gone | Self::Swap { .. } => None,
            Self::Taken { name } => Some(format!(
                "rename {name}, or give the sync a schema of its own (`schema: ...`); {} is taken by something else",
                quoted(name)
            )),
            Self::Ledger => Some("correct the row of this sync in _tidegate_ledger".to_owned()),
            Self::Settings { .. } => Some("correct the settings of the warehouse".to_owned()),
            Self::File { path, .. } => Some(format!("see to {} or name another file", path.display())),
            Self::Tls { .. } => Some("correct sslmode, sslrootcert, sslcert and sslkey".to_owned()),
            Self::Old { .. } => Some("tidegate needs PostgreSQL 14 or newer".to_owned()),
            Self::Encoding { .. } => Some(
                "not every event can be written there; name a database made with `CREATE DATABASE ... ENCODING 'UTF8' \
                 TEMPLATE template0`"
                    .to_owned(),
            ),
        }
    }
}

fn advice_of_code(db: &DbError, place: &PostgresPlace) -> Option<String> {
    let (code, user, dbname) = (db.code().code(), quoted(&place.user), quoted(&place.dbname));
    let schema = quoted(&place.schema);
    match code {
        // Shut down, full, busy, cancelled, a broken disk, a lost race.
        "55P03" | "55006" | "57014" | "25P02" | "25P03" | "25P04" => None,
        _ if ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => None,
        "42501" => Some(format!(
            "let somebody who may run: GRANT CREATE, CONNECT ON DATABASE {dbname} TO {user}; GRANT USAGE, CREATE ON SCHEMA \
             {schema} TO {user}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {user}; and for tables \
             that must get columns: ALTER TABLE {schema}.\"<table>\" OWNER TO {user}; `tidegate check --connect` says which of \
             these are missing"
        )),
        "25006" => Some(format!(
            "the server or the role only reads: name the primary (with several hosts, target_session_attrs=read-write finds \
             it), or run: ALTER ROLE {user} SET default_transaction_read_only = off"
        )),
        _ if code.starts_with("28") => {
            Some(format!("see to user {user}, its password or certificate, and to the server's pg_hba.conf"))
        }
        "3D000" => Some(format!("run: CREATE DATABASE {dbname} OWNER {user} ENCODING 'UTF8' TEMPLATE template0")),
        // A type that cannot change because something is made of the column.
        "0A000" | "2BP01" | "42883" | "42846" | "42P17" | "42804" => Some(format!(
            "a column must become wider, and something depends on it as it is{}: drop that (a view, a rule, an index, a \
             default, a constraint), let the sync go on, and make it again",
            db.detail()
                .map(|detail| format!(" ({})", detail.chars().take(300).collect::<String>()))
                .unwrap_or_default()
        )),
        _ => Some(format!(
            "look for something in schema {schema} that is not the router's own (a table, trigger, policy or constraint) \
             and move it away"
        )),
    }
}

/// What failed on this side of the connection.
fn advice_of_connection(error: &tokio_postgres::Error) -> Option<String> {
    let kind = error.to_string();
    let cause = std::error::Error::source(error);
    let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let rustls = io.and_then(std::io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls {
        Some(rustls::Error::InvalidCertificate(_)) => {
            return Some(
                "the server's certificate is not trusted: name its authority with sslrootcert, and with verify-full \
                 connect to a name that the certificate has as a subject alternative name"
                    .to_owned(),
            );
        }
        Some(rustls::Error::AlertReceived(_)) => {
            return Some("the server did not accept the certificate: see to sslcert and sslkey".to_owned());
        }
        _ => {}
    }
    if kind.contains("TLS") && io.is_none() {
        return Some("the server has no TLS: turn it on there (ssl = on), or use another sslmode".to_owned());
    }
    (kind.contains("configuration") || kind.contains("authentication"))
        .then(|| "see to the user, the password and the settings of the connection".to_owned())
}
