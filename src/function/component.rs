//! A core module to a component: what a Rust guest for wasm32-unknown-unknown lacks after `cargo build`.

use wit_component::ComponentEncoder;

/// The module could not become a component.
#[derive(Debug, thiserror::Error)]
#[error(
    "the module could not become a component: {reason}; was it built with wit-bindgen against wit/plugin.wit, \
     as a cdylib for wasm32-unknown-unknown?"
)]
pub struct EncodeError {
    reason: String,
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Turns `core_wasm`, a core module that carries the metadata of wit-bindgen, into a component without imports of WASI.
pub fn encode(core_wasm: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let encoded = ComponentEncoder::default().validate(true).module(core_wasm).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|cause| EncodeError { reason: format!("{cause:#}"), cause: cause.into() })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    #[test]
    fn what_is_no_module_is_refused_with_its_cause() {
        let refused = super::encode(b"not a module").unwrap_err();
        assert!(refused.source().is_some());
        assert!(refused.to_string().starts_with("the module could not become a component: "), "{refused}");
    }
}
