//! The program as an author of plugins runs it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::guests;

/// Runs the program in `dir`, with the tools of languages that the tests share.
pub fn tidegate(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = super::tidegate();
    command.args(["--json", "--log", "error"]).args(arguments).current_dir(dir);
    // One target folder for all Rust projects: their dependencies are built once.
    command.env("CARGO_TARGET_DIR", guests::guests_target_dir().join("author")).env("TIDEGATE_TOOLS", guests::tools());
    command.output().unwrap()
}

/// What it said on standard output.
pub fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Whether a tool of a language is on this machine.
pub fn has(tool: &str) -> bool {
    let version = if tool == "go" { "version" } else { "--version" };
    Command::new(tool).arg(version).output().is_ok_and(|output| output.status.success())
}
