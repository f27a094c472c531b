//! The files of a project's `fixtures/`: which cases there are, and what they say.
//!
//! An input, `<case>.in.json`, is an event or an array of events. Settings come from `<case>.settings.json`, or else from
//! `settings.json`, or else are `{}`; a secret that they lack is its placeholder.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_document::file;
use tidegate_plugin::{Manifest, ManifestKind, settings_problems};
use tidegate_wasm::{DestinationExport, EngineError, ModuleError};

/// Why the fixtures could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("{} has no *.in.json", dir.display())]
    NoFixtures { dir: PathBuf },
    #[error(
        "the settings of the fixture {case} do not fit `settings` of plugin.yaml, so a server would refuse them: {problems}; mend fixtures/settings.json (or {case}.settings.json)"
    )]
    Settings { case: String, problems: String },
    #[error("{}: {cause}; a project has its events in fixtures/*.in.json", path.display())]
    NoFolder {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} is not JSON: {cause}", path.display())]
    Json {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error(transparent)]
    Load(#[from] ModuleError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The files of one case, all named after it.
pub(super) struct CaseFiles<'a> {
    /// The project's `fixtures/`.
    pub(super) folder: &'a Path,
    pub(super) name: &'a str,
}

impl CaseFiles<'_> {
    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}.json", self.name))
    }

    /// What goes in.
    pub(super) fn input(&self) -> Result<Value, TestError> {
        read_json(&self.file("in"))
    }

    /// The file that says what is expected to come out.
    pub(super) fn expected(&self, kind: ManifestKind) -> PathBuf {
        self.file(if kind == ManifestKind::Destination { "request" } else { "out" })
    }

    /// The file of recorded responses, which need not be there.
    pub(super) fn responses(&self) -> PathBuf {
        self.file("responses")
    }

    /// The settings that the case runs with.
    pub(super) fn settings(&self, manifest: Option<&Manifest>) -> Result<Value, TestError> {
        let mut settings = json!({});
        for path in [self.file("settings"), self.folder.join("settings.json")] {
            if path.exists() {
                settings = read_json(&path)?;
                break;
            }
        }
        // As they are where the schema has no place for further secrets.
        let given = settings.clone();
        let mut stand_ins = Vec::new();
        if let Some(settings) = settings.as_object_mut() {
            for secret in manifest.into_iter().flat_map(Manifest::secrets) {
                settings.entry(secret).or_insert_with(|| {
                    stand_ins.push(format!("/{secret}"));
                    format!("{{{{secret.{secret}}}}}").into()
                });
            }
        }
        let problems = |settings: &Value| -> Vec<String> {
            match manifest.map_or(Ok(Vec::new()), |manifest| settings_problems(manifest, settings)) {
                // A placeholder need not look like the secret that it stands for.
                Ok(problems) => {
                    let ours = problems.into_iter().filter(|(place, _)| !stand_ins.contains(place));
                    ours.map(|(place, problem)| format!("{place} {problem}").trim_start().to_owned()).collect()
                }
                Err(problem) => vec![problem],
            }
        };
        let found = problems(&settings);
        if found.is_empty() {
            return Ok(settings);
        }
        if problems(&given).is_empty() {
            return Ok(given);
        }
        let problems = found;
        Err(TestError::Settings { case: self.name.to_owned(), problems: problems.join("; ") })
    }
}

/// The events and settings of every case that is about events.
pub(super) fn inputs(fixtures: &Path, manifest: Option<&Manifest>) -> Result<Vec<(Vec<String>, String)>, TestError> {
    let mut inputs = Vec::new();
    for name in case_names(fixtures)? {
        let files = CaseFiles { folder: fixtures, name: &name };
        let events = events(&files.input()?);
        if DestinationExport::of_fixtures(&events) == DestinationExport::Destination {
            inputs.push((events, files.settings(manifest)?.to_string()));
        }
    }
    Ok(inputs)
}

/// The names of the cases; a folder without any is an error.
pub(super) fn case_names(fixtures: &Path) -> Result<Vec<String>, TestError> {
    let names = names_in(fixtures)?;
    if names.is_empty() { Err(TestError::NoFixtures { dir: fixtures.to_owned() }) } else { Ok(names) }
}

/// The names of the cases, sorted.
pub(super) fn names_in(fixtures: &Path) -> Result<Vec<String>, TestError> {
    let failed = |cause| TestError::NoFolder { path: fixtures.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(fixtures).map_err(failed)? {
        let file = entry.map_err(failed)?.file_name();
        names.extend(file.to_str().and_then(|file| file.strip_suffix(".in.json")).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, TestError> {
    file::read(path, bytes_max).map_err(|cause| TestError::File { path: path.to_owned(), cause })
}

pub(super) fn read_json(path: &Path) -> Result<Value, TestError> {
    serde_json::from_slice(&read(path, file::TEXT_BYTES_MAX)?)
        .map_err(|cause| TestError::Json { path: path.to_owned(), cause })
}

/// The events of an input, one text each.
pub(super) fn events(input: &Value) -> Vec<String> {
    match input {
        Value::Array(events) => events.iter().map(Value::to_string).collect(),
        event => vec![event.to_string()],
    }
}
