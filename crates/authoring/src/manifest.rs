//! `plugin.yaml` of a folder, with the lines of its problems.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_document::problem::Problem;
use tidegate_document::{file, yaml};
use tidegate_plugin::{Language, Manifest, ManifestKind};

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
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
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
        let document = yaml::parse(&text).map_err(|error| {
            let message = format!("this is not YAML: {}", error.message);
            let problem = Problem::of_file(path, error.line, message, "mend the line, or the one before it");
            ManifestError::Problems(vec![problem])
        })?;
        let manifest = Manifest::from_document(path, &document).map_err(ManifestError::Problems)?;
        Ok(Self { dir, manifest, json: document.to_json() })
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
        let text =
            "name: a\nkind: destination\nhosts:\n  - https://a.com\n  - a.com\nauthentication:\n  kind: bearer\n";
        let found = problems(text);
        assert!(found.contains("plugin.yaml:5: `hosts` has \"a.com\""), "{found}");
        assert!(found.contains("plugin.yaml:6: `authentication.secret` is missing"), "{found}");
        assert!(problems("name: [\n").contains("plugin.yaml:2: this is not YAML"), "no line");
        let none = Project::read(&dir.path().join("nowhere")).unwrap_err();
        assert!(matches!(none, ManifestError::Missing { .. }), "{none}");
    }
}
