//! The workspaces of a server and of its environments, read together, and what two of them cannot have both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_document::problem::Problem;

use super::Workspace;
use super::destinations::DestinationKind;
use super::documents::WorkspaceDocuments;
use super::environment::{environment, fields};
use super::environments::{self, EnvironmentFolders, MAIN_ENVIRONMENT, environment_data};
use super::folder::MAIN_FILE;
use super::live_version::LookUpLive;
use super::sources::WriteKeyConfig;
use super::streams::{StreamSourceConfig, read_by_both};
use super::surroundings::{CatalogInputs, Surroundings};

/// An environment as it was read.
#[derive(Debug)]
pub struct ReadEnvironment {
    /// Its workspace in the catalog.
    pub name: String,
    pub documents: WorkspaceDocuments,
    pub workspace: Workspace,
}

/// Reads the server's own workspace in `dir`, and those of its environments: that of `default` first, the others by name. `data` overrides
/// the data directory of the file; `look_up_live` knows the stores in it.
///
/// # Errors
/// All problems of all of them, and what two of them cannot have both.
pub fn read_environments(
    dir: &Path,
    data: Option<&Path>,
    look_up_live: LookUpLive,
) -> Result<Vec<ReadEnvironment>, Vec<Problem>> {
    let documents = WorkspaceDocuments::read(dir)?;
    let catalog = CatalogInputs::default();
    let resolved =
        Workspace::resolve(&documents, &Surroundings { dir, data, variables: &environment, look_up_live, catalog });
    let folders = told_folders(dir, &documents);
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    let main_data = match resolved {
        Ok(workspace) => {
            let main_data = workspace.data.clone();
            read.push(ReadEnvironment { name: MAIN_ENVIRONMENT.to_owned(), documents, workspace });
            main_data
        }
        Err(found) => {
            problems.extend(found);
            data.map_or_else(|| dir.to_owned(), Path::to_path_buf)
        }
    };
    let settings = dir.join(MAIN_FILE);
    let is_of_settings = |problem: &Problem| problem.file.ends_with(MAIN_FILE) && same_file(&problem.file, &settings);
    for (name, folder) in folders {
        let own = (dir.join(folder), environment_data(&main_data, &name));
        match read_environment((&own.0, dir), &own.1, look_up_live) {
            Ok((documents, workspace)) => read.push(ReadEnvironment { name, documents, workspace }),
            // What is wrong with the settings of the server was said.
            Err(found) => problems.extend(found.into_iter().filter(|problem| !is_of_settings(problem))),
        }
    }
    for (at, one) in read.iter().enumerate() {
        let others = read.iter().take(at).map(|other| (other.name.as_str(), &other.workspace));
        problems.extend(clashes(&one.workspace, others));
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

/// Whether two paths are written of one file.
fn same_file(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole(one) == whole(other)
}

/// Reads the environment in `dir` of the server in `server`, whose data is this.
///
/// # Errors
/// All problems, sorted by file and line.
pub fn read_environment(
    (dir, server): (&Path, &Path),
    data: &Path,
    look_up_live: LookUpLive,
) -> Result<(WorkspaceDocuments, Workspace), Vec<Problem>> {
    let documents = WorkspaceDocuments::read_environment(dir, server)?;
    let (data, catalog) = (Some(data), CatalogInputs::default());
    let surroundings = Surroundings { dir, data, variables: &environment, look_up_live, catalog };
    let workspace = Workspace::resolve(&documents, &surroundings)?;
    Ok((documents, workspace))
}

/// The environments that `tidegate.yaml` names, whatever else is wrong with it. What is wrong with them is said elsewhere.
fn told_folders(dir: &Path, documents: &WorkspaceDocuments) -> EnvironmentFolders {
    let (path, mut unsaid) = (dir.join(MAIN_FILE), Vec::new());
    let Some(main) = &documents.main else { return EnvironmentFolders::new() };
    environments::of_main(&mut fields(&path, main, &mut unsaid))
}

/// What an environment cannot have because another one has it: a write key, the tables of a warehouse, a group's topics, a ledger.
#[must_use]
pub fn clashes<'w>(own: &Workspace, others: impl Iterator<Item = (&'w str, &'w Workspace)>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, other) in others {
        let keys: BTreeMap<&str, (&str, &str)> = keys_of(other)
            .chain(other.left_out_keys())
            .map(|(source, key)| (&*key.key, (source, &*key.name)))
            .collect();
        for (source, key) in keys_of(own) {
            let Some((of_source, taken)) = keys.get(&*key.key) else { continue };
            let message = format!(
                "the write key {} is the same as {taken} of source {of_source} in the environment {name}, and a key opens one source",
                key.name
            );
            let fix = "give each environment a random key of its own, or `${NAME}` for a variable of its own";
            problems.push(Problem::of_file(own.file_of(ObjectRefKind::Source, source), key.line, message, fix));
        }
        let tables: BTreeMap<String, &str> = tables_of(other).map(|(sync, place, _)| (place, sync)).collect();
        for (sync, place, line) in tables_of(own) {
            let Some(taken) = tables.get(&place) else { continue };
            let message = format!(
                "this sync and sync {taken} of the environment {name} write into the same tables, and would take them for their own"
            );
            let fix = "give each environment a database, a file or a schema of its own";
            problems.push(Problem::of_file(own.file_of(ObjectRefKind::Sync, sync), line, message, fix));
        }
        for (source, stream) in streams_of(own) {
            let taken = streams_of(other).find_map(|(taken, theirs)| Some((taken, read_by_both(stream, theirs)?)));
            let Some((taken, read)) = taken else { continue };
            let message = format!(
                "this source and source {taken} of the environment {name} read {read}, and each would get a part of the messages"
            );
            let fix = "give one of them a `group`, or a subscription, of its own";
            problems.push(Problem::of_file(own.file_of(ObjectRefKind::Source, source), 0, message, fix));
        }
        let ledgers: BTreeMap<String, &str> = ledgers_of(other).map(|(sync, place, _)| (place, sync)).collect();
        for (sync, place, line) in ledgers_of(own) {
            let Some(taken) = ledgers.get(&place) else { continue };
            let message = format!(
                "this sync and sync {taken} of the environment {name} have one ledger at one stream, and would go on where the other is"
            );
            let fix = "write another `ledger` into the destination of one of them";
            problems.push(Problem::of_file(own.file_of(ObjectRefKind::Sync, sync), line, message, fix));
        }
    }
    problems
}

/// The write keys of an environment's files, each with its source.
fn keys_of(workspace: &Workspace) -> impl Iterator<Item = (&str, &WriteKeyConfig)> {
    workspace.sources.iter().flat_map(|(name, source)| source.write_keys.iter().map(move |key| (name.as_str(), key)))
}

/// The syncs of an environment that write tables: the name, where they are, and the line that says so.
fn tables_of(workspace: &Workspace) -> impl Iterator<Item = (&str, String, usize)> {
    workspace.syncs.iter().filter_map(|(name, sync)| {
        let destination = workspace.destinations.get(&sync.destination.0)?;
        let DestinationKind::Warehouse(settings) = &destination.kind else { return None };
        Some((name.as_str(), settings.tables_place(sync.schema.as_deref()), sync.destination.1))
    })
}

/// The streams that an environment reads, each with its source.
fn streams_of(workspace: &Workspace) -> impl Iterator<Item = (&str, &StreamSourceConfig)> {
    workspace.sources.iter().filter_map(|(name, source)| Some((name.as_str(), source.stream.as_ref()?)))
}

/// The syncs of an environment whose ledger a stream keeps: the name, where it is, and the line that says so.
fn ledgers_of(workspace: &Workspace) -> impl Iterator<Item = (&str, String, usize)> {
    workspace.syncs.iter().filter_map(|(name, sync)| {
        let destination = workspace.destinations.get(&sync.destination.0)?;
        let DestinationKind::Stream(stream) = &destination.kind else { return None };
        Some((name.as_str(), stream.ledger_place(name)?, sync.destination.1))
    })
}

impl Workspace {
    /// What problems of an object name as its file.
    fn file_of(&self, kind: ObjectRefKind, name: &str) -> PathBuf {
        self.dir.join(kind.folder()).join(format!("{name}.yaml"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn read(dir: &Path) -> Result<Vec<ReadEnvironment>, Vec<Problem>> {
        read_environments(dir, None, |_, _| Ok(None))
    }

    const DB: &str = "kind: sqlite\n";
    const SYNC: &str = "source: web\ndestination: db\n";

    #[test]
    fn environments_have_objects_of_their_own_and_the_settings_of_the_server() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                (
                    "tidegate.yaml",
                    "log: {partitions: 3}\nenvironments: {staging: {}, dev: {folder: ./elsewhere/dev}}\n",
                ),
                ("sources/web.yaml", "kind: http\nwrite_key: key-of-production-0\n"),
                ("destinations/db.yaml", DB),
                ("syncs/a.yaml", SYNC),
                ("environments/staging/sources/web.yaml", "kind: http\nwrite_key: key-of-staging-0123\n"),
                ("environments/staging/destinations/db.yaml", DB),
                ("environments/staging/syncs/a.yaml", SYNC),
            ],
        );
        let found = read(dir.path()).unwrap();
        let names: Vec<(&str, usize, u16)> =
            found.iter().map(|one| (&*one.name, one.workspace.syncs.len(), one.workspace.partitions)).collect();
        assert_eq!(names, [("default", 1, 3), ("dev", 0, 3), ("staging", 1, 3)], "a folder need not be there");
        assert_eq!(found[1].workspace.dir, dir.path().join("elsewhere/dev"));
        assert_eq!(found[2].workspace.data, dir.path().join("data/environments/staging"));
        assert_eq!(found[2].documents.files.len(), 3, "the settings are no file of an environment");
    }

    #[test]
    fn names_and_folders_that_cannot_be_are_told_with_their_lines() {
        for (text, words) in [
            ("environments: {default: {}}", "taken"),
            ("environments: {_server: {}}", "taken"),
            ("environments: {Staging: {}}", "no name of a workspace"),
            ("environments: {a: {folder: ../a}}", "no folder within"),
            ("environments: {a: {folder: .}}", "no folder within"),
            ("environments: {a: {folder: /srv/a}}", "no folder within"),
            ("environments: {a: {folder: sources/a}}", "own workspace"),
            ("environments: {a: {folder: data/a}}\ndata: data", "data directory"),
            ("environments: {a: {folder: x}, b: {folder: x/y}}", "lie in one another"),
            ("environments: {a: {data: x}}", "not known"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), &[("tidegate.yaml", text)]);
            let problems = read(dir.path()).unwrap_err();
            assert!(problems[0].line == 1 && problems[0].message.contains(words), "{text}: {problems:?}");
        }
    }

    #[test]
    fn settings_in_the_folder_of_an_environment_are_refused_and_every_problem_is_said() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("tidegate.yaml", "environments: {staging: {}}"),
                ("sources/web.yaml", "kind: nosuch\n"),
                ("environments/staging/tidegate.yaml", "{}"),
                ("environments/staging/sources/web.yaml", "kind: nosuch\n"),
            ],
        );
        let problems = read(dir.path()).unwrap_err();
        let file = |name: &str| problems.iter().any(|problem| problem.file == dir.path().join(name));
        assert!(file("sources/web.yaml") && file("environments/staging/sources/web.yaml"), "{problems:?}");
        assert!(file("environments/staging/tidegate.yaml"), "{problems:?}");
    }

    #[test]
    fn a_key_and_tables_are_of_one_environment() {
        let dir = tempfile::tempdir().unwrap();
        let source = "kind: http\nwrite_key: the-same-key-0123456\n";
        let shared = "kind: sqlite\npath: /srv/shared.db\n";
        write(
            dir.path(),
            &[
                ("tidegate.yaml", "environments: {staging: {}}"),
                ("sources/web.yaml", source),
                ("destinations/db.yaml", shared),
                ("syncs/a.yaml", SYNC),
                ("environments/staging/sources/web.yaml", source),
                ("environments/staging/destinations/db.yaml", shared),
                ("environments/staging/syncs/b.yaml", "source: web\ndestination: db\nschema: b\n"),
            ],
        );
        let problems = read(dir.path()).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!(problems[0].file, dir.path().join("environments/staging/sources/web.yaml"));
        let text = format!("{problems:?}");
        assert!(!text.contains("the-same-key") && text.contains("environment default"), "{text}");
        assert!(problems[1].message.contains("the same tables"), "{text}");
    }

    #[test]
    fn a_topic_is_read_as_one_group_in_one_environment() {
        let dir = tempfile::tempdir().unwrap();
        let kafka = "kind: kafka\nbrokers: [b1:9092]\ntopics: [orders, refunds]\n";
        let files = |group: &str| {
            let own = format!("{kafka}{group}");
            write(
                dir.path(),
                &[
                    ("tidegate.yaml", "environments: {staging: {}}"),
                    ("sources/orders.yaml", kafka),
                    ("environments/staging/sources/orders.yaml", &own),
                ],
            );
        };
        files("");
        let problems = read(dir.path()).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.message.contains("orders as the group tidegate-orders"), "{problem:?}");
        files("group: staging\n");
        assert!(read(dir.path()).is_ok());
        // A pattern takes what another names.
        let pattern = "kind: kafka\nbrokers: [b1:9092]\ntopic_pattern: \"ord.*\"\n";
        write(dir.path(), &[("environments/staging/sources/orders.yaml", pattern)]);
        let problems = read(dir.path()).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.message.contains("read orders as the group tidegate-orders"), "{problem:?}");
    }

    #[test]
    fn a_ledger_at_a_stream_is_of_one_environment() {
        let dir = tempfile::tempdir().unwrap();
        let kafka = "kind: kafka\nbrokers: [b1:9092]\n";
        let files = |ledger: &str| {
            let own = format!("{kafka}{ledger}");
            write(
                dir.path(),
                &[
                    ("tidegate.yaml", "environments: {staging: {}}"),
                    ("sources/web.yaml", "kind: http\nwrite_key: key-of-production-0\n"),
                    ("destinations/db.yaml", kafka),
                    ("syncs/a.yaml", SYNC),
                    ("environments/staging/sources/web.yaml", "kind: http\nwrite_key: key-of-staging-0123\n"),
                    ("environments/staging/destinations/db.yaml", &own),
                    ("environments/staging/syncs/a.yaml", SYNC),
                ],
            );
        };
        files("");
        let problems = read(dir.path()).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.message.contains("one ledger") && problem.fix.contains("`ledger`"), "{problem:?}");
        for own in ["ledger: staging\n", "transactions: false\n"] {
            files(own);
            assert!(read(dir.path()).is_ok(), "{own}");
        }
    }
}
