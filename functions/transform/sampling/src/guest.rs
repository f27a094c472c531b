//! The connection to Tidegate: settings in, events dropped where they are.

use std::sync::OnceLock;

use exports::tidegate::plugin::field_transformer::{self, BatchError};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use tidegate::plugin::fields::{self, Path};
use tidegate::plugin::types::ErrorKind;

use crate::sample::Settings;

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

struct Sampling;

/// Settings and the paths that they need, made once: a path is parsed when it is made.
struct Ready {
    settings: Settings,
    name: Path,
    ids: Vec<Path>,
}

static READY: OnceLock<Ready> = OnceLock::new();

impl lifecycle::Guest for Sampling {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings = Settings::parse(&setup.settings_json).map_err(|message| PluginError {
            kind: ErrorKind::InvalidConfig,
            code: "invalid-settings".to_owned(),
            message,
        })?;
        let ids = settings.by.pointers().iter().map(|pointer| Path::new(pointer)).collect();
        READY.get_or_init(|| Ready { settings, name: Path::new("/event"), ids });
        Ok(())
    }
}

impl field_transformer::Guest for Sampling {
    fn transform(events: u32) -> Result<(), BatchError> {
        let Some(ready) = READY.get() else { return Ok(()) };
        for event in 0..events {
            if !keeps(event, ready) {
                fields::drop_event(event, "sampled-out");
            }
        }
        Ok(())
    }
}

fn keeps(event: u32, Ready { settings, name, ids }: &Ready) -> bool {
    let id = ids.iter().find_map(|path| settings.by.id(&path.get_json(event)?));
    // What has no id cannot be decided on twice alike, so it stays.
    let Some(id) = id else { return true };
    settings.keeps(&id)
        || (!settings.always.is_empty() && name.get_string(event).is_some_and(|name| settings.always.contains(&name)))
}

export!(Sampling);
