//! What a component is made of: core modules, their instances, and how these are tied to each other.

use std::collections::HashMap;

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ExternalKind,
    FuncType, FunctionBody, GlobalType, KnownCustom, Name, Parser, Payload, TableInit, TypeRef,
};

use super::{LinkError, OURS};

// Each kind of definition has indexes of its own.
pub(super) const FUNCTIONS: usize = 0;
pub(super) const TABLES: usize = 1;
pub(super) const MEMORIES: usize = 2;
pub(super) const GLOBALS: usize = 3;
pub(super) const KINDS: usize = 4;

pub(super) fn kind_index(kind: ExternalKind) -> Result<usize, LinkError> {
    match kind {
        ExternalKind::Func => Ok(FUNCTIONS),
        ExternalKind::Table => Ok(TABLES),
        ExternalKind::Memory => Ok(MEMORIES),
        ExternalKind::Global => Ok(GLOBALS),
        other => Err(format!("it uses a core {other:?}").into()),
    }
}

/// The core half of a component: its modules, how they are instantiated, and what is named of that.
#[derive(Default)]
pub(super) struct ComponentPart<'a> {
    pub(super) modules: Vec<PartModule<'a>>,
    pub(super) instances: Vec<PartInstance<'a>>,
    /// By kind: the instance and its export, or none for a function of the host.
    pub(super) named: [Vec<Option<(usize, &'a str)>>; KINDS],
}

pub(super) enum PartInstance<'a> {
    /// Of a module, which takes its imports from these instances.
    Of { module: usize, arguments: HashMap<&'a str, usize> },
    /// A bundle of what the component names.
    Bundle(HashMap<&'a str, (usize, u32)>),
}

#[derive(Default)]
pub(super) struct PartModule<'a> {
    pub(super) types: Vec<FuncType>,
    /// By kind: from which module, under which name.
    pub(super) imports: [Vec<(&'a str, &'a str)>; KINDS],
    pub(super) import_types: Vec<u32>,
    pub(super) functions: Vec<u32>,
    pub(super) tables: Vec<wasmparser::TableType>,
    pub(super) memories: Vec<wasmparser::MemoryType>,
    pub(super) globals: Vec<(GlobalType, wasmparser::ConstExpr<'a>)>,
    pub(super) exports: HashMap<&'a str, (usize, u32)>,
    pub(super) elements: Vec<wasmparser::Element<'a>>,
    pub(super) data: Vec<wasmparser::Data<'a>>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) function_names: Vec<(u32, &'a str)>,
    pub(super) starts: bool,
}

enum OpenPart<'a> {
    Part(ComponentPart<'a>),
    Module(Box<PartModule<'a>>),
}

/// The component and those within it, innermost first.
pub(super) fn parse(component: &[u8]) -> Result<Vec<ComponentPart<'_>>, LinkError> {
    let (mut open, mut parts) = (vec![OpenPart::Part(ComponentPart::default())], Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        match (payload?, open.last_mut()) {
            (Payload::ModuleSection { .. }, _) => open.push(OpenPart::Module(Box::default())),
            (Payload::ComponentSection { .. }, _) => open.push(OpenPart::Part(ComponentPart::default())),
            (Payload::End(_), _) => match (open.pop(), open.last_mut()) {
                (Some(OpenPart::Module(module)), Some(OpenPart::Part(part))) => part.modules.push(*module),
                (Some(OpenPart::Part(part)), _) => parts.push(part),
                _ => return Err("it is no component".into()),
            },
            (payload, Some(OpenPart::Part(part))) => part.take(payload)?,
            (payload, Some(OpenPart::Module(module))) => module.take(payload)?,
            (_, None) => return Err("it goes on behind its end".into()),
        }
    }
    Ok(parts)
}

impl<'a> ComponentPart<'a> {
    pub(super) fn take(&mut self, payload: Payload<'a>) -> Result<(), LinkError> {
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances.push(match instance? {
                        wasmparser::Instance::Instantiate { module_index, args } => PartInstance::Of {
                            module: module_index as usize,
                            arguments: args.iter().map(|argument| (argument.name, argument.index as usize)).collect(),
                        },
                        wasmparser::Instance::FromExports(exports) => {
                            let export = |e: &wasmparser::Export<'a>| Ok((e.name, (kind_index(e.kind)?, e.index)));
                            PartInstance::Bundle(exports.iter().map(export).collect::<Result<_, LinkError>>()?)
                        }
                    });
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    match alias? {
                        ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                            self.named[kind_index(kind)?].push(Some((instance_index as usize, name)));
                        }
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. }
                        | ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                            return Err("it takes a module from elsewhere".into());
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    let function = function?;
                    if let CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } =
                        &function
                        && options.iter().any(|option| {
                            use CanonicalOption::{Async, CompactUTF16, UTF16};
                            matches!(option, UTF16 | CompactUTF16 | Async)
                        })
                    {
                        return Err("it speaks to the host in another way than UTF-8 and calls that return".into());
                    }
                    if !matches!(function, CanonicalFunction::Lift { .. }) {
                        self.named[FUNCTIONS].push(None);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The instance that exports the functions of the world.
    pub(super) fn world(&self) -> Option<usize> {
        let ours = self.named[FUNCTIONS].iter().flatten().find(|(_, name)| name.starts_with(OURS));
        ours.map(|(instance, _)| *instance)
    }
}

impl<'a> PartModule<'a> {
    pub(super) fn take(&mut self, payload: Payload<'a>) -> Result<(), LinkError> {
        match payload {
            Payload::TypeSection(section) => {
                self.types = section.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let kind = match import.ty {
                        TypeRef::Func(ty) => {
                            self.import_types.push(ty);
                            FUNCTIONS
                        }
                        TypeRef::Table(_) => TABLES,
                        TypeRef::Memory(_) => MEMORIES,
                        TypeRef::Global(_) => GLOBALS,
                        other => return Err(format!("it uses a core {other:?}").into()),
                    };
                    self.imports[kind].push((import.module, import.name));
                }
            }
            Payload::FunctionSection(section) => self.functions = section.into_iter().collect::<Result<_, _>>()?,
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    if !matches!(table.init, TableInit::RefNull) {
                        return Err("a table of it has a first value".into());
                    }
                    self.tables.push(table.ty);
                }
            }
            Payload::MemorySection(section) => self.memories = section.into_iter().collect::<Result<_, _>>()?,
            Payload::GlobalSection(section) => {
                let globals = section.into_iter().map(|global| global.map(|global| (global.ty, global.init_expr)));
                self.globals = globals.collect::<Result<_, _>>()?;
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.insert(export.name, (kind_index(export.kind)?, export.index));
                }
            }
            Payload::StartSection { .. } => self.starts = true,
            Payload::ElementSection(section) => self.elements = section.into_iter().collect::<Result<_, _>>()?,
            Payload::DataSection(section) => self.data = section.into_iter().collect::<Result<_, _>>()?,
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    for name in names {
                        if let Name::Function(names) = name? {
                            let names =
                                names.into_iter().map(|naming| naming.map(|naming| (naming.index, naming.name)));
                            self.function_names = names.collect::<Result<_, _>>()?;
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
