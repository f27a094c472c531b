//! The stand-in for the system interface that C libraries and Go import. With it a component has no imports but ours.

use super::super::component::EncodeError;
use super::bindings;

const TEXT: &str = include_str!("adapter.wat");

/// The stand-in as a module that the encoder takes.
pub(super) fn preview1() -> Result<Vec<u8>, EncodeError> {
    let mut module = wat::parse_str(TEXT).map_err(EncodeError::of)?;
    bindings::embed_host_type(&mut module)?;
    Ok(module)
}
