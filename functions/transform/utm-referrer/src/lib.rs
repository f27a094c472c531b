//! Fills `context.campaign` from the UTM parameters of the page's address, and `context.referrer` with where the visitor
//! came from: `{ "url", "host", "type": "search" | "social" | "email" | "internal" | "external" | "direct", "name" }`.
//!
//! Settings: `{ "internal": ["shop.example"] }`, the hosts that count as our own (the page's own host always does).
//! What the client said itself is never written over. Events without a page are kept as they are.

mod attribution;

#[cfg(target_arch = "wasm32")]
mod guest {
    use std::cell::RefCell;

    use crate::attribution::Settings;

    wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

    use exports::tidegate::plugin::{lifecycle, transformer};
    use tidegate::plugin::types::ErrorKind;
    use transformer::Outcome;

    thread_local! {
        static SETTINGS: RefCell<Settings> = RefCell::default();
    }

    struct UtmReferrer;

    impl lifecycle::Guest for UtmReferrer {
        fn configure(setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
            let settings = serde_json::from_str(&setup.settings_json)
                .map_err(|cause| error(ErrorKind::InvalidConfig, "bad-settings", cause.to_string()))?;
            SETTINGS.set(settings);
            Ok(())
        }
    }

    impl transformer::Guest for UtmReferrer {
        fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, transformer::BatchError> {
            let outcome = |event: &String| match SETTINGS.with_borrow(|settings| settings.apply(event)) {
                Ok(None) => Outcome::Keep,
                Ok(Some(event)) => Outcome::Replace(event),
                Err(cause) => Outcome::Fail(error(ErrorKind::InvalidEvent, "not-json", cause.to_string())),
            };
            Ok(batch.iter().map(outcome).collect())
        }
    }

    fn error(kind: ErrorKind, code: &str, message: String) -> lifecycle::PluginError {
        lifecycle::PluginError { kind, code: code.to_owned(), message }
    }

    export!(UtmReferrer);
}
