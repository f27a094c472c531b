//! What another tool compiled becomes a component that imports nothing but our interfaces: a core module for WASI preview
//! 1 or 0.2, or a component made of one. The system that it was made for is replaced by the stand-ins of our own builds.

use std::borrow::Cow;

use wasm_encoder::reencode::{Reencode as _, RoundtripReencoder};
use wasm_encoder::{ImportSection, RawSection};
use wasmparser::{FuncType, Parser, Payload, TypeRef};

use super::super::component::{self, EncodeError};
use super::adapter::{self, Wanted};
use super::{bindings, link, preview2};

type RewriteError = Box<dyn std::error::Error + Send + Sync>;

/// Which module of a component is the author's.
const OURS: &str = "tidegate:plugin/lifecycle@0.1.0#configure";

/// What `wit-bindgen` and others leave in a module for whoever makes a component of it.
const COMPONENT_TYPE: &str = "component-type";

/// A component of `bytes`, a core module or a component of this `world`, that a server takes: as it is where it imports nothing of a
/// system, else with stand-ins for that.
///
/// # Errors
/// It needs something of a system that has no stand-in, or it is made in a way that is not known here.
pub(crate) fn adapted(bytes: &[u8], world: &str) -> Result<Vec<u8>, EncodeError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(EncodeError::of("the file is no WebAssembly"));
    }
    if !Parser::is_component(bytes) {
        return of_module(bytes, world);
    }
    if !imports_a_system(bytes) {
        return Ok(bytes.to_vec());
    }
    match author_module(bytes) {
        Some(core) => of_module(core, world).or_else(|error| link::linked(bytes, world).map_err(|_| error)),
        None => link::linked(bytes, world),
    }
}

/// Whether a component imports something of WASI at its outside.
fn imports_a_system(component: &[u8]) -> bool {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                if section.into_iter().flatten().any(|import| import.name.name.starts_with("wasi:")) {
                    return true;
                }
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// The module that exports our functions.
fn author_module(component: &[u8]) -> Option<&[u8]> {
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ModuleSection { unchecked_range, .. } = payload.ok()? {
            modules.push(component.get(unchecked_range)?);
        }
    }
    modules.into_iter().find(|module| exports_ours(module))
}

fn exports_ours(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).any(|payload| match payload {
        Ok(Payload::ExportSection(exports)) => exports.into_iter().flatten().any(|export| export.name == OURS),
        _ => false,
    })
}

fn of_module(core: &[u8], world: &str) -> Result<Vec<u8>, EncodeError> {
    let mut rewritten = rewritten(core).map_err(EncodeError::of)?;
    if !rewritten.has_type {
        bindings::embed_type(&mut rewritten.core, world)?;
    }
    let adapter = match rewritten.wants_system {
        true => Some(adapter::with(&rewritten.wanted, rewritten.allocates)?),
        false => None,
    };
    component::encode(&rewritten.core, adapter.as_deref())
}

/// A module whose imports of WASI 0.2 are those of one adapter.
struct Rewritten {
    core: Vec<u8>,
    wanted: Vec<Wanted>,
    wants_system: bool,
    has_type: bool,
    allocates: bool,
}

fn rewritten(core: &[u8]) -> Result<Rewritten, RewriteError> {
    wasmparser::validate(core)?;
    let mut types: Vec<FuncType> = Vec::new();
    let mut done =
        Rewritten { core: Vec::new(), wanted: Vec::new(), wants_system: false, has_type: false, allocates: false };
    let mut out = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        match &payload {
            Payload::TypeSection(section) => {
                types = section.clone().into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
            }
            Payload::ExportSection(section) => {
                done.allocates = section.clone().into_iter().flatten().any(|export| export.name == "cabi_realloc");
            }
            Payload::CustomSection(section) => done.has_type |= section.name().starts_with(COMPONENT_TYPE),
            _ => {}
        }
        if let Payload::ImportSection(section) = &payload {
            let mut imports = ImportSection::new();
            for import in section.clone().into_imports() {
                let import = import?;
                let (module, name) = place(&import, &types, &mut done)?;
                imports.import(module, &name, RoundtripReencoder.entity_type(import.ty)?);
            }
            out.section(&imports);
        } else if let Some((id, range)) = payload.as_section() {
            let data = core.get(range).ok_or("a section ends behind it")?;
            out.section(&RawSection { id, data });
        }
    }
    done.core = out.finish();
    Ok(done)
}

/// Where an import is served from now on, and under which name.
fn place<'a>(
    import: &wasmparser::Import<'a>,
    types: &[FuncType],
    done: &mut Rewritten,
) -> Result<(&'a str, Cow<'a, str>), RewriteError> {
    if import.module == adapter::NAME {
        done.wants_system = true;
    }
    let Some((interface, _)) = import.module.split_once('@').filter(|_| import.module.starts_with("wasi:")) else {
        return Ok((import.module, import.name.into()));
    };
    if !preview2::has_stand_in(interface) {
        let why = "which no plugin has and no stand-in takes the place of; build it without";
        return Err(format!("it imports {}, {why}", import.module).into());
    }
    let TypeRef::Func(index) = import.ty else { return Err("it imports of WASI what is no function".into()) };
    let ty = types.get(index as usize).ok_or("an import has no type")?.clone();
    let name = format!("{interface}#{}", import.name);
    done.wants_system = true;
    // Two versions of an interface may be imported side by side.
    if !done.wanted.iter().any(|known| known.name == name) {
        done.wanted.push(Wanted { name: name.clone(), ty });
    }
    Ok((adapter::NAME, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(imports: &str) -> Vec<u8> {
        wat::parse_str(format!("(module {imports} (memory (export \"memory\") 1))")).unwrap()
    }

    #[test]
    fn what_has_no_stand_in_is_named() {
        let core = module("(import \"wasi:http/outgoing-handler@0.2.4\" \"handle\" (func (param i32 i32 i32)))");
        let refused = adapted(&core, "transform").unwrap_err().to_string();
        assert!(refused.contains("imports wasi:http/outgoing-handler@0.2.4"), "{refused}");
    }

    #[test]
    fn two_versions_of_an_interface_are_one_stand_in() {
        let import = |version: &str| {
            format!("(import \"wasi:clocks/monotonic-clock@0.2.{version}\" \"now\" (func (result i64)))")
        };
        let done = rewritten(&module(&format!("{}{}", import("0"), import("6")))).unwrap();
        assert_eq!(done.wanted.len(), 1);
        assert!(done.wants_system && !done.has_type && !done.allocates);
    }

    #[test]
    fn a_module_without_the_exports_of_the_world_is_refused_in_words() {
        let refused = adapted(&module(""), "transform").unwrap_err().to_string();
        assert!(refused.contains("the module could not become a component"), "{refused}");
    }
}
