//! From planned rows to what is written together.
//!
//! Nouns: a **part** (rows of some events, or of some violations, that are written together), an **encoder** (makes parts
//! from planned rows), a **piece** (a part, and which events of the batch it has).

use std::ops::Range;

use tidegate_event::destination::Batch;
use tidegate_event::{Event, ViolationRecord};

use crate::row::Group;
use crate::table::Tables;

/// Makes parts of planned rows.
pub trait Encoder: Send {
    /// Rows on their way; they may borrow from the batch.
    type Part<'b>: Send + Sync;

    /// Events planned together: few enough to be in the processor's cache when they are encoded.
    const CHUNK_EVENTS: usize;
    /// The batch is one part, violations and all, and is written even when it is empty.
    const WHOLE: bool = false;

    /// An empty part.
    fn begin<'b>(&mut self) -> Self::Part<'b>;

    /// Whether the event gets rows.
    fn admit<'b>(&mut self, _part: &mut Self::Part<'b>, _event: &'b Event) -> Admit {
        Admit::Rows
    }

    /// Whether the violation gets a row.
    fn admit_violation<'b>(&mut self, _part: &mut Self::Part<'b>, _record: &'b ViolationRecord) -> bool {
        true
    }

    /// Takes the rows of a chunk.
    fn add<'b>(&mut self, part: &mut Self::Part<'b>, tables: &Tables, chunk: Chunk<'b>);

    /// Whether the part is large enough to be written.
    fn is_full(&self, part: &Self::Part<'_>) -> bool;

    /// No row comes any more.
    fn end(&mut self, _part: &mut Self::Part<'_>) {}

    /// Table number `at` of those that the part has rows for: its place in [`Tables::list`], and the columns that rows fill
    /// (none where [`Loader::apply`](crate::loader::Loader::apply) does not ask). `None` behind the last; a table may come twice.
    fn table<'p>(&self, part: &'p Self::Part<'_>, at: usize) -> Option<(usize, &'p [u32])>;
}

/// Whether an event gets rows.
#[derive(Debug)]
pub enum Admit {
    Rows,
    /// It is there already.
    Duplicate,
    /// The warehouse can never take it; why.
    Refused(String),
}

/// The rows of a few events, or of a few violations.
#[derive(Debug)]
pub struct Chunk<'b> {
    /// Which ones: events count from 0, and violations go on behind the last event.
    pub items: Range<usize>,
    pub groups: Vec<Group<'b>>,
    /// By row: the violations, where it is rows of violations.
    pub records: Vec<&'b ViolationRecord>,
    pub batch: &'b Batch,
}

/// A part, and what it has of the batch: events count from 0, and violations go on behind the last event.
pub struct Piece<'b, E: Encoder> {
    pub items: Range<usize>,
    pub part: E::Part<'b>,
}

/// Keeps rows as they were planned, for a warehouse that encodes them when the tables are ready: one chunk of `EVENTS` is a
/// part.
#[derive(Debug, Default)]
pub struct AsPlanned<const EVENTS: usize>;

impl<const EVENTS: usize> Encoder for AsPlanned<EVENTS> {
    type Part<'b> = Vec<Group<'b>>;

    const CHUNK_EVENTS: usize = EVENTS;

    fn begin<'b>(&mut self) -> Vec<Group<'b>> {
        Vec::new()
    }

    fn add<'b>(&mut self, part: &mut Vec<Group<'b>>, _tables: &Tables, chunk: Chunk<'b>) {
        *part = chunk.groups;
    }

    fn is_full(&self, _part: &Vec<Group<'_>>) -> bool {
        true
    }

    fn table<'p>(&self, part: &'p Vec<Group<'_>>, at: usize) -> Option<(usize, &'p [u32])> {
        part.get(at).map(|group| (group.table, &*group.columns))
    }
}
