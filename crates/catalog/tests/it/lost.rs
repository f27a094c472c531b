//! A PostgreSQL server that ends connections: the next transaction has another one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate_catalog::*;

use crate::rig::{CatalogRig, CatalogTest, KEY, PRODUCTION, PostgresRig, skipped};

#[test]
fn connections_that_are_ended_are_made_anew_and_half_a_change_is_none() {
    let rig = match PostgresRig::new() {
        Ok(rig) => rig,
        Err(lack) => return skipped("lost", &lack),
    };
    let test = CatalogTest::open(rig.store(), InstanceKey::new(KEY).into()).unwrap();
    let end_all = || {
        // Of this schema alone: other tests are at work on the same server.
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) \
             WHERE locktype = 'advisory' AND objid = (hashtext('{}')::bigint & 4294967295)::oid",
            rig.schema
        );
        rig.server.psql("postgres", &sql)
    };
    test.made(ObjectKind::Source, "web", json!({}));
    for round in 0..3 {
        test.wait(async {
            let mut transaction = test.store.begin(StoreAccess::Write).await.unwrap();
            transaction.run("UPDATE head SET revision = $1", vec![StoreCell::Integer(99)]).await.unwrap();
            assert_eq!(end_all().trim(), "t", "the writer holds its lock");
            transaction.commit().await.unwrap_err();
        });
        assert_eq!(test.wait(test.catalog.revision()).unwrap(), round + 1);
        test.made(ObjectKind::Source, &format!("s{round}"), json!({}));
    }
    assert_eq!(test.wait(test.catalog.snapshot(PRODUCTION, None)).unwrap().objects.len(), 4);
    test.verified().unwrap();
}

#[test]
fn a_node_that_stands_still_while_it_writes_holds_others_up_for_a_bounded_time() {
    let rig = match PostgresRig::new() {
        Ok(rig) => rig,
        Err(lack) => return skipped("stands still", &lack),
    };
    let test = CatalogTest::open(rig.store(), InstanceKey::new(KEY).into()).unwrap();
    let still: Arc<dyn CatalogStore> = Arc::new(rig.catalog().with_silence_max(Duration::from_secs(1)));
    let before = test.wait(test.catalog.revision()).unwrap();
    test.wait(async {
        let mut standing = still.begin(StoreAccess::Write).await.unwrap();
        standing.run("UPDATE head SET revision = $1", vec![StoreCell::Integer(99)]).await.unwrap();
        let other = tokio::time::timeout(Duration::from_secs(30), test.store.begin(StoreAccess::Write)).await;
        drop(other.unwrap().unwrap());
        // When it goes on, what it had begun is nothing.
        standing.commit().await.unwrap_err();
        still.begin(StoreAccess::Write).await.unwrap().commit().await.unwrap();
    });
    assert_eq!(test.wait(test.catalog.revision()).unwrap(), before);
}
