//! One guest that attacks its host in every way it can. Each event says how, in `properties.attack`; an event without
//! one is kept, so that a test can see what becomes of an attack's neighbours.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use exports::tidegate::plugin::{lifecycle, transformer};
use tidegate::plugin::host;
use tidegate::plugin::types::ErrorKind;
use transformer::Outcome;

struct Hostile;

/// Batches that this instance has seen; more than one means that state survived.
static BATCHES: AtomicU32 = AtomicU32::new(0);

impl lifecycle::Guest for Hostile {
    fn configure(setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        if setup.settings_json.contains("refuse") {
            return Err(error("bad-settings", "these settings are refused"));
        }
        Ok(())
    }
}

impl transformer::Guest for Hostile {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, transformer::BatchError> {
        BATCHES.fetch_add(1, Ordering::Relaxed);
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in &batch {
            let event: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
            match event["properties"]["attack"].as_str() {
                None => outcomes.push(Outcome::Keep),
                Some("too-few") => {}
                Some("too-many") => outcomes.extend([Outcome::Keep, Outcome::Keep]),
                Some("fatal") => return Err(transformer::BatchError::Fatal(error("gave-up", "the batch is beyond me"))),
                Some("retryable") => {
                    return Err(transformer::BatchError::Retryable((error("later", "try again"), Some(1))));
                }
                Some(attack) => outcomes.push(one(attack)),
            }
        }
        Ok(outcomes)
    }
}

fn one(attack: &str) -> Outcome {
    match attack {
        "loop" => loop {
            black_box(0);
        },
        "memory-bomb" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(Vec::<u8>::with_capacity(4 << 20)));
            }
        }
        // Asks for memory until the host says no, and goes on.
        "memory-greed" => {
            while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
            Outcome::Keep
        }
        "recursion" => Outcome::Drop(recurse(1).to_string()),
        "huge-return" => Outcome::Replace("x".repeat(40 << 20)),
        "many-events" => Outcome::Emit(vec!["{}".to_owned(); 1_000_000]),
        "panic" => panic!("on purpose"),
        "bad-json" => Outcome::Replace("{not json".to_owned()),
        "not-an-event" => Outcome::Replace("[1]".to_owned()),
        "log-flood" => {
            for n in 0..100_000 {
                host::log(host::Level::Info, &format!("line {n} \u{1b}[31m {}", "x".repeat(2_000)));
                host::count(&format!("counter {n}"), 1);
            }
            Outcome::Keep
        }
        "long-words" => Outcome::Fail(error(&"c".repeat(10_000), &"m\u{1b}".repeat(10_000))),
        "state" => Outcome::Replace(format!(
            r#"{{"type":"track","event":"State","properties":{{"batches":{},"now":{},"seed":{}}}}}"#,
            BATCHES.load(Ordering::Relaxed),
            host::now_ms(),
            host::seed()
        )),
        other => Outcome::Drop(format!("unknown attack {other}")),
    }
}

#[inline(never)]
fn recurse(n: u64) -> u64 {
    let pad = black_box([n; 64]);
    black_box(recurse(pad[(n % 64) as usize] + 1) + 1)
}

fn error(code: &str, message: &str) -> lifecycle::PluginError {
    lifecycle::PluginError { kind: ErrorKind::Internal, code: code.to_owned(), message: message.to_owned() }
}

export!(Hostile);
