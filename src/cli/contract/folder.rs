//! Contracts in a folder, and folders that are written anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_contract::{Contract, ContractLimits, ContractProblem, Domain};
use tidegate_document::problem::Problem;
use tidegate_document::{file, yaml};

use crate::cli::{CommandFailure, style};

/// Nesting of folders that are looked into.
const DEPTH_MAX: usize = 8;
/// Files of one folder tree.
pub(super) const FILES_MAX: usize = 20_000;

/// The contract files of a folder.
pub(super) struct ContractFolder {
    root: PathBuf,
    /// By their paths below the root, parsed.
    pub(super) files: BTreeMap<String, Value>,
}

impl ContractFolder {
    /// Reads a workspace, or a folder that holds `domains` or `contracts`; one without contracts is empty.
    pub(super) fn read(dir: &Path) -> Result<Self, CommandFailure> {
        if !dir.is_dir() {
            return Err(CommandFailure::Failed(format!("{} is no folder", dir.display())));
        }
        let events = dir.join("events");
        let root = if events.is_dir() { events } else { dir.to_owned() };
        let (mut paths, mut files, mut problems) = (Vec::new(), BTreeMap::new(), Vec::new());
        gather(&root, DEPTH_MAX, &mut paths);
        for path in paths {
            let steps = path.strip_prefix(&root).unwrap_or(&path).iter().map(|step| step.to_string_lossy());
            let name = steps.collect::<Vec<_>>().join("/");
            if !Domain::reads(&name) {
                continue;
            }
            match read_yaml(&path) {
                Ok(value) => drop(files.insert(name, value)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self { root, files }) } else { Err(CommandFailure::Problems(problems)) }
    }

    /// The contract of a source; none where no domain applies to it.
    pub(super) fn contract(&self, source: &str) -> Result<Option<Contract>, CommandFailure> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let wrong = |problems: Vec<ContractProblem>| {
            let problem = |problem: ContractProblem| {
                Problem::of_file(self.root.join(&problem.origin), 0, problem.problem, problem.fix)
            };
            CommandFailure::Problems(problems.into_iter().map(problem).collect())
        };
        let domains = Domain::from_files(&self.files, source).map_err(wrong)?;
        if domains.is_empty() {
            return Ok(None);
        }
        Contract::compile(&domains, ContractLimits::default()).map(Some).map_err(wrong)
    }

    /// Where its test cases are, by source.
    pub(super) fn tests(&self) -> PathBuf {
        self.root.join("tests")
    }
}

/// The files below a folder, in order.
pub(super) fn gather(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().take(FILES_MAX).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if found.len() >= FILES_MAX {
            return;
        }
        if path.is_dir() {
            if depth > 0 {
                gather(&path, depth - 1, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn read_yaml(path: &Path) -> Result<Value, Problem> {
    let text = file::read_text(path, file::TEXT_BYTES_MAX).map_err(|error| {
        let message = format!("the file cannot be read: {error}");
        Problem::of_file(path, 0, message, "make it an ordinary, readable UTF-8 text file")
    })?;
    let node = yaml::parse(&text).map_err(|error| {
        let message = format!("this is not YAML: {}", error.message);
        Problem::of_file(path, error.line, message, "mend the line, or the one before it")
    })?;
    Ok(node.to_json())
}

/// Writes files into a folder that is new or empty.
pub(super) fn write_new(dir: &Path, files: &BTreeMap<String, String>) -> Result<(), CommandFailure> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty, and nothing is written over; name a new folder", dir.display());
        return Err(CommandFailure::Failed(message));
    }
    for (name, text) in files {
        let path = dir.join(name);
        let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

/// Prints files one after the other, each under its name.
pub(super) fn print_files(domain: &str, files: &BTreeMap<String, String>) {
    for (name, text) in files {
        println!("# events/domains/{}/{name}", style::plain(domain, 100));
        println!("{text}");
    }
}
