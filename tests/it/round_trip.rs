//! A folder is planned, applied from elsewhere and exported, and says the same at the end as at the beginning.

mod at_once;
mod generated;
mod managed;
mod many;
mod refused;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::admin::Admin;
use crate::support::{Reply, Server, Workspace, run};

/// Documents of a folder, by their files: `lookups/geo.yaml`.
pub type FolderFiles = BTreeMap<String, Value>;

/// A server that folders are applied to.
pub struct AppliedServer {
    pub workspace: Workspace,
    pub server: Server,
    pub admin: Admin,
    token: String,
}

impl AppliedServer {
    pub fn new() -> Self {
        Self::of(Workspace::new())
    }

    /// One whose own folder has no objects.
    pub fn empty() -> Self {
        let workspace = Workspace::new();
        for folder in ["sources", "destinations", "syncs"] {
            std::fs::remove_dir_all(workspace.path().join(folder)).unwrap();
        }
        Self::of(workspace)
    }

    fn of(workspace: Workspace) -> Self {
        let token = workspace.admin_token();
        let server = workspace.serve();
        let admin = Admin::new(&server, &token);
        Self { workspace, server, admin, token }
    }

    /// Runs a command against the server.
    pub fn command(&self, words: &[&str]) -> Output {
        let url = format!("http://{}", self.server.admin);
        run(&[words, &["--server", &url, "--token", &self.token]].concat())
    }

    /// The exit code of a command with a folder, and what it says to programs.
    #[track_caller]
    pub fn answered(&self, command: &str, folder: &Path, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.command(&[&[command, folder.to_str().unwrap(), "--json"], more].concat());
        let answer = serde_json::from_slice(&output.stdout);
        (output.status.code(), answer.unwrap_or_else(|_| panic!("{command}: {}", text(&output))))
    }

    /// The exit code of a plan, and how many objects would change.
    #[track_caller]
    pub fn planned(&self, folder: &Path, more: &[&str]) -> (Option<i32>, usize) {
        let (code, answer) = self.answered("plan", folder, more);
        (code, answer["changes"].as_array().map_or(usize::MAX, Vec::len))
    }

    /// Exports into a new folder of this name.
    #[track_caller]
    pub fn exported(&self, name: &str) -> PathBuf {
        let folder = self.elsewhere(name);
        let output = self.command(&["export", folder.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        folder
    }

    /// A path beside the server's own folder.
    pub fn elsewhere(&self, name: &str) -> PathBuf {
        self.workspace.dir.path().join(name)
    }

    /// Applies documents over HTTP; `more` are further fields of the request.
    pub fn apply(&self, files: &FolderFiles, more: &Value) -> Reply {
        let mut body = json!({"documents": documents(files)});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.admin.post("/api/v1/apply", &body)
    }

    /// Applies documents, which must be taken.
    #[track_caller]
    pub fn applied(&self, files: &FolderFiles, more: &Value) -> Value {
        let reply = self.apply(files, more);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Keeps a file; its SHA-256.
    #[track_caller]
    pub fn kept(&self, bytes: &[u8]) -> String {
        let sha256 = format!("{:x}", Sha256::digest(bytes));
        let reply = self.admin.ask("PUT", &format!("/api/v1/blobs/{sha256}"), bytes);
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
        sha256
    }

    pub fn revision(&self) -> u64 {
        self.workspace.status()["catalog"]["revision"].as_u64().unwrap()
    }

    /// The names of the objects of a kind.
    pub fn names(&self, kind: &str) -> Vec<String> {
        let listed = self.admin.get(&format!("/api/v1/objects/{kind}?limit=1000"));
        let objects = listed["objects"].as_array().unwrap();
        objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn object(&self, kind: &str, name: &str) -> Value {
        self.admin.get(&format!("/api/v1/objects/{kind}/{name}"))
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Documents as they go over HTTP.
fn documents(files: &FolderFiles) -> Vec<Value> {
    let document = |(file, document): (&String, &Value)| {
        let (folder, rest) = file.split_once('/').unwrap();
        let (kind, key) = match folder {
            "events" => ("contract_file", rest),
            _ => (folder.strip_suffix('s').unwrap(), rest.strip_suffix(".yaml").unwrap()),
        };
        json!({"kind": kind, "key": key, "document": document})
    };
    files.iter().map(document).collect()
}

/// Writes documents as a folder. JSON is YAML.
pub fn write(folder: &Path, files: &FolderFiles) {
    for (file, document) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{document:#}\n")).unwrap();
    }
    std::fs::write(folder.join("tidegate.yaml"), "# What each default is, `tidegate init` shows.\n").unwrap();
}

/// The YAML files of a folder but `tidegate.yaml`.
pub fn read(folder: &Path) -> FolderFiles {
    fn walk(root: &Path, folder: &Path, files: &mut FolderFiles) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                walk(root, &path, files);
            } else if name.ends_with(".yaml") && name != "tidegate.yaml" {
                let text = std::fs::read_to_string(&path).unwrap();
                files.insert(name, serde_json::from_str(&text).unwrap());
            }
        }
    }
    let mut files = FolderFiles::new();
    walk(folder, folder, &mut files);
    files
}

/// A table of its own.
pub fn table(value: &str) -> Value {
    json!({"kind": "table", "entries": {"value": value}})
}

/// A folder of tables, each with its name as value unless said otherwise.
pub fn tables<'a>(tables: impl IntoIterator<Item = (&'a str, &'a str)>) -> FolderFiles {
    tables.into_iter().map(|(name, value)| (format!("lookups/{name}.yaml"), table(value))).collect()
}

#[test]
fn what_tidegate_init_makes_goes_to_another_server_and_comes_back_the_same() {
    let first = AppliedServer::new();
    assert_eq!(first.planned(&first.workspace.path(), &[]), (Some(0), 0));
    let exported = first.exported("exported");
    assert_eq!(first.planned(&exported, &[]), (Some(0), 0));
    let before = first.revision();
    let (code, answer) = first.answered("apply", &exported, &[]);
    assert_eq!((code, first.revision()), (Some(0), before), "{answer}");
    let files = read(&exported);
    assert_eq!(files.len(), 3, "{files:?}");
    let second = AppliedServer::empty();
    assert_eq!(second.planned(&exported, &[]), (Some(2), 3));
    let (code, answer) = second.answered("apply", &exported, &[]);
    // 2: on a busy machine the sync starts behind the answer.
    assert!(matches!(code, Some(0 | 2)), "{answer}");
    assert_eq!(answer["created"].as_u64(), Some(3), "{answer}");
    assert_eq!(second.planned(&exported, &[]), (Some(0), 0));
    let again = second.exported("exported");
    assert_eq!(read(&again), files);
    assert_eq!(second.planned(&again, &["--prune"]), (Some(0), 0));
    let before = second.revision();
    let (code, answer) = second.answered("apply", &again, &["--prune"]);
    assert_eq!((code, second.revision()), (Some(0), before), "what is the same makes no revision: {answer}");
    first.server.stop();
    second.server.stop();
}

#[test]
fn what_was_applied_is_there_after_a_restart_and_the_servers_own_folder_too() {
    let applied = AppliedServer::new();
    applied.applied(&tables([("geo", "a"), ("prices", "b")]), &json!({}));
    let before = applied.revision();
    let AppliedServer { workspace, server, token, .. } = applied;
    server.stop();
    let server = workspace.serve();
    let again = AppliedServer { admin: Admin::new(&server, &token), workspace, server, token };
    assert_eq!(
        (again.names("lookup"), again.names("source")),
        (vec!["geo".into(), "prices".into()], vec!["web".into()])
    );
    assert_eq!(again.revision(), before, "a start changes nothing that it does not manage");
    again.server.stop();
}
