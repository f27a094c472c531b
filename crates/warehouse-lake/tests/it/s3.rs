//! A lake in a bucket, over the S3 protocol.

use super::open;
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::json;
use tidegate_event::destination::Failure;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_lake::{self as lake, ObjectPlace};

use super::crash::ten;
use super::others::tidy;
use super::rig::reader;
use super::seen_by;
use tidegate_warehouse_suite::events::numbered;
use tidegate_warehouse_suite::{Act, Rig, Subject, TablesSeen, suite};

suite!(Bucket);

struct Bucket {
    endpoint: String,
    name: String,
}

impl Bucket {
    fn lake_settings(&self) -> lake::LakeSettings {
        let mut settings =
            lake::LakeSettings::new(ObjectPlace::parse(&format!("s3://{}/some/lake", self.name)).unwrap());
        for (key, value) in [
            ("endpoint", &*self.endpoint),
            ("region", "us-east-1"),
            ("access_key_id", "key"),
            ("secret_access_key", "secret"),
        ] {
            settings.options.set(key, value);
        }
        settings
    }

    /// A copy of the bucket in a folder.
    fn copy(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        reader::ask(&json!({ "do": "download", "bucket": self.name, "to": folder.path().to_str().unwrap() }));
        folder
    }
}

impl Rig for Bucket {
    const KEEPS_FIRST: bool = false;

    fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        reader::ready()?;
        let endpoint = reader::ask(&json!({ "do": "s3" }))["endpoint"].as_str().unwrap().to_owned();
        let name = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        reader::ask(&json!({ "do": "bucket", "name": name }));
        Ok(Self { endpoint, name })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&lake::LakeSettings { limits, ..self.lake_settings() }, part)
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        let copy = self.copy();
        seen_by("duckdb", copy.path().join("some/lake").to_str().unwrap(), schema.unwrap_or("events"))
    }

    fn act(&self, _: &Act) -> bool {
        false
    }
}

#[test]
fn two_syncs_of_one_bucket_commit_one_after_the_other() {
    let Ok(bucket) = Bucket::new().map_err(|lack| println!("skipped: {lack}")) else { return };
    let write = |sync: &'static str, schema: &'static str| {
        let rig = super::crash::Merging(lake::LakeSettings { merge_files_min: 3, ..bucket.lake_settings() });
        std::thread::spawn(move || {
            let mut subject = Subject::of(&rig, sync, Some(schema));
            (0..6).for_each(|at| drop(subject.deliver(ten(at * 10))));
        })
    };
    let writers = [write("a", "events"), write("b", "shop")];
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    tidy(&bucket.lake_settings());
    for schema in ["events", "shop"] {
        let seen = bucket.seen(Some(schema));
        assert_eq!(seen["tracks"].rows.len(), 60, "{schema}");
        assert_eq!(seen["e"].cell("m47", "v"), Some("text"));
    }
}

#[test]
fn a_bucket_that_is_not_there_is_told_and_a_server_that_is_away_is_waited_for() {
    let Ok(bucket) = Bucket::new().map_err(|lack| println!("skipped: {lack}")) else { return };
    let missing = Bucket { name: "nobody-made-it".to_owned(), endpoint: bucket.endpoint.clone() };
    let failure = Subject::open(&missing).try_deliver(numbered(0..3)).unwrap_err();
    assert!(matches!(&failure, Failure::Stop { advice, .. } if advice.contains("create the bucket")), "{failure}");
    // A port that somebody had and gave back: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = Bucket { endpoint: format!("http://127.0.0.1:{port}"), name: bucket.name.clone() };
    let mut subject = Subject::open(&away);
    let failure = subject.try_deliver(numbered(0..3)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    for failure in [failure.to_string(), format!("{failure:?}")] {
        assert!(!failure.contains("secret"), "{failure}");
    }
}
