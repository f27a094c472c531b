//! A guest project on disk: its folder to a checked component ([`build`]), its fixtures to a report ([`test`]).
//!
//! Both return plain structs; how they look on a terminal is for the command line to say.

mod build;
mod diff;
mod fixtures;

pub use build::{BuildError, Built, build};
pub use fixtures::{Case, CaseResult, TestError, TestReport, test};
