//! The fixtures that a component carries, for the server that tries it at the upload and for whoever imports it.

use std::path::Path;

use serde_json::Value;
use tidegate_plugin::{Fixture, embed, embed_with_lookups};

use super::fixtures::{CaseFiles, TestError, names_in, read_json};
use super::manifest::Project;

/// What a component carries for whoever tries it: fixtures, and the tables that they look up.
#[derive(Debug, Default)]
pub(super) struct CarriedFixtures {
    fixtures: Vec<Fixture>,
    lookups: Option<Value>,
}

impl CarriedFixtures {
    /// `component` with all of it and the manifest of `project`.
    pub(super) fn into(self, component: &[u8], project: &Project) -> Vec<u8> {
        match &self.lookups {
            Some(lookups) => embed_with_lookups(component, &project.json, &self.fixtures, lookups),
            None => embed(component, &project.json, &self.fixtures),
        }
    }
}

/// The fixtures of a project, for its component to carry. A project may have none.
pub(super) fn of_project(project: &Project) -> Result<CarriedFixtures, TestError> {
    let dir = project.dir.join("fixtures");
    if dir.is_dir() { of_folder(&dir, project) } else { Ok(CarriedFixtures::default()) }
}

/// The fixtures in `dir`, for a component with the manifest of `project`.
pub(super) fn of_folder(dir: &Path, project: &Project) -> Result<CarriedFixtures, TestError> {
    let mut fixtures = Vec::new();
    for name in names_in(dir)? {
        let files = CaseFiles { folder: dir, name: &name };
        let expected = files.expected(project.kind());
        let expected = if expected.exists() { Some(read_json(&expected)?) } else { None };
        let (input, settings) = (files.input()?, files.settings(Some(&project.manifest))?);
        fixtures.push(Fixture { name, input, expected, settings });
    }
    let tables = dir.join("lookups.json");
    let lookups = if tables.exists() { Some(read_json(&tables)?) } else { None };
    Ok(CarriedFixtures { fixtures, lookups })
}
