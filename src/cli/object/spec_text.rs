//! Specs and events as people write them: YAML or JSON, of a file or of standard input.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use tidegate_document::problem::Problem;
use tidegate_document::{file, yaml};

use super::super::CommandFailure;

/// The server takes no longer body.
const BYTES_MAX: u64 = 256 << 10;
const STDIN: &str = "-";

/// The text of a file; `-` is standard input.
pub(in crate::cli) fn read(path: &Path) -> Result<String, CommandFailure> {
    let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", path.display()));
    if path.as_os_str() != STDIN {
        return file::read_text(path, BYTES_MAX).map_err(failed);
    }
    let mut text = String::new();
    std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        let message = format!("standard input holds more than {BYTES_MAX} bytes, and a spec has fewer");
        return Err(CommandFailure::Failed(message));
    }
    Ok(text)
}

/// The spec that a text says. What is wrong with it names the line.
pub(in crate::cli) fn spec(path: &Path, text: &str) -> Result<Value, CommandFailure> {
    let wrong = |line: usize, message: String, fix: &str| {
        let shown = if path.as_os_str() == STDIN { Path::new("standard input") } else { path };
        CommandFailure::Failed(Problem::of_file(shown, line, message, fix).to_string())
    };
    let text = file::without_mark(text);
    let found = if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None };
    let value = match found {
        Some(value) => value,
        None => {
            let fix = "write the spec as YAML or as a JSON object";
            let node = yaml::parse(text).map_err(|error| wrong(error.line, error.message, fix))?;
            node.to_json()
        }
    };
    if value.is_object() {
        return Ok(value);
    }
    Err(wrong(1, "a spec is a map of fields".to_owned(), "write the fields as the file of such an object has them"))
}

/// Events that a text says: JSON lines, or one JSON array.
pub(super) fn events(path: &Path, text: &str) -> Result<Vec<Value>, CommandFailure> {
    let text = file::without_mark(text);
    let failed = |line: usize, error: &serde_json::Error| {
        let fix = "write events as SDKs send them: JSON lines, or one JSON array";
        let problem = Problem::of_file(path, line, format!("this is no JSON: {error}"), fix);
        CommandFailure::Failed(problem.to_string())
    };
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| failed(error.line(), &error));
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| serde_json::from_str(line).map_err(|error| failed(number, &error))).collect()
}
