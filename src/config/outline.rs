//! As much of a workspace as commands need that look at its data directory or send to its server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tidegate_document::node::{DocumentNode, Tree};
use tidegate_document::problem::Problem;
use tidegate_process::clock;

use super::documents::{no_workspace, read_tree};
use super::environment::fields;
use super::environments::{self, EnvironmentFolders, MAIN_ENVIRONMENT, environment_data, no_environment};
use super::folder::{self, DATA_DEFAULT, MAIN_FILE};
use super::server::ADMIN_AND_LISTEN;
use super::sources;

/// Where things are. Nothing else of the workspace is read: no secret of a destination need be set, no contract right.
#[derive(Debug, Clone)]
pub struct Outline {
    pub dir: PathBuf,
    pub data: PathBuf,
    /// The files of the sources, by name.
    pub sources: BTreeMap<String, PathBuf>,
    main: Option<(PathBuf, DocumentNode)>,
}

impl Outline {
    /// Reads `tidegate.yaml`, unless `data` names the data directory.
    ///
    /// # Errors
    /// The file is absent or cannot be read, or does not say where the data directory is.
    pub fn read(dir: &Path, data: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let path = dir.join(MAIN_FILE);
        let mut problems = Vec::new();
        let main = match data {
            // Whoever names it needs no workspace.
            Some(_) => None,
            None if !path.exists() => return Err(vec![no_workspace(dir)]),
            None => read_tree(dir, &path, &mut problems).map(|node| (path.clone(), node)),
        };
        let mut data = data.map(Path::to_path_buf);
        if let (None, Some((path, node))) = (&data, &main) {
            let named = fields(path, node, &mut problems).text("data");
            data = Some(dir.join(named.unwrap_or_else(|| DATA_DEFAULT.to_owned())));
        }
        let sources = folder::files(dir, "sources");
        match data {
            Some(data) if problems.is_empty() => Ok(Self { dir: dir.to_owned(), data, sources, main }),
            _ => Err(problems),
        }
    }

    /// The environments of the server; none when `tidegate.yaml` was not read.
    #[must_use]
    pub fn environments(&self) -> EnvironmentFolders {
        // What is wrong with them, `tidegate check` says.
        let mut unsaid = Vec::new();
        let Some((path, node)) = &self.main else { return EnvironmentFolders::new() };
        environments::of_main(&mut fields(path, node, &mut unsaid))
    }

    /// The same of an environment of the server.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn of_environment(&self, name: &str) -> Result<Self, Vec<Problem>> {
        if name == MAIN_ENVIRONMENT {
            return Ok(self.clone());
        }
        let known = self.environments();
        let folder = match (known.get(name), &self.main) {
            (Some(folder), _) => folder.clone(),
            (None, None) => environments::usual_folder(name),
            (None, Some(_)) => return Err(vec![no_environment(&self.dir, name, &known)]),
        };
        let (dir, data) = (self.dir.join(folder), environment_data(&self.data, name));
        Ok(Self { sources: folder::files(&dir, "sources"), dir, data, main: self.main.clone() })
    }

    /// Where the server listens.
    ///
    /// # Errors
    /// The file says something else than an address.
    pub fn listen(&self) -> Result<SocketAddr, Vec<Problem>> {
        let Some((path, node)) = &self.main else { return Ok(ADMIN_AND_LISTEN.1) };
        let mut problems = Vec::new();
        let listen = fields(path, node, &mut problems).parsed("listen", "an address such as 0.0.0.0:8080");
        if problems.is_empty() { Ok(listen.unwrap_or(ADMIN_AND_LISTEN.1)) } else { Err(problems) }
    }

    /// Where the admin API listens.
    ///
    /// # Errors
    /// The file says something else than an address.
    pub fn admin_listen(&self) -> Result<SocketAddr, Vec<Problem>> {
        let Some((path, node)) = &self.main else { return Ok(ADMIN_AND_LISTEN.0) };
        let mut problems = Vec::new();
        let listen = fields(path, node, &mut problems).within("admin", |admin| {
            let listen = admin.parsed("listen", "an address such as 127.0.0.1:8089");
            admin.leave_rest();
            listen
        });
        if problems.is_empty() { Ok(listen.flatten().unwrap_or(ADMIN_AND_LISTEN.0)) } else { Err(problems) }
    }

    /// Where commands on this machine reach the server.
    ///
    /// # Errors
    /// The file says something else than an address.
    pub fn url(&self) -> Result<String, Vec<Problem>> {
        Ok(url(self.listen()?, self.main.as_ref().is_some_and(|(_, node)| has_tls(node))))
    }

    /// Where commands on this machine reach the admin API.
    ///
    /// # Errors
    /// The file says something else than an address.
    pub fn admin_url(&self) -> Result<String, Vec<Problem>> {
        let admin = self.main.as_ref().and_then(|(_, node)| field(node, "admin"));
        Ok(url(self.admin_listen()?, admin.is_some_and(has_tls)))
    }

    /// A write key of a source (the first one that SDKs send to, unless it is named): `write_key`, or else the first of `write_keys` that has
    /// not ended. `None` when there is no such source.
    ///
    /// # Errors
    /// Its file cannot be read, or the key is in a variable that is not set.
    pub fn write_key(&self, source: Option<&str>) -> Result<Option<String>, Vec<Problem>> {
        let named = source.map(|source| self.sources.get(source).into_iter().collect());
        let files: Vec<&PathBuf> = named.unwrap_or_else(|| self.sources.values().collect());
        let mut problems = Vec::new();
        for path in files {
            let Some(node) = read_tree(&self.dir, path, &mut problems) else { return Err(problems) };
            if source.is_none() && !sources::is_for_sdks(&node) {
                continue;
            }
            let key = sources::first_key(fields(path, &node, &mut problems), clock::now_us());
            return if problems.is_empty() { Ok(key) } else { Err(problems) };
        }
        Ok(None)
    }
}

fn url(listen: SocketAddr, over_tls: bool) -> String {
    format!("{}://{listen}", if over_tls { "https" } else { "http" })
}

fn field<'n>(node: &'n DocumentNode, name: &str) -> Option<&'n DocumentNode> {
    let Tree::Map(fields) = &node.value else { return None };
    fields.iter().find(|field| field.name == name).map(|field| &field.node)
}

fn has_tls(node: &DocumentNode) -> bool {
    field(node, "tls").is_some_and(|tls| tls.value != Tree::Null)
}
