//! The limits that a component must be within before a byte of it is compiled: how much of everything it may have, what it may
//! import and must export.
//!
//! The walk reads section headers and flat lists only, never a nested type or an instruction: its own cost is linear in
//! the bytes, and it cannot be made to recurse. Whether the component is valid is for the compiler to say, in a process
//! of its own.

use tidegate_plugin::ManifestKind;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload};

use super::call_log::legible;
use super::limits::CallLimits;
use super::module::{self, ModuleError};
use super::wasi;

/// How much of everything a component may have. The defaults leave room for an interpreter with its standard library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentLimits {
    /// Core modules, at any depth. Default 64.
    pub modules_max: usize,
    /// Components within components. Default 256.
    pub components_max: usize,
    /// Levels of nesting. Default 8.
    pub depth_max: usize,
    /// Functions of all core modules. Default 60,000.
    pub functions_max: usize,
    /// One function's code. Default 1 MiB (the largest of CPython has 420 KiB): compiling takes more than linear time and
    /// memory.
    pub function_bytes_max: usize,
    /// Imports of all modules and components. Default 40,000 (a dynamic library of an interpreter has thousands).
    pub imports_max: usize,
    /// Exports of one core module. Default 8,000.
    pub module_exports_max: usize,
    /// Exports of all components. Default 1,000.
    pub component_exports_max: usize,
    /// Types of all kinds, counted where they are declared. Default 20,000.
    pub types_max: usize,
    /// Bytes of the sections that declare component types; they may nest. Default 1 MiB.
    pub type_bytes_max: usize,
    /// Globals of all modules. Default 20,000.
    pub globals_max: usize,
    /// Data and element segments of all modules. Default 200,000 (a Go program has 45,000).
    pub segments_max: usize,
    /// Instances and aliases of components and canonical functions together. Default 100,000.
    pub items_max: usize,
    /// Bytes of custom sections: names, debug information, our own. Default 12 MiB.
    pub custom_bytes_max: usize,
}

impl Default for ComponentLimits {
    fn default() -> Self {
        Self {
            modules_max: 64,
            components_max: 256,
            depth_max: 8,
            functions_max: 60_000,
            function_bytes_max: 1 << 20,
            imports_max: 40_000,
            module_exports_max: 8_000,
            component_exports_max: 1_000,
            types_max: 20_000,
            type_bytes_max: 1 << 20,
            globals_max: 20_000,
            segments_max: 200_000,
            items_max: 100_000,
            custom_bytes_max: 12 << 20,
        }
    }
}

/// Reads the outline of `bytes` and refuses what no plugin may have; with a `kind`, what no plugin of that kind may
/// import and what it must export.
///
/// # Errors
/// The first limit that it does not pass.
pub fn inspect(bytes: &[u8], limits: &CallLimits, kind: Option<ManifestKind>) -> Result<(), ModuleError> {
    front(bytes, limits)?;
    let mut walk =
        ComponentWalk { component_limits: &limits.component_limits, limits, depth: 0, seen: SeenItems::default() };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| unreadable(&error))?;
        walk.take(&payload)?;
    }
    let SeenItems { imports, exports, .. } = walk.seen;
    version(&imports, &exports)?;
    kind.map_or(Ok(()), |kind| names(&imports, &exports, kind))
}

/// The limits that cost nothing: size, then the first eight bytes.
fn front(bytes: &[u8], limits: &CallLimits) -> Result<(), ModuleError> {
    let bytes_max = limits.component_bytes_max;
    if bytes.len() > bytes_max {
        return Err(ModuleError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Err(ModuleError::CoreModule),
        // The last two bytes are the layer: 0 for a core module, 1 for a component.
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        _ => Err(ModuleError::NotWasm),
    }
}

fn unreadable(error: &wasmparser::BinaryReaderError) -> ModuleError {
    ModuleError::Malformed { reason: legible(error.message(), 256), at: error.offset() }
}

/// What was counted so far.
#[derive(Default)]
struct SeenItems {
    modules: usize,
    components: usize,
    functions: usize,
    imports_total: usize,
    component_exports: usize,
    types: usize,
    globals: usize,
    segments: usize,
    items: usize,
    memories: usize,
    tables: usize,
    type_bytes: usize,
    custom_bytes: usize,
    /// Of the outermost component: name, and whether it is an instance.
    imports: Vec<(String, bool)>,
    exports: Vec<(String, bool)>,
}

struct ComponentWalk<'a> {
    component_limits: &'a ComponentLimits,
    limits: &'a CallLimits,
    depth: usize,
    seen: SeenItems,
}

impl ComponentWalk<'_> {
    fn take(&mut self, payload: &Payload<'_>) -> Result<(), ModuleError> {
        let component_limits = self.component_limits;
        let seen = &mut self.seen;
        match payload {
            Payload::ModuleSection { .. } => {
                self.depth += 1;
                within("levels of nesting", self.depth, component_limits.depth_max)?;
                add("core modules", &mut seen.modules, 1, component_limits.modules_max)
            }
            Payload::ComponentSection { .. } => {
                self.depth += 1;
                within("levels of nesting", self.depth, component_limits.depth_max)?;
                add("nested components", &mut seen.components, 1, component_limits.components_max)
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            Payload::TypeSection(types) => {
                add("types", &mut seen.types, count(types.count()), component_limits.types_max)
            }
            Payload::CoreTypeSection(types) => {
                add(
                    "bytes of type declarations",
                    &mut seen.type_bytes,
                    types.range().len(),
                    component_limits.type_bytes_max,
                )?;
                add("types", &mut seen.types, count(types.count()), component_limits.types_max)
            }
            Payload::ComponentTypeSection(types) => {
                add(
                    "bytes of type declarations",
                    &mut seen.type_bytes,
                    types.range().len(),
                    component_limits.type_bytes_max,
                )?;
                add("types", &mut seen.types, count(types.count()), component_limits.types_max)
            }
            Payload::ImportSection(imports) => {
                add("imports", &mut seen.imports_total, count(imports.count()), component_limits.imports_max)
            }
            Payload::ComponentImportSection(imports) => {
                add("imports", &mut seen.imports_total, count(imports.count()), component_limits.imports_max)?;
                if self.depth == 0 {
                    for import in imports.clone() {
                        let import = import.map_err(|error| unreadable(&error))?;
                        let instance = matches!(import.ty, ComponentTypeRef::Instance(_));
                        seen.imports.push((import.name.name.to_owned(), instance));
                    }
                }
                Ok(())
            }
            Payload::ExportSection(exports) => {
                within("exports of one core module", count(exports.count()), component_limits.module_exports_max)
            }
            Payload::ComponentExportSection(exports) => {
                let (all, more) = (&mut seen.component_exports, count(exports.count()));
                add("exports of components", all, more, component_limits.component_exports_max)?;
                if self.depth == 0 {
                    for export in exports.clone() {
                        let export = export.map_err(|error| unreadable(&error))?;
                        let instance = export.kind == ComponentExternalKind::Instance;
                        seen.exports.push((export.name.name.to_owned(), instance));
                    }
                }
                Ok(())
            }
            Payload::FunctionSection(functions) => {
                add("functions", &mut seen.functions, count(functions.count()), component_limits.functions_max)
            }
            Payload::CodeSectionEntry(body) => {
                within("bytes of code in one function", body.range().len(), component_limits.function_bytes_max)
            }
            Payload::GlobalSection(globals) => {
                add("globals", &mut seen.globals, count(globals.count()), component_limits.globals_max)
            }
            Payload::DataSection(data) => {
                add("segments", &mut seen.segments, count(data.count()), component_limits.segments_max)
            }
            Payload::ElementSection(elements) => {
                add("segments", &mut seen.segments, count(elements.count()), component_limits.segments_max)
            }
            Payload::ComponentInstanceSection(items) => {
                add("instances and aliases", &mut seen.items, count(items.count()), component_limits.items_max)
            }
            Payload::InstanceSection(items) => {
                add("instances and aliases", &mut seen.items, count(items.count()), component_limits.items_max)
            }
            Payload::ComponentAliasSection(items) => {
                add("instances and aliases", &mut seen.items, count(items.count()), component_limits.items_max)
            }
            Payload::ComponentCanonicalSection(items) => {
                add("instances and aliases", &mut seen.items, count(items.count()), component_limits.items_max)
            }
            Payload::CustomSection(custom) => add(
                "bytes of custom sections",
                &mut seen.custom_bytes,
                custom.data().len(),
                component_limits.custom_bytes_max,
            ),
            Payload::MemorySection(memories) => self.memories(memories),
            Payload::TableSection(tables) => self.tables(tables),
            Payload::TagSection(_) => Err(ModuleError::Unsupported { what: "exception tags" }),
            Payload::ComponentStartSection { .. } => {
                Err(ModuleError::Unsupported { what: "a component start function" })
            }
            _ => Ok(()),
        }
    }

    fn memories(&mut self, memories: &wasmparser::MemorySectionReader<'_>) -> Result<(), ModuleError> {
        add("memories", &mut self.seen.memories, count(memories.count()), self.limits.memories_max as usize)?;
        for memory in memories.clone() {
            let memory = memory.map_err(|error| unreadable(&error))?;
            let page = 1_u64 << memory.page_size_log2.unwrap_or(16).min(16);
            let bytes = usize::try_from(memory.initial.saturating_mul(page)).unwrap_or(usize::MAX);
            within("bytes of memory from the start", bytes, self.limits.memory_bytes_ceiling)?;
        }
        Ok(())
    }

    fn tables(&mut self, tables: &wasmparser::TableSectionReader<'_>) -> Result<(), ModuleError> {
        add("tables", &mut self.seen.tables, count(tables.count()), self.limits.tables_max as usize)?;
        for table in tables.clone() {
            let table = table.map_err(|error| unreadable(&error))?;
            let elements = usize::try_from(table.ty.initial).unwrap_or(usize::MAX);
            within("table elements from the start", elements, self.limits.table_elements_max)?;
        }
        Ok(())
    }
}

/// Whether the plugin is built for the version that this host speaks.
fn version(imports: &[(String, bool)], exports: &[(String, bool)]) -> Result<(), ModuleError> {
    let ours = |(name, _): &(String, bool)| {
        name.strip_prefix("tidegate:plugin/")?.split_once('@').map(|(_, version)| version.to_owned())
    };
    match imports.iter().chain(exports).filter_map(ours).find(|version| version != "0.1.0") {
        Some(found) => Err(ModuleError::Version { found: legible(&found, 40) }),
        None => Ok(()),
    }
}

/// The names of imports and exports against the world.
fn names(imports: &[(String, bool)], exports: &[(String, bool)], kind: ManifestKind) -> Result<(), ModuleError> {
    for (name, instance) in imports {
        if !(*instance && (module::imports(kind).contains(&name.as_str()) || wasi::is_inert(name))) {
            return Err(ModuleError::ForbiddenImport { import: legible(name, 256), kind });
        }
    }
    for export in module::exports(kind) {
        if !exports.iter().any(|(name, instance)| *instance && name == export) {
            return Err(ModuleError::MissingExport { export, kind });
        }
    }
    Ok(())
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn add(what: &'static str, total: &mut usize, more: usize, max: usize) -> Result<(), ModuleError> {
    *total = total.saturating_add(more);
    within(what, *total, max)
}

fn within(what: &'static str, found: usize, max: usize) -> Result<(), ModuleError> {
    if found > max { Err(ModuleError::TooMuch { what, found, max }) } else { Ok(()) }
}
