//! A small shop's traffic, in the dialects of three SDK families, with the mishaps of real life.

use std::io::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_process::clock;

use crate::cli::client::{ConnectArgs, IngestClient, ServerAnswer};
use crate::cli::{CommandFailure, traffic};

const EVENTS: u64 = 240;

/// Sends everything and says what it sends.
pub(super) async fn send(url: &str, key: &str) -> Result<(), CommandFailure> {
    let client = IngestClient::new(url, key, &ConnectArgs::default())?;
    let now_us = clock::now_us();
    let mut events: Vec<Value> = (0..EVENTS).map(|n| traffic::event(n, "demo", now_us)).collect();
    let json_type = ("content-type", "application/json");

    let singles: Vec<Value> = events.drain(..20).collect();
    for mut event in singles {
        event["writeKey"] = json!(key);
        let path = format!("/v1/{}", event["type"].as_str().unwrap_or("track"));
        taken(&path, client.without_key(&path, event.to_string().into()).await?)?;
    }
    println!("   20 single events with the key in the body, as the Hightouch browser SDK sends them");

    let singles: Vec<Value> = events.drain(..20).collect();
    for event in singles {
        let path = format!("/v1/{}", &event["type"].as_str().unwrap_or("t")[..1]);
        let text = [("content-type", "text/plain")];
        taken(&path, client.with_key(&path, &text, event.to_string().into()).await?)?;
    }
    println!("   20 single events as text/plain, as the Segment browser SDK sends them");

    let batch: Vec<Value> = events.drain(..100).collect();
    let body = json!({"batch": batch, "sentAt": tidegate_event::time::format_millis(now_us)}).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes())?;
    let zipped = Bytes::from(gzip.finish()?);
    let headers = [json_type, ("content-encoding", "gzip")];
    taken("/v1/batch", client.with_key("/v1/batch", &headers, zipped.clone()).await?)?;
    println!("   100 events in one gzipped batch, as the RudderStack server SDKs send them");
    taken("/v1/batch", client.with_key("/v1/batch", &headers, zipped).await?)?;
    println!("   the same batch again: its first answer was lost on the way");

    events.extend(mishaps());
    let body = json!({"batch": events, "sentAt": tidegate_event::time::format_millis(now_us)}).to_string();
    // Something that no JSON library would write, in the middle of a good batch.
    let body = body.replacen("\"demo-broken\"", "NaN", 1);
    taken("/v1/batch", client.batch(body.into()).await?)?;
    println!("   a batch with four bad events among {} good ones", events.len() - 4);
    Ok(())
}

/// Orders that the contract does not take, and one event that is no JSON.
fn mishaps() -> Vec<Value> {
    let order = |n: u32, properties: Value| json!({"type": "track", "event": "Order Completed", "messageId": format!("bad-{n}"), "userId": "user-7", "properties": properties});
    vec![
        order(1, json!({"order_id": "o-1", "revenue": -5})),
        order(2, json!({"order_id": 1234, "revenue": 12.5})),
        order(3, json!({"revenue": "12.50"})),
        // Not bad: a field that the contract does not know is left out, and noted.
        order(4, json!({"order_id": "o-4", "revenue": 7.25, "currency": "EUR", "internal_margin": 0.4})),
        json!({"type": "track", "event": "Sensor Read", "messageId": "bad-5", "properties": {"value": "demo-broken"}}),
    ]
}

fn taken(path: &str, answer: ServerAnswer) -> Result<(), CommandFailure> {
    if answer.status == 200 {
        return Ok(());
    }
    Err(CommandFailure::Failed(format!("{path} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body))))
}
