//! Against a real account, where its credentials are in the environment:
//!
//! `TIDEGATE_SNOWFLAKE_ACCOUNT`, `_USER`, `_PRIVATE_KEY_FILE`, `_WAREHOUSE`, `_DATABASE` and perhaps `_ROLE`. Each run makes a
//! schema of its own, `TIDEGATE_TEST_<random>`, and leaves it there.

use super::open;
use std::path::PathBuf;

use serde_json::json;
use tidegate_process::clock;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_snowflake::{self as snowflake, Auth, LoadMode};

use tidegate_warehouse_suite::events::{batch, numbered, parsed, track};
use tidegate_warehouse_suite::skipped;

#[expect(clippy::disallowed_methods, reason = "credentials for a live test come from the environment")]
fn settings() -> Result<snowflake::SnowflakeSettings, String> {
    let get = |name: &str| {
        let name = format!("TIDEGATE_SNOWFLAKE_{name}");
        std::env::var(&name).map_err(|_| format!("{name} is not set"))
    };
    let auth = Auth::KeyFile(PathBuf::from(get("PRIVATE_KEY_FILE")?));
    let account = snowflake::SnowflakeSettings::new(&get("ACCOUNT")?, &get("USER")?, &get("DATABASE")?, auth);
    Ok(snowflake::SnowflakeSettings { warehouse: Some(get("WAREHOUSE")?), role: get("ROLE").ok(), ..account })
}

fn drive(load: LoadMode) {
    let settings = match settings() {
        Ok(settings) => snowflake::SnowflakeSettings { load, ..settings },
        Err(lack) => return skipped(&format!("snowflake::live::{load:?}"), &lack),
    };
    let schema = format!("tidegate_test_{}", &clock::uuid()[..8]);
    let part = SyncPart { sync: "live".to_owned(), schema: Some(schema), ..SyncPart::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut destination = open(&settings, &part).unwrap();
        assert_eq!(destination.durable_to().await.unwrap(), None);
        let delivery = destination.deliver(numbered(0..100).into()).await.unwrap();
        assert_eq!((delivery.delivered, delivery.rejected.len()), (100, 0));
        let values = json!({ "n": "text", "d": parsed("0.1000000000000000055"), "list": [1, "a"], "far": parsed("[1e400]"),
            "at": "2024-05-06T07:08:09.123Z", "b": true, "odd": "a\"\n\\\u{1}é🎉" });
        destination.deliver(batch(vec![track(100, "m100", "E", values)]).into()).await.unwrap();
        let again = open(&settings, &part).unwrap().durable_to().await.unwrap();
        assert_eq!(again, Some(101));
        let delivery = open(&settings, &part).unwrap().deliver(numbered(90..101).into()).await.unwrap();
        assert_eq!((delivery.delivered, delivery.duplicates), (11, 11));
        let found = settings.clone().check(&part).unwrap().open().unwrap().find().await.unwrap();
        assert!(found.tables.contains_key("e") && found.tables.contains_key("tracks"));
    });
}

#[test]
fn a_real_account_takes_batches_by_files() {
    drive(LoadMode::Staged);
}

#[test]
fn a_real_account_takes_batches_by_streaming() {
    drive(LoadMode::Streaming);
}
