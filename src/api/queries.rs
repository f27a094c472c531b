//! Reading the tables of embedded warehouses, as it is ordered here. Who reads them is not known here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use parking_lot::Mutex;
use tidegate_api_types::query::{QueriedRows, QueriedTable};

use super::refusal::ApiRefusal;

/// Readers at once, in one environment.
const READERS_MAX: usize = 4;
/// When to ask again, while others read.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// Why nothing was read.
#[derive(Debug)]
pub enum QueryRefusal {
    /// It is not a destination that is read here; a sentence.
    NotRead(String),
    /// The statement is none that is run, or none that comes to an end here: a code, what is wrong, and what to do.
    Statement { code: &'static str, detail: String, fix: &'static str },
    /// Somebody else holds the file.
    Held,
    /// The file cannot be read; a sentence.
    Failed(String),
}

/// Names the tables of a destination that may be read. It blocks.
pub type ListQueriedTables = Box<dyn Fn(&str) -> Result<Vec<QueriedTable>, QueryRefusal> + Send + Sync>;

/// Runs a statement in a destination. It blocks for some seconds at most, and ends when the flag is set.
pub type RunQuery = Box<dyn Fn(&str, &str, &Arc<AtomicBool>) -> Result<QueriedRows, QueryRefusal> + Send + Sync>;

/// Reads the tables of the embedded warehouses of an environment.
pub struct WarehouseQueries {
    pub(super) tables: ListQueriedTables,
    pub(super) rows: RunQuery,
    readers: Arc<Mutex<BTreeSet<String>>>,
}

impl WarehouseQueries {
    #[must_use]
    pub fn new(tables: ListQueriedTables, rows: RunQuery) -> Self {
        Self { tables, rows, readers: Arc::default() }
    }

    /// Lets somebody read who does not read already.
    pub(super) fn turn(&self, reader: &str) -> Result<ReaderTurn, ApiRefusal> {
        let busy = |detail: &str| {
            let fix = "wait until that has ended: a statement has five seconds";
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(BUSY_PAUSE)
        };
        let mut readers = self.readers.lock();
        if readers.contains(reader) {
            return Err(busy("another statement of yours is running"));
        }
        if readers.len() >= READERS_MAX {
            return Err(busy("statements of others are running"));
        }
        readers.insert(reader.to_owned());
        Ok(ReaderTurn { readers: Arc::clone(&self.readers), reader: reader.to_owned() })
    }
}

/// Somebody reads, until it is dropped.
pub(super) struct ReaderTurn {
    readers: Arc<Mutex<BTreeSet<String>>>,
    reader: String,
}

impl Drop for ReaderTurn {
    fn drop(&mut self) {
        self.readers.lock().remove(&self.reader);
    }
}

/// Ends a statement when nobody waits for it any more.
pub(super) struct EndWithAsker(pub(super) Arc<AtomicBool>);

impl Drop for EndWithAsker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl From<QueryRefusal> for ApiRefusal {
    fn from(refusal: QueryRefusal) -> Self {
        match refusal {
            QueryRefusal::NotRead(detail) => {
                let fix = "name a destination of kind sqlite; other warehouses have clients of their own";
                Self::unprocessable("not-this-way", detail, fix)
            }
            QueryRefusal::Statement { code, detail, fix } => Self::unprocessable(code, detail, fix).in_field("sql"),
            QueryRefusal::Held => {
                let (detail, fix) = ("somebody else holds the file", "send it again after Retry-After");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(BUSY_PAUSE)
            }
            QueryRefusal::Failed(detail) => {
                Self::unprocessable("cannot-run", detail, "mend what the detail says, then try again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_reads_once_at_a_time_and_a_few_read_at_once() {
        let tables: ListQueriedTables = Box::new(|_| Ok(Vec::new()));
        let rows: RunQuery = Box::new(|_, _, _| Ok(QueriedRows::default()));
        let queries = WarehouseQueries::new(tables, rows);
        let first = queries.turn("ann").unwrap();
        assert!(queries.turn("ann").is_err());
        let others: Vec<ReaderTurn> =
            ["bea", "cid", "dan"].iter().map(|name| queries.turn(name)).collect::<Result<_, _>>().unwrap();
        assert!(queries.turn("eve").is_err());
        drop(first);
        assert!(queries.turn("ann").is_ok());
        assert_eq!(others.len(), 3);
    }
}
