//! The connection to Tidegate: settings in, fields moved where they are.

use std::collections::HashMap;
use std::sync::OnceLock;

use exports::tidegate::plugin::field_transformer::{self, BatchError};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use tidegate::plugin::fields::{self, Path};
use tidegate::plugin::lookup;
use tidegate::plugin::types::ErrorKind;

use crate::rules::{Both, Settings, moves};

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

struct Rename;

/// Settings and paths, made once: a path is parsed when it is made.
struct Ready {
    settings: Settings,
    name: Path,
    moves: Vec<Move>,
}

/// From where to where.
struct Move(Path, Path);

/// What the table says about a name.
struct Rule {
    event: Option<String>,
    moves: Vec<Move>,
}

static READY: OnceLock<Ready> = OnceLock::new();

impl lifecycle::Guest for Rename {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings = Settings::parse(&setup.settings_json).map_err(invalid)?;
        let moves = paths(&settings.fields).map_err(invalid)?;
        READY.get_or_init(|| Ready { settings, name: Path::new("/event"), moves });
        Ok(())
    }
}

impl field_transformer::Guest for Rename {
    fn transform(events: u32) -> Result<(), BatchError> {
        let Some(ready) = READY.get() else { return Ok(()) };
        // A name that stands in a batch a hundred times is looked up once.
        let mut known: HashMap<String, Result<Option<Rule>, String>> = HashMap::new();
        for event in 0..events {
            let name = ready.name.get_string(event).unwrap_or_default();
            let mut new_name = ready.settings.events.get(&name);
            relocate(event, &ready.moves);
            if ready.settings.lookup && !name.is_empty() {
                match known.entry(name).or_insert_with_key(|name| look_up(name)) {
                    Ok(Some(rule)) => {
                        relocate(event, &rule.moves);
                        new_name = new_name.or(rule.event.as_ref());
                    }
                    Ok(None) => {}
                    Err(message) => {
                        fields::fail_event(event, "wrong-table", message);
                        continue;
                    }
                }
            }
            if let Some(new_name) = new_name {
                let _ = ready.name.set_string(event, new_name);
            }
        }
        Ok(())
    }
}

fn look_up(name: &str) -> Result<Option<Rule>, String> {
    let Some(entry) = lookup::get("renames", name)? else { return Ok(None) };
    let wrong = |message| format!("the entry {name:?} of the table renames: {message}");
    let Both { event, fields } = Both::parse(&entry).map_err(wrong)?;
    Ok(Some(Rule { event, moves: paths(&fields).map_err(wrong)? }))
}

fn relocate(event: u32, moves: &[Move]) {
    for Move(from, to) in moves {
        if !to.has(event) {
            // Where a text or a number stands in the way of the new place, the field stays.
            let _ = from.move_to(event, to);
        }
    }
}

fn paths(fields: &serde_json::Map<String, serde_json::Value>) -> Result<Vec<Move>, String> {
    Ok(moves(fields)?.into_iter().map(|(from, to)| Move(Path::new(from), Path::new(to))).collect())
}

fn invalid(message: String) -> PluginError {
    PluginError { kind: ErrorKind::InvalidConfig, code: "invalid-settings".to_owned(), message }
}

export!(Rename);
