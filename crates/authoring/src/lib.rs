//! A plugin's folder on disk, as its author works with it.
//!
//! Nouns: a **project** (a folder with `plugin.yaml`, source and fixtures), a **template** (what a new project is made
//! of), a **workbench** (where tools are kept and build output goes), **fixtures** (recorded events and what must come
//! of them), a **report**.
//!
//! What holds: a component that [`build`] hands out has stayed within the limits that a server applies, and carries its
//! manifest and fixtures; [`test`] runs it on the engine and within the limits that production uses; whatever goes wrong
//! has one cause that its reader can act on.
//!
//! Results are plain structs; how they look on a terminal is for the command line to say. Tools that are not on the
//! machine are installed into the workbench from their registries, at versions that are written down here.

mod bench;
mod build;
mod carried_fixtures;
mod case;
mod check;
mod component;
mod deliveries;
mod diff;
mod fixtures;
mod golden_test;
mod import;
mod manifest;
mod pack;
mod refused;
mod runner;
mod template;
mod tool;
pub mod wit;

pub use bench::{BenchError, BenchReport, Measured, bench};
pub use build::{BuildError, Built, build};
pub use case::{Case, CaseResult};
pub use check::{CheckError, InspectedPlugin, inspect};
pub use fixtures::TestError;
pub use golden_test::{TestReport, test};
pub use import::{Foreign, ImportError, Imported, Product, Unsupported, import};
pub use manifest::{ManifestError, Project};
pub use pack::{Papers, pack, packed};
pub use template::{NewError, create};
pub use tool::{ToolError, Workbench};
