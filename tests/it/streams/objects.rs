//! Events go out to files in S3, which DuckDB reads.

use serde_json::{Value, json};

use super::StreamWorkspace;
use super::kinesis::aws;
use crate::support::waiting::seldom;

#[test]
fn duckdb_reads_each_event_once_from_the_files_whoever_is_killed_meanwhile() {
    let Some(mut aws) = aws("files in S3") else { return };
    aws.ask(&json!({"do": "bucket", "name": "events-of-tests"}));
    let endpoint = aws.ask(&json!({"do": "endpoint"}))["endpoint"].as_str().unwrap().to_owned();
    let streams = StreamWorkspace::new();
    streams.workspace.write(
        "destinations/files.yaml",
        &format!(
            "kind: s3\nbucket: events-of-tests\nprefix: tidegate\nregion: eu-west-1\nendpoint: {endpoint}\n\
             access_key_id: a\nsecret_access_key: b\n"
        ),
    );
    streams.workspace.write(
        "syncs/web-to-files.yaml",
        "source: web\ndestination: files\nbatch: {events_max: 500, age_max: 50 ms}\n",
    );
    let event = |n: u64| {
        json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": format!("user-{}", n % 20),
            "properties": {"n": n, "big": 9_007_199_254_740_993_u64 + 2 * n}})
    };
    let mut server = streams.workspace.serve();
    for life in 0..3_u64 {
        for batch in (life * 2_000..life * 2_000 + 2_000).map(event).collect::<Vec<Value>>().chunks(500) {
            assert_eq!(server.batch(batch).status, 200);
        }
        server.kill();
        server = streams.workspace.serve();
    }
    seldom("everything is delivered", || {
        let sync = streams.workspace.status()["syncs"]["web-to-files"].clone();
        if sync["lag"] == 0 { Ok(()) } else { Err(sync.to_string()) }
    });
    server.stop();
    let to = streams.workspace.dir.path().join("downloaded");
    let sql = "SELECT count(*), count(DISTINCT json->>'messageId'), count(DISTINCT json->>'$.properties.n'), \
               max((json->>'$.properties.big')::BIGINT), min(json->>'userId') FROM read_ndjson_objects({files})";
    let asked = json!({"do": "files", "name": "events-of-tests", "to": to, "sql": sql});
    assert_eq!(aws.ask(&asked)["rows"], json!(["6000|6000|6000|9007199254752991|user-0"]));
    let keys = aws.ask(&json!({"do": "objects", "name": "events-of-tests"}))["keys"].clone();
    let keys: Vec<&str> = keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("tidegate/")), "{keys:?}");
}
