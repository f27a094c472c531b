//! Contexts: servers that somebody has signed in at, with the tokens they got, in a file for its owner alone.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_process::whole_file;

use super::address::ConnectArgs;
use crate::cli::CommandFailure;
use crate::config::{environment, home};

/// Raised when an older build could not read the file any more.
const FORMAT: u32 = 2;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct KeptContexts {
    format: u32,
    /// The one that counts where none is named.
    pub(in crate::cli) current: Option<String>,
    pub(in crate::cli) contexts: BTreeMap<String, KeptContext>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct KeptContext {
    /// The address of the admin API.
    pub(in crate::cli) server: String,
    pub(in crate::cli) token: String,
    /// The name of the user, where it is known.
    pub(in crate::cli) user: Option<String>,
    /// When the token ends, where it is known.
    pub(in crate::cli) expires_at: Option<String>,
    /// Whom to trust there, and what to show.
    #[serde(default, skip_serializing_if = "ConnectArgs::is_usual")]
    pub(in crate::cli) connect: ConnectArgs,
}

impl fmt::Debug for KeptContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptContext").field("server", &self.server).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Default for KeptContexts {
    fn default() -> Self {
        Self { format: FORMAT, current: None, contexts: BTreeMap::new() }
    }
}

/// `$XDG_CONFIG_HOME/tidegate/contexts.json`.
fn path() -> Result<PathBuf, CommandFailure> {
    let named = environment("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = named.or_else(|| home().map(|home| home.join(".config"))).ok_or_else(|| {
        CommandFailure::Failed("there is no home directory to keep contexts in; set XDG_CONFIG_HOME".to_owned())
    })?;
    Ok(folder.join("tidegate").join("contexts.json"))
}

impl KeptContexts {
    /// What is kept; nothing where there is no file.
    pub(in crate::cli) fn read() -> Result<Self, CommandFailure> {
        let path = path()?;
        let failed = |reason: &dyn fmt::Display| {
            let fix = "mend it, or remove it and sign in again with `tidegate login`";
            CommandFailure::Failed(format!("{}: {reason}; {fix}", path.display()))
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(&error)),
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
        if let Some(found) = value["format"].as_u64().filter(|found| *found > FORMAT.into()) {
            return Err(failed(&format!("it has format {found}, and this build supports up to {FORMAT}")));
        }
        serde_json::from_value(value).map_err(|error| failed(&error))
    }

    /// Keeps it in place of what was.
    pub(in crate::cli) fn write(&self) -> Result<(), CommandFailure> {
        let path = path()?;
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let kept = Self { format: FORMAT, ..self.clone() };
        let bytes = serde_json::to_vec_pretty(&kept)?;
        let written = written.and_then(|()| whole_file::replace(&path, &bytes));
        written.map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))
    }

    /// The one of this name, or the current one where none is named.
    pub(in crate::cli) fn chosen(&self, named: Option<&str>) -> Result<Option<(&str, &KeptContext)>, CommandFailure> {
        let Some(name) = named.or(self.current.as_deref()) else { return Ok(None) };
        if let Some((name, context)) = self.contexts.get_key_value(name) {
            return Ok(Some((name.as_str(), context)));
        }
        let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("there are: {}", known.join(", ")) };
        let fix = "`tidegate login --server URL` makes one";
        Err(CommandFailure::Failed(format!("there is no context {name:?} ({known}); {fix}")))
    }

    /// One of this server: the current one before others.
    pub(in crate::cli) fn of_server(&self, server: &str) -> Option<&KeptContext> {
        let is_of = |context: &&KeptContext| is_same(&context.server, server);
        let current = self.current.as_ref().and_then(|name| self.contexts.get(name)).filter(is_of);
        current.or_else(|| self.contexts.values().find(is_of))
    }
}

/// Whether two addresses are written alike, but for a `/` at the end.
pub(super) fn is_same(one: &str, two: &str) -> bool {
    one.trim_end_matches('/') == two.trim_end_matches('/')
}
