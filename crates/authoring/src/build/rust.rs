//! Rust: `cargo build`, then a component of what wit-bindgen left in the module.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::super::component;
use super::super::tool::{ToolError, run};
use super::{BuildError, read};

const TARGET: &str = "wasm32-unknown-unknown";

/// Lines of a failed compilation that are shown.
const ERROR_LINES_MAX: usize = 24;

/// Builds the package of `manifest` and encodes what cargo made; answers the component and its usual place.
pub(super) fn build(
    manifest: &Path,
    target_dir: Option<&Path>,
    on_progress: &mut dyn FnMut(&str),
) -> Result<(Vec<u8>, PathBuf), BuildError> {
    let manifest = manifest.canonicalize().map_err(|cause| BuildError::File { path: manifest.to_owned(), cause })?;
    let messages = run_cargo(&manifest, target_dir, on_progress)?;
    let module = find_module(&messages, &manifest).ok_or(BuildError::NotCdylib)?;
    on_progress("Encoding the component");
    let component = component::encode(&read(&module)?, None)?;
    Ok((component, component_path(&module).ok_or(BuildError::NotCdylib)?))
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
    // The lines that a trap names must not say where the project lies. It is added to the flags that the project has, and
    // the same for a whole workspace, whose dependencies would be built again otherwise.
    if let Some(root) = workspace_root(manifest) {
        cargo.arg("--config").arg(format!("target.{TARGET}.rustflags=[\"--remap-path-prefix={}=.\"]", root.display()));
    }
    // Flags for the host's linker would break a build for another target.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // The folder of the project decides which configuration and toolchain file apply.
    cargo.current_dir(manifest.parent().unwrap_or(manifest));
    let mut errors = Errors::default();
    let ran = run(&mut cargo, &mut |line| {
        errors.take(line);
        on_progress(line);
    });
    let ran = ran.map_err(|_| ToolError::Missing { tool: "cargo", fix: "install Rust from https://rustup.rs" })?;
    if ran.status.success() { Ok(ran.stdout) } else { Err(errors.into_cause()) }
}

/// The folder of the workspace that the package of `manifest` is in. A path that TOML would have to escape is left alone.
fn workspace_root(manifest: &Path) -> Option<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["locate-project", "--workspace", "--message-format", "plain", "--manifest-path"]).arg(manifest);
    cargo.current_dir(manifest.parent()?);
    let ran = run(&mut cargo, &mut |_| {}).ok().filter(|ran| ran.status.success())?;
    let root = PathBuf::from(ran.stdout.trim()).parent()?.to_owned();
    root.to_str().is_some_and(|root| !root.contains(['"', '\\', '='])).then_some(root)
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
        assert_eq!(cause, "the plugin does not compile:\nerror[E0425]: cannot find value `x`\n --> src/lib.rs:3:5");
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
