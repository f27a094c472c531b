//! A guest of the fields world that attacks its host in every way that this world offers.
//!
//! Every event gets `properties.touched`, written before anything bad happens, so that a test can see whether edits are
//! undone. An event's `properties.attack` says what is then done about that one event.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

use exports::tidegate::plugin::field_transformer::{self, BatchError};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use tidegate::plugin::fields::{Path, drop_event, fail_event};
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
    fn transform(events: u32) -> Result<(), BatchError> {
        let (attack, touched) = (Path::new("/properties/attack"), Path::new("/properties/touched"));
        for event in 0..events {
            let _ = touched.set_json(event, "true");
        }
        for event in 0..events {
            match attack.get_string(event).as_deref() {
                Some("fatal") => return Err(BatchError::Fatal(plugin_error("poison"))),
                Some("retry") => return Err(BatchError::Retryable((plugin_error("busy"), Some(1)))),
                Some(name) => commit(name, event, events),
                None => {}
            }
        }
        Ok(())
    }
}

fn commit(name: &str, event: u32, events: u32) {
    let at = Path::new("/properties/x");
    let outside = events;
    match name {
        "get-outside" => drop(at.get_string(outside)),
        "set-outside" => drop(at.set_string(u32::MAX, "")),
        "remove-outside" => at.remove(outside),
        "drop-outside" => drop_event(outside, "nobody"),
        "fail-outside" => fail_event(outside, "nobody", ""),
        "no-pointer" => drop(Path::new("properties")),
        "empty-pointer" => drop(Path::new("")),
        "deep-pointer" => drop(Path::new(&"/a".repeat(1_000))),
        "many-paths" => drop((0..20_000).map(|n| Path::new(&format!("/{n}"))).collect::<Vec<_>>()),
        "large-paths" => drop((0..100).map(|n| Path::new(&format!("/{n}{}", "x".repeat(100_000)))).collect::<Vec<_>>()),
        "paths-let-go" => (0..50_000).for_each(|n| drop(Path::new(&format!("/{n}")))),
        "paths-in-edits" => (0..100_000).for_each(|n| {
            drop(Path::new(&format!("/properties/x{}", "y".repeat(n % 2_000))).set_json(event, "1"));
        }),
        "write-flood" => loop {
            drop(at.set_string(event, &"x".repeat(100_000)));
        },
        "edit-flood" => loop {
            drop(at.set_string(event, ""));
        },
        "name-flood" => {
            let long = Path::new(&format!("/properties/{}/a", "n".repeat(50_000)));
            for event in (0..events).cycle() {
                long.remove(event);
                drop(long.set_string(event, ""));
            }
        }
        "move-outside" => drop(at.move_to(outside, &at)),
        "move-flood" => {
            let (name, other) =
                (Path::new("/properties/attack"), Path::new(&format!("/properties/{}", "n".repeat(1_000))));
            loop {
                drop((name.move_to(event, &other), other.move_to(event, &name)));
            }
        }
        "move-deeper" => {
            let (list, deeper) = (Path::new("/properties/list"), Path::new("/properties/list/a/b/c/d/e/f/g"));
            let refused = (0..1_000).find_map(|_| list.move_to(event, &deeper).err());
            say(event, refused.map_or(Ok(()), Err));
        }
        "json-flood" => drop(at.set_json(event, &format!("[{}0]", "0,".repeat(400_000)))),
        "deep-json" => say(event, at.set_json(event, &"[".repeat(100_000))),
        "no-json" => say(event, at.set_json(event, "{\"a\": 1,}")),
        "in-the-way" => say(event, Path::new("/type/deeper").set_string(event, "x")),
        "whole-event" => say(event, Path::new("/").set_json(event, "[]")),
        "loop" => loop {
            black_box(0);
        },
        "trap" => panic!("as asked"),
        "drop" => drop_event(event, &"\u{1b}[2J".repeat(1_000)),
        "fail" => fail_event(event, &"c".repeat(10_000), &"\u{1b}[2J".repeat(10_000)),
        _ => drop(at.set_string(event, "no such attack")),
    }
}

/// Writes down what the host said.
fn say(event: u32, answer: Result<(), String>) {
    let said = answer.err().unwrap_or_else(|| "nothing".to_owned());
    drop(Path::new("/properties/said").set_string(event, &said));
}

fn plugin_error(code: &str) -> PluginError {
    PluginError { kind: ErrorKind::Internal, code: code.to_owned(), message: String::new() }
}

export!(FieldAttacks);
