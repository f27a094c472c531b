//! `plugin.yaml` of a folder, with the lines of its problems.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_document::file;
use tidegate_document::yaml::{self, Tree, YamlNode};
use tidegate_plugin::{Language, Manifest, ManifestKind, ManifestProblem};

/// A folder with a manifest that was read.
#[derive(Debug, Clone)]
pub struct Project {
    /// Absolute.
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// As it stands in the file, for the component to carry.
    pub json: Value,
}

/// Why a folder is no project.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{} has no plugin.yaml; `tidegate function new` makes a project", dir.display())]
    Missing { dir: PathBuf },
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
}

impl Project {
    /// Reads the manifest in `dir`.
    ///
    /// # Errors
    /// Every problem of the file, each with its line.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        Self::of_file(&dir.join("plugin.yaml"))
    }

    /// Reads the manifest at `path`, whose folder is the project.
    ///
    /// # Errors
    /// Every problem of the file, each with its line.
    pub fn of_file(path: &Path) -> Result<Self, ManifestError> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let text = match file::read_text(path, file::TEXT_BYTES_MAX) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && path.ends_with("plugin.yaml") => {
                return Err(ManifestError::Missing { dir: dir.to_owned() });
            }
            Err(cause) => return Err(ManifestError::File { path: path.to_owned(), cause }),
        };
        let dir = dir.canonicalize().map_err(|cause| ManifestError::File { path: dir.to_owned(), cause })?;
        let node = yaml::parse(&text).map_err(|error| {
            ManifestError::Problems(vec![format!("{}:{}: {}", path.display(), error.line, error.message)])
        })?;
        let json = node.to_json();
        match Manifest::from_json(&json) {
            Ok(manifest) => Ok(Self { dir, manifest, json }),
            Err(problems) => {
                let line = |problem: &ManifestProblem| {
                    format!("{}:{}: {problem}", path.display(), line_of(&node, &problem.place))
                };
                Err(ManifestError::Problems(problems.iter().map(line).collect()))
            }
        }
    }

    /// The file that the build starts from.
    #[must_use]
    pub fn entry(&self) -> PathBuf {
        let usual = match self.manifest.language {
            Some(Language::Js) => "src/index.js",
            Some(Language::Ts) => "src/index.ts",
            Some(Language::Python) => "app.py",
            Some(Language::C) => "plugin.c",
            Some(Language::Go) => "main.go",
            Some(Language::Rust) | None => "Cargo.toml",
        };
        self.dir.join(self.manifest.entry.as_deref().unwrap_or(usual))
    }

    #[must_use]
    pub fn kind(&self) -> ManifestKind {
        self.manifest.kind
    }
}

/// The line of the innermost field on the way to `place` that is there.
fn line_of(node: &YamlNode, place: &str) -> usize {
    let mut found = node;
    let mut line = node.line.max(1);
    for step in place.split('.').filter(|step| !step.is_empty()) {
        let Tree::Map(entries) = &found.value else { break };
        let Some((_, inner)) = entries.iter().find(|(name, _)| name == step) else { break };
        found = inner;
        line = match inner.value {
            // A map begins on the line below its name.
            Tree::Map(_) | Tree::List(_) => inner.line.saturating_sub(1).max(line),
            _ => inner.line,
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let problems = |text: &str| {
            std::fs::write(dir.path().join("plugin.yaml"), text).unwrap();
            Project::read(dir.path()).unwrap_err().to_string()
        };
        let text = "name: a\nkind: destination\nhosts: [https://a.com]\nretry:\n  age_max: soon\ncolour: red\n";
        let found = problems(text);
        assert!(found.contains("plugin.yaml:5: `retry.age_max`"), "{found}");
        assert!(found.contains("plugin.yaml:6: `colour`"), "{found}");
        assert!(problems("name: [\n").contains("plugin.yaml:"), "no line");
        let none = Project::read(&dir.path().join("nowhere")).unwrap_err();
        assert!(matches!(none, ManifestError::Missing { .. }), "{none}");
    }
}
