//! A project to a component: the language's own tool, then the limits that a server applies, then its papers.

mod adapter;
mod bindings;
mod c;
mod foreign;
mod go;
mod javascript;
mod link;
mod noop;
mod preview2;
mod python;
mod rust;
mod stack_lines;

pub(super) use foreign::adapted;
pub(super) use noop::noop;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tidegate_document::file;
use tidegate_plugin::{Language, ManifestKind};
use tidegate_wasm::{CallLimits, Engine, EngineError, Module, ModuleError};

use super::carried_fixtures;
use super::component::EncodeError;
use super::fixtures::TestError;
use super::manifest::{ManifestError, Project};
use super::tool::{ToolError, ToolRan, Workbench, run};

/// A component that a server would load.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    pub path: PathBuf,
    pub bytes: usize,
    /// Of the file, lower-case hexadecimal: the identity of this version.
    pub sha256: String,
    pub seconds: f64,
    /// `None` for a Rust guest without a `plugin.yaml`: it runs, but it cannot be pushed.
    pub kind: Option<ManifestKind>,
}

/// Why there is no component. Each answer is one cause that its reader can act on.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("plugin.yaml does not say which language this is; add `language: js` (or ts, rust, python, go, c)")]
    NoLanguage,
    #[error(
        "`build` does not know the language {named:?} of plugin.yaml; write one of js, ts, rust, python, go, c, or compile \
         it with your own tool and put the manifest in: tidegate function pack COMPONENT --manifest plugin.yaml"
    )]
    OtherLanguage { named: String },
    #[error("{} is not there; plugin.yaml names the file that the build starts from as `entry`", path.display())]
    NoEntry { path: PathBuf },
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("Rust cannot build for wasm32-unknown-unknown yet; run: rustup target add wasm32-unknown-unknown")]
    TargetMissing,
    /// What the compiler says, cut to what matters.
    #[error("the plugin does not compile:\n{errors}")]
    Compile { errors: String },
    #[error("the build made no WebAssembly module; Cargo.toml needs\n[lib]\ncrate-type = [\"cdylib\"]")]
    NotCdylib,
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Refused(#[from] ModuleError),
    #[error(
        "plugin.yaml says `forget: {said}`, and the component {} the export `forget`; in Rust write \
         destination!(forgetting Plugin, ..) for it, or mend plugin.yaml",
        if *said { "lacks" } else { "has" }
    )]
    Forget { said: bool },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// A fixture that cannot be read would be missing where the plugin is smoke-run.
    #[error(transparent)]
    Fixtures(#[from] TestError),
}

/// What every build of a language gets.
struct Site<'a> {
    project: &'a Project,
    workbench: &'a Workbench,
    /// Scratch of this project; holds `wit/`.
    scratch: PathBuf,
    progress: &'a mut dyn FnMut(&str),
}

/// The interface that this program speaks.
pub(super) const WIT: &str = include_str!("../../../wit/plugin.wit");

/// Builds the project in `dir` and checks the component as a server would. Every line that a tool prints goes to
/// `progress`. The component goes to `out`, or else to a place inside the project.
///
/// # Errors
/// One readable cause.
pub fn build(
    dir: &Path,
    workbench: &Workbench,
    out: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let began = Instant::now();
    let project = match Project::read(dir) {
        Ok(project) => project,
        Err(ManifestError::Missing { .. }) if dir.join("Cargo.toml").is_file() => {
            return bare(dir, workbench, out, began, progress);
        }
        Err(error) => return Err(error.into()),
    };
    let language = project.manifest.language.ok_or_else(|| match &project.manifest.language_named {
        Some(named) => BuildError::OtherLanguage { named: named.clone() },
        None => BuildError::NoLanguage,
    })?;
    let entry = project.entry();
    if !entry.is_file() {
        return Err(BuildError::NoEntry { path: entry });
    }
    // Before the build, which takes longer than reading them.
    let carried = carried_fixtures::of_project(&project)?;
    let scratch = project.dir.join("build/work");
    write(&scratch.join("wit/plugin.wit"), WIT.as_bytes())?;
    let mut site = Site { project: &project, workbench, scratch, progress };
    let (component, usual_place) = match language {
        Language::Js | Language::Ts => (javascript::build(&mut site)?, None),
        Language::Python => (python::build(&mut site)?, None),
        Language::Rust => rust::build(&entry, workbench.target_dir.as_deref(), site.progress)
            .map(|(component, path)| (component, Some(path)))?,
        Language::Go => (go::build(&mut site)?, None),
        Language::C => (c::build(&mut site)?, None),
    };
    progress("Checking the component");
    let module = check(&component, project.kind())?;
    if module.can_forget() != project.manifest.forget {
        return Err(BuildError::Forget { said: project.manifest.forget });
    }
    let packed = carried.into(&component, &project);
    let usual_place = usual_place
        .unwrap_or_else(|| project.dir.join("build").join(format!("{}.component.wasm", project.manifest.name)));
    finish(&packed, out.unwrap_or(&usual_place), began, Some(project.kind()))
}

/// A Rust guest without papers, as tests and benchmarks have them.
fn bare(
    dir: &Path,
    workbench: &Workbench,
    out: Option<&Path>,
    began: Instant,
    progress: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let (component, path) = rust::build(&dir.join("Cargo.toml"), workbench.target_dir.as_deref(), progress)?;
    progress("Checking the component");
    // Without a manifest any world will do.
    Module::compile_any(&Engine::new(&CallLimits { calls_at_once_max: 1, ..CallLimits::default() })?, &component)?;
    finish(&component, out.unwrap_or(&path), began, None)
}

pub(super) fn check(component: &[u8], kind: ManifestKind) -> Result<Module, BuildError> {
    let engine = Engine::new(&CallLimits { calls_at_once_max: 1, ..CallLimits::default() })?;
    Ok(Module::compile(&engine, component, kind)?)
}

pub(super) fn finish(
    bytes: &[u8],
    path: &Path,
    began: Instant,
    kind: Option<ManifestKind>,
) -> Result<Built, BuildError> {
    write(path, bytes)?;
    let sha256 = HEXLOWER.encode(&Sha256::digest(bytes));
    let seconds = began.elapsed().as_secs_f64();
    Ok(Built { path: path.to_owned(), bytes: bytes.len(), sha256, seconds, kind })
}

/// Generated files that a project keeps, so that an editor knows them.
pub(super) fn bindings_of(language: Language, kind: ManifestKind) -> Result<bindings::Generated, EncodeError> {
    let below = |dir: &str, files: bindings::Generated| {
        files.into_iter().map(|(path, bytes)| (format!("{dir}/{path}"), bytes)).collect()
    };
    Ok(match language {
        Language::Go => below("tidegate", go::sdk()),
        Language::C => below("bindings", bindings::c(kind)?),
        Language::Python => below("typings", python::sdk()),
        Language::Js | Language::Ts | Language::Rust => Vec::new(),
    })
}

/// Written beside and renamed, so that nobody reads half a component.
fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let failed = |cause| BuildError::File { path: path.to_owned(), cause };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    file::read(path, file::COMPONENT_BYTES_MAX).map_err(|cause| BuildError::File { path: path.to_owned(), cause })
}

impl Site<'_> {
    /// Lets a tool that keeps an interpreter's memory keep the same in every build.
    fn steady(&mut self, command: &mut Command) {
        if let Some(library) = self.workbench.steady(self.progress) {
            command.env("LD_PRELOAD", library);
        }
    }

    /// Runs a compiler in the project's folder; what it says when it fails is cut to what matters by `errors`.
    fn compile(
        &mut self,
        command: &mut Command,
        tool: &'static str,
        fix: &'static str,
        errors: impl FnOnce(&ToolRan) -> String,
    ) -> Result<ToolRan, BuildError> {
        command.current_dir(&self.project.dir);
        // What node's tools say is nothing but errors, each of which is told once, at the end.
        let mut silence = |_: &str| {};
        let progress = if tool == "node" { &mut silence } else { &mut *self.progress };
        let ran = run(command, progress).map_err(|_| ToolError::Missing { tool, fix })?;
        if ran.status.success() { Ok(ran) } else { Err(BuildError::Compile { errors: errors(&ran) }) }
    }
}
