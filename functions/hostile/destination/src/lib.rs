//! A destination plugin that posts events to `endpoint`, `per_request` at a time.
//!
//! An event's `properties.attack` says what that one event does to the batch it is in; every other event is delivered
//! as it should be, so that a test can see that neighbours were spared.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;
use std::sync::OnceLock;

use exports::tidegate::plugin::destination::{
    self, BatchError, Failed, Method, Plan, Request, Response, Skipped, Verdict,
};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use serde_json::Value;
use tidegate::plugin::types::ErrorKind;
use tidegate::plugin::{host, secrets};

wit_bindgen::generate!({ path: "../../../wit", world: "destination-plugin" });

struct Hostile;

static SETTINGS: OnceLock<Value> = OnceLock::new();

impl lifecycle::Guest for Hostile {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings: Value = serde_json::from_str(&setup.settings_json).unwrap_or_default();
        if settings["endpoint"].as_str().is_none() {
            return Err(plugin_error("no-endpoint", "the setting `endpoint` is missing"));
        }
        SETTINGS.get_or_init(|| settings);
        Ok(())
    }
}

impl destination::Guest for Hostile {
    fn prepare(batch: Vec<String>) -> Result<Plan, BatchError> {
        let mut plan = Plan { requests: Vec::new(), skipped: Vec::new(), failed: Vec::new() };
        let mut plain = Vec::new();
        for (event, json) in (0_u32..).zip(&batch) {
            let parsed: Value = serde_json::from_str(json).unwrap_or_default();
            match parsed["properties"]["attack"].as_str() {
                None => plain.push((event, json.as_str())),
                // In company, as a plugin has it that does not look at what its language writes.
                Some("infinite") => plain.push((event, r#"{"price":Infinity}"#)),
                Some(attack) => commit(attack, event, &parsed, &mut plan)?,
            }
        }
        let settings = SETTINGS.get().cloned().unwrap_or_default();
        let per_request = settings["per_request"].as_u64().unwrap_or(10).max(1) as usize;
        for chunk in plain.chunks(per_request) {
            let body = chunk.iter().map(|(_, json)| *json).collect::<Vec<_>>().join(",");
            let mut request = request(chunk.iter().map(|(event, _)| *event).collect());
            request.body = format!("[{body}]").into_bytes();
            plan.requests.push(request);
        }
        Ok(plan)
    }

    fn classify(tag: String, events: Vec<u32>, response: Response) -> Verdict {
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        if body["trap"] == true {
            panic!("as asked");
        }
        if body["stray"] == true {
            return Verdict::Partial(vec![(events.iter().max().unwrap_or(&0) + 1, true)]);
        }
        match response.status {
            200..300 => {
                // Positions within the request that the far side did not take; true for "later".
                let marked = body["failed"].as_array().map(Vec::as_slice).unwrap_or_default();
                let marked: Vec<(u32, bool)> = marked
                    .iter()
                    .filter_map(|item| Some((*events.get(item[0].as_u64()? as usize)?, item[1].as_bool()?)))
                    .collect();
                if marked.is_empty() { Verdict::Delivered } else { Verdict::Partial(marked) }
            }
            401 => Verdict::Reauthenticate,
            422 => Verdict::Bisect(plugin_error("one-of-them", "no word about which")),
            402 => Verdict::Disable(plugin_error("unpaid", "pay the bill")),
            408 | 429 | 500.. => Verdict::Retry(None),
            status => Verdict::Rejected(plugin_error("refused", &format!("{status} for {tag}"))),
        }
    }
}

fn request(events: Vec<u32>) -> Request {
    let settings = SETTINGS.get().cloned().unwrap_or_default();
    Request {
        method: Method::Post,
        url: format!("{}/events", settings["endpoint"].as_str().unwrap_or_default()),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-key".to_owned(), settings["key"].as_str().unwrap_or("none").to_owned()),
        ],
        body: Vec::new(),
        events,
        tag: "t".to_owned(),
    }
}

fn commit(attack: &str, event: u32, parsed: &Value, plan: &mut Plan) -> Result<(), BatchError> {
    let mut request = request(vec![event]);
    let text = |name: &str| parsed["properties"][name].as_str().unwrap_or_default().to_owned();
    match attack {
        "panic" => panic!("as asked"),
        "loop" => loop {
            black_box(0);
        },
        "fatal" => return Err(BatchError::Fatal(plugin_error("poison", "cannot be planned"))),
        "skip" => return Ok(plan.skipped.push(Skipped { event, reason: "unwanted".to_owned() })),
        "fail" => return Ok(plan.failed.push(Failed { event, error: plugin_error("no-email", "an email is needed") })),
        "forget" => return Ok(()),
        "twice" => plan.skipped.push(Skipped { event, reason: "and sent".to_owned() }),
        "stray" => request.events.push(1_000_000),
        "flood" => {
            // As lean as can be, so that the host and not the guest's own memory has to say no.
            (request.url, request.headers, request.tag) = Default::default();
            request.events.clear();
            plan.requests.reserve_exact(1_000_002);
            plan.requests.resize(1_000_000, request.clone());
        }
        "many" => plan.requests.resize(201, request.clone()),
        "bomb" => request.body = vec![b'x'; 2 << 20],
        "url" => request.url = text("url"),
        "header" => request.headers.push((text("name"), text("value"))),
        "body" => {
            request.headers[0].1 = text("type");
            request.body = text("body").into_bytes();
        }
        "log" => host::log(host::Level::Info, &text("text")),
        "sign" => {
            let key = secrets::MacKey::Named(text("key"));
            let signed = secrets::sign(secrets::Mac::HmacSha256, &key, text("data").as_bytes());
            let signed = signed.map_or_else(|error| error, |mac| mac.iter().map(|b| format!("{b:02x}")).collect());
            request.headers.push(("x-mac".to_owned(), signed));
        }
        _ => {}
    }
    plan.requests.push(request);
    Ok(())
}

fn plugin_error(code: &str, message: &str) -> PluginError {
    PluginError { kind: ErrorKind::InvalidEvent, code: code.to_owned(), message: message.to_owned() }
}

export!(Hostile);
