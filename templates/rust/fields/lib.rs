use std::cell::RefCell;

use exports::tidegate::plugin::field_transformer::{self, BatchError};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use serde_json::Value;
use tidegate::plugin::fields::{self, Path};
use tidegate::plugin::types::ErrorKind;

tidegate_sdk::wit_bindgen::generate!({
    path: "wit",
    world: "transform-fields",
    runtime_path: "tidegate_sdk::wit_bindgen::rt",
});

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

struct Plugin;

struct State {
    emails: [Path; 2],
    staff_suffix: String,
}

thread_local! {
    /// Set by `configure`, which comes before anything else.
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

impl lifecycle::Guest for Plugin {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings: Value = serde_json::from_str(&setup.settings_json).map_err(|error| PluginError {
            kind: ErrorKind::InvalidConfig,
            code: "settings".to_owned(),
            message: error.to_string(),
        })?;
        let domain = settings["staff_domain"].as_str().unwrap_or_default();
        let emails = [Path::new("/properties/email"), Path::new("/traits/email")];
        STATE.set(Some(State { emails, staff_suffix: format!("@{domain}") }));
        Ok(())
    }
}

impl field_transformer::Guest for Plugin {
    fn transform(events: u32) -> Result<(), BatchError> {
        STATE.with_borrow(|state| {
            let Some(state) = state else { return };
            for event in 0..events {
                for at in &state.emails {
                    edit(event, at, &state.staff_suffix);
                }
            }
        });
        Ok(())
    }
}

fn edit(event: u32, at: &Path, staff_suffix: &str) {
    let Some(found) = at.get_string(event) else { return };
    let email = found.to_lowercase();
    if email.ends_with(staff_suffix) {
        fields::drop_event(event, "staff");
    } else if email != found
        && let Err(reason) = at.set_string(event, &email)
    {
        fields::fail_event(event, "not-set", &reason);
    }
}

export!(Plugin);
