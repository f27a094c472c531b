//! Who asks, and whether they may.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use hyper::Method;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidegate_catalog::{ActingPrincipal, RightsTarget, Verb};
use tidegate_net::{Caller, WrongTries};
use tidegate_process::{clock, whole_file};
use tidegate_registry::PluginKind;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Whoever holds the admin token, which opens everything, whatever the catalog says.
    Admin,
    /// A user or a token of the catalog, with what their roles allow now.
    Acting(Arc<ActingPrincipal>),
}

/// The workspace of the catalog that the server's folder is applied to, and that is meant where none is named.
pub const WORKSPACE_DEFAULT: &str = "default";

/// Whether somebody may do everything in a workspace. Only who may, may purge the audit log.
pub(super) fn is_admin(acting: &ActingPrincipal, workspace: &str) -> bool {
    tidegate_catalog::authorise(acting, Verb::PurgeAudit.into(), &RightsTarget::of_workspace(workspace)).is_ok()
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessAction {
    /// See versions, releases, meters and builds.
    Read,
    /// See what guests logged, which may hold pieces of events.
    ReadLogs,
    /// Upload a version.
    Push,
    /// Change what is active: make live, roll back, begin or end a candidate.
    Release,
    /// Change settings, which sources a function sees, or what the server runs.
    Configure,
}

/// What it is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessObject {
    /// All of a kind.
    PluginKind(PluginKind),
    /// One function or destination.
    Named(PluginKind, String),
    Build,
    /// The write keys of all sources, never the keys themselves.
    WriteKeys,
    /// The configuration that runs.
    Workspace,
    /// The description of the API.
    Document,
}

/// The principal may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied;

/// Whether `principal` may do this in a workspace. What is asked here is an admin's of it; what is asked below `/api/v1`, the catalog
/// decides.
///
/// # Errors
/// They may not.
pub fn authorise(
    principal: &Principal,
    _action: AccessAction,
    _object: &AccessObject,
    workspace: &str,
) -> Result<(), Denied> {
    match principal {
        Principal::Admin => Ok(()),
        Principal::Acting(acting) if is_admin(acting, workspace) => Ok(()),
        Principal::Acting(_) => Err(Denied),
    }
}

/// What a request of this method to this path (as it is registered, with `{name}`) asks of what. A path that is not
/// known here is asked of nobody, and refused.
#[must_use]
pub fn asked(method: &Method, path: &str, name: Option<&str>) -> Option<(AccessAction, AccessObject)> {
    let path = path.strip_prefix('/')?;
    // The answer to HEAD is that to GET without its body.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    if (method, path) == (&Method::GET, "api/openapi.json") {
        return Some((AccessAction::Read, AccessObject::Document));
    }
    let mut parts = path.strip_prefix("admin/")?.split('/');
    let plugin_kind = match parts.next()? {
        "functions" => PluginKind::Functions,
        "destinations" => PluginKind::Destinations,
        "builds" => return (method == Method::GET).then_some((AccessAction::Read, AccessObject::Build)),
        "write-keys" => return (method == Method::GET).then_some((AccessAction::Read, AccessObject::WriteKeys)),
        "reload" => return (method == Method::POST).then_some((AccessAction::Configure, AccessObject::Workspace)),
        _ => return None,
    };
    let Some(_) = parts.next() else {
        return (method == Method::GET).then_some((AccessAction::Read, AccessObject::PluginKind(plugin_kind)));
    };
    let action = match (method.as_str(), parts.next()) {
        ("GET", None) => AccessAction::Read,
        ("GET", Some("script")) => AccessAction::Read,
        // What is tried shows events as well.
        ("GET", Some("logs")) | ("POST", Some("try")) => AccessAction::ReadLogs,
        ("POST", Some("versions" | "script")) => AccessAction::Push,
        ("POST", Some("live" | "rollback" | "canary")) => AccessAction::Release,
        ("POST", Some("settings" | "attach" | "detach")) => AccessAction::Configure,
        _ => return None,
    };
    Some((action, AccessObject::Named(plugin_kind, name?.to_owned())))
}

/// `admin.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptHash {
    /// Missing in files of builds that had no formats, which are of the first.
    #[serde(default = "first_format")]
    format: u32,
    salt: String,
    sha256: String,
}

/// Raised when an older build could not read `admin.json` any more.
pub const FORMAT: u32 = 1;

const fn first_format() -> u32 {
    FORMAT
}

/// Whether the hash in `file` can be used.
///
/// # Errors
/// The file cannot be read, is damaged, or is of a later format.
pub fn verify(file: &Path) -> std::io::Result<()> {
    let unusable = |reason: String| std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
    let bytes = std::fs::read(file)?;
    let damaged = |error: serde_json::Error| {
        unusable(format!("it is damaged ({error}); `tidegate admin token --reset` makes another"))
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    if let Some(found) = value["format"].as_u64().filter(|found| *found > FORMAT.into()) {
        let refused = "use the newer build that wrote it. Nothing was changed";
        return Err(unusable(format!("format {found}, and this build supports up to {FORMAT}; {refused}")));
    }
    serde_json::from_value::<KeptHash>(value).map(drop).map_err(damaged)
}

/// Makes a new token and keeps its hash in `file`; the old one is good no more.
///
/// # Errors
/// The file cannot be written.
pub fn reset(file: &Path) -> std::io::Result<String> {
    let token = format!("tg_{}", HEXLOWER.encode(&clock::random::<32>()));
    let salt = HEXLOWER.encode(&clock::random::<16>());
    let kept = KeptHash { format: FORMAT, sha256: hash(&salt, &token), salt };
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    whole_file::replace(file, &serde_json::to_vec(&kept)?)?;
    Ok(token)
}

/// Makes a token if there is none yet.
///
/// # Errors
/// The file cannot be read or written, or is of a later format. A damaged one is not: who holds the data directory can
/// reset the token while the server runs.
pub fn ensure(file: &Path) -> std::io::Result<Option<String>> {
    if !file.try_exists()? {
        return reset(file).map(Some);
    }
    match verify(file) {
        Err(error) if error.to_string().starts_with("format ") => Err(error),
        Err(error) => {
            tracing::error!(file = %file.display(), error = %error, "the hash of the admin token cannot be used; nobody is let in until it is reset");
            Ok(None)
        }
        Ok(()) => Ok(None),
    }
}

fn hash(salt: &str, token: &str) -> String {
    // The token has 256 bits of its own; a slow hash would protect nothing more.
    HEXLOWER.encode(&Sha256::new().chain_update(salt).chain_update(token).finalize())
}

/// Why nobody in particular is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthError {
    NoToken,
    WrongToken,
    /// Too many wrong tokens lately; try again after this.
    TooOften(Duration),
    /// The hash cannot be read.
    NoHash,
}

/// Tells the token from others. A right one always passes. Wrong ones are counted by address, and told to wait when there
/// are too many, which keeps them out of the log (the token cannot be guessed anyway).
pub(super) struct Guard {
    file: PathBuf,
    wrong_max: u32,
    wrong: WrongTries,
}

/// No token is longer; whatever is needs no hash to be wrong.
const TOKEN_BYTES_MAX: usize = 128;

impl Guard {
    pub(super) fn new(file: PathBuf, wrong_max: u32) -> Self {
        Self { file, wrong_max, wrong: WrongTries::new(wrong_max) }
    }

    pub(super) fn admit(&self, token: Option<&str>, caller: Caller) -> Result<Principal, AuthError> {
        let token = token.ok_or(AuthError::NoToken)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(self.wrong(caller));
        }
        // Read each time, so that a reset counts at once; the file is tiny and this port is quiet.
        let kept = std::fs::read(&self.file).map_err(|_| AuthError::NoHash)?;
        let kept: KeptHash = serde_json::from_slice(&kept).map_err(|_| AuthError::NoHash)?;
        let given = hash(&kept.salt, token);
        if bool::from(given.as_bytes().ct_eq(kept.sha256.as_bytes())) {
            return Ok(Principal::Admin);
        }
        Err(self.wrong(caller))
    }

    /// Counts a wrong token.
    pub(super) fn wrong(&self, caller: Caller) -> AuthError {
        let (count, wait) = self.wrong.note(caller, Instant::now());
        if count == 1 || count == self.wrong_max {
            tracing::warn!(?caller, wrong = count, "somebody sent a wrong admin token");
        }
        wait.map_or(AuthError::WrongToken, AuthError::TooOften)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_token_passes_and_wrong_ones_are_slowed_down() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("admin.json");
        let first = ensure(&file).unwrap().unwrap();
        assert_eq!(ensure(&file).unwrap(), None);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first) && !text.contains(&first[3..]), "the token itself is not kept");
        let guard = Guard::new(file.clone(), 2);
        let caller = |ip: &str| Caller::from(ip.parse::<std::net::IpAddr>().unwrap());
        let (here, there) = (caller("192.0.2.1"), caller("192.0.2.2"));
        assert_eq!(guard.admit(Some(&first), here), Ok(Principal::Admin));
        let second = reset(&file).unwrap();
        assert_eq!(guard.admit(None, here), Err(AuthError::NoToken));
        assert_eq!(guard.admit(Some(&first), here), Err(AuthError::WrongToken));
        assert_eq!(guard.admit(Some(""), here), Err(AuthError::WrongToken));
        assert!(matches!(guard.admit(Some("x"), here), Err(AuthError::TooOften(_))));
        assert_eq!(guard.admit(Some(&second), here), Ok(Principal::Admin), "the right one always passes");
        assert_eq!(guard.admit(Some("x"), there), Err(AuthError::WrongToken), "another address is not told to wait");
        std::fs::write(&file, r#"{"format": 2, "how": "else"}"#).unwrap();
        assert!(ensure(&file).unwrap_err().to_string().starts_with("format 2, and this build supports up to 1"));
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(ensure(&file).unwrap(), None);
        assert_eq!(guard.admit(Some(&second), here), Err(AuthError::NoHash));
    }
}
