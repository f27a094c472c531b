//! A warehouse in memory, in each of the ways in which warehouses differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidegate_event::destination::{Batch, Destination, Failure};

use crate::batch_load::BatchLoad;
use crate::capabilities::{Capabilities, Flush, Steps, Undoes};
use crate::declared::Declared;
use crate::driver::Driver;
use crate::encoder::{Chunk, Encoder, Piece};
use crate::evolve::{Fit, Type};
use crate::loader::{LoadError, Loader, Snapshot, Stopped};
use crate::schema_cache::{FoundSchema, FoundTable, NameTaken, SchemaCache};
use crate::table::{Changes, Column, Limits, Table, Tables};
use crate::waiting::{Refusal, Waiting};

/// How a warehouse writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A part that is refused is undone.
    Transaction,
    /// The same, after the batch has begun anew.
    UndoableTransaction,
    /// What is written is written, and found when it comes again.
    Idempotent,
    /// The batch at once; parts of it are only tried.
    Whole,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Passing,
    Schema,
    Session,
    /// It does what it was asked, and the answer is lost.
    AnswerLost,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum MemoryError {
    #[error("{0:?}")]
    Fault(Fault),
    #[error("row {0} is refused")]
    Row(String),
    #[error("something is in the way")]
    InTheWay,
    #[error("{0} is taken")]
    Taken(String),
}

impl From<NameTaken> for MemoryError {
    fn from(NameTaken(name): NameTaken) -> Self {
        Self::Taken(name)
    }
}

impl LoadError for MemoryError {
    fn is_of_row(&self) -> bool {
        matches!(self, Self::Row(_))
    }

    fn is_of_schema(&self) -> bool {
        matches!(self, Self::Fault(Fault::Schema))
    }

    fn is_of_session(&self, _reused: bool) -> bool {
        matches!(self, Self::Fault(Fault::Session))
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

/// What is durable, and what shall happen.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// By table: how often each id is there.
    pub(super) tables: BTreeMap<String, BTreeMap<String, u32>>,
    schema: BTreeMap<String, BTreeMap<String, Type>>,
    pub(super) ledger: Option<u64>,
    /// After so many calls.
    pub(super) fault: Option<(usize, Fault)>,
    pub(super) always: Option<Fault>,
    pub(super) poison: BTreeSet<String>,
    /// Columns that nobody may change.
    pub(super) shut: BTreeSet<String>,
    pub(super) sessions: u32,
}

impl Store {
    pub(super) fn rows(&self, table: &str) -> BTreeMap<String, u32> {
        self.tables.get(table).cloned().unwrap_or_default()
    }

    pub(super) fn columns(&self, table: &str) -> BTreeSet<String> {
        self.schema[table].keys().cloned().collect()
    }
}

/// A transaction: tables and schema as they will be.
type Work = (BTreeMap<String, BTreeMap<String, u32>>, BTreeMap<String, BTreeMap<String, Type>>);

pub(super) struct InMemory<const WHOLE: bool> {
    way: Way,
    store: Arc<Mutex<Store>>,
    session: Option<Work>,
    is_known: bool,
    undoable: bool,
    found: FoundSchema,
    rows: Rows<WHOLE>,
    waiting: Waiting,
}

pub(super) fn open(way: Way) -> (Box<dyn Destination>, Arc<Mutex<Store>>) {
    let store = Arc::<Mutex<Store>>::default();
    let destination: Box<dyn Destination> = match way {
        Way::Whole => Box::new(Driver::new(InMemory::<true>::new(way, &store))),
        _ => Box::new(Driver::new(InMemory::<false>::new(way, &store))),
    };
    (destination, store)
}

const CAPABILITIES: Capabilities = Capabilities {
    kind: "memory",
    title: "Memory",
    fit: Fit {
        decimal_digits_max: 15,
        decimal_exponent_max: 40,
        decimal_fraction_max: 18,
        years: (1, 9999),
        text_nul: true,
    },
    declared: Type::as_str,
    stored: Type::as_str,
    widening: |_, _| "",
    columns_max: 1_000,
    deduplication: "",
    knows_ids: true,
    atomicity: "",
    latency: "",
    flush: Flush { events: 1, bytes: 1, age: Duration::ZERO },
    undoes: Undoes { rows: true, ddl: true },
    steps: Steps::AddThenWiden,
    statements: |_, _| Vec::new(),
};
const UNDOABLE: Capabilities = Capabilities { steps: Steps::EachColumn, ..CAPABILITIES };
const IDEMPOTENT: Capabilities =
    Capabilities { undoes: Undoes { rows: false, ddl: false }, steps: Steps::Together, ..CAPABILITIES };

impl<const WHOLE: bool> InMemory<WHOLE> {
    fn new(way: Way, store: &Arc<Mutex<Store>>) -> Self {
        Self {
            way,
            store: Arc::clone(store),
            session: None,
            is_known: false,
            undoable: false,
            found: FoundSchema::default(),
            rows: Rows,
            waiting: Waiting::default(),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// A call begins, and gives others a turn; whether its answer is lost.
    async fn call(&self) -> Result<bool, MemoryError> {
        tokio::task::yield_now().await;
        let mut store = self.store();
        if let Some(fault) = store.always {
            return Err(MemoryError::Fault(fault));
        }
        match &mut store.fault {
            Some((0, fault)) => {
                let fault = *fault;
                store.fault = None;
                if fault == Fault::AnswerLost { Ok(true) } else { Err(MemoryError::Fault(fault)) }
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Does something to the tables: in the transaction, or at once.
    fn with<T>(&mut self, work: impl FnOnce(&mut Work) -> T) -> T {
        if self.way != Way::Idempotent {
            return work(self.session.as_mut().unwrap());
        }
        let mut store = self.store.lock().unwrap();
        let mut both = (std::mem::take(&mut store.tables), std::mem::take(&mut store.schema));
        let done = work(&mut both);
        (store.tables, store.schema) = both;
        done
    }
}

fn lost(is_lost: bool) -> Result<(), MemoryError> {
    if is_lost { Err(MemoryError::Fault(Fault::AnswerLost)) } else { Ok(()) }
}

impl<const WHOLE: bool> Loader for InMemory<WHOLE> {
    type Error = MemoryError;
    type Catalog = FoundSchema;
    type Encoder = Rows<WHOLE>;

    fn capabilities(&self) -> &'static Capabilities {
        match self.way {
            Way::Transaction | Way::Whole => &CAPABILITIES,
            Way::UndoableTransaction => &UNDOABLE,
            Way::Idempotent => &IDEMPOTENT,
        }
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn failure(&self, error: MemoryError) -> Failure {
        Failure::Retry { reason: error.to_string(), cause: None }
    }

    fn tools(&mut self) -> (&mut FoundSchema, &mut Rows<WHOLE>) {
        (&mut self.found, &mut self.rows)
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, MemoryError> {
        lost(self.call().await?)?;
        Ok(self.store().ledger)
    }

    async fn snapshot(&mut self, _batch: &Batch, known: &mut SchemaCache) -> Result<Snapshot, MemoryError> {
        if self.session.is_none() {
            (self.session, self.is_known) = (Some(Work::default()), false);
            self.store().sessions += 1;
        }
        lost(self.call().await?)?;
        let store = Arc::clone(&self.store);
        let store = store.lock().unwrap();
        if !self.is_known {
            let table = |columns: &BTreeMap<String, Type>| FoundTable {
                is_table: true,
                key: vec!["id".to_owned()],
                columns: columns.iter().map(|(name, kind)| Column::found(name, *kind, false, true)).collect(),
            };
            self.found.tables = store.schema.iter().map(|(name, columns)| (name.clone(), table(columns))).collect();
            let limits = Limits { profiles: false, ..Limits::default() };
            *known = SchemaCache::new("", self.found.objects(), limits, Arc::new(Declared::default()), &self.waiting);
            self.is_known = true;
        }
        self.session = Some((store.tables.clone(), store.schema.clone()));
        Ok(Snapshot { durable_to: store.ledger, targets: None })
    }

    async fn check(&mut self, _table: &Table) -> Result<(), MemoryError> {
        lost(self.call().await?)
    }

    async fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        _used: &[u32],
        notices: &mut Vec<String>,
    ) -> Result<Option<Refusal<MemoryError>>, MemoryError> {
        let is_lost = self.call().await?;
        let columns: Vec<usize> = changes.columns().collect();
        let is_shut = columns.iter().any(|at| self.store().shut.contains(&*table.columns[*at].name));
        if is_shut && !changes.create {
            let (statement, error) = (format!("ALTER {columns:?}"), MemoryError::InTheWay);
            return Ok(Some(Refusal { columns, statement, whole: false, error }));
        }
        for at in &changes.widen {
            let column = &table.columns[*at];
            notices.push(table.widened(*at, column.declared.map_or("", Type::as_str), column.kind().as_str()));
        }
        self.with(|(_, schema)| {
            let there = schema.entry(table.name.to_string()).or_default();
            for column in columns.iter().map(|at| &table.columns[*at]) {
                there.insert(column.name.to_string(), column.kind());
            }
        });
        lost(is_lost)?;
        Ok(None)
    }

    async fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, Self::Encoder>,
    ) -> Result<(), Stopped<MemoryError>> {
        let is_lost = self.call().await?;
        let poison = self.store().poison.clone();
        let name = |table: usize| load.tables().list[table].name.to_string();
        let rows: Vec<(String, &Written)> = piece.part.rows.iter().map(|row| (name(row.table), row)).collect();
        let refused = rows.iter().position(|(_, row)| poison.contains(&row.poison));
        if self.way == Way::UndoableTransaction
            && !self.undoable
            && let Some(at) = refused
        {
            return Err(MemoryError::Row(rows[at].1.id.clone()).into());
        }
        let is_undone = self.way != Way::Idempotent && refused.is_some() || WHOLE && !load.is_whole(&piece.items);
        let written = if is_undone { 0 } else { refused.unwrap_or(rows.len()) };
        let looks = self.way == Way::Idempotent;
        let there = self.with(|(tables, _)| {
            let is_there = |(table, row): &(String, &Written)| {
                table == "tracks" && tables.get(table).is_some_and(|rows| rows.contains_key(&row.id))
            };
            let there = rows.iter().filter(|row| is_there(row)).count() as u64;
            for (table, row) in &rows[..written] {
                // Those with transactions trust the ledger.
                let times = tables.entry(table.clone()).or_default().entry(row.id.clone()).or_default();
                *times = if looks { 1 } else { *times + 1 };
            }
            there
        });
        if self.way == Way::Idempotent || refused.is_none() {
            load.count(&piece.items, there);
        }
        lost(is_lost)?;
        match refused {
            Some(at) => Err(Stopped::Part(MemoryError::Row(rows[at].1.id.clone()))),
            None => Ok(()),
        }
    }

    async fn commit(&mut self, next: u64, _notices: &mut Vec<String>) -> Result<(), MemoryError> {
        let is_lost = self.call().await?;
        let work = self.session.clone().unwrap();
        let mut store = self.store();
        if self.way != Way::Idempotent {
            (store.tables, store.schema) = work;
        }
        store.ledger = Some(next);
        drop(store);
        self.undoable = false;
        lost(is_lost)
    }

    fn keep_parts_undoable(&mut self) -> bool {
        self.way == Way::UndoableTransaction && !std::mem::replace(&mut self.undoable, true)
    }

    fn abandon(&mut self) {
        self.session = None;
    }
}

/// Keeps the ids of rows.
pub(super) struct Rows<const WHOLE: bool>;

#[derive(Debug)]
pub(super) struct Written {
    table: usize,
    id: String,
    poison: String,
}

#[derive(Debug, Default)]
pub(super) struct Part {
    rows: Vec<Written>,
    tables: Vec<usize>,
    chunks: u32,
}

impl<const WHOLE: bool> Encoder for Rows<WHOLE> {
    type Part<'b> = Part;

    const CHUNK_EVENTS: usize = 4;
    const WHOLE: bool = WHOLE;

    fn begin<'b>(&mut self) -> Self::Part<'b> {
        Part::default()
    }

    fn add<'b>(&mut self, part: &mut Part, _tables: &Tables, chunk: Chunk<'b>) {
        part.chunks += 1;
        for group in &chunk.groups {
            part.tables.push(group.table);
            for (at, row) in group.rows.iter().enumerate() {
                let (id, poison) = match row.event {
                    Some(event) => {
                        let id = chunk.batch.events[event as usize].message_id();
                        (id.to_owned(), id.to_owned())
                    }
                    None => {
                        (chunk.records[at].message_id.clone(), format!("violation of {}", chunk.records[at].message_id))
                    }
                };
                part.rows.push(Written { table: group.table, id, poison });
            }
        }
    }

    fn is_full(&self, part: &Part) -> bool {
        part.chunks == 2
    }

    fn end(&mut self, part: &mut Part) {
        part.tables.sort_unstable();
        part.tables.dedup();
    }

    fn table<'p>(&self, part: &'p Part, at: usize) -> Option<(usize, &'p [u32])> {
        part.tables.get(at).map(|table| (*table, &[][..]))
    }
}
