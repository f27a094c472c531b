//! What a warehouse does for one batch, and what it promises by each call.
//!
//! The [`Driver`](crate::driver::Driver) walks every batch; a warehouse is a [`Loader`] and answers it:
//!
//! ```text
//! snapshot ─► for each part: gather (the driver) ─► check, apply, view (each table) ─► write ─┐
//!    ▲                                                                                         ▼
//!    └── close ◄── something altered, a change that waits, a row refused                    commit
//! ```
//!
//! What is written is a [`Piece`] of the batch, made by the warehouse's [`Encoder`].

use std::future::Future;

use tidegate_event::Event;
use tidegate_event::destination::{Batch, Failure, Rejected};

use crate::batch_load::BatchLoad;
use crate::capabilities::Capabilities;
use crate::encoder::{Encoder, Piece};
use crate::profiles::{Profile, ViewOutcome};
use crate::schema_cache::{Look, SchemaCache};
use crate::table::{Changes, RowTarget, Table, Tables};
use crate::waiting::Refusal;

/// One warehouse, behind the driver.
///
/// One caller at a time. Calls come in the order of the picture above, and any of them may be dropped before its end:
/// then comes [`Loader::abandon`]. After a failed call comes [`Loader::close`], and the batch may come again at once, from
/// `snapshot` on. Whatever is broken off where, a batch that comes again must leave each event once.
pub trait Loader: Send + Sized {
    type Error: LoadError + From<<Self::Catalog as Look>::Error>;
    /// Tables as they were found.
    type Catalog: Look<Error: Send> + Send;
    type Encoder: Encoder;

    /// Times that a batch is tried at once: somebody has altered the tables, or the session is over.
    const TRIES_MAX: u32 = 3;

    /// What the warehouse can.
    fn capabilities(&self) -> &'static Capabilities;

    /// How messages begin: `warehouse analytics@db.example.com/shop`.
    fn place(&self) -> String;

    /// The failure to report, with what an operator should do.
    fn failure(&self, error: Self::Error) -> Failure;

    /// The catalog and the encoder, of the last `snapshot`.
    fn tools(&mut self) -> (&mut Self::Catalog, &mut Self::Encoder);

    /// What the ledger says of the sync; `None` when it was never here. Makes nothing.
    fn durable_to(&mut self) -> impl Future<Output = Result<Option<u64>, Self::Error>> + Send;

    /// Begins a batch: connects where there is no session, makes schema and ledger where they are missing, and reads the
    /// ledger. Where what is `known` of the tables is no longer so, and after every `close` and `abandon`, it is replaced.
    /// A warehouse with transactions begins one, and from now on nobody else writes for this sync.
    fn snapshot(
        &mut self,
        batch: &Batch,
        known: &mut SchemaCache,
    ) -> impl Future<Output = Result<Snapshot, Self::Error>> + Send;

    /// A closer look at a table that rows come for, before it is changed.
    ///
    /// # Errors
    /// One of the schema, when the table is no longer what it was; then the batch begins anew.
    fn check(&mut self, _table: &Table) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// Makes these changes of `table`, all or none: creates it, adds columns, widens others so that they keep every value.
    /// `used` are the columns that rows are about to fill. Something of somebody else in the way (a view, a lock, a missing
    /// permission) is a refusal and no error, and leaves nothing behind. What an operator should hear of it goes to
    /// `notices`, before it is done.
    fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        used: &[u32],
        notices: &mut Vec<String>,
    ) -> impl Future<Output = Result<Option<Refusal<Self::Error>>, Self::Error>> + Send;

    /// Makes the view of the table's latest traits what it shall be. What the warehouse refuses is an outcome, no error.
    fn view(
        &mut self,
        _profile: &Profile,
        _table: &Table,
    ) -> impl Future<Output = Result<ViewOutcome, Self::Error>> + Send {
        async { Ok(ViewOutcome::Kept) }
    }

    /// Writes the rows of a piece, so that each `id` is once in its table. Says how many events were there by
    /// [`BatchLoad::count`], and may let the next part be made meanwhile ([`BatchLoad::ahead`]).
    ///
    /// # Errors
    /// [`Stopped::Part`] when a row is refused for itself and nothing is left of the piece, or what is left is found when
    /// its events come again: the driver then writes halves until the refused events stand alone. A row error as
    /// [`Stopped::Of`] begins the batch anew, after [`Loader::keep_parts_undoable`].
    fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, Self::Encoder>,
    ) -> impl Future<Output = Result<(), Stopped<Self::Error>>> + Send;

    /// An event was refused for itself: takes back what a write has left of it, where that is not undone anyway.
    fn withdraw(
        &mut self,
        _event: &Event,
        _target: &RowTarget,
        _tables: &Tables,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// Moves the ledger to `next` and makes the batch durable, in one step where there are transactions, else the ledger
    /// last. `Ok` means that it is on disk there.
    fn commit(&mut self, next: u64, notices: &mut Vec<String>) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// A row was refused, and the warehouse cannot write on: the batch comes again, and from now on (until a later commit at
    /// least) a refused part must leave a session that can be used. False when it is so already.
    fn keep_parts_undoable(&mut self) -> bool {
        false
    }

    /// A call has failed: ends the session, and with it whatever it has begun. Nothing more is known.
    fn close(&mut self, _error: Option<&Self::Error>) -> impl Future<Output = ()> + Send {
        self.abandon();
        async {}
    }

    /// The same at once, for a call that was dropped.
    fn abandon(&mut self);
}

/// What an error of a warehouse concerns, for the driver to decide whether another try at once may do better.
pub trait LoadError: std::error::Error + Send + Sync {
    /// Some row is refused for itself, and others would be taken.
    fn is_of_row(&self) -> bool;

    /// Somebody else has changed what was known of the tables: another look may help.
    fn is_of_schema(&self) -> bool;

    /// The session is over, and another may do better; `reused` when it was there before this call.
    fn is_of_session(&self, reused: bool) -> bool;

    /// Why a row was refused, in the warehouse's own words.
    fn words(&self) -> String;
}

/// What there is when a batch begins.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// What the ledger says.
    pub durable_to: Option<u64>,
    /// Where the events of the batch go, where the snapshot had to find out; `None` for those that are there.
    pub targets: Option<Vec<Option<RowTarget>>>,
}

/// Why a batch has not come to its end.
#[derive(Debug)]
pub enum Stopped<E> {
    /// A row of the part is refused for itself.
    Part(E),
    /// A change of a table waits for others: the batch begins anew without it.
    Waits,
    /// These events are refused; nothing else stands in the way.
    Refused(Vec<Rejected>),
    Of(E),
}

impl<E> From<E> for Stopped<E> {
    fn from(error: E) -> Self {
        Self::Of(error)
    }
}
