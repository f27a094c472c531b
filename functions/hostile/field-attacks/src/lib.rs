//! A guest of the fields world that attacks its host in every way that this world offers.
//!
//! Every event gets `properties.touched`, written before anything bad happens, so that a test can see whether edits are
//! undone. An event's `properties.attack` says what is then done about that one event.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

use exports::tidegate::plugin::field_transformer::{self, BatchError};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use tidegate::plugin::fields::{Batch, Path};
use tidegate::plugin::types::ErrorKind;

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

struct FieldAttacks;

impl lifecycle::Guest for FieldAttacks {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        if setup.settings_json.contains("path-in-configure") {
            Path::new("no pointer");
        }
        Ok(())
    }
}

impl field_transformer::Guest for FieldAttacks {
    fn transform(batch: &Batch) -> Result<(), BatchError> {
        let (attack, touched) = (Path::new("/properties/attack"), Path::new("/properties/touched"));
        for event in 0..batch.len() {
            let _ = batch.set_json(event, &touched, "true");
        }
        for event in 0..batch.len() {
            match batch.get_string(event, &attack).as_deref() {
                Some("fatal") => return Err(BatchError::Fatal(complaint("poison"))),
                Some("retry") => return Err(BatchError::Retryable((complaint("busy"), Some(1)))),
                Some(name) => commit(name, batch, event),
                None => {}
            }
        }
        Ok(())
    }
}

fn commit(name: &str, batch: &Batch, event: u32) {
    let at = Path::new("/properties/x");
    let outside = batch.len();
    match name {
        "get-outside" => drop(batch.get_string(outside, &at)),
        "set-outside" => drop(batch.set_string(u32::MAX, &at, "")),
        "remove-outside" => batch.remove(outside, &at),
        "drop-outside" => batch.drop_event(outside, "nobody"),
        "fail-outside" => batch.fail_event(outside, "nobody", ""),
        "no-pointer" => drop(Path::new("properties")),
        "empty-pointer" => drop(Path::new("")),
        "deep-pointer" => drop(Path::new(&"/a".repeat(1_000))),
        "many-paths" => drop((0..20_000).map(|n| Path::new(&format!("/{n}"))).collect::<Vec<_>>()),
        "large-paths" => drop((0..100).map(|n| Path::new(&format!("/{n}{}", "x".repeat(100_000)))).collect::<Vec<_>>()),
        "paths-let-go" => (0..50_000).for_each(|n| drop(Path::new(&format!("/{n}")))),
        "paths-in-edits" => (0..100_000).for_each(|n| {
            drop(batch.set_json(event, &Path::new(&format!("/properties/x{}", "y".repeat(n % 2_000))), "1"));
        }),
        "write-flood" => loop {
            drop(batch.set_string(event, &at, &"x".repeat(100_000)));
        },
        "edit-flood" => loop {
            drop(batch.set_string(event, &at, ""));
        },
        "name-flood" => {
            let long = Path::new(&format!("/properties/{}/a", "n".repeat(50_000)));
            for event in (0..batch.len()).cycle() {
                batch.remove(event, &long);
                drop(batch.set_string(event, &long, ""));
            }
        }
        "json-flood" => drop(batch.set_json(event, &at, &format!("[{}0]", "0,".repeat(400_000)))),
        "deep-json" => say(batch, event, batch.set_json(event, &at, &"[".repeat(100_000))),
        "no-json" => say(batch, event, batch.set_json(event, &at, "{\"a\": 1,}")),
        "in-the-way" => say(batch, event, batch.set_string(event, &Path::new("/type/deeper"), "x")),
        "whole-event" => say(batch, event, batch.set_json(event, &Path::new("/"), "[]")),
        "loop" => loop {
            black_box(0);
        },
        "trap" => panic!("as asked"),
        "drop" => batch.drop_event(event, &"\u{1b}[2J".repeat(1_000)),
        "fail" => batch.fail_event(event, &"c".repeat(10_000), &"\u{1b}[2J".repeat(10_000)),
        _ => drop(batch.set_string(event, &at, "no such attack")),
    }
}

/// Writes down what the host said.
fn say(batch: &Batch, event: u32, answer: Result<(), String>) {
    let said = answer.err().unwrap_or_else(|| "nothing".to_owned());
    drop(batch.set_string(event, &Path::new("/properties/said"), &said));
}

fn complaint(code: &str) -> PluginError {
    PluginError { kind: ErrorKind::Internal, code: code.to_owned(), message: String::new() }
}

export!(FieldAttacks);
