//! What every warehouse must do: one suite, run against each by name.
//!
//! Each warehouse's own tests run it (`crates/warehouse-*/tests/it/`), and the program's tests use the same places.
//!
//! A [`Rig`] is one warehouse with a place of its own for one test: how it is configured, what another reader sees in it,
//! and what an operator can do to it behind the router's back. `suite!(Rig)` makes one test of each case.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Rejected};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::evolve::{Type, number_text};
use tidegate_warehouse::swap::{self, TableSwap};
use tidegate_warehouse::table::Limits;

pub mod disk;
pub mod events;
pub mod exactly_once;
pub mod hostile;
pub mod operators;
pub mod order;
pub mod swapped;
pub mod tables;
pub mod types;

/// A warehouse that was opened.
pub type OpenedWarehouse = Result<Box<dyn Destination>, Failure>;

/// One warehouse and a place in it that nobody else uses.
pub trait Rig: Sized {
    /// Whether a `messageId` that comes again at a later offset is recognised by the warehouse itself.
    const KEEPS_FIRST: bool = true;

    /// Cases that cannot run there, each with the reason.
    const LACKS: &'static [(&'static str, &'static str)] = &[];

    /// An empty place. An error says what this machine lacks: the test is then skipped.
    fn new() -> Result<Self, String>;

    /// Opens a sync's part of it, as the router does.
    ///
    /// # Errors
    /// It cannot be opened; another try would fail again.
    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse;

    /// The same as a workspace spells it: `destinations/warehouse.yaml`, for the tests that serve it.
    fn yaml(&self) -> String {
        panic!("{} is driven by hand alone", std::any::type_name::<Self>())
    }

    /// What another reader finds there: every table of `schema` but the ledger.
    fn seen(&self, schema: Option<&str>) -> TablesSeen;

    /// These columns of a table or view, by the first of them; cells are text, `-` for null. `None` where there are no views.
    fn read(&self, _name: &str, _columns: &[&str]) -> Option<Vec<String>> {
        None
    }

    /// Swaps tables, as the router does.
    ///
    /// # Errors
    /// They are not swapped.
    fn swap(&self, _swap: &TableSwap) -> Result<(), Failure> {
        Err(swap::impossible("this warehouse"))
    }

    /// Takes the warehouse away from its users until the answer is called; `None` where that cannot be done.
    fn away(&self) -> Option<Box<dyn FnOnce() + '_>> {
        None
    }

    /// Does what an operator may do behind the router's back; false where there is no such thing.
    fn act(&self, act: &Act) -> bool;
}

/// What an operator does.
#[derive(Debug)]
pub enum Act {
    /// To a table of the default schema; the column is filled with nothing.
    AddColumn(&'static str, &'static str, Type),
    DropColumn(&'static str, &'static str),
    Retype(&'static str, &'static str, Type),
    /// A table of somebody else, with one column `name` and no key.
    MakeTable(&'static str),
    /// A constraint: the integer column of the table must not be this.
    Refuse(&'static str, &'static str, i64),
    /// Something that keeps the type of a column of the table as it is.
    Block(&'static str, &'static str),
    /// It is gone.
    Unblock(&'static str),
    /// Nobody may write any more: a permission is gone.
    Forbid,
    /// Everybody may again.
    Allow,
}

/// One row: texts by column, without what is null.
pub type Cells = BTreeMap<String, String>;

/// One table as a reader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSeen {
    pub columns: BTreeMap<String, Type>,
    /// By id.
    pub rows: BTreeMap<String, Cells>,
}

/// By name, in lower case.
pub type TablesSeen = BTreeMap<String, TableSeen>;

impl TableSeen {
    /// Takes a row; an id that comes twice is what must never be.
    pub fn insert(&mut self, cells: Cells) {
        let id = cells.get("id").cloned().unwrap_or_default();
        assert!(self.rows.insert(id.clone(), cells).is_none(), "{id} is there twice");
    }

    /// One cell; `None` when it is null.
    pub fn cell(&self, id: &str, column: &str) -> Option<&str> {
        let row = self.rows.get(id).unwrap_or_else(|| panic!("there is no row {id} among {:?}", self.rows.keys()));
        row.get(column).map(String::as_str)
    }

    pub fn overflow(&self, id: &str) -> serde_json::Value {
        self.cell(id, "_overflow").map_or(serde_json::Value::Null, |text| serde_json::from_str(text).unwrap())
    }
}

/// The one text of a value, so that tables of different warehouses compare: numbers in plain notation, instants with
/// six fraction digits, JSON compact with sorted keys.
pub fn canonical(kind: Type, text: &str) -> String {
    match kind {
        Type::Boolean => match text {
            "t" | "1" | "true" | "True" | "TRUE" => "true".to_owned(),
            "f" | "0" | "false" | "False" | "FALSE" => "false".to_owned(),
            other => panic!("{other:?} is no boolean"),
        },
        Type::Integer | Type::Decimal => number_text(text).into_owned(),
        Type::Timestamp => {
            let instant: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            instant.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
        }
        Type::Json => {
            let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            value.to_string()
        }
        Type::Text => text.to_owned(),
    }
}

/// A warehouse opened as a sync opens it, driven by hand.
pub struct Subject {
    runtime: tokio::runtime::Runtime,
    destination: Option<Box<dyn Destination>>,
}

impl Subject {
    pub fn open<R: Rig>(rig: &R) -> Self {
        Self::of(rig, "sync", None)
    }

    pub fn of<R: Rig>(rig: &R, sync: &str, schema: Option<&str>) -> Self {
        Self::with(rig, sync, schema, Limits::default(), Declared::default())
    }

    pub fn with<R: Rig>(rig: &R, sync: &str, schema: Option<&str>, limits: Limits, declared: Declared) -> Self {
        let part = SyncPart { sync: sync.to_owned(), schema: schema.map(str::to_owned), declared: Arc::new(declared) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // As in a server, whatever opens may spawn.
        let destination = runtime.block_on(async { rig.open(&part, limits) }).unwrap();
        Self { runtime, destination: Some(destination) }
    }

    pub fn durable_to(&mut self) -> Option<u64> {
        self.runtime.block_on(self.destination.as_mut().unwrap().durable_to()).unwrap()
    }

    /// Delivers as a sync does: a failure worth another try is tried again, and what is refused is left out.
    pub fn deliver(&mut self, batch: Batch) -> Delivery {
        let (delivery, refused) = self.deliver_refusing(batch);
        assert_eq!(refused, [], "nothing is refused");
        delivery
    }

    /// The same; with the delivery comes what was refused, each with its index among the events of `batch`.
    pub fn deliver_refusing(&mut self, batch: Batch) -> (Delivery, Vec<Rejected>) {
        let mut batch = Arc::new(batch);
        let (mut places, mut refused): (Vec<usize>, _) = ((0..batch.events.len()).collect(), Vec::new());
        for _ in 0..5 {
            match self.runtime.block_on(self.destination.as_mut().unwrap().deliver(Arc::clone(&batch))) {
                Ok(delivery) => {
                    assert_eq!(delivery.rejected, [], "a warehouse names what it refuses before its ledger moves");
                    return (delivery, refused);
                }
                Err(Failure::Refused { rejected }) => {
                    batch = Arc::new(batch.without(&rejected));
                    let gone: Vec<usize> = rejected.iter().map(|rejected| rejected.index).collect();
                    let moved = rejected.into_iter().map(|one| Rejected { index: places[one.index], ..one });
                    refused.extend(moved.collect::<Vec<_>>());
                    let kept = places.iter().enumerate().filter(|(at, _)| !gone.contains(at));
                    places = kept.map(|(_, place)| *place).collect();
                }
                Err(Failure::Retry { .. }) => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        panic!("five tries and no delivery")
    }

    pub fn try_deliver(&mut self, batch: Batch) -> Result<Delivery, Failure> {
        self.runtime.block_on(self.destination.as_mut().unwrap().deliver(Arc::new(batch)))
    }

    /// Lets a delivery come as far as its pause number `pauses` and drops it there, as a crash does; whether it had
    /// come to an end before.
    pub fn deliver_cut(&mut self, batch: Batch, pauses: usize) -> bool {
        let destination = self.destination.as_mut().unwrap();
        self.runtime.block_on(async move {
            let mut delivery = destination.deliver(Arc::new(batch));
            let mut left = pauses;
            std::future::poll_fn(|context| match delivery.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await
        })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        drop(self.destination.take());
    }
}

/// The root of the repository.
#[must_use]
pub fn repository() -> std::path::PathBuf {
    std::fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).unwrap()
}

/// Where `tests/warehouses/setup` has put servers and engines.
#[expect(clippy::disallowed_methods, reason = "where the engines are is said from outside")]
#[must_use]
pub fn cache() -> std::path::PathBuf {
    match std::env::var("TIDEGATE_WAREHOUSE_CACHE") {
        Ok(cache) => cache.into(),
        Err(_) => std::path::Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache/tidegate/warehouses"),
    }
}

/// Runs one case, or says why not.
pub fn run<R: Rig>(name: &str, case: fn(&R)) {
    let lack = R::LACKS.iter().find(|(case, _)| name.rsplit("::").next() == Some(case));
    if let Some((_, lack)) = lack {
        return skipped(name, lack);
    }
    match R::new() {
        Ok(rig) => case(&rig),
        Err(lack) => skipped(name, &lack),
    }
}

/// Reports what this machine lacks: `make test` shows these lines last.
pub fn skipped(name: &str, lack: &str) {
    let line = format!("skipped: {name}: {}\n", lack.lines().next().unwrap_or_default());
    print!("{line}");
    // The folder that `make` keeps it in: above the one of the test binaries.
    let binary = std::env::current_exe().unwrap();
    let target = binary.ancestors().find(|folder| folder.ends_with("deps")).and_then(|deps| deps.parent()?.parent());
    let log = target.unwrap().join("skipped.log");
    let mut log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    std::io::Write::write_all(&mut log, line.as_bytes()).unwrap();
}

/// One test for each case, so that each is listed by its name.
#[macro_export]
macro_rules! suite {
    ($rig:ty) => {
        $crate::suite!($rig:
            tables: a_track_becomes_two_rows_with_the_documented_columns the_other_kinds_have_their_own_columns
                a_late_column_is_null_before_it a_thousand_columns_and_then_overflow
                the_latest_traits_of_users_and_accounts_are_views
                of_traits_of_the_same_time_those_received_later_win an_event_called_like_a_view_gives_way_to_it
                a_view_of_the_latest_traits_gives_way_to_who_has_its_name
                further_event_names_share_the_overflow_table violations_are_rows_and_come_once schemas_keep_apart;
            types: every_type_comes_back_as_it_came two_types_join_in_either_order an_instant_is_one_however_it_is_spelled base_columns_hold_ids_and_instants
                numbers_keep_every_digit
                a_type_that_flips_ends_as_text_and_keeps_every_value types_declared_in_advance_win;
            hostile: names_that_look_like_sql_are_only_names values_come_back_byte_for_byte
                two_paths_for_one_column_are_both_kept the_character_nul_is_kept
                a_column_whose_first_value_does_not_fit_becomes_no_narrower;
            exactly_once: the_same_batch_twice_is_there_once overlapping_batches_after_a_reopening_leave_each_event_once
                a_backfill_of_the_same_range_changes_nothing an_id_that_comes_again_keeps_its_first_row
                two_syncs_keep_their_own_ledgers an_empty_batch_moves_the_ledger_and_a_gap_is_told
                cut_off_at_any_pause_nothing_is_lost_and_nothing_doubled;
            operators: a_column_added_by_another_writer_is_used a_column_dropped_by_an_operator_comes_back
                a_column_retyped_by_an_operator_is_taken_as_it_is a_table_of_somebody_else_is_left_alone
                a_change_that_something_is_in_the_way_of_waits_and_stops_nothing
                a_change_that_waits_is_tried_again_while_the_sync_goes_on
                a_row_that_is_refused_stands_alone a_permission_that_is_missing_stops_and_loses_nothing;
            order: neither_order_nor_batching_shows_in_the_tables;
            swapped: rebuilt_tables_take_the_place_of_those_that_are_read
                tables_that_are_not_as_far_as_they_have_to_be_are_not_swapped;
        );
    };
    ($rig:ty: $($theme:ident: $($case:ident)*;)*) => {
        $($(
            #[test]
            fn $case() {
                $crate::run::<$rig>(concat!(module_path!(), "::", stringify!($case)), $crate::$theme::$case::<$rig>);
            }
        )*)*
    };
}
