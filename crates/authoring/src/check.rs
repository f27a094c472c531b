//! What a component says about itself and whether it may run here.

use tidegate_plugin::{NotAPackage, Package};
use tidegate_wasm::function::granted;
use tidegate_wasm::{CallLimits, Engine, EngineError, Module, ModuleError};

/// A component, looked at from outside.
#[derive(Debug, Clone)]
pub struct InspectedPlugin {
    pub bytes: usize,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// What it carries; `None` for a component without papers.
    pub package: Option<Package>,
    /// The limits that it would run within.
    pub limits: CallLimits,
    /// The name of the world that it implements.
    pub world: &'static str,
}

/// Why a component may not run.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Refused(#[from] ModuleError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Papers(#[from] NotAPackage),
}

/// Applies the limits of a server to `component`.
///
/// # Errors
/// The limit that it does not pass, and what to do.
pub fn inspect(component: &[u8]) -> Result<InspectedPlugin, CheckError> {
    let package = match Package::read(component) {
        Ok(package) => Some(package),
        // Whether it is a component at all is for the engine to say.
        Err(NotAPackage::NoManifest | NotAPackage::NotAComponent | NotAPackage::Unreadable { .. }) => None,
        Err(wrong) => return Err(wrong.into()),
    };
    let host = CallLimits { calls_at_once_max: 1, ..CallLimits::default() };
    let engine = Engine::new(&host)?;
    let module = match &package {
        Some(package) => Module::compile(&engine, component, package.manifest.kind)?,
        None => Module::compile_any(&engine, component)?,
    };
    let limits =
        package.as_ref().map_or_else(CallLimits::default, |package| granted(&package.manifest, &CallLimits::default()));
    let (imports, exports) = names(component);
    Ok(InspectedPlugin { bytes: component.len(), imports, exports, package, limits, world: module.kind().world() })
}

/// Names of the outermost imports and exports.
fn names(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        use wasmparser::Payload;
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                imports.extend(section.into_iter().flatten().map(|import| import.name.name.to_owned()));
            }
            Ok(Payload::ComponentExportSection(section)) if depth == 0 => {
                exports.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (imports, exports)
}
