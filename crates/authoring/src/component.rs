//! A core module to a component: what guests in Rust, Go and C lack after their compilers are done.

use wit_component::ComponentEncoder;

/// The module could not become a component.
#[derive(Debug, thiserror::Error)]
#[error(
    "the module could not become a component: {reason}; was it built against wit/plugin.wit of tidegate:plugin@0.1.0?"
)]
pub struct EncodeError {
    reason: String,
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl EncodeError {
    /// From any error of the tools that make components.
    pub(super) fn of(cause: impl Into<Cause>) -> Self {
        let Cause(reason, cause) = cause.into();
        Self { reason, cause }
    }
}

/// A cause with its whole chain as text.
pub(super) struct Cause(String, Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(format!("{error:#}"), error.into())
    }
}

/// Turns `core_wasm`, a core module that carries the metadata of wit-bindgen, into a component without imports of WASI.
/// `preview1` stands in for what a C library expects of a system.
pub(super) fn encode(core_wasm: &[u8], preview1: Option<&[u8]>) -> Result<Vec<u8>, EncodeError> {
    let encoder = ComponentEncoder::default().validate(true).module(core_wasm);
    let encoder = encoder.and_then(|encoder| match preview1 {
        Some(adapter) => encoder.adapter("wasi_snapshot_preview1", adapter),
        None => Ok(encoder),
    });
    let encoded = encoder.and_then(|mut encoder| encoder.encode());
    encoded.map_err(EncodeError::of)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    #[test]
    fn what_is_no_module_is_refused_with_its_cause() {
        let refused = super::encode(b"not a module", None).unwrap_err();
        assert!(refused.source().is_some());
        assert!(refused.to_string().starts_with("the module could not become a component: "), "{refused}");
    }
}
