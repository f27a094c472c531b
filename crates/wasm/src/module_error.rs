//! Why a component is not taken.

use tidegate_plugin::ManifestKind;

use super::world::imports;

/// Why a component is not taken. Each answer says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    #[error("the component has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("this is not a WebAssembly component: it does not begin as one")]
    NotWasm,
    #[error(
        "this is a core module, not a component; `tidegate function build` makes the component, \
         and `tidegate function pack` does of a module that another tool compiled"
    )]
    CoreModule,
    #[error(
        "the component imports {import}, which no {} plugin may use; it may import only {} and gets inert \
         stand-ins for the wasi:cli and wasi:io names of a standard library; `tidegate function pack` replaces all that a \
         standard library needs of WASI", kind.world(), imports(*kind).join(", ")
    )]
    ForbiddenImport { import: String, kind: ManifestKind },
    #[error("the component does not export {export}; it must implement the world `{}` of tidegate:plugin@0.1.0", kind.world())]
    MissingExport { export: &'static str, kind: ManifestKind },
    #[error(
        "the component is built for tidegate:plugin@{found}; this host speaks 0.1.0: take its wit/plugin.wit and \
         build again"
    )]
    Version { found: String },
    #[error(
        "the component does not fit the world `{}` of tidegate:plugin@0.1.0: {reason}; build it again with the \
         wit/plugin.wit of this version (`tidegate function new` writes it)", kind.world()
    )]
    Misfit {
        kind: ManifestKind,
        reason: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "the component has {found} {what}; at most {max} are allowed; make it smaller, or split it into several plugins"
    )]
    TooMuch { what: &'static str, found: usize, max: usize },
    #[error(
        "the component uses {what}, which this host does not take; build it with the tools that `tidegate function build` uses"
    )]
    Unsupported { what: &'static str },
    #[error("the component is damaged at byte {at}: {reason}; build it again and send the whole file")]
    Malformed { reason: String, at: usize },
    #[error("the compiled code does not fit this engine: {reason}")]
    Stale { reason: String },
    #[error("the component could not be compiled: {reason}")]
    Compile {
        reason: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the compiler gave up on the component")]
    CompilerPanicked,
    #[error("no thread to compile on")]
    Thread(#[source] std::io::Error),
}
