//! Building a function's folder with its language's own tool: cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::component::{EncodeError, encode};
use crate::wasm::{Engine, EngineError, Limits, LoadError, Module};

const TARGET: &str = "wasm32-unknown-unknown";

/// A component on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    pub path: PathBuf,
    pub bytes: usize,
    /// Hexadecimal.
    pub sha256: String,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{}: there is no Cargo.toml here; this builds Rust functions", .0.display())]
    NoProject(PathBuf),
    #[error("cargo could not be run: {0}; install Rust from rustup.rs")]
    NoCargo(std::io::Error),
    #[error("the target {TARGET} is not installed; run `rustup target add {TARGET}`")]
    NoTarget,
    #[error("the function does not compile:\n{0}")]
    Compile(String),
    #[error("{}: no .wasm came out; add `[lib]` with `crate-type = [\"cdylib\"]` to its Cargo.toml", .0.display())]
    NotCdylib(PathBuf),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{}: {cause}", path.display())]
    Io { path: PathBuf, cause: std::io::Error },
}

/// Builds the Rust function in `dir`, wraps it into a component at `out` (or beside cargo's output) and checks that it
/// may run. Cargo's own progress goes to stderr.
///
/// # Errors
/// One readable cause; see [`BuildError`].
pub fn build(dir: &Path, out: Option<&Path>) -> Result<Built, BuildError> {
    if !dir.join("Cargo.toml").is_file() {
        return Err(BuildError::NoProject(dir.to_owned()));
    }
    let core = compile(dir)?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| BuildError::Io { path, cause }
    };
    let component = encode(&std::fs::read(&core).map_err(io(&core))?)?;
    Module::compile(&Engine::new()?, &component, &Limits::default())?;
    let path = out.map_or_else(|| core.with_extension("component.wasm"), Path::to_path_buf);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    std::fs::write(&path, &component).map_err(io(&path))?;
    let sha256 = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Built { path, bytes: component.len(), sha256 })
}

/// Runs cargo; answers the core module's path.
fn compile(dir: &Path) -> Result<PathBuf, BuildError> {
    let output = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(BuildError::NoCargo)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("can't find crate for `core`") || text.contains("target may not be installed") {
            return Err(BuildError::NoTarget);
        }
        let first = text.lines().skip_while(|line| !line.starts_with("error")).take(12).collect::<Vec<_>>().join("\n");
        return Err(BuildError::Compile(if first.is_empty() { text.into_owned() } else { first }));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let manifest = dir.join("Cargo.toml").canonicalize().unwrap_or_default();
    let mut found = None;
    for message in messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let ours = message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
        let files = message["filenames"].as_array().into_iter().flatten();
        for file in files.filter_map(|file| file.as_str()).filter(|file| ours && file.ends_with(".wasm")) {
            found = Some(PathBuf::from(file));
        }
    }
    found.ok_or_else(|| BuildError::NotCdylib(dir.to_owned()))
}
