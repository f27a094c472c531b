//! A component that another tool compiled becomes one file that a server takes: adapted, checked, with manifest and
//! fixtures in it.

use std::path::Path;
use std::time::Instant;

use super::build::{self, BuildError, Built};
use super::carried_fixtures;
use super::manifest::Project;

/// Where what goes into a component comes from.
#[derive(Debug, Clone, Copy)]
pub struct Papers<'a> {
    /// `plugin.yaml`, under whatever name.
    pub manifest: &'a Path,
    /// The fixtures; `fixtures/` beside the manifest, if there is one, when it is `None`.
    pub fixtures: Option<&'a Path>,
}

/// The bytes of a component that a server takes, of the component or core module `bytes`.
///
/// # Errors
/// The manifest or a fixture is wrong, or the component does not fit the world of the manifest's kind; one readable cause.
pub fn packed(bytes: &[u8], papers: Papers<'_>) -> Result<(Vec<u8>, Project), BuildError> {
    let project = Project::of_file(papers.manifest)?;
    let carried = match papers.fixtures {
        Some(dir) => carried_fixtures::of_folder(dir, &project)?,
        None => carried_fixtures::of_project(&project)?,
    };
    let component = build::adapted(bytes, project.manifest.world())?;
    build::check(&component, project.kind())?;
    Ok((carried.into(&component, &project), project))
}

/// Packs the component at `component` into the file `out`, or into `NAME.component.wasm` beside it.
///
/// # Errors
/// As for [`packed`]; or a file cannot be read or written.
pub fn pack(component: &Path, papers: Papers<'_>, out: Option<&Path>) -> Result<Built, BuildError> {
    let began = Instant::now();
    let (bytes, project) = packed(&build::read(component)?, papers)?;
    let beside = component.with_file_name(format!("{}.component.wasm", project.manifest.name));
    build::finish(&bytes, out.unwrap_or(&beside), began, Some(project.kind()))
}
