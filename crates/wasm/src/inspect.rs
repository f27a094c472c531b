//! A component is looked at before it is compiled: whether it is within its limits, what it imports and what it exports.
//!
//! The walk reads section headers and flat lists only, never a nested type or an instruction: its own cost is linear in
//! the bytes, and it cannot be made to recurse. Whether the component is valid is for the compiler to say, in a process
//! of its own.

use tidegate_plugin::ManifestKind;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload};

use super::component_limits::ComponentLimits;
use super::legible::legible;
use super::limits::CallLimits;
use super::module_error::ModuleError;
use super::{wasi, world};

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
    match imports.iter().chain(exports).find_map(|(name, _)| world::other_version(name)) {
        Some(found) => Err(ModuleError::Version { found: legible(found, 40) }),
        None => Ok(()),
    }
}

/// The names of imports and exports against the world.
fn names(imports: &[(String, bool)], exports: &[(String, bool)], kind: ManifestKind) -> Result<(), ModuleError> {
    for (name, instance) in imports {
        if !(*instance && (world::imports(kind).contains(&name.as_str()) || wasi::is_inert(name))) {
            return Err(ModuleError::ForbiddenImport { import: legible(name, 256), kind });
        }
    }
    for export in world::exports(kind) {
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
