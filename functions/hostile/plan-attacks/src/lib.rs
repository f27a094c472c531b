//! A destination plugin that attacks its host.
//!
//! The first event's `properties.attack` says what `prepare` does; the tag of a request says what `classify` does.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

use exports::tidegate::plugin::destination::{
    self, BatchError, Method, Plan, PluginError, Request, Response, Skipped, Verdict,
};
use exports::tidegate::plugin::lifecycle::{self, Setup};
use serde_json::Value;
use tidegate::plugin::secrets::{self, Mac, MacKey};
use tidegate::plugin::types::ErrorKind;

wit_bindgen::generate!({ path: "../../../wit", world: "destination-plugin" });

struct PlanAttacks;

impl lifecycle::Guest for PlanAttacks {
    fn configure(_: Setup) -> Result<(), PluginError> {
        Ok(())
    }
}

impl destination::Guest for PlanAttacks {
    fn prepare(batch: Vec<String>) -> Result<Plan, BatchError> {
        let first: Value = batch.first().and_then(|event| serde_json::from_str(event).ok()).unwrap_or_default();
        let events: Vec<u32> = (0..batch.len() as u32).collect();
        let plain = request("https://api.example.com/", Vec::new(), events);
        let only = |request| Ok(Plan { requests: vec![request], skipped: Vec::new(), failed: Vec::new() });
        match first["properties"]["attack"].as_str().unwrap_or_default() {
            "million-requests" => {
                let requests = (0..1_000_000).map(|_| request("", Vec::new(), Vec::new())).collect();
                Ok(Plan { requests, skipped: Vec::new(), failed: Vec::new() })
            }
            "huge-body" => only(request("https://api.example.com/", vec![b'x'; 40 << 20], vec![0])),
            "many-headers" => {
                let headers = vec![("x".to_owned(), "y".to_owned()); 200_000];
                only(Request { headers, ..plain })
            }
            "many-indexes" => only(request("https://api.example.com/", Vec::new(), vec![0; 4 << 20])),
            "huge-tag" => only(Request { tag: "t".repeat(20 << 20), ..plain }),
            "many-skipped" => {
                let skipped = (0..500_000).map(|event| Skipped { event, reason: String::new() }).collect();
                Ok(Plan { requests: Vec::new(), skipped, failed: Vec::new() })
            }
            "loop" => loop {
                black_box(0);
            },
            "trap" => panic!("as asked"),
            "fatal" => Err(BatchError::Fatal(plugin_error("given-up"))),
            "sign-unknown" => {
                let answer = secrets::sign(Mac::HmacSha256, &MacKey::Named("nobodys".to_owned()), b"data");
                only(Request { tag: format!("{answer:?}"), ..plain })
            }
            _ => only(plain),
        }
    }

    fn classify(tag: String, events: Vec<u32>, _: Response) -> Verdict {
        match tag.as_str() {
            "loop" => loop {
                black_box(0);
            },
            "trap" => panic!("as asked"),
            "many-indexes" => Verdict::Partial((0..4_000_000).map(|event| (event, true)).collect()),
            "outside" => Verdict::Partial(vec![(u32::MAX, false)]),
            "long-words" => Verdict::Rejected(plugin_error(&"\u{1b}[2J".repeat(10_000))),
            "forever" => Verdict::Retry(Some(u32::MAX)),
            _ => Verdict::Partial(events.into_iter().map(|event| (event, false)).collect()),
        }
    }
}

fn request(url: &str, body: Vec<u8>, events: Vec<u32>) -> Request {
    Request { method: Method::Post, url: url.to_owned(), headers: Vec::new(), body, events, tag: String::new() }
}

fn plugin_error(code: &str) -> PluginError {
    PluginError { kind: ErrorKind::Internal, code: code.to_owned(), message: String::new() }
}

export!(PlanAttacks);
