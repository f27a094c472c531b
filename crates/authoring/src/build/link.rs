//! One core module of the many that an interpreter comes in.
//!
//! The tools for JavaScript and Python make a component as a system loads shared libraries: a module for the memory, one for
//! the interpreter, one for the world, shims between them, stand-ins for WASI that trap. All of that is put together again
//! for each instance: hundreds of imports are looked up, a table is filled function by function, and the interpreter
//! reaches its own memory and globals through imports. Here the same links are made once, when a plugin is built. What
//! those tools imported of WASI traps as it did.

mod parts;

use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, Instruction, MemorySection, NameMap,
    NameSection, TableSection, TypeSection,
};
use wasmparser::{DataKind, ElementItems, ElementKind, Operator, ValType};

use self::parts::{ComponentPart, FUNCTIONS, GLOBALS, PartInstance, PartModule, TABLES, parse};
use super::super::component::{self, EncodeError};
use super::bindings;

/// What is wrong with a component, in words.
type LinkError = Box<dyn std::error::Error + Send + Sync>;

/// Interfaces that stay imports.
const OURS: &str = "tidegate:";
/// What traps: the system, and the files that a module was read from when it was made.
const TRAPS: [&str; 3] = ["wasi:", "wasi_snapshot_preview1", "local:init/"];
/// Where a shim looks up what is only there once everything is instantiated.
const SHIM_TABLE: &str = "$imports";

/// `component`, which a tool made around an interpreter for this `world`, with one module that imports nothing but our interfaces.
///
/// # Errors
/// The component is made in another way than those of the tools that this program drives.
pub(super) fn linked(component: &[u8], world: &str) -> Result<Vec<u8>, EncodeError> {
    let mut core =
        link(component).map_err(|error| EncodeError::of(format!("its parts could not be linked, because {error}")))?;
    bindings::embed_type(&mut core, world)?;
    component::encode(&core, None)
}

/// The modules of `component` that make up the plugin as one core module.
fn link(component: &[u8]) -> Result<Vec<u8>, LinkError> {
    // Indexes are looked up below as they stand there.
    wasmparser::validate(component)?;
    let parts = parse(component)?;
    let part = parts.into_iter().find(|part| part.world().is_some()).ok_or("no part of it exports a plugin")?;
    Linker::new(part)?.link()
}

/// Something that a module defines: in which instance, and its index in that module without what it imports.
type Defined = (usize, u32);

struct Linker<'a> {
    part: ComponentPart<'a>,
    /// Instances whose modules are put together, in the order of their instantiation.
    linked: Vec<usize>,
    shim: Option<usize>,
    /// The instance that fills the table of the shim.
    filler: Option<usize>,
}

/// Stands for a function of the host that only the shim calls.
const NOT_LINKED: u32 = u32::MAX;

/// The first index that each kind of definition of a module gets.
#[derive(Clone, Copy, Default)]
struct Bases {
    types: u32,
    functions: u32,
    globals: u32,
    data: u32,
}

/// What the indexes of a module are in the module that is made.
struct Map {
    bases: Bases,
    functions: Vec<u32>,
    globals: Vec<u32>,
    /// Globals that never change: reading one is a constant.
    constants: HashMap<u32, i32>,
}

/// What the module that is made imports, and the functions that trap in place of other imports, each with its type.
#[derive(Default)]
struct Outside<'a> {
    imports: Vec<(&'a str, &'a str, u32)>,
    traps: Vec<(&'a str, &'a str, u32)>,
}

impl<'a> Linker<'a> {
    fn new(part: ComponentPart<'a>) -> Result<Self, LinkError> {
        let mut linker = Self { part, linked: Vec::new(), shim: None, filler: None };
        for at in 0..linker.part.instances.len() {
            let Ok(module) = linker.module(at) else { continue };
            let fills = module.imports[TABLES].iter().any(|(_, name)| *name == SHIM_TABLE);
            let place = match module.exports.contains_key(SHIM_TABLE) {
                true => Some(&mut linker.shim),
                false if fills => Some(&mut linker.filler),
                false => None,
            };
            if place.and_then(|place| place.replace(at)).is_some() {
                return Err("it has two shims".into());
            }
            if linker.shim != Some(at) {
                linker.linked.push(at);
            }
        }
        Ok(linker)
    }

    fn module(&self, instance: usize) -> Result<&PartModule<'a>, LinkError> {
        let module = match self.part.instances.get(instance) {
            Some(PartInstance::Of { module, .. }) => self.part.modules.get(*module),
            _ => None,
        };
        module.ok_or_else(|| "it uses an instance that is of no module".into())
    }

    /// What `instance` exports as `name`; none is a function of the host.
    fn export(&self, instance: usize, name: &str) -> Result<Option<Defined>, LinkError> {
        let missing = || format!("nothing is exported as {name:?}");
        match self.part.instances.get(instance).ok_or_else(missing)? {
            PartInstance::Bundle(exports) => {
                let (kind, index) = exports.get(name).ok_or_else(missing)?;
                match self.part.named[*kind].get(*index as usize).ok_or_else(missing)? {
                    Some((instance, name)) => self.export(*instance, name),
                    None => Ok(None),
                }
            }
            PartInstance::Of { .. } if Some(instance) == self.shim => {
                let filler = self.filler.ok_or("nothing fills the table of its shim")?;
                let functions = &self.module(filler)?.imports[FUNCTIONS];
                let (from, name) = functions.iter().find(|(_, found)| *found == name).ok_or_else(missing)?;
                self.import(filler, from, name)
            }
            PartInstance::Of { .. } => {
                let (kind, index) = *self.module(instance)?.exports.get(name).ok_or_else(missing)?;
                self.defined(instance, kind, index)
            }
        }
    }

    /// What the module of `instance` imports as `name` of `from`.
    fn import(&self, instance: usize, from: &str, name: &str) -> Result<Option<Defined>, LinkError> {
        let Some(PartInstance::Of { arguments, .. }) = self.part.instances.get(instance) else {
            return Err("something without a module imports".into());
        };
        let giver = arguments.get(from).ok_or_else(|| format!("nobody gives {from:?}"))?;
        self.export(*giver, name)
    }

    /// What the module of `instance` calls `index`, wherever that is defined.
    fn defined(&self, instance: usize, kind: usize, index: u32) -> Result<Option<Defined>, LinkError> {
        let imports = &self.module(instance)?.imports[kind];
        match imports.get(index as usize) {
            Some((from, name)) => self.import(instance, from, name),
            None => Ok(Some((instance, index - u32::try_from(imports.len())?))),
        }
    }

    fn global(&self, instance: usize, index: u32) -> Result<Defined, LinkError> {
        self.defined(instance, GLOBALS, index)?.ok_or_else(|| "the host would give a global".into())
    }

    /// The value of a global that never changes.
    fn constant(&self, (instance, index): Defined) -> Result<Option<i32>, LinkError> {
        let (ty, init) = &self.module(instance)?.globals[index as usize];
        if ty.mutable || ty.content_type != ValType::I32 { Ok(None) } else { self.value(instance, init).map(Some) }
    }

    /// The value of an expression of type `i32`.
    fn value(&self, instance: usize, init: &wasmparser::ConstExpr<'_>) -> Result<i32, LinkError> {
        let mut stack = Vec::new();
        for operator in init.get_operators_reader() {
            match operator? {
                Operator::I32Const { value } => stack.push(value),
                Operator::GlobalGet { global_index } => {
                    let global = self.global(instance, global_index)?;
                    stack.push(self.constant(global)?.ok_or("an initial value depends on a global that changes")?);
                }
                Operator::I32Add => {
                    let (right, left) = (stack.pop().unwrap_or(0), stack.pop().unwrap_or(0));
                    stack.push(left.wrapping_add(right));
                }
                Operator::End => {}
                other => return Err(format!("an initial value is made by {other:?}").into()),
            }
        }
        stack.pop().ok_or_else(|| "an initial value is empty".into())
    }

    fn link(&self) -> Result<Vec<u8>, LinkError> {
        let (outside, bases) = self.number()?;
        let maps = self.maps(&outside, &bases)?;
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        let (mut tables, mut memories, mut globals) = (TableSection::new(), MemorySection::new(), GlobalSection::new());
        let (mut elements, mut code, mut data) = (ElementSection::new(), CodeSection::new(), DataSection::new());
        let mut names = NameMap::new();
        for (from, name, ty) in &outside.imports {
            imports.import(from, name, EntityType::Function(*ty));
        }
        for ((from, name, ty), index) in outside.traps.iter().zip(u32::try_from(outside.imports.len())?..) {
            functions.function(*ty);
            names.append(index, &format!("{from}#{name}"));
            let mut body = Function::new([]);
            body.instructions().unreachable().end();
            code.function(&body);
        }
        for at in &self.linked {
            let (module, mut map) = (self.module(*at)?, &maps[at]);
            if module.starts {
                return Err("one of its modules has a start function".into());
            }
            for ty in &module.types {
                types.ty().func_type(&RoundtripReencoder.func_type(ty.clone())?);
            }
            for ty in &module.functions {
                functions.function(map.bases.types + ty);
            }
            for table in &module.tables {
                tables.table(RoundtripReencoder.table_type(*table)?);
            }
            for memory in &module.memories {
                memories.memory(RoundtripReencoder.memory_type(*memory)?);
            }
            for (ty, init) in &module.globals {
                let init = match ty.content_type {
                    ValType::I32 => ConstExpr::i32_const(self.value(*at, init)?),
                    _ => map.const_expr(init.clone())?,
                };
                globals.global(RoundtripReencoder.global_type(*ty)?, &init);
            }
            for element in &module.elements {
                self.element(*at, element, map, &mut elements)?;
            }
            for segment in &module.data {
                let bytes = segment.data.iter().copied();
                match &segment.kind {
                    DataKind::Active { offset_expr, .. } => {
                        data.active(0, &ConstExpr::i32_const(self.value(*at, offset_expr)?), bytes)
                    }
                    DataKind::Passive => data.passive(bytes),
                };
            }
            for body in &module.bodies {
                map.parse_function_body(&mut code, body.clone())?;
            }
            let imported = module.imports[FUNCTIONS].len();
            for (index, name) in &module.function_names {
                if let Some(index) = map.functions.get(*index as usize).filter(|_| *index as usize >= imported) {
                    names.append(*index, name);
                }
            }
        }
        if (tables.len(), memories.len()) != (1, 1) {
            return Err(format!("its modules define {} tables and {} memories", tables.len(), memories.len()).into());
        }
        let exports = self.exports(&maps)?;
        let mut name_section = NameSection::new();
        // Traps name the module before the function.
        name_section.module("interpreter");
        name_section.functions(&names);
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables).section(&memories);
        module.section(&globals).section(&exports).section(&elements);
        module.section(&DataCountSection { count: data.len() }).section(&code).section(&data).section(&name_section);
        Ok(module.finish())
    }

    /// What comes from outside, and where the definitions of each module begin: behind that, in the order of the modules.
    fn number(&self) -> Result<(Outside<'a>, HashMap<usize, Bases>), LinkError> {
        let (mut outside, mut bases, mut next) = (Outside::default(), HashMap::new(), Bases::default());
        for at in &self.linked {
            let module = self.module(*at)?;
            // What fills the table of the shim has names of its own for what the others import.
            let imports = if Some(*at) == self.filler { &[] } else { module.imports[FUNCTIONS].as_slice() };
            for ((from, name), ty) in imports.iter().zip(&module.import_types) {
                if self.import(*at, from, name)?.is_some() {
                    continue;
                }
                let place = match from {
                    from if from.starts_with(OURS) => &mut outside.imports,
                    from if TRAPS.iter().any(|start| from.starts_with(start)) => &mut outside.traps,
                    _ => return Err(format!("it imports {name:?} of {from:?}").into()),
                };
                if !place.iter().any(|(f, n, _)| (f, n) == (from, name)) {
                    place.push((*from, *name, next.types + ty));
                }
            }
            bases.insert(*at, next);
            next.types += u32::try_from(module.types.len())?;
            next.functions += u32::try_from(module.functions.len())?;
            next.globals += u32::try_from(module.globals.len())?;
            next.data += u32::try_from(module.data.len())?;
        }
        let before = u32::try_from(outside.imports.len() + outside.traps.len())?;
        bases.values_mut().for_each(|bases| bases.functions += before);
        Ok((outside, bases))
    }

    fn maps(&self, outside: &Outside<'a>, bases: &HashMap<usize, Bases>) -> Result<HashMap<usize, Map>, LinkError> {
        let mut maps = HashMap::new();
        for at in &self.linked {
            let module = self.module(*at)?;
            let (mut functions, mut globals, mut constants) = (Vec::new(), Vec::new(), HashMap::new());
            for (from, name) in &module.imports[FUNCTIONS] {
                let mut all = outside.imports.iter().chain(&outside.traps);
                functions.push(match self.import(*at, from, name)? {
                    Some((instance, index)) => bases[&instance].functions + index,
                    None => {
                        let place = all.position(|(f, n, _)| (f, n) == (from, name));
                        place.map_or(Ok(NOT_LINKED), u32::try_from)?
                    }
                });
            }
            functions.extend((bases[at].functions..).take(module.functions.len()));
            for index in 0..u32::try_from(module.imports[GLOBALS].len() + module.globals.len())? {
                let (instance, of_module) = self.global(*at, index)?;
                globals.push(bases[&instance].globals + of_module);
                if let Some(value) = self.constant((instance, of_module))? {
                    constants.insert(index, value);
                }
            }
            maps.insert(*at, Map { bases: bases[at], functions, globals, constants });
        }
        Ok(maps)
    }

    fn element(
        &self,
        at: usize,
        element: &wasmparser::Element<'a>,
        map: &Map,
        elements: &mut ElementSection,
    ) -> Result<(), LinkError> {
        let ElementItems::Functions(items) = element.items.clone() else {
            return Err("a table of it is filled by expressions".into());
        };
        let items =
            items.into_iter().map(|item| Ok(map.functions[item? as usize])).collect::<Result<Vec<_>, LinkError>>()?;
        let not_linked = items.contains(&NOT_LINKED);
        let items = Elements::Functions(items.into());
        match &element.kind {
            ElementKind::Active { table_index, offset_expr } => {
                let tables = &self.module(at)?.imports[TABLES];
                // Nobody asks the shim any more.
                let of_shim =
                    tables.get(table_index.unwrap_or(0) as usize).is_some_and(|(_, name)| *name == SHIM_TABLE);
                if !of_shim && not_linked {
                    return Err("a table of it holds a function of the host".into());
                }
                if !of_shim {
                    elements.active(None, &ConstExpr::i32_const(self.value(at, offset_expr)?), items);
                }
            }
            ElementKind::Declared => {
                elements.declared(items);
            }
            ElementKind::Passive => return Err("a module of it has passive elements".into()),
        }
        Ok(())
    }

    /// The functions of the world, their memory, and how the host allocates in it.
    fn exports(&self, maps: &HashMap<usize, Map>) -> Result<ExportSection, LinkError> {
        let world = self.part.world().ok_or("no function of the world is named")?;
        let mut names: Vec<_> = self.module(world)?.exports.keys().copied().collect();
        names.sort_unstable();
        let mut exports = ExportSection::new();
        for name in names {
            if name.trim_start_matches("cabi_post_").starts_with(OURS) || name == "cabi_realloc" {
                let defined = self.export(world, name)?.ok_or("the host would give a function of the world")?;
                exports.export(name, ExportKind::Func, maps[&defined.0].bases.functions + defined.1);
            }
        }
        exports.export("memory", ExportKind::Memory, 0);
        Ok(exports)
    }
}

/// Rewrites code: there is one table and one memory, so only the indexes of other things change.
impl Reencode for &Map {
    type Error = Infallible;

    fn type_index(&mut self, ty: u32) -> Result<u32, Error> {
        Ok(self.bases.types + ty)
    }

    fn data_index(&mut self, data: u32) -> Result<u32, Error> {
        Ok(self.bases.data + data)
    }

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(self.functions[function as usize])
    }

    fn global_index(&mut self, global: u32) -> Result<u32, Error> {
        Ok(self.globals[global as usize])
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error> {
        match operator {
            Operator::GlobalGet { global_index } if self.constants.contains_key(&global_index) => {
                Ok(Instruction::I32Const(self.constants[&global_index]))
            }
            operator => utils::instruction(self, operator),
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    /// A program of two modules as the tools make it: `main` has memory and table, `library` the code, and what it
    /// imports of the host is looked up in a table that is filled at the end. `more` goes into the library.
    fn component(more: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
                (import "tidegate:plugin/host@0.1.0" (instance $host (export "seed" (func (result u64)))))
                (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
                (component $program
                    (import "host" (instance $host (export "seed" (func (result u64)))))
                    (import "clock" (instance $clock (export "now" (func (result u64)))))
                    (core module $shim
                        (type $ask (func (result i64)))
                        (table (export "$imports") 1 1 funcref)
                        (func (export "0") (result i64) (call_indirect (type $ask) (i32.const 0))))
                    (core module $main
                        (memory (export "memory") 1)
                        (table (export "table") 4 funcref)
                        (global (export "base") i32 (i32.const 2))
                        (data (i32.const 8) "data"))
                    (core module $library
                        (import "env" "memory" (memory 1))
                        (import "env" "table" (table 1 funcref))
                        (import "env" "base" (global $base i32))
                        (import "tidegate:plugin/host@0.1.0" "seed" (func $seed (result i64)))
                        (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
                        (global $next i32 (i32.add (global.get $base) (i32.const 1)))
                        (elem (offset (global.get $base)) func $seed $twice)
                        (func $twice (result i64) (i64.add (call $seed) (call $now)))
                        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (global.get $next))
                        (func (export "tidegate:plugin/lifecycle@0.1.0#configure") (result i32) (global.get $base))
                        {more})
                    (core module $filler
                        (import "" "0" (func $seed (result i64)))
                        (import "" "1" (func $realloc (param i32 i32 i32 i32) (result i32)))
                        (import "" "$imports" (table 1 1 funcref))
                        (import "env" "table" (table $table 1 funcref))
                        (elem (i32.const 0) func $seed)
                        (elem (table $table) (i32.const 1) func $realloc))
                    (core instance $shim (instantiate $shim))
                    (core instance $main (instantiate $main))
                    (alias core export $shim "0" (core func $late))
                    (core func $now (canon lower (func $clock "now")))
                    (core instance $asked (export "seed" (func $late)))
                    (core instance $clocked (export "now" (func $now)))
                    (core instance $library (instantiate $library
                        (with "env" (instance $main))
                        (with "tidegate:plugin/host@0.1.0" (instance $asked))
                        (with "wasi:clocks/monotonic-clock@0.2.0" (instance $clocked))))
                    (alias core export $library "tidegate:plugin/lifecycle@0.1.0#configure" (core func $configure))
                    (func (export "configure") (result u32) (canon lift (core func $configure)))
                    (core func $seed (canon lower (func $host "seed")))
                    (alias core export $shim "$imports" (core table $late_table))
                    (alias core export $library "cabi_realloc" (core func $realloc))
                    (core instance (instantiate $filler
                        (with "env" (instance $main))
                        (with "" (instance
                            (export "0" (func $seed)) (export "1" (func $realloc))
                            (export "$imports" (table $late_table)))))))
                (instance (instantiate $program
                    (with "host" (instance $host)) (with "clock" (instance $clock)))))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// Where in its table an element begins, and its functions.
    fn filled(element: &wasmparser::Element<'_>) -> (i32, Vec<u32>) {
        let ElementKind::Active { offset_expr, .. } = &element.kind else { panic!("not active") };
        let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read() else { panic!("no constant") };
        let ElementItems::Functions(items) = element.items.clone() else { panic!("no functions") };
        (value, items.into_iter().map(Result::unwrap).collect())
    }

    #[test]
    fn the_modules_become_one_that_imports_what_is_ours() {
        let core = link(&component("")).unwrap();
        wasmparser::validate(&core).unwrap();
        let mut module = PartModule::default();
        let mut code = Vec::new();
        for payload in Parser::new(0).parse_all(&core) {
            let payload = payload.unwrap();
            if let Payload::CodeSectionEntry(body) = &payload {
                let operators =
                    body.get_operators_reader().unwrap().into_iter().map(|one| format!("{:?}", one.unwrap()));
                code.push(operators.collect::<Vec<_>>().join(" "));
            }
            module.take(payload).unwrap();
        }
        assert_eq!(module.imports[FUNCTIONS], [("tidegate:plugin/host@0.1.0", "seed")]);
        assert_eq!(module.imports.iter().flatten().count(), 1);
        // Import, trap, `twice`, `cabi_realloc` and `configure`, in this order.
        assert_eq!(code[0], "Unreachable End");
        assert_eq!(code[1], "Call { function_index: 0 } Call { function_index: 1 } I64Add End");
        assert_eq!(code[2..], ["I32Const { value: 3 } End", "I32Const { value: 2 } End"]);
        let mut exports: Vec<_> = module.exports.iter().map(|(name, (_, index))| (*name, *index)).collect();
        exports.sort_unstable();
        assert_eq!(exports, [("cabi_realloc", 3), ("memory", 0), ("tidegate:plugin/lifecycle@0.1.0#configure", 4)]);
        // Where the library begins in the table, and what the filler puts there; the table of the shim is gone.
        assert_eq!(module.elements.iter().map(filled).collect::<Vec<_>>(), [(2, vec![0, 2]), (1, vec![3])]);
        assert_eq!(module.function_names, [(1, "wasi:clocks/monotonic-clock@0.2.0#now"), (2, "twice")]);
        assert_eq!(module.data.iter().map(|data| data.data).collect::<Vec<_>>(), [b"data"]);
    }

    #[test]
    fn what_it_cannot_link_is_said() {
        let error = |bytes: &[u8]| link(bytes).unwrap_err().to_string();
        assert!(error(&component("(start $begin) (func $begin)")).contains("start function"));
        assert!(error(&component("(memory 1)")).contains("memor"));
        assert!(error(&component("(table 1 (ref null func) (ref.func $seed))")).contains("first value"));
        assert!(error(&component("(elem func $seed)")).contains("passive elements"));
        assert_eq!(error(b"\0asm\x0d\0\x01\0"), "no part of it exports a plugin");
        assert!(error(&component("")[..400]).contains("unexpected end"));
        assert!(error(b"#!/bin/sh").contains("magic"));
    }
}
