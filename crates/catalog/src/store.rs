//! Where the catalog is kept: a store runs statements in transactions and knows nothing of what they mean.
//!
//! The statements are written once, in what SQLite and PostgreSQL both understand: `$1` to `$n`, texts, whole numbers of 64 bits
//! and bytes; times are microseconds, JSON is text, and what is true is 1. Only the migrations differ.
//!
//! What every store keeps to, held by one suite of tests against all of them:
//!
//! * A transaction that is dropped before its `commit` has changed nothing, also when its future is dropped.
//! * One of which a statement has failed does not commit.
//! * One that writes sees all that was committed before it began, and no other writes meanwhile.
//! * One that reads sees one state, whatever is committed meanwhile, and waits for no writer.
//! * What `commit` has answered for is on disk.

mod migrate;

use std::future::Future;
use std::pin::Pin;

pub use migrate::Migration;
pub(crate) use migrate::migrate;

/// A boxed future, so that a catalog can hold any store.
pub type StoreReply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreAccess {
    Read,
    Write,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreCell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The cells of one row, in the order of the statement's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow(pub Vec<StoreCell>);

/// Why the store cannot do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("{place}: {action}: {cause}")]
    Failed { place: String, action: &'static str, cause: String },
    /// Two living objects would have one name, or an id would come twice.
    #[error("{place}: there is one already: {cause}")]
    Taken { place: String, cause: String },
    #[error("{place}: the file is damaged: {what}; put a backup of it back")]
    Damaged { place: String, what: String },
    #[error(
        "{place}: migration {number} is not the one that this catalog was made with; use the build that made it, or put its migration back. Nothing was changed"
    )]
    MigrationChanged { place: String, number: i64 },
    #[error(
        "{place}: the catalog has {found} migrations, and this build knows {known}; use the newer build that made it. Nothing was changed"
    )]
    Newer { place: String, found: i64, known: i64 },
    #[error("a row of the catalog cannot be read: {0}; put a backup of it back")]
    Unreadable(String),
}

impl StoreError {
    /// Of a transaction that cannot commit any more.
    pub(crate) fn failed_before(place: &str) -> Self {
        let cause = "a statement of the transaction has failed".to_owned();
        Self::Failed { place: place.to_owned(), action: "could not commit", cause }
    }
}

/// A place that keeps the catalog.
pub trait CatalogStore: Send + Sync {
    /// How messages begin: `catalog data/catalog.db`.
    fn place(&self) -> String;

    /// Its migrations, in order.
    fn migrations(&self) -> &'static [Migration];

    /// Begins a transaction. One that writes waits for the one that does so now.
    fn begin(&self, access: StoreAccess) -> StoreReply<'_, Box<dyn CatalogTransaction>>;
}

/// A transaction: everything or nothing.
pub trait CatalogTransaction: Send {
    /// Runs one statement and gives its rows.
    fn run<'a>(&'a mut self, sql: &'a str, cells: Vec<StoreCell>) -> StoreReply<'a, Vec<StoredRow>>;

    /// Runs one statement for each list of cells, in order, and gives no rows. The first that fails ends it.
    fn run_each<'a>(&'a mut self, sql: &'a str, rows: Vec<Vec<StoreCell>>) -> StoreReply<'a, ()>;

    /// Runs statements without cells, parted by semicolons.
    fn run_script<'a>(&'a mut self, sql: &'a str) -> StoreReply<'a, ()>;

    /// Makes it count, and durable.
    fn commit(self: Box<Self>) -> StoreReply<'static, ()>;
}

impl StoredRow {
    fn cell(&self, at: usize) -> &StoreCell {
        self.0.get(at).unwrap_or(&StoreCell::Null)
    }

    /// A whole number.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn integer(&self, at: usize) -> Result<i64, StoreError> {
        self.integer_or_null(at)?.ok_or_else(|| unreadable(at, "a number"))
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn unsigned(&self, at: usize) -> Result<u64, StoreError> {
        u64::try_from(self.integer(at)?).map_err(|_| unreadable(at, "a number of 0 or more"))
    }

    /// A whole number, or none.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn integer_or_null(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self.cell(at) {
            StoreCell::Null => Ok(None),
            StoreCell::Integer(number) => Ok(Some(*number)),
            _ => Err(unreadable(at, "a number")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn text(&self, at: usize) -> Result<String, StoreError> {
        self.text_or_null(at)?.ok_or_else(|| unreadable(at, "a text"))
    }

    /// A text, or none.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn text_or_null(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.cell(at) {
            StoreCell::Null => Ok(None),
            StoreCell::Text(text) => Ok(Some(text.clone())),
            _ => Err(unreadable(at, "a text")),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn bytes(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        self.bytes_or_null(at)?.ok_or_else(|| unreadable(at, "bytes"))
    }

    /// Bytes, or none.
    ///
    /// # Errors
    /// The cell holds something else.
    pub fn bytes_or_null(&self, at: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.cell(at) {
            StoreCell::Null => Ok(None),
            StoreCell::Bytes(bytes) => Ok(Some(bytes.clone())),
            _ => Err(unreadable(at, "bytes")),
        }
    }
}

fn unreadable(at: usize, wanted: &str) -> StoreError {
    StoreError::Unreadable(format!("column {at} holds no {wanted}", wanted = wanted.trim_start_matches("a ")))
}

impl From<&str> for StoreCell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for StoreCell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for StoreCell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for StoreCell {
    /// Revisions, numbers of entries and counts stay far below 2^63.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for StoreCell {
    fn from(is_so: bool) -> Self {
        Self::Integer(i64::from(is_so))
    }
}

impl From<Vec<u8>> for StoreCell {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for StoreCell {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<T: Into<StoreCell>> From<Option<T>> for StoreCell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
