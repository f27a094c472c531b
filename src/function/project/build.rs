//! `cargo build`, then a component, then the gates that a server would apply.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::function::component::{self, EncodeError};
use crate::wasm::{Engine, EngineError, Limits, LoadError, Module};

const TARGET: &str = "wasm32-unknown-unknown";

/// Lines of a failed compilation that are shown.
const ERROR_LINES_MAX: usize = 24;

/// A component that a server would load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// `<target dir>/components/<name>.component.wasm`.
    pub path: PathBuf,
    pub bytes: usize,
    /// Of the component, lower-case hexadecimal: the identity of this version.
    pub sha256: String,
}

/// Why there is no component. Each answer is one cause that its reader can act on.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{} has no Cargo.toml", dir.display())]
    NoProject {
        dir: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("cargo could not be started; is Rust installed (https://rustup.rs)?")]
    NoCargo(#[source] std::io::Error),
    #[error("Rust cannot build for {TARGET} yet; run: rustup target add {TARGET}")]
    TargetMissing,
    #[error("the function does not compile:\n{errors}")]
    Compile { errors: String },
    #[error("the build made no WebAssembly module; Cargo.toml needs\n[lib]\ncrate-type = [\"cdylib\"]")]
    NotCdylib,
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Refused(#[from] LoadError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// Builds the guest in `dir` and checks the component as a server would.
///
/// `target_dir` is cargo's own choice when it is `None`. Every line that cargo prints goes to `on_progress`.
pub fn build(dir: &Path, target_dir: Option<&Path>, on_progress: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let manifest = dir.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|cause| BuildError::NoProject { dir: dir.to_owned(), cause })?;
    let messages = run_cargo(&manifest, target_dir, on_progress)?;
    let module = find_module(&messages, &manifest).ok_or(BuildError::NotCdylib)?;
    on_progress("Encoding the component");
    let core_wasm = std::fs::read(&module).map_err(|cause| BuildError::File { path: module.clone(), cause })?;
    let component = component::encode(&core_wasm)?;
    on_progress("Checking the component");
    Module::compile_any(&Engine::new(&Limits { calls_at_once_max: 1, ..Limits::default() })?, &component)?;
    let path = component_path(&module).ok_or(BuildError::NotCdylib)?;
    write(&path, &component)?;
    let sha256 = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Built { path, bytes: component.len(), sha256 })
}

/// Runs cargo and returns its messages, one JSON object a line.
fn run_cargo(
    manifest: &Path,
    target_dir: Option<&Path>,
    on_progress: &mut dyn FnMut(&str),
) -> Result<String, BuildError> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    cargo.arg("--manifest-path").arg(manifest);
    if let Some(target_dir) = target_dir {
        cargo.arg("--target-dir").arg(target_dir);
    }
    // Flags for the host's linker would break a build for another target.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // The folder of the project decides which configuration and toolchain file apply.
    cargo.current_dir(manifest.parent().unwrap_or(manifest));
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut cargo = cargo.spawn().map_err(BuildError::NoCargo)?;
    let (stdout, stderr) = (cargo.stdout.take(), cargo.stderr.take());
    let reader = std::thread::spawn(move || {
        let mut messages = String::new();
        // A message that is no UTF-8 ends the reading; the module is then not found, which is the truth.
        let _ = stdout.map(|mut out| out.read_to_string(&mut messages));
        messages
    });
    let mut errors = Errors::default();
    for line in stderr.into_iter().flat_map(|err| BufReader::new(err).lines()).map_while(Result::ok) {
        errors.take(&line);
        on_progress(&line);
    }
    let status = cargo.wait().map_err(BuildError::NoCargo)?;
    let messages = reader.join().unwrap_or_default();
    if status.success() { Ok(messages) } else { Err(errors.into_cause()) }
}

/// The part of cargo's output that says what is wrong.
#[derive(Default)]
struct Errors {
    lines: Vec<String>,
    target_missing: bool,
}

impl Errors {
    fn take(&mut self, line: &str) {
        self.target_missing |= line.contains(TARGET) && line.contains("target may not be installed");
        let begun = !self.lines.is_empty();
        if (begun || line.starts_with("error")) && self.lines.len() < ERROR_LINES_MAX {
            self.lines.push(line.to_owned());
        }
    }

    fn into_cause(self) -> BuildError {
        if self.target_missing {
            return BuildError::TargetMissing;
        }
        BuildError::Compile { errors: self.lines.join("\n").trim_end().to_owned() }
    }
}

/// The module that cargo made of the package with this manifest.
fn find_module(messages: &str, manifest: &Path) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let ours = message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
        let files = message["filenames"].as_array().filter(|_| ours)?;
        let module = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
        Some(PathBuf::from(module))
    })
}

/// `<target>/wasm32-unknown-unknown/release/a_b.wasm` becomes `<target>/components/a-b.component.wasm`.
fn component_path(module: &Path) -> Option<PathBuf> {
    let target_dir = module.ancestors().nth(3)?;
    let name = module.file_stem()?.to_str()?.replace('_', "-");
    Some(target_dir.join("components").join(format!("{name}.component.wasm")))
}

/// Written beside and renamed, so that nobody reads half a component.
fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let failed = |cause| BuildError::File { path: path.to_owned(), cause };
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_kept_and_the_noise_before_it_is_not() {
        let mut errors = Errors::default();
        for line in ["   Compiling a v0.1.0", "error[E0425]: cannot find value `x`", " --> src/lib.rs:3:5", ""] {
            errors.take(line);
        }
        let cause = errors.into_cause().to_string();
        assert_eq!(cause, "the function does not compile:\nerror[E0425]: cannot find value `x`\n --> src/lib.rs:3:5");
    }

    #[test]
    fn a_missing_target_says_how_to_get_it() {
        let mut errors = Errors::default();
        errors.take("error[E0463]: can't find crate for `core`");
        errors.take("  = note: the `wasm32-unknown-unknown` target may not be installed");
        let cause = errors.into_cause().to_string();
        assert!(cause.ends_with("run: rustup target add wasm32-unknown-unknown"), "{cause}");
    }

    #[test]
    fn a_folder_without_a_project_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let refused = build(dir.path(), None, &mut |_| {}).unwrap_err();
        assert!(matches!(refused, BuildError::NoProject { .. }), "{refused}");
    }

    #[test]
    fn the_module_is_found_by_its_manifest() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/dep/Cargo.toml","filenames":["/t/dep.wasm"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/me/Cargo.toml","filenames":["/t/a.d","/t/me.wasm"]}"#,
        );
        let module = find_module(messages, Path::new("/w/me/Cargo.toml"));
        assert_eq!(module, Some(PathBuf::from("/t/me.wasm")));
        assert_eq!(find_module(messages, Path::new("/w/other/Cargo.toml")), None);
        let path = component_path(Path::new("/t/wasm32-unknown-unknown/release/a_b.wasm"));
        assert_eq!(path, Some(PathBuf::from("/t/components/a-b.component.wasm")));
    }
}
