//! Batches that come twice, overlapping, or after a crash leave each event once.

use tidegate_event::destination::Destination;
use tidegate_warehouse::SyncPart;

use super::*;

fn numbered(range: std::ops::Range<u64>) -> Batch {
    batch(range.map(|n| track(n, &format!("m{n}"), "E", json!({ "n": n }))).collect())
}

#[test]
fn two_syncs_to_one_file_keep_their_own_ledgers_and_share_ids() {
    let file = File::new();
    let mut one = file.client_of("one", None, Limits::default());
    let mut two = file.client_of("two", None, Limits::default());
    one.deliver(&numbered(0..10)).unwrap();
    let delivery = two.deliver(&numbered(5..15)).unwrap();
    assert_eq!((delivery.delivered, delivery.duplicates), (10, 5));
    // Columns that the one adds are seen by the other, and the other way round.
    one.deliver(&batch(vec![track(10, "x", "E", json!({ "fresh": 1, "n": "text" }))])).unwrap();
    two.deliver(&batch(vec![track(15, "y", "E", json!({ "fresh": 2, "n": 3, "also": true }))])).unwrap();
    one.deliver(&batch(vec![track(11, "z", "E", json!({ "also": false }))])).unwrap();
    assert_eq!(file.cell("e", "n", "y"), text("3"));
    assert_eq!(file.count("e"), 18);
    assert_eq!((one.durable_to().unwrap(), two.durable_to().unwrap()), (Some(12), Some(16)));
    let mut third = file.client_of("three", Some("shop"), Limits::default());
    third.deliver(&numbered(0..4)).unwrap();
    assert_eq!((file.count("shop__e"), file.count("e")), (4, 18));
}

#[test]
fn a_transaction_that_does_not_commit_leaves_nothing_behind() {
    let file = File::new();
    let mut client = file.client();
    client.deliver(&numbered(0..3)).unwrap();
    let before = tables(&file.path);
    // A trigger that somebody else made fails the ledger, after columns were added and rows written.
    let reader = file.reader();
    reader
        .execute_batch("CREATE TRIGGER stop BEFORE UPDATE ON _tidegate_ledger BEGIN SELECT raise(ABORT, 'no'); END")
        .unwrap();
    let failure = client.deliver(&batch(vec![track(3, "x", "E", json!({ "n": "text", "new": 1 }))])).unwrap_err();
    assert!(matches!(failure, Failure::Stop { .. }), "{failure}");
    assert_eq!(tables(&file.path), before);
    reader.execute_batch("DROP TRIGGER stop").unwrap();
    client.deliver(&batch(vec![track(3, "x", "E", json!({ "n": "text", "new": 1 }))])).unwrap();
    assert_eq!(file.cell("e", "n", "m1"), text("1"));
    assert_eq!(client.durable_to().unwrap(), Some(4));
    file.assert_sound();
}

#[test]
fn behind_its_thread_the_warehouse_keeps_the_same_promises() {
    let file = File::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let client = SqliteSettings::new(&file.path)
        .check(&SyncPart { sync: "sync".to_owned(), ..SyncPart::default() })
        .unwrap()
        .open()
        .unwrap();
    let mut warehouse = client.run().unwrap();
    runtime.block_on(async {
        assert_eq!(warehouse.durable_to().await.unwrap(), None);
        let delivery = warehouse.deliver(Arc::new(numbered(0..5))).await.unwrap();
        assert_eq!(delivery.delivered, 5);
        // An answer that nobody waits for: the batch is durable or it is not, and the ledger knows.
        let mut delivery = warehouse.deliver(Arc::new(numbered(5..9)));
        std::future::poll_fn(|context| {
            let _ = delivery.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
        drop(delivery);
        assert_eq!(warehouse.durable_to().await.unwrap(), Some(9));
        let delivery = warehouse.deliver(Arc::new(numbered(5..12))).await.unwrap();
        assert_eq!((delivery.delivered, delivery.duplicates), (7, 4));
    });
    drop(warehouse);
    assert_eq!(file.count("e"), 12);
}
