//! The connection, and what is said over it: each call bounded in time, each failure with what was being done.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, pin_mut};
use tokio_postgres::types::{FromSql, ToSql, Type as Sql};
use tokio_postgres::{Client, Row, Statement};

use super::connect::{Connected, connect};
use super::error::{PostgresError, doing};
use super::settings::CheckedPostgres;

/// COPY statements kept prepared.
const STATEMENTS_MAX: usize = 2048;
/// What the network may take beyond what the server is allowed.
const GRACE: Duration = Duration::from_secs(15);
const SAVEPOINT: &str = "SAVEPOINT tidegate";
/// How much goes into one message: enough to keep the socket full, not so much that it is copied around.
const FRAME_BYTES: usize = 128 << 10;

/// Rows on their way into one table.
pub(super) struct Copy {
    pub(super) sql: Arc<str>,
    pub(super) rows: Vec<Bytes>,
}

/// One connection.
pub(super) struct PostgresWire {
    connected: Connected,
    pub(super) schema: String,
    settings: Arc<CheckedPostgres>,
    copies: HashMap<Arc<str>, Statement>,
    /// A savepoint is set in the transaction in hand.
    saved: bool,
}

impl PostgresWire {
    /// Connects and sees that the server is one that can be used.
    pub(super) async fn open(settings: &Arc<CheckedPostgres>) -> Result<Self, PostgresError> {
        let connected = connect(&settings.address).await?;
        let (schema, settings) = (settings.schema.clone(), Arc::clone(settings));
        let wire = Self { connected, schema, settings, copies: HashMap::new(), saved: false };
        let sql = "SELECT pg_catalog.current_setting('server_version'), \
            pg_catalog.current_setting('server_version_num')::int4, pg_catalog.current_setting('server_encoding')";
        for row in wire.ask("greeting the server", sql, &[]).await? {
            let (version, number, encoding) = (wire.get(&row, 0)?, wire.get::<i32>(&row, 1)?, wire.get(&row, 2)?);
            if number < 140_000 {
                return Err(PostgresError::Old { version });
            }
            if encoding != "UTF8" {
                return Err(PostgresError::Encoding { encoding });
            }
        }
        Ok(wire)
    }

    pub(super) async fn close(self) {
        self.connected.close().await;
    }

    pub(super) fn is_open(&self) -> bool {
        !self.client().is_closed()
    }

    fn client(&self) -> &Client {
        &self.connected.client
    }

    /// Waits for an answer no longer than the server may take to give one.
    async fn within<T>(
        &self,
        doing: &'static str,
        allowed: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        let limit = allowed + GRACE;
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(self::doing(doing)),
            Err(_) => Err(PostgresError::Slow { doing, seconds: limit.as_secs() }),
        }
    }

    /// Rows.
    pub(super) async fn ask(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Sql)],
    ) -> Result<Vec<Row>, PostgresError> {
        self.within(doing, self.settings.statement_timeout, self.client().query_typed(sql, parameters)).await
    }

    pub(super) fn get<'r, T: FromSql<'r>>(&self, row: &'r Row, at: usize) -> Result<T, PostgresError> {
        row.try_get(at).map_err(doing("reading an answer"))
    }

    pub(super) async fn run(&self, doing: &'static str, sql: &str) -> Result<(), PostgresError> {
        self.within(doing, self.settings.statement_timeout, self.client().batch_execute(sql)).await
    }

    /// A statement that may rewrite a whole table.
    pub(super) async fn rewrite(&self, doing: &'static str, sql: &str) -> Result<(), PostgresError> {
        let [long, short] =
            [self.settings.rewrite_timeout, self.settings.statement_timeout].map(|limit| limit.as_millis());
        let sql = format!("SET LOCAL statement_timeout = {long}; {sql}; SET LOCAL statement_timeout = {short}");
        self.within(doing, self.settings.rewrite_timeout, self.client().batch_execute(&sql)).await
    }

    /// Begins a transaction that cannot wait forever. What a role or database sets to save time or digits is set right.
    pub(super) async fn begin(&self) -> Result<(), PostgresError> {
        let CheckedPostgres { lock_timeout, statement_timeout, idle_timeout, .. } = &*self.settings;
        let [lock, statement, idle] = [lock_timeout, statement_timeout, idle_timeout].map(|limit| limit.as_millis());
        let sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = {statement}; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; \
             SET LOCAL extra_float_digits = 1; SET CONSTRAINTS ALL IMMEDIATE; \
             SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
             WHERE pg_catalog.current_setting('synchronous_commit') = 'off'"
        );
        self.run("beginning a transaction", &sql).await
    }

    pub(super) async fn commit(&mut self) -> Result<(), PostgresError> {
        self.saved = false;
        self.run("committing a batch", "COMMIT").await
    }

    /// Back to where the last rows were copied from; what was refused for `cause` leaves nothing behind.
    ///
    /// # Errors
    /// The cause, where client and server no longer agree on which answer is whose: so it is when a trigger of the whole
    /// statement refuses it before a row is read.
    pub(super) async fn undo(&self, cause: PostgresError) -> Result<PostgresError, PostgresError> {
        let undone = self.run("going back to a savepoint", "ROLLBACK TO SAVEPOINT tidegate").await;
        let heard = self.ask("going back to a savepoint", "SELECT 1", &[]).await;
        match (undone, heard) {
            (Ok(()), Ok(rows)) if rows.len() == 1 => Ok(cause),
            _ => Err(cause),
        }
    }

    /// Which of these keys, by number, the table has already.
    pub(super) async fn keys_there(&self, table: &str, keys: Vec<String>) -> Result<HashSet<usize>, PostgresError> {
        let sql = format!(
            "SELECT k.place FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS k(id, place) JOIN {table} AS t \
             ON t.id = k.id"
        );
        let rows = self.ask("looking keys up", &sql, &[(&keys, Sql::TEXT_ARRAY)]).await?;
        rows.iter().map(|row| Ok(usize::try_from(self.get::<i64>(row, 0)? - 1).unwrap_or(usize::MAX))).collect()
    }

    /// Copies rows into their tables, all or none.
    ///
    /// In a `row` the statements follow each other without waiting for answers. The client then sends one Sync more for
    /// each that is refused unread, so a failure makes the connection useless; one by one, it can be used on.
    pub(super) async fn copy(&mut self, copies: Vec<Copy>, row: bool) -> Result<(), PostgresError> {
        let limit = self.settings.statement_timeout;
        self.prepare(&copies).await?;
        let save = if self.saved { "RELEASE SAVEPOINT tidegate; SAVEPOINT tidegate" } else { SAVEPOINT };
        self.saved = true;
        let mut flows = copies.into_iter().filter_map(|copy| {
            let statement = self.copies.get(&copy.sql)?;
            Some(self.within("copying rows", limit, flow(self.client(), statement, copy.rows)))
        });
        if !row {
            self.run("setting a savepoint", save).await?;
            for flow in flows {
                flow.await?;
            }
            return Ok(());
        }
        let (mut outcome, flowed) = tokio::join!(self.run("setting a savepoint", save), join_all(flows.by_ref()));
        // The first error is the cause of those after it.
        for flowed in flowed {
            outcome = outcome.and(flowed);
        }
        outcome
    }

    /// Prepares the COPY statements that are new.
    async fn prepare(&mut self, copies: &[Copy]) -> Result<(), PostgresError> {
        if self.copies.len() > STATEMENTS_MAX {
            self.copies.clear();
        }
        let fresh: Vec<&Arc<str>> =
            copies.iter().map(|copy| &copy.sql).filter(|sql| !self.copies.contains_key(*sql)).collect();
        let limit = self.settings.statement_timeout;
        let asked = fresh.iter().map(|sql| self.within("preparing to copy", limit, self.connected.client.prepare(sql)));
        let prepared = join_all(asked).await;
        for (sql, statement) in fresh.into_iter().zip(prepared) {
            self.copies.insert(Arc::clone(sql), statement?);
        }
        Ok(())
    }
}

async fn flow(client: &Client, statement: &Statement, rows: Vec<Bytes>) -> Result<(), tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(statement).await?;
    pin_mut!(sink);
    for mut rest in rows {
        while !rest.is_empty() {
            let frame = rest.split_to(rest.len().min(FRAME_BYTES));
            sink.feed(frame).await?;
        }
    }
    sink.finish().await.map(drop)
}
