//! One guest that attacks its host in every way it can.
//!
//! The setting `{"mode": ".."}` says how the whole instance behaves; an event's `properties.attack` says what that one
//! event does to the batch it is in. Every other event is replaced by `{"fine": <its properties.n>}`, so that a test
//! can see that neighbours were spared. Attacks that begin with `tell-` say what it was given, in every way in which a guest says something.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use exports::tidegate::plugin::transformer::{self, BatchError, Outcome};
use serde_json::Value;
use tidegate::plugin::types::ErrorKind;
use tidegate::plugin::{host, lookup};

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

struct Hostile;

static MODE: OnceLock<String> = OnceLock::new();

/// As it was given them, for attacks that tell them to whoever listens.
static SETTINGS: OnceLock<String> = OnceLock::new();

/// Outlives a batch only where an instance does.
static EVENTS_SEEN: AtomicU64 = AtomicU64::new(0);

impl lifecycle::Guest for Hostile {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings: Value = serde_json::from_str(&setup.settings_json).unwrap_or_default();
        let mode = settings["mode"].as_str().unwrap_or_default();
        match mode {
            "refuse-settings" => return Err(plugin_error("bad-settings", "these settings \u{1b}[31mwill not do\n")),
            "refuse-by-settings" => return Err(plugin_error("bad-settings", &setup.settings_json)),
            "loop-in-configure" => spin(),
            "trap-in-configure" => panic!("in configure"),
            _ => {}
        }
        MODE.get_or_init(|| mode.to_owned());
        SETTINGS.get_or_init(|| setup.settings_json.clone());
        Ok(())
    }
}

impl transformer::Guest for Hostile {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, BatchError> {
        match MODE.get().map(String::as_str).unwrap_or_default() {
            "count" => return Ok(batch.iter().map(|_| counted()).collect()),
            "clock" => return Ok(batch.iter().map(|_| clocked()).collect()),
            "refuse-piece" => return Ok(batch.iter().map(|event| refused_piece(event)).collect()),
            "pieces" => return Ok(batch.iter().map(|event| in_pieces(event)).collect()),
            "always-retry" => return Err(BatchError::Retryable((plugin_error("busy", "come again"), Some(1)))),
            "always-fatal" => return Err(BatchError::Fatal(plugin_error("given-up", "cannot work like this"))),
            "none-for-all" => return Ok(Vec::new()),
            _ => {}
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for event in &batch {
            let event: Value = serde_json::from_str(event).unwrap_or_default();
            let properties = &event["properties"];
            match properties["attack"].as_str() {
                Some("too-few") => {}
                Some("too-many") => outcomes.extend([Outcome::Keep, Outcome::Keep]),
                Some("fatal") => return Err(BatchError::Fatal(plugin_error("poison", "one of these is poison"))),
                Some("tell-fatal") => return Err(BatchError::Fatal(plugin_error("poison", told()))),
                Some("retry") => return Err(BatchError::Retryable((plugin_error("busy", "come again"), None))),
                Some(attack) => outcomes.push(commit(attack)),
                None => outcomes.push(Outcome::Replace(format!(r#"{{"fine":{}}}"#, properties["n"]))),
            }
        }
        Ok(outcomes)
    }
}

fn commit(attack: &str) -> Outcome {
    match attack {
        "loop" => spin(),
        "recursion" => Outcome::Drop(recurse(1).to_string()),
        "panic" => panic!("as asked"),
        "memory-bomb" => Outcome::Drop(fill_memory().to_string()),
        "memory-bomb-tolerant" => Outcome::Drop(format!("stopped at {} pages", grow_until_refused())),
        "huge-return" => Outcome::Replace("x".repeat(40 << 20)),
        "alias-return" => Outcome::Emit(aliases(100_000, 1 << 20)),
        "many-events" => Outcome::Emit(vec!["{}".to_owned(); 2_000]),
        "log-flood" => flood(),
        "bad-json" => Outcome::Replace("{\"never\": closed".to_owned()),
        "long-code" => Outcome::Fail(plugin_error(&"c".repeat(10_000), &"\u{1b}[2J".repeat(10_000))),
        "tell-error" => Outcome::Fail(plugin_error(told(), told())),
        "tell-drop" => Outcome::Drop(told().to_owned()),
        "tell-log" => tell_log(),
        "tell-table" => tell_table(),
        "tell-not-json" => Outcome::Replace(format!("{} is no event", told())),
        "tell-no-kind" => Outcome::Replace(serde_json::json!({"type": told()}).to_string()),
        "tell-event" => {
            let properties = serde_json::json!({"told": told()});
            Outcome::Replace(
                serde_json::json!({"type": "track", "event": "Told", "properties": properties}).to_string(),
            )
        }
        _ => Outcome::Drop(format!("no attack is called {attack}")),
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn recurse(depth: u64) -> u64 {
    let mut frame = [depth; 64];
    black_box(&mut frame);
    if black_box(true) { recurse(depth + 1) + black_box(frame[7]) } else { depth }
}

/// Allocates until the allocator gives up, which in Rust is a trap.
fn fill_memory() -> usize {
    let mut swallowed: Vec<Vec<u8>> = Vec::new();
    loop {
        swallowed.push(vec![1; 1 << 20]);
        black_box(&swallowed);
    }
}

/// Takes what it can get and then goes on as if nothing had happened.
fn grow_until_refused() -> usize {
    while core::arch::wasm32::memory_grow(0, 16) != usize::MAX {}
    core::arch::wasm32::memory_size(0)
}

/// `count` strings that are all the same `bytes` bytes: little in here, a hundred gigabytes to whoever copies them.
fn aliases(count: usize, bytes: usize) -> Vec<String> {
    let shared: &'static mut [u8] = vec![b'x'; bytes].leak();
    let at = shared.as_mut_ptr();
    // SAFETY: none. Strings must not share their bytes; these are handed to the host and never touched or freed here,
    // because the host ends the instance.
    (0..count).map(|_| unsafe { String::from_raw_parts(at, bytes, bytes) }).collect()
}

fn flood() -> Outcome {
    for i in 0..10_000_u32 {
        host::log(host::Level::Info, &format!("{i} \u{1b}[2J {}", "y".repeat(2_000)));
        host::count(&format!("counter-{i}"), 1);
    }
    Outcome::Keep
}

fn told() -> &'static str {
    SETTINGS.get().map(String::as_str).unwrap_or_default()
}

fn tell_log() -> Outcome {
    host::log(host::Level::Warn, told());
    host::count(told(), 1);
    Outcome::Keep
}

fn tell_table() -> Outcome {
    let entry = lookup::get("keys", "key").unwrap_or_else(Some).unwrap_or_default();
    Outcome::Fail(plugin_error("told", &entry))
}

fn counted() -> Outcome {
    let seen = EVENTS_SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    Outcome::Replace(format!(r#"{{"seen":{seen}}}"#))
}

fn clocked() -> Outcome {
    Outcome::Replace(format!(r#"{{"now_ms":{},"seed":{}}}"#, host::now_ms(), host::seed()))
}

/// As many copies of an event as the settings say, each with its number.
fn in_pieces(event: &str) -> Outcome {
    let settings: Value = serde_json::from_str(told()).unwrap_or_default();
    let mut event: Value = serde_json::from_str(event).unwrap_or_default();
    let pieces = (0..settings["pieces"].as_u64().unwrap_or_default()).map(|piece| {
        event["properties"]["piece"] = piece.into();
        event.to_string()
    });
    Outcome::Emit(pieces.collect())
}

/// Refuses the piece whose number the settings say.
fn refused_piece(event: &str) -> Outcome {
    let settings: Value = serde_json::from_str(told()).unwrap_or_default();
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    if event["properties"]["piece"] == settings["piece"] {
        Outcome::Fail(plugin_error("unwanted-piece", "not this one"))
    } else {
        Outcome::Keep
    }
}

fn plugin_error(code: &str, message: &str) -> PluginError {
    PluginError { kind: ErrorKind::Internal, code: code.to_owned(), message: message.to_owned() }
}

export!(Hostile);
