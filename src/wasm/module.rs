//! Gates before compiling, then the compiled component.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Transform, TransformPre};
use super::host::Guest;
use super::{Engine, Limits};

/// A component that may run.
pub struct Module {
    pub(super) engine: Engine,
    pub(super) transform: TransformPre<Guest>,
    pub(super) limits: Limits,
}

/// A component that may not, and what its author can do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the component has {bytes} bytes; at most {max} are taken")]
    TooLarge { bytes: usize, max: usize },
    #[error("this is no WebAssembly component; build it with `tidegate function build`")]
    NotWasm,
    #[error("this is a core module, not a component; `tidegate function build` makes a component of it")]
    CoreModule,
    #[error(
        "the component imports {0}, which no function may; only tidegate:plugin/host is there. Build it without WASI (target wasm32-unknown-unknown, or --stub-wasi), without files, network, clocks or randomness"
    )]
    Import(String),
    #[error("the component does not export {0}; build it for the world `transform` of tidegate:plugin@0.1.0")]
    Export(&'static str),
    #[error("the component needs more than a function may have: {0}")]
    Resources(String),
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    #[error(
        "the component does not fit the world `transform` of tidegate:plugin@0.1.0: {0}; build it against this version's wit/plugin.wit"
    )]
    World(String),
}

const PACKAGE: &str = "tidegate:plugin/";
const EXPORTS: [&str; 2] = ["tidegate:plugin/lifecycle@0.1.0", "tidegate:plugin/transformer@0.1.0"];

impl Module {
    /// Checks and compiles a component.
    ///
    /// # Errors
    /// It is not one that may run here; see [`LoadError`].
    pub fn compile(engine: &Engine, bytes: &[u8], limits: &Limits) -> Result<Self, LoadError> {
        if bytes.len() > limits.component_bytes_max {
            return Err(LoadError::TooLarge { bytes: bytes.len(), max: limits.component_bytes_max });
        }
        // Bytes 4 to 7: the version; a core module says 1 in layer 0, a component has layer 1.
        match bytes.get(..8) {
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => return Err(LoadError::CoreModule),
            _ => return Err(LoadError::NotWasm),
        }
        let component =
            Component::from_binary(&engine.engine, bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        gate(engine, &component, limits)?;
        let mut linker = Linker::new(&engine.engine);
        let linked = Transform::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest);
        linked.map_err(|error| LoadError::World(format!("{error:#}")))?;
        let transform = linker
            .instantiate_pre(&component)
            .and_then(TransformPre::new)
            .map_err(|error| LoadError::World(format!("{error:#}")))?;
        Ok(Self { engine: engine.clone(), transform, limits: limits.clone() })
    }
}

fn gate(engine: &Engine, component: &Component, limits: &Limits) -> Result<(), LoadError> {
    let shape = component.component_type();
    for (name, _) in shape.imports(&engine.engine) {
        if !name.starts_with(PACKAGE) {
            return Err(LoadError::Import(name.to_owned()));
        }
    }
    for wanted in EXPORTS {
        let found = shape.get_export(&engine.engine, wanted);
        if !found.is_some_and(|found| matches!(found.ty, ComponentItem::ComponentInstance(_))) {
            return Err(LoadError::Export(wanted));
        }
    }
    if let Some(needs) = component.resources_required() {
        // In pages of 64 KiB.
        let initial = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(1 << 16);
        if initial > limits.memory_bytes_max as u64 {
            let message =
                format!("{initial} bytes of memory at the start, and {} are granted", limits.memory_bytes_max);
            return Err(LoadError::Resources(message));
        }
        if needs.num_memories as usize > limits.memories_max || needs.num_tables as usize > limits.tables_max {
            return Err(LoadError::Resources(format!(
                "{} memories and {} tables",
                needs.num_memories, needs.num_tables
            )));
        }
    }
    Ok(())
}
