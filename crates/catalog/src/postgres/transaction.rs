//! One transaction on a connection.

use bytes::BytesMut;
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use tokio::sync::OwnedMutexGuard;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row, Statement};

use super::connect::PostgresLink;
use super::said::{described, plain};
use crate::store::{CatalogTransaction, StoreAccess, StoreCell, StoreError, StoreReply, StoredRow};

/// Rows of one statement that are on their way at once.
const PIPELINED: usize = 500;

impl ToSql for StoreCell {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(kind, out),
            // The one character that a text of PostgreSQL cannot hold. No name has it, so that what is looked for is not found.
            Self::Text(text) if text.contains('\0') => text.replace('\0', "\u{FFFD}").to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(kind)
    }

    to_sql_checked!();
}

/// The transaction that has the connection now. One that is dropped is rolled back before anything else is sent.
pub(super) struct PostgresTransaction {
    link: OwnedMutexGuard<Option<PostgresLink>>,
    place: String,
    is_open: bool,
    has_failed: bool,
}

impl PostgresTransaction {
    pub(super) async fn begin(
        link: OwnedMutexGuard<Option<PostgresLink>>,
        access: StoreAccess,
        place: String,
    ) -> Result<Self, StoreError> {
        let mut transaction = Self { link, place, is_open: true, has_failed: false };
        match access {
            StoreAccess::Read => transaction.script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
            StoreAccess::Write => {
                // Two nodes may make the tables at once: they take turns by a number, before there is a row to lock.
                let lock =
                    "BEGIN; SELECT pg_advisory_xact_lock(hashtext('tidegate catalog'), hashtext(current_schema()))";
                transaction.script(lock).await?;
            }
        }
        Ok(transaction)
    }

    fn link(&self) -> Result<&PostgresLink, StoreError> {
        self.link.as_ref().ok_or_else(|| StoreError::Failed {
            place: self.place.clone(),
            action: "could not be read or written",
            cause: "the connection is closed".to_owned(),
        })
    }

    async fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        self.link()?.client.batch_execute(sql).await.map_err(|error| described(&error, &self.place))
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, StoreError> {
        let link = self.link()?;
        if let Some(statement) = link.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = link.client.prepare(sql).await.map_err(|error| described(&error, &self.place))?;
        if let Some(link) = self.link.as_mut() {
            link.prepared.insert(sql.to_owned(), statement.clone());
        }
        Ok(statement)
    }

    async fn query(&mut self, sql: &str, cells: Vec<StoreCell>) -> Result<Vec<StoredRow>, StoreError> {
        let statement = self.prepare(sql).await?;
        let found = self.link()?.client.query(&statement, &parameters(&cells)).await;
        found.map_err(|error| described(&error, &self.place))?.iter().map(read).collect()
    }

    async fn query_each(&mut self, sql: &str, rows: Vec<Vec<StoreCell>>) -> Result<(), StoreError> {
        let statement = self.prepare(sql).await?;
        let client = &self.link()?.client;
        for rows in rows.chunks(PIPELINED) {
            let parameters: Vec<_> = rows.iter().map(|cells| parameters(cells)).collect();
            let sent = parameters.iter().map(|cells| client.query(&statement, cells));
            try_join_all(sent).await.map_err(|error| described(&error, &self.place))?;
        }
        Ok(())
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        if self.is_open
            && let Some(link) = self.link.as_ref()
        {
            // The first poll sends it; the answer is nobody's. A connection that has ended is seen at the next beginning.
            let _ = link.client.batch_execute("ROLLBACK").now_or_never();
        }
    }
}

impl CatalogTransaction for PostgresTransaction {
    fn run<'a>(&'a mut self, sql: &'a str, cells: Vec<StoreCell>) -> StoreReply<'a, Vec<StoredRow>> {
        Box::pin(async move {
            let found = self.query(sql, cells).await;
            self.has_failed |= found.is_err();
            found
        })
    }

    fn run_each<'a>(&'a mut self, sql: &'a str, rows: Vec<Vec<StoreCell>>) -> StoreReply<'a, ()> {
        Box::pin(async move {
            let done = self.query_each(sql, rows).await;
            self.has_failed |= done.is_err();
            done
        })
    }

    fn run_script<'a>(&'a mut self, sql: &'a str) -> StoreReply<'a, ()> {
        Box::pin(async move {
            let done = self.script(sql).await;
            self.has_failed |= done.is_err();
            done
        })
    }

    fn commit(mut self: Box<Self>) -> StoreReply<'static, ()> {
        Box::pin(async move {
            // The server would answer a COMMIT then as well, and roll back.
            if self.has_failed {
                return Err(StoreError::failed_before(&self.place));
            }
            self.script("COMMIT").await?;
            self.is_open = false;
            Ok(())
        })
    }
}

fn parameters(cells: &[StoreCell]) -> Vec<&(dyn ToSql + Sync)> {
    cells.iter().map(|cell| cell as &(dyn ToSql + Sync)).collect()
}

fn read(row: &Row) -> Result<StoredRow, StoreError> {
    let cell = |at: usize, kind: &Type| {
        Ok(match *kind {
            Type::INT8 => row.try_get::<_, Option<i64>>(at)?.into(),
            Type::INT4 => row.try_get::<_, Option<i32>>(at)?.map(i64::from).into(),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at)?.into(),
            _ => row.try_get::<_, Option<String>>(at)?.into(),
        })
    };
    let cells = row.columns().iter().enumerate().map(|(at, column)| cell(at, column.type_()));
    let cells: Result<_, tokio_postgres::Error> = cells.collect();
    cells.map(StoredRow).map_err(|error| StoreError::Unreadable(plain(&error)))
}
