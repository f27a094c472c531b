//! What is allowed in a workspace and hardly meant: said by `check`, and in nobody's way.

use std::collections::HashSet;
use std::path::Path;

use super::Workspace;
use super::fields::Problem;

/// Folders that are read, besides those of contract repositories.
const FOLDERS: [&str; 5] = ["sources", "functions", "lookups", "destinations", "syncs"];
/// Where a contract repository may lie within.
const OF_CONTRACTS: [&str; 4] = ["contracts", "events", "domains", "data"];

impl Workspace {
    /// Notes, in the order of their files.
    #[must_use]
    pub fn notes(&self) -> Vec<Problem> {
        let mut notes = Vec::new();
        let mut note = |file: &str, message: String, fix: String| {
            notes.push(Problem { file: self.dir.join(file), line: 0, message, fix });
        };
        for folder in unread(&self.dir) {
            let message = "this folder has YAML files, and nothing of it is read".to_owned();
            note(&folder, message, format!("the folders of a workspace are {}", FOLDERS.join(", ")));
        }
        if self.sources.is_empty() {
            let message = "there is no source, so no SDK can send anything".to_owned();
            note("sources", message, "make sources/web.yaml with `kind: http` and a `write_key`".to_owned());
        }
        let of_syncs = |name: fn(&super::SyncConfig) -> &str| self.syncs.values().map(name).collect::<HashSet<_>>();
        let (sources, destinations) = (of_syncs(|sync| &sync.source.0), of_syncs(|sync| &sync.destination.0));
        for name in self.sources.keys().filter(|name| !sources.contains(name.as_str())) {
            let message =
                "no sync takes from this source: what it accepts waits in the log and goes nowhere".to_owned();
            let fix = format!("make syncs/{name}.yaml with `source: {name}` and a `destination`");
            note(&format!("sources/{name}.yaml"), message, fix);
        }
        for name in self.destinations.keys().filter(|name| !destinations.contains(name.as_str())) {
            let message = "no sync writes to this destination".to_owned();
            let fix = format!("make syncs/{name}.yaml with `destination: {name}` and a `source`");
            note(&format!("destinations/{name}.yaml"), message, fix);
        }
        let of_sources = self.sources.values().flat_map(|source| &source.functions);
        let chained = of_sources.chain(self.syncs.values().flat_map(|sync| &sync.functions));
        let chained: HashSet<&str> = chained.map(|(name, _)| name.as_str()).collect();
        for name in self.functions.keys().filter(|name| !chained.contains(name.as_str())) {
            let message = "no source and no sync uses this function".to_owned();
            let fix = format!("write `functions: [{name}]` into a source or a sync");
            note(&format!("functions/{name}.yaml"), message, fix);
        }
        notes
    }
}

/// Folders with YAML files that nobody reads.
fn unread(dir: &Path) -> Vec<String> {
    let is_yaml = |path: &Path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<String> = entries(dir)
        .filter(|path| path.is_dir() && entries(path).any(|path| is_yaml(&path)))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| !name.starts_with('.') && !FOLDERS.iter().chain(&OF_CONTRACTS).any(|known| known == name))
        .collect();
    folders.sort_unstable();
    folders
}
