//! The stand-in for the system interface that C libraries and Go import. With it a component has no imports but ours.

use wasmparser::{FuncType, ValType};

use super::super::component::EncodeError;
use super::bindings;
use super::preview2;

const TEXT: &str = include_str!("adapter.wat");

/// What the encoder takes for the system of a module.
pub(super) const NAME: &str = "wasi_snapshot_preview1";

/// What a function of an adapter is called for the module that it serves.
pub(super) struct Wanted {
    /// `wasi:io/streams#[method]output-stream.write`: the interface without its version.
    pub(super) name: String,
    pub(super) ty: FuncType,
}

/// The stand-in as a module that the encoder takes.
pub(super) fn preview1() -> Result<Vec<u8>, EncodeError> {
    with(&[], false)
}

/// The same, with a function for each of `wanted`, which are of WASI 0.2. Lists need the allocator of the module.
pub(super) fn with(wanted: &[Wanted], allocates: bool) -> Result<Vec<u8>, EncodeError> {
    let realloc = "(import \"__main_module__\" \"cabi_realloc\" (func $realloc (param i32 i32 i32 i32) (result i32)))";
    let functions: Vec<String> = wanted.iter().map(|one| function(one, allocates)).collect();
    let text = TEXT
        .replace(";; More imports.", if allocates { realloc } else { "" })
        .replace(";; More functions.", &functions.join("\n  "));
    let mut module = wat::parse_str(text).map_err(EncodeError::of)?;
    bindings::embed_host_type(&mut module)?;
    Ok(module)
}

fn function(wanted: &Wanted, allocates: bool) -> String {
    let Wanted { name, ty } = wanted;
    let types = |types: &[ValType]| types.iter().map(|ty| format!(" {ty}")).collect::<String>();
    let (parameters, results) = (types(ty.params()), types(ty.results()));
    let body = preview2::body(name, allocates);
    format!("(func (export {name:?}) (param{parameters}) (result{results}) {body})")
}
