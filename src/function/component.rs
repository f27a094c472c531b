//! From a core module to a component.

/// A core module that cannot become a component.
#[derive(Debug, thiserror::Error)]
#[error("the module cannot be made a component: {0}")]
pub struct EncodeError(String);

/// Wraps a core module that carries the world's description (as `wit-bindgen` embeds it) into a component.
///
/// # Errors
/// The module lacks the description, or does not implement the world.
pub fn encode(core_module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(core_module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| EncodeError(format!("{error:#}")))
}
