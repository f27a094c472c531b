//! A PostgreSQL server that ends connections: the next transaction has another one.

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
