//! How much of everything a component may have before a byte of it is compiled.

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
