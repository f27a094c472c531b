//! What an operator may say of a PostgreSQL warehouse, and whether it can be used.

use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::ledger;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse::waiting::Waiting;

use super::address::Address;
use super::error::{PostgresError, PostgresPlace};

/// What an operator may say of a PostgreSQL warehouse.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    pub address: Address,
    /// Where the tables of syncs are that name no schema.
    pub schema: String,
    pub limits: Limits,
    /// How long to wait for whoever holds a table or the ledger.
    pub lock_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long a statement may take that rewrites a table.
    pub rewrite_timeout: Duration,
    /// After what silence the server gives up a transaction.
    pub idle_timeout: Duration,
}

impl PostgresSettings {
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            schema: "public".to_owned(),
            limits: Limits::default(),
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(300),
            rewrite_timeout: Duration::from_secs(6 * 3600),
            idle_timeout: Duration::from_secs(60),
        }
    }

    /// The first door: whether these settings can be used at all.
    pub fn check(&self, part: &SyncPart) -> Result<CheckedPostgres, Failure> {
        let schema = part.schema.clone().unwrap_or_else(|| self.schema.clone());
        let place = PostgresPlace {
            shown: self.address.shown.clone(),
            user: self.address.user().to_owned(),
            dbname: self.address.dbname().to_owned(),
            schema: schema.clone(),
        };
        let limits = [self.lock_timeout, self.statement_timeout, self.rewrite_timeout, self.idle_timeout];
        let problem = if part.sync.is_empty() {
            Some("the sync has no name")
        } else if schema.is_empty() || schema.len() > NAME_BYTES_MAX || schema.contains('\0') {
            Some("a schema has a name of 1 to 63 bytes")
        } else if schema.starts_with("pg_") || schema == "information_schema" {
            Some("the schema belongs to the server")
        } else if ledger::is_beside(&schema) {
            Some("the name of the schema ends in _tidegate, as those do in which ledgers are")
        } else if !(32..=1500).contains(&self.limits.columns_max) {
            Some("columns_max is not between 32 and 1,500")
        } else if !(1..=10_000).contains(&self.limits.tables_max) {
            Some("tables_max is not between 1 and 10,000")
        } else if limits.iter().any(|limit| !(1..=604_800_000).contains(&limit.as_millis())) {
            Some("a timeout is not between 1 ms and 7 d")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(PostgresError::Settings { problem: problem.to_owned() }.failure(&place));
        }
        Ok(CheckedPostgres {
            address: self.address.clone(),
            place,
            sync: part.sync.clone(),
            schema,
            declared: Arc::clone(&part.declared),
            waiting: Waiting::default(),
            limits: self.limits,
            lock_timeout: self.lock_timeout,
            statement_timeout: self.statement_timeout,
            rewrite_timeout: self.rewrite_timeout,
            idle_timeout: self.idle_timeout,
        })
    }
}

/// Settings that can be used.
#[derive(Debug)]
pub struct CheckedPostgres {
    pub(super) address: Address,
    pub(super) place: PostgresPlace,
    pub(super) sync: String,
    pub(super) schema: String,
    pub(super) declared: Arc<Declared>,
    pub(super) waiting: Waiting,
    pub(super) limits: Limits,
    pub(super) lock_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) rewrite_timeout: Duration,
    pub(super) idle_timeout: Duration,
}
