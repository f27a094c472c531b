//! Files in a bucket, over the S3 protocol, read by an engine of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectOptions, ObjectPlace};
use tidegate_stream::{StreamError, StreamTarget};
use tidegate_stream_s3::{FileCompression, S3Target};
use tidegate_stream_suite::{StreamRig, stream_suite};

use crate::folder::TOPIC;
use crate::reader;

/// A bucket of its own, in a server for all tests.
struct FilesInBucket {
    name: String,
    target: Arc<S3Target>,
}

impl FilesInBucket {
    fn at(endpoint: &str, name: String) -> Self {
        let mut options = ObjectOptions::default();
        for (key, value) in
            [("endpoint", endpoint), ("region", "us-east-1"), ("access_key_id", "key"), ("secret_access_key", "hush")]
        {
            options.set(key, value);
        }
        let place = ObjectPlace::S3 { bucket: name.clone(), prefix: "some/raw".to_owned() };
        let target = S3Target::new(place, options, WebSettings::default(), FileCompression::Zstd);
        Self { name, target: Arc::new(target) }
    }
}

impl StreamRig for FilesInBucket {
    async fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        reader::ready()?;
        let endpoint = reader::ask(&json!({ "do": "s3" }))["endpoint"].as_str().unwrap().to_owned();
        let name = format!("raw-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        reader::ask(&json!({ "do": "bucket", "name": name }));
        Ok(Self::at(&endpoint, name))
    }

    fn target(&self) -> Arc<dyn StreamTarget> {
        Arc::<S3Target>::clone(&self.target)
    }

    fn topic(&self) -> String {
        TOPIC.to_owned()
    }

    fn refused_topic(&self) -> Option<String> {
        Some("_tidegate".to_owned())
    }

    async fn seen(&self) -> Vec<String> {
        let copy = tempfile::tempdir().unwrap();
        reader::ask(&json!({ "do": "download", "bucket": self.name, "to": copy.path().to_str().unwrap() }));
        let files = copy.path().join("some/raw").join(TOPIC).join("*.jsonl.zst");
        let answer = reader::ask(&json!({ "do": "lines", "files": files.to_str().unwrap() }));
        let lines = answer["lines"].as_array().unwrap();
        lines.iter().map(|line: &Value| line["json"].as_str().unwrap().to_owned()).collect()
    }
}

stream_suite!(FilesInBucket);

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_and_a_server_that_is_away_is_waited_for() {
    let bucket = match FilesInBucket::new().await {
        Ok(bucket) => bucket,
        Err(lack) => return println!("skipped: {lack}"),
    };
    assert_eq!(bucket.target().check().await.unwrap(), ["it answers, and no sync has written to it yet"]);
    let endpoint = reader::ask(&json!({ "do": "s3" }))["endpoint"].as_str().unwrap().to_owned();
    let missing = FilesInBucket::at(&endpoint, "nobody-made-it".to_owned()).target();
    for error in [missing.check().await.unwrap_err(), missing.open("tidegate-web").await.map(drop).unwrap_err()] {
        assert!(matches!(&error, StreamError::Stop { advice, .. } if advice.contains("create the bucket")), "{error}");
    }
    // A port that somebody had and gave back: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = FilesInBucket::at(&format!("http://127.0.0.1:{port}"), bucket.name).target();
    let error = away.open("tidegate-web").await.map(drop).unwrap_err();
    assert!(matches!(error, StreamError::Retry(_)), "{error}");
    assert!(!format!("{error:?} {away:?}").contains("hush"), "{error:?} {away:?}");
}
