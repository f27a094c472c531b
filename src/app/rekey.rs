//! Another instance key for the catalog of a server that is stopped: everything that is sealed is sealed anew, in one transaction.
//!
//! What was hashed (write keys, the chain of the audit log, fingerprints of secrets) is under a key of the catalog's own, which is itself sealed under
//! the instance key: it stays valid. Who is killed between the transaction and the file of the key does the same again.

use std::sync::Arc;

use tidegate_catalog::{Actor, Catalog, CatalogError, InstanceKey, InstanceKeys, SqliteCatalog};
use tidegate_process::{clock, whole_file};
use zeroize::Zeroizing;

use super::catalog::SystemEntropy;
use super::instance_key::instance_key;
use super::{AppError, data_lock, paths, stop};
use crate::config::Workspace;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// Secrets that were sealed anew.
    pub secrets: u64,
    /// The ids of both keys, which tell nothing of them.
    pub before: String,
    pub now: String,
    /// The key of the data directory was replaced; otherwise it is up to whoever keeps the key.
    pub is_in_place: bool,
}

/// Seals the catalog of a workspace under another key. `old` is the key before, where the workspace does not name it any more.
///
/// # Errors
/// A server is running, the key before is another one, or something cannot be written. What was not sealed anew by then is as it was.
pub async fn rekey(
    workspace: &Workspace,
    old: Option<Zeroizing<[u8; 32]>>,
    new: Zeroizing<[u8; 32]>,
) -> Result<Rekeyed, AppError> {
    let _lock = data_lock::lock(&workspace.data)?;
    let path = paths::catalog(&workspace.data);
    if !path.exists() {
        let reason =
            "there is no catalog yet, so nothing is sealed: name the key by `instance_key` in tidegate.yaml, and start";
        return Err(AppError::Foreign { path, reason: reason.to_owned() });
    }
    let before = match old {
        Some(bytes) => InstanceKey::new(*bytes),
        None => instance_key(workspace)?,
    };
    let current = InstanceKey::new(*new);
    let ids = (before.id().to_owned(), current.id().to_owned());
    let keys = InstanceKeys { current, earlier: vec![before] };
    let mut store = SqliteCatalog::open(&path).map_err(CatalogError::from)?;
    let threads = store.take_threads();
    let catalog = Catalog::open(Arc::new(store), keys, Arc::new(SystemEntropy), clock::now_us()).await?;
    let actor = Actor { agent: Some("tidegate admin rekey".to_owned()), ..Actor::default() };
    let secrets = catalog.reseal(&actor, clock::now_us()).await?;
    // Nobody else has it open.
    drop(catalog);
    stop::join(threads).await;
    let is_in_place = workspace.instance_key.is_none();
    if is_in_place {
        let file = paths::instance_key(&workspace.data);
        whole_file::replace(&file, &*new).map_err(|cause| AppError::Io {
            action: "the catalog is sealed under the new key, and it could not be written here; do the same again",
            path: file,
            cause,
        })?;
    }
    let (before, now) = ids;
    Ok(Rekeyed { secrets, before, now, is_in_place })
}
