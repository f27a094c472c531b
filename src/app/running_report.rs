//! What runs, kept in the file `running.json` so that `tidegate status` shows it without asking the server: the revision, which files it
//! was made of, and the objects that do not run as they are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tidegate_api_types::reload::{ObjectRunning, RunningNow};
use tidegate_api_types::workspace::ObjectRef;
use tidegate_event::time;
use tidegate_process::{clock, whole_file};

use super::kept_json::{self, KeptJsonError};
use crate::config::{FileMarks, ObjectSpec, Workspace, marks_of_files};

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningReport {
    format: u32,
    pub revision: u64,
    /// When it was put in place.
    pub since: String,
    /// Of every file that was read.
    pub files: FileMarks,
    /// What the marks are made under.
    pub salt: String,
    pub objects: Vec<ObjectRunning>,
    /// Settings that are different and count from the next start.
    pub needs_restart: Vec<String>,
    /// The revision of the catalog that was put in place last; 0 in reports of builds that did not say.
    #[serde(default)]
    pub catalog_revision: u64,
    /// What is there and stops for now.
    #[serde(default)]
    pub paused: BTreeSet<ObjectRef>,
    /// Where each sync delivers.
    #[serde(default)]
    pub syncs: BTreeMap<String, ReportedDestination>,
}

/// Where a sync delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedDestination {
    pub destination: String,
    /// As its file has it: `postgres`, `kafka`, `plugin`.
    pub kind: String,
    /// Whose events it delivers; empty in reports of builds that did not say.
    #[serde(default)]
    pub source: String,
}

impl RunningReport {
    /// All objects of `workspace` run, as of this revision.
    pub(super) fn begin(workspace: &Workspace, revision: u64) -> Self {
        let since = time::format(clock::now_us());
        let running = |object: &ObjectRef| ObjectRunning {
            object: object.clone(),
            wanted: revision,
            running: revision,
            since: since.clone(),
            error: None,
        };
        let salt = HEXLOWER.encode(&clock::random::<16>());
        Self {
            format: FORMAT,
            revision,
            files: marks_of_files(&workspace.files, &salt),
            objects: workspace.specs.keys().map(running).collect(),
            needs_restart: Vec::new(),
            catalog_revision: 0,
            paused: workspace.paused(),
            syncs: destinations_of_syncs(workspace),
            since,
            salt,
        }
    }

    /// Another workspace is wanted: of the objects that it has, these are or work otherwise.
    pub(super) fn want(&mut self, workspace: &Workspace, revision: u64, changed: &BTreeSet<ObjectRef>) {
        if revision != self.revision {
            self.follow(revision);
        }
        self.files = marks_of_files(&workspace.files, &self.salt);
        self.syncs = destinations_of_syncs(workspace);
        let mut before: BTreeMap<ObjectRef, ObjectRunning> =
            std::mem::take(&mut self.objects).into_iter().map(|one| (one.object.clone(), one)).collect();
        let of = |object: &ObjectRef| {
            let known = before.remove(object);
            let is_new = known.is_none();
            let mut one = known.unwrap_or_else(|| ObjectRunning {
                object: object.clone(),
                wanted: revision,
                running: 0,
                since: self.since.clone(),
                error: None,
            });
            if is_new || changed.contains(object) {
                one.wanted = revision;
            }
            one
        };
        self.objects = workspace.specs.keys().map(of).collect();
    }

    /// The rules have another number, whoever changed them.
    pub(super) fn follow(&mut self, revision: u64) {
        self.revision = revision;
        self.since = time::format(clock::now_us());
    }

    /// This object runs as it is wanted.
    pub(super) fn runs(&mut self, object: &ObjectRef) {
        if let Some(one) = self.find(object) {
            follows(one);
        }
    }

    /// It does not, for this reason.
    pub(super) fn fails(&mut self, object: &ObjectRef, error: &str) {
        if let Some(one) = self.find(object) {
            one.error = Some(error.to_owned());
        }
    }

    /// These cannot run at all, for the reasons that are named.
    pub(super) fn leave_out(&mut self, objects: &BTreeMap<ObjectRef, String>) {
        for (object, reason) in objects {
            if let Some(one) = self.find(object) {
                (one.running, one.error) = (0, Some(reason.clone()));
                continue;
            }
            self.objects.push(ObjectRunning {
                object: object.clone(),
                wanted: self.revision,
                running: 0,
                since: self.since.clone(),
                error: Some(reason.clone()),
            });
        }
    }

    /// All but these run as they are wanted.
    pub(super) fn run_all_but(&mut self, others: &BTreeSet<ObjectRef>) {
        self.objects.iter_mut().filter(|one| !others.contains(&one.object)).for_each(follows);
    }

    /// Those that do not run as they are wanted.
    #[must_use]
    pub fn behind(&self) -> Vec<ObjectRunning> {
        self.objects.iter().filter(|one| one.is_behind()).cloned().collect()
    }

    /// The same for the admin API.
    pub(super) fn now(&self) -> RunningNow {
        RunningNow {
            revision: self.revision,
            since: self.since.clone(),
            catalog_revision: self.catalog_revision,
            newest_catalog_revision: self.catalog_revision,
            needs_restart: self.needs_restart.clone(),
            behind: self.behind(),
        }
    }

    fn find(&mut self, object: &ObjectRef) -> Option<&mut ObjectRunning> {
        self.objects.iter_mut().find(|one| one.object == *object)
    }

    /// Keeps this in the place of what was kept before.
    pub(super) fn write(&self, path: &Path) -> std::io::Result<()> {
        whole_file::replace_quickly(path, &serde_json::to_vec(self)?)
    }
}

fn destinations_of_syncs(workspace: &Workspace) -> BTreeMap<String, ReportedDestination> {
    let mut syncs = BTreeMap::new();
    for (name, sync) in &workspace.syncs {
        let destination = sync.destination.0.clone();
        if let Some(config) = workspace.destinations.get(&destination) {
            let kind = config.kind.word().to_owned();
            let source = sync.source.0.clone();
            syncs.insert(name.clone(), ReportedDestination { destination, kind, source });
        }
    }
    syncs
}

/// An object runs as it is wanted.
fn follows(one: &mut ObjectRunning) {
    if one.is_behind() {
        one.running = one.wanted;
        one.since = time::format(clock::now_us());
        one.error = None;
    }
}

/// What ran last; `None` when no server has said.
///
/// # Errors
/// The file cannot be read or not understood.
pub fn read(path: &Path) -> Result<Option<RunningReport>, KeptJsonError> {
    kept_json::read(path, FORMAT)
}

/// Whether an object is made of something else, or is in one of both alone.
pub(super) fn differing_objects(old: &Workspace, new: &Workspace) -> BTreeSet<ObjectRef> {
    let hash = |of: &Workspace, object: &ObjectRef| of.specs.get(object).map(|spec: &ObjectSpec| spec.hash);
    let both = old.specs.keys().chain(new.specs.keys());
    both.filter(|object| hash(old, object) != hash(new, object)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use tidegate_api_types::workspace::ObjectRefKind;

    use super::*;

    fn workspace(sources: &[&str]) -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tidegate.yaml"), "{}").unwrap();
        std::fs::create_dir(dir.path().join("sources")).unwrap();
        for name in sources {
            let text = format!("kind: http\nwrite_key: {name}-0123456789abcdef\n");
            std::fs::write(dir.path().join(format!("sources/{name}.yaml")), text).unwrap();
        }
        let read = Workspace::read(dir.path(), None, |_, _| Ok(None)).unwrap();
        (dir, read)
    }

    #[test]
    fn what_is_wanted_and_what_runs_are_told_apart_until_it_runs() {
        let (_first, old) = workspace(&["a", "b"]);
        let (_second, new) = workspace(&["b", "c"]);
        let source = |name: &str| ObjectRef::new(ObjectRefKind::Source, name);
        assert_eq!(differing_objects(&old, &new), BTreeSet::from([source("a"), source("c")]));
        let mut report = RunningReport::begin(&old, 3);
        assert!(report.behind().is_empty());
        report.want(&new, 4, &BTreeSet::from([source("c")]));
        let behind: Vec<_> = report.behind().into_iter().map(|one| (one.object.key, one.wanted, one.running)).collect();
        assert_eq!((report.revision, behind), (4, vec![("c".to_owned(), 4, 0)]));
        report.fails(&source("c"), "no room");
        report.run_all_but(&BTreeSet::from([source("c")]));
        assert_eq!(report.behind().len(), 1);
        report.fails(&source("b"), "a reason");
        assert_eq!(report.behind().len(), 2, "one that runs and has an error is named as well");
        report.run_all_but(&BTreeSet::new());
        assert!(report.behind().is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("running.json");
        assert!(read(&path).unwrap().is_none());
        report.write(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Some(report));
    }
}
