//! What every carrier that is written to must do: one suite, run against each by name.
//!
//! A [`StreamRig`] is one far side with a place of its own for one test: how a writer is opened, and what another client finds there.
//! `stream_suite!(Rig)` makes one test of each case. [`MemoryStream`] is a far side in memory, with a ledger or without.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

pub mod cases;
mod deliveries;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use tidegate_stream::StreamTarget;

pub use deliveries::{DeliveredBatch, batch, delivered, destination, event};
pub use memory::{MemoryStream, MemoryTarget};

/// Longer than any case takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// One far side and a place in it that nobody else uses.
pub trait StreamRig: Sized {
    /// Whether messages of one key are found in the order in which they were written.
    const KEEPS_ORDER: bool = true;

    /// An empty place. An error says what this machine lacks: the test is then skipped.
    fn new() -> impl Future<Output = Result<Self, String>>;

    /// What opens writers to it.
    fn target(&self) -> Arc<dyn StreamTarget>;

    /// A topic that is there, and takes messages.
    fn topic(&self) -> String;

    /// A topic whose messages are refused each for itself; `None` where there is no such thing.
    fn refused_topic(&self) -> Option<String>;

    /// The payloads that another client finds in [`StreamRig::topic`], without those of transactions that never ended.
    fn seen(&self) -> impl Future<Output = Vec<String>>;
}

/// Runs one case of the suite.
///
/// # Panics
/// The case fails, or takes too long.
pub fn run_case<R: StreamRig>(name: &str, case: impl AsyncFnOnce(&R)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match R::new().await {
            Ok(rig) => {
                tokio::time::timeout(DEADLINE, case(&rig)).await.unwrap_or_else(|_| panic!("{name} takes too long"))
            }
            Err(lack) => eprintln!("skipped {name}: {lack}"),
        }
    });
}

/// One test of each case for a rig.
#[macro_export]
macro_rules! stream_suite {
    ($rig:ty) => {
        $crate::stream_suite!($rig:
            messages_arrive_as_they_are_and_those_of_a_user_in_order
            a_batch_that_comes_again_after_a_reopening_is_there_once_where_there_is_a_ledger
            what_is_refused_stands_alone
            an_empty_batch_moves_the_ledger
            two_syncs_keep_their_own_ledgers
            a_writer_that_was_replaced_writes_nothing_more
            a_sync_whose_ledger_somebody_else_has_moved_stops
            a_ledger_of_another_server_is_left_alone
            cut_off_at_any_pause_nothing_is_lost_and_with_a_ledger_nothing_doubled
        );
    };
    ($rig:ty: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::run_case::<$rig>(concat!(module_path!(), "::", stringify!($case)), $crate::cases::$case::<$rig>);
            }
        )*
    };
}
