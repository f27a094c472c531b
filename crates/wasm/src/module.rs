//! A component that is within every limit and is compiled.

use std::sync::Arc;

use tidegate_plugin::ManifestKind;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use super::engine::Engine;
use super::guest::Guest;
use super::inspect::inspect;
use super::legible::legible;
use super::module_error::ModuleError;
use super::pre::Pre;
use super::warm::WarmInstances;
use super::wasi;
use super::world::{exports, imports, other_version};

/// Stack of the thread that compiles. Deeply nested code has overflowed ordinary stacks.
const COMPILE_STACK_BYTES: usize = 64 << 20;

/// A compiled plugin, ready to be instantiated. Clones share the code.
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    pre: Pre,
    warm: Arc<WarmInstances>,
}

impl Module {
    /// Compiles `bytes` as a plugin of this kind. Takes seconds for a large component: not a thing to do on a thread
    /// that serves.
    pub fn compile(engine: &Engine, bytes: &[u8], kind: ManifestKind) -> Result<Self, ModuleError> {
        inspect(bytes, engine.limits(), Some(kind))?;
        let component =
            apart(|| Component::from_binary(engine.raw(), bytes))?.map_err(|error| compile_failed(&error))?;
        Self::link(engine, &component, kind)
    }

    /// Compiles `bytes` for whichever world their exports name.
    pub fn compile_any(engine: &Engine, bytes: &[u8]) -> Result<Self, ModuleError> {
        inspect(bytes, engine.limits(), None)?;
        let component =
            apart(|| Component::from_binary(engine.raw(), bytes))?.map_err(|error| compile_failed(&error))?;
        let ty = component.component_type();
        let exported = |kind: &ManifestKind| ty.get_export(engine.raw(), exports(*kind)[1]).is_some();
        let kind =
            ManifestKind::ALL.into_iter().map(|(_, kind)| kind).find(exported).unwrap_or(ManifestKind::Transform);
        Self::link(engine, &component, kind)
    }

    /// Fits compiled code into its world.
    pub(super) fn link(engine: &Engine, component: &Component, kind: ManifestKind) -> Result<Self, ModuleError> {
        let linker = linker(engine, component, kind)?;
        let ty = component.component_type();
        for export in exports(kind) {
            match ty.get_export(engine.raw(), export).map(|found| found.ty) {
                Some(ComponentItem::ComponentInstance(_)) => {}
                _ => return Err(ModuleError::MissingExport { export, kind }),
            }
        }
        let pre = linker.instantiate_pre(component).and_then(|pre| Pre::new(pre, kind));
        Ok(Self { engine: engine.clone(), pre: pre.map_err(|error| misfit(kind, error))?, warm: Arc::default() })
    }

    /// The same code for an owner whose instances nobody else uses.
    #[must_use]
    pub fn of_its_own(&self) -> Self {
        Self { warm: Arc::default(), ..self.clone() }
    }

    /// The kind of plugin that it is.
    #[must_use]
    pub fn kind(&self) -> ManifestKind {
        self.pre.kind()
    }

    /// Whether it is a destination that can have its tool delete people.
    #[must_use]
    pub fn can_forget(&self) -> bool {
        self.pre.can_forget()
    }

    /// The engine that this module was compiled for.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn warm(&self) -> &WarmInstances {
        &self.warm
    }

    pub(super) fn pre(&self) -> &Pre {
        &self.pre
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").finish_non_exhaustive()
    }
}

/// Works on a thread of its own: a deep stack for nested code, and a panic of the compiler ends that thread only.
pub(super) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ModuleError> {
    let done = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("wasm-compile".to_owned()).stack_size(COMPILE_STACK_BYTES);
        builder.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join)
    });
    match done {
        Err(error) => Err(ModuleError::Thread(error)),
        Ok(Err(_panic)) => Err(ModuleError::CompilerPanicked),
        Ok(Ok(value)) => Ok(value),
    }
}

pub(super) fn compile_failed(error: &wasmtime::Error) -> ModuleError {
    ModuleError::Compile { reason: readable(error), cause: format!("{error:?}").into() }
}

/// A linker with everything that `component` may import, and the first import that it may not as an error.
fn linker(engine: &Engine, component: &Component, kind: ManifestKind) -> Result<Linker<Guest>, ModuleError> {
    let mut linker = engine.linker().clone();
    let ty = component.component_type();
    let names = ty.imports(engine.raw()).map(|(name, _)| name).chain(ty.exports(engine.raw()).map(|(name, _)| name));
    if let Some(found) = names.filter_map(other_version).next() {
        return Err(ModuleError::Version { found: legible(found, 40) });
    }
    for (import, item) in ty.imports(engine.raw()) {
        match item.ty {
            ComponentItem::ComponentInstance(_) if imports(kind).contains(&import) => {}
            ComponentItem::ComponentInstance(instance) if wasi::is_inert(import) => {
                wasi::define(&mut linker, engine, import, &instance).map_err(|error| misfit(kind, error))?;
            }
            _ => return Err(ModuleError::ForbiddenImport { import: legible(import, 256), kind }),
        }
    }
    Ok(linker)
}

fn misfit(kind: ManifestKind, error: wasmtime::Error) -> ModuleError {
    ModuleError::Misfit { kind, reason: readable(&error), cause: error.into() }
}

/// The whole chain of causes on one line.
pub(super) fn readable(error: &wasmtime::Error) -> String {
    legible(&format!("{error:#}"), 2_048)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallLimits;

    fn refusal(bytes: &[u8]) -> ModuleError {
        let engine = Engine::new(&CallLimits { calls_at_once_max: 1, ..CallLimits::default() }).unwrap();
        Module::compile(&engine, bytes, ManifestKind::Transform).unwrap_err()
    }

    fn refusal_of_text(text: &str) -> ModuleError {
        refusal(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn what_is_no_component_is_refused_before_it_is_parsed() {
        assert!(matches!(refusal(b""), ModuleError::NotWasm));
        assert!(matches!(refusal(b"#!/bin/sh and more"), ModuleError::NotWasm));
        assert!(matches!(refusal_of_text("(module)"), ModuleError::CoreModule));
        let huge = vec![0; (32 << 20) + 1];
        assert!(matches!(refusal(&huge), ModuleError::TooLarge { bytes: 33_554_433, bytes_max: 33_554_432 }));
        assert!(matches!(refusal(b"\0asm\x0d\0\x01\0garbage"), ModuleError::Malformed { .. }));
    }

    #[test]
    fn an_import_is_refused_by_its_name() {
        let named = |import: &str| {
            let refused = refusal_of_text(&format!(r#"(component (import "{import}" (instance)))"#));
            match &refused {
                ModuleError::ForbiddenImport { import: name, .. } => assert_eq!(name, import),
                other => panic!("{other}"),
            }
            assert!(refused.to_string().contains(import), "{refused}");
        };
        named("evil:net/sockets@1.0.0");
        named("wasi:clocks/monotonic-clock@0.2.6");
        named("wasi:filesystem/types@0.2.0");
        named("wasi:cli/environment@0.3.0");
        named("tidegate:plugin/secrets@0.1.0");
    }

    #[test]
    fn a_missing_export_is_named() {
        let refused = refusal_of_text("(component)");
        assert!(
            matches!(refused, ModuleError::MissingExport { export: "tidegate:plugin/lifecycle@0.1.0", .. }),
            "{refused}"
        );
    }

    #[test]
    fn more_memory_than_a_slot_holds_is_refused() {
        let text = "(component (core module $m (memory 8192)) (core instance (instantiate $m)))";
        let refused = refusal_of_text(text);
        assert!(matches!(refused, ModuleError::TooMuch { found: 536_870_912, .. }), "{refused}");
    }
}
