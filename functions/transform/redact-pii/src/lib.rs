//! Redacts personal data by field class.
//!
//! Settings:
//!
//! ```json
//! { "salt": "a secret of yours",
//!   "fields": { "email": "hash", "phone": "mask", "first_name": "drop", "card_number": "mask" } }
//! ```
//!
//! A field is met by its name, whatever its spelling (`firstName`, `first_name` and `First Name` are one), at any depth
//! of `properties`, `traits` and `context.traits`. `hash` gives the first 32 hex digits of HMAC-SHA-256 under the salt, so that
//! the same address stays joinable and nobody without the salt can check a guess; `mask` leaves the last four
//! characters; `drop` takes the field out. An event without such fields is kept as it is, byte for byte.

mod redact;

#[cfg(target_arch = "wasm32")]
mod guest {
    use std::cell::RefCell;

    use crate::redact::Rules;

    wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

    use exports::tidegate::plugin::{lifecycle, transformer};
    use tidegate::plugin::types::ErrorKind;
    use transformer::Outcome;

    thread_local! {
        static RULES: RefCell<Rules> = RefCell::default();
    }

    struct RedactPii;

    impl lifecycle::Guest for RedactPii {
        fn configure(setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
            let rules = Rules::read(&setup.settings_json)
                .map_err(|message| error(ErrorKind::InvalidConfig, "bad-settings", message))?;
            RULES.set(rules);
            Ok(())
        }
    }

    impl transformer::Guest for RedactPii {
        fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, transformer::BatchError> {
            let outcome = |event: &String| match RULES.with_borrow(|rules| rules.apply(event)) {
                Ok(None) => Outcome::Keep,
                Ok(Some(event)) => Outcome::Replace(event),
                Err(message) => Outcome::Fail(error(ErrorKind::InvalidEvent, "not-json", message.to_string())),
            };
            Ok(batch.iter().map(outcome).collect())
        }
    }

    fn error(kind: ErrorKind, code: &str, message: String) -> lifecycle::PluginError {
        lifecycle::PluginError { kind, code: code.to_owned(), message }
    }

    export!(RedactPii);
}
