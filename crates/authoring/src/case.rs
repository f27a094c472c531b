//! One fixture that was run: what came of it, compared with what its file expects.

use std::path::Path;

use serde_json::Value;
use tidegate_wasm::function::LogLine;

use super::diff;
use super::fixtures::{TestError, read_json};

/// One fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub events: usize,
    pub result: CaseResult,
    pub log: Vec<LogLine>,
    /// What went wrong with which event.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseResult {
    Passed,
    /// The output file was written.
    Updated,
    /// `-` lines were expected, `+` lines came instead.
    Differs {
        diff: String,
    },
    /// A server would not take what came, whatever is expected; the notes say why.
    Refused,
    /// There is no output file yet; this is what it would hold.
    Unknown {
        actual: String,
    },
}

/// Compares `actual` with what the file at `path` holds, or writes it there.
pub(super) fn compare(path: &Path, actual: &Value, update: bool) -> Result<CaseResult, TestError> {
    let known = if path.exists() { Some(read_json(path)?) } else { None };
    if known.as_ref() == Some(actual) {
        return Ok(CaseResult::Passed);
    }
    let text = format!("{actual:#}\n");
    if update {
        std::fs::write(path, text).map_err(|cause| TestError::File { path: path.to_owned(), cause })?;
        return Ok(CaseResult::Updated);
    }
    Ok(match known {
        Some(expected) => CaseResult::Differs { diff: diff::lines(&format!("{expected:#}\n"), &text) },
        None => CaseResult::Unknown { actual: text },
    })
}
