//! Bindings for compiled languages, made in this process from the interface that this program speaks.

use tidegate_plugin::ManifestKind;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_component::StringEncoding;

use super::super::component::EncodeError;
use super::WIT;

/// A generated file: its path below the folder of the bindings, and its text.
pub(crate) type Generated = Vec<(String, Vec<u8>)>;

fn resolve(extra: &str, world: &str) -> Result<(Resolve, WorldId), EncodeError> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", &format!("{WIT}\n{extra}")).map_err(EncodeError::of)?;
    let world = resolve.select_world(&[package], Some(world)).map_err(EncodeError::of)?;
    Ok((resolve, world))
}

fn collected(files: &Files) -> Generated {
    files.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}

/// `transform.h`, `transform.c` and the object with the type of the component, or those of another kind.
pub(crate) fn c(kind: ManifestKind) -> Result<Generated, EncodeError> {
    let (mut resolve, world) = resolve("", kind.world())?;
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts { rename_world: Some("plugin".to_owned()), ..Default::default() };
    options.build().generate(&mut resolve, world, &mut files).map_err(EncodeError::of)?;
    Ok(collected(&files))
}

/// Go packages below `package`.
pub(crate) fn go(kind: ManifestKind, package: &str) -> Result<Generated, EncodeError> {
    let (mut resolve, world) = resolve("", kind.world())?;
    let mut files = Files::default();
    let options = wit_bindgen_go::Opts {
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(package.to_owned()),
        ..Default::default()
    };
    options.build().generate(&mut resolve, world, &mut files).map_err(EncodeError::of)?;
    Ok(collected(&files))
}

/// `core_wasm` with the type of a component of this `world` in it, for languages whose compilers do not put it there.
pub(super) fn embed_type(core_wasm: &mut Vec<u8>, world: &str) -> Result<(), EncodeError> {
    let (resolve, world) = resolve("", world)?;
    wit_component::embed_component_metadata(core_wasm, &resolve, world, StringEncoding::UTF8).map_err(EncodeError::of)
}

/// The same for a module that imports the interface `host` and exports nothing of ours.
pub(super) fn embed_host_type(core_wasm: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (resolve, world) = resolve("world stand-in { import host; }", "stand-in")?;
    wit_component::embed_component_metadata(core_wasm, &resolve, world, StringEncoding::UTF8).map_err(EncodeError::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_bindings() {
        for (_, kind) in ManifestKind::ALL {
            let names = |files: Generated| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            let c = names(c(kind).unwrap());
            assert!(c.iter().any(|name| name == "plugin.h"), "{c:?}");
            let go = names(go(kind, "example/tidegate/bindings").unwrap());
            assert!(go.iter().any(|name| name == "wit_exports/wit_exports.go"), "{go:?}");
        }
    }
}
