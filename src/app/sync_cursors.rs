//! How far each worker has come, for whoever trims the log: nothing goes that one of them still has to read.
//!
//! A worker is in here from before it runs until its place is taken or its sync is at an end, so also while it is stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The cursors of all workers.
#[derive(Debug, Default)]
pub(super) struct SyncCursors(Mutex<CursorTable>);

#[derive(Debug, Default)]
struct CursorTable {
    /// How many there ever were.
    count: u64,
    /// Of each worker its partition and its cursor.
    cursors: BTreeMap<u64, (u16, watch::Receiver<u64>)>,
}

/// A worker's place among the cursors, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldCursor {
    number: u64,
    all: Arc<SyncCursors>,
}

/// A place among the cursors of whoever reads the log beside the syncs, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldPlace {
    at: watch::Sender<u64>,
    _held: HeldCursor,
}

impl HeldPlace {
    /// What is below may go.
    pub(super) fn move_to(&self, offset: u64) {
        self.at.send_replace(offset);
    }
}

impl SyncCursors {
    /// Nothing at or above `offset` goes from now on, in this partition, until the place moves.
    pub(super) fn hold_place(self: &Arc<Self>, partition: u16, offset: u64) -> HeldPlace {
        let (at, cursor) = watch::channel(offset);
        HeldPlace { at, _held: self.hold(partition, cursor) }
    }

    /// Nothing at or above `cursor` goes from now on, in this partition.
    pub(super) fn hold(self: &Arc<Self>, partition: u16, cursor: watch::Receiver<u64>) -> HeldCursor {
        let mut table = self.0.lock();
        table.count += 1;
        let number = table.count;
        table.cursors.insert(number, (partition, cursor));
        HeldCursor { number, all: Arc::clone(self) }
    }

    /// Every sync has what is below, in this partition; `None` where there are no syncs.
    pub(super) fn floor(&self, partition: u16) -> Option<u64> {
        let table = self.0.lock();
        let of_partition = table.cursors.values().filter(|(of, _)| *of == partition);
        of_partition.map(|(_, cursor)| *cursor.borrow()).min()
    }
}

impl Drop for HeldCursor {
    fn drop(&mut self) {
        self.all.0.lock().cursors.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_counts_syncs_that_came_later_and_forgets_those_that_ended() {
        let all = Arc::<SyncCursors>::default();
        assert_eq!(all.floor(0), None);
        let (first, second, other) = (watch::Sender::new(7), watch::Sender::new(3), watch::Sender::new(1));
        let held = all.hold(0, first.subscribe());
        let _of_another_partition = all.hold(1, other.subscribe());
        assert_eq!((all.floor(0), all.floor(1)), (Some(7), Some(1)));
        let later = all.hold(0, second.subscribe());
        assert_eq!(all.floor(0), Some(3));
        second.send_replace(9);
        assert_eq!(all.floor(0), Some(7));
        // Its worker is gone, and it is only paused.
        drop(first);
        assert_eq!(all.floor(0), Some(7));
        // Another worker goes on, and has not said yet from where.
        let next = watch::Sender::new(2);
        let held_on = all.hold(0, next.subscribe());
        drop(held);
        assert_eq!(all.floor(0), Some(2));
        drop(held_on);
        assert_eq!(all.floor(0), Some(9));
        drop(later);
        assert_eq!((all.floor(0), all.floor(1)), (None, Some(1)));
    }
}
