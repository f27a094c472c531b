use tidegate_stream_suite::{batch, delivered, destination, run_case, stream_suite};

use crate::rig::MemoryRig;

stream_suite!(MemoryRig<true>);

#[test]
fn a_ledger_that_was_there_before_the_server_knew_the_sync_is_told_once() {
    run_case("a ledger that was there before", async |rig: &MemoryRig<true>| {
        for (cursor, range, told) in [(None, 0..5, 0), (Some(5), 5..7, 0), (None, 7..9, 1)] {
            let mut sync = destination(rig, "sync", cursor);
            let end = range.end;
            let notices = delivered(&mut sync, batch(range, "events")).await.delivery.notices;
            assert_eq!(notices.iter().filter(|notice| notice.contains("`ledger`")).count(), told, "{notices:?}");
            let notices = delivered(&mut sync, batch(end..end, "events")).await.delivery.notices;
            assert!(notices.is_empty(), "{notices:?}");
        }
    });
}
