//! The connection to Tidegate: settings in, one outcome for each event out.

use std::sync::OnceLock;

use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use exports::tidegate::plugin::transformer::{self, BatchError, Outcome};
use tidegate::plugin::types::ErrorKind;

use crate::attribute::{Settings, attribute};

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

struct UtmReferrer;

/// Set once by `configure`: an instance lives for one batch.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

impl lifecycle::Guest for UtmReferrer {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings = Settings::parse(&setup.settings_json).map_err(|message| PluginError {
            kind: ErrorKind::InvalidConfig,
            code: "invalid-settings".to_owned(),
            message,
        })?;
        SETTINGS.get_or_init(|| settings);
        Ok(())
    }
}

impl transformer::Guest for UtmReferrer {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, BatchError> {
        let settings = SETTINGS.get_or_init(Settings::default);
        Ok(batch.iter().map(|event| outcome(event, settings)).collect())
    }
}

fn outcome(event: &str, settings: &Settings) -> Outcome {
    match attribute(event, settings) {
        Ok(None) => Outcome::Keep,
        Ok(Some(event)) => Outcome::Replace(event),
        Err(error) => Outcome::Fail(PluginError {
            kind: ErrorKind::InvalidEvent,
            code: "not-an-object".to_owned(),
            message: error.to_string(),
        }),
    }
}

export!(UtmReferrer);
