//! The catalog of the server: its file, the key that its secrets are sealed under, its first admin, and the objects of the folder, which
//! are applied to it at the start and whenever the folder is read again. What runs comes from the folder; the catalog says what there is, and what there was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_api_types::workspace::{FolderDocument, ObjectRef, ObjectRefKind};
use tidegate_catalog::{
    Actor, Authority, Catalog, CatalogError, CatalogFile, CatalogSnapshot, Entropy, InstanceKey, NewToken, ObjectKind,
    PlanOptions, SecretValue, SqliteCatalog, TokenForm, WantedObject, plan,
};
use tidegate_process::{clock, whole_file};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{AppError, paths};
use crate::api;
use crate::config::{
    DestinationConfig, DestinationKind, SpecMasks, Workspace, catalog_kind, folder_file, written_secret,
};

/// The name of the first admin.
const ADMIN: &str = "admin";
/// The name of the token that the first start shows.
const FIRST_TOKEN: &str = "first";
const KEY_BYTES: usize = 32;
/// For a folder that is read again.
const APPLY_MAX: Duration = Duration::from_secs(10);

/// The catalog, open, with the folder's objects in it.
pub(super) struct OpenedCatalog {
    pub(super) folder: FolderCatalog,
    /// They end when nobody uses the catalog any more.
    pub(super) threads: Vec<JoinHandle<()>>,
}

/// The catalog as the folder's objects are put into it.
#[derive(Clone)]
pub(super) struct FolderCatalog {
    catalog: Arc<Catalog>,
    specs: Arc<RwLock<FolderSpecs>>,
}

/// How documents of a folder become what the catalog is told of them.
struct FolderSpecs {
    /// Fingerprints of secrets that are written down are made under it.
    key: Zeroizing<[u8; KEY_BYTES]>,
    /// By destination: settings of its plugin that the manifest calls secret.
    secret_settings: BTreeMap<String, Vec<String>>,
}

/// The operating system's randomness.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(KEY_BYTES) {
            let drawn = clock::random::<KEY_BYTES>();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

impl OpenedCatalog {
    /// Opens the catalog of a workspace, and applies the folder.
    pub(super) async fn open(workspace: &Workspace) -> Result<Self, AppError> {
        let key = instance_key(workspace)?;
        let specs = Arc::new(RwLock::new(FolderSpecs::of(workspace, &key)));
        let path = paths::catalog(&workspace.data);
        let mut store = SqliteCatalog::open(&path).map_err(CatalogError::from)?;
        let threads = store.take_threads();
        let at_us = clock::now_us();
        let catalog = Catalog::open(Arc::new(store), key.into(), Arc::new(SystemEntropy), at_us).await?;
        let folder = FolderCatalog { catalog: Arc::new(catalog), specs };
        folder.apply(&workspace.documents, at_us).await?;
        let head = folder.catalog.audit_checkpoint(at_us).await?;
        let revision = folder.catalog.revision().await?;
        // Whoever keeps the log has a checkpoint outside of the catalog.
        tracing::info!(revision, audit_seq = head.seq, audit_hash = head.hash, "the catalog is open");
        Ok(Self { folder, threads })
    }

    /// Makes the first admin of a catalog that has none, and a token of theirs, which is shown once.
    pub(super) async fn first_token(&self) -> Result<Option<SecretValue>, CatalogError> {
        let (actor, at_us) = (Actor::default(), clock::now_us());
        let admin = self.folder.catalog.make_first_admin(ADMIN, &actor, at_us).await?;
        let Some(maker) = admin else { return Ok(None) };
        let token = NewToken {
            workspace: api::WORKSPACE_DEFAULT.to_owned(),
            name: FIRST_TOKEN.to_owned(),
            form: TokenForm::Person,
            grants: None,
            life_us: None,
            maker,
            actor,
            at_us,
        };
        Ok(Some(self.folder.catalog.create_token(&token).await?.value))
    }

    /// What the API needs of it.
    pub(super) fn settings(&self) -> api::CatalogSettings {
        let FolderCatalog { catalog, specs } = self.folder.clone();
        api::CatalogSettings {
            catalog,
            wanted: Box::new(move |document| specs.read().wanted(document)),
            written_secret,
            folder_file,
        }
    }
}

impl FolderCatalog {
    /// Tells the catalog what the workspace is that runs now.
    pub(super) async fn follow(&self, workspace: &Workspace) {
        self.specs.write().secret_settings = secret_settings(workspace);
        let applied = timeout(APPLY_MAX, self.apply(&workspace.documents, clock::now_us())).await;
        let error = match applied {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the catalog did not answer within {} seconds", APPLY_MAX.as_secs()),
        };
        tracing::error!(error, "the folder was not applied to the catalog; it is at the next reload or start");
    }

    /// The objects that somebody has paused.
    pub(super) async fn paused(&self) -> Result<BTreeSet<ObjectRef>, CatalogError> {
        let late =
            |_| CatalogError::Unreadable(format!("the catalog did not answer within {} seconds", APPLY_MAX.as_secs()));
        let snapshot = self.catalog.snapshot(api::WORKSPACE_DEFAULT, None);
        let snapshot = timeout(APPLY_MAX, snapshot).await.map_err(late)??;
        let paused = snapshot.objects.iter().filter(|object| object.is_paused).filter_map(|object| {
            let kind = match object.content.kind {
                ObjectKind::Source => ObjectRefKind::Source,
                ObjectKind::Sync => ObjectRefKind::Sync,
                ObjectKind::Destination => ObjectRefKind::Destination,
                _ => return None,
            };
            Some(ObjectRef::new(kind, object.content.name.as_str()))
        });
        Ok(paused.collect())
    }

    /// Makes the catalog say what the folder says. What the folder cannot say changes nothing, and the server goes on.
    async fn apply(&self, documents: &[FolderDocument], at_us: i64) -> Result<(), CatalogError> {
        let snapshot = self.catalog.snapshot(api::WORKSPACE_DEFAULT, None).await?;
        let wanted: Vec<WantedObject> = {
            let specs = self.specs.read();
            documents.iter().map(|document| specs.wanted(document)).collect()
        };
        let (released, wanted): (Vec<WantedObject>, Vec<WantedObject>) =
            wanted.into_iter().partition(|wanted| is_released(&snapshot, wanted));
        for object in released {
            tracing::warn!(
                kind = object.kind.name(),
                name = object.name,
                "the catalog was told that no folder manages this object, and the folder has it; what runs is the folder's"
            );
        }
        // What is in no file any more does not run: it goes from the catalog as well. What no folder made stays.
        let planned = plan(&snapshot, &wanted, PlanOptions { prune: true, take_over: false });
        for problem in &planned.problems {
            tracing::error!(problem = %problem, "the folder was not applied to the catalog, which stays as it was");
        }
        if planned.changes.is_empty() {
            return Ok(());
        }
        let Some(change) = planned.change(Authority::Program, Actor::default(), at_us, &SystemEntropy) else {
            return Ok(());
        };
        let (created, updated, deleted) = planned.counts();
        match self.catalog.commit(&change).await {
            Ok(committed) => {
                let revision = committed.revision;
                tracing::info!(revision, created, updated, deleted, "the folder was applied to the catalog");
                Ok(())
            }
            // The store works, and does not want this change: what runs does not depend on it.
            Err(error @ (CatalogError::Store(_) | CatalogError::Seal(_) | CatalogError::Unreadable(_))) => Err(error),
            Err(error) => {
                tracing::error!(error = %error, "the folder was not applied to the catalog, which stays as it was");
                Ok(())
            }
        }
    }
}

/// By destination, the settings of its plugin that are secret.
fn secret_settings(workspace: &Workspace) -> BTreeMap<String, Vec<String>> {
    let secret = |(name, destination): (&String, &DestinationConfig)| match &destination.kind {
        DestinationKind::Plugin(plugin) => Some((name.clone(), plugin.secret_settings.clone())),
        DestinationKind::Warehouse(_) => None,
    };
    workspace.destinations.iter().filter_map(secret).collect()
}

/// Whether somebody took the object out of the folder's hands.
fn is_released(snapshot: &CatalogSnapshot, wanted: &WantedObject) -> bool {
    snapshot.named(wanted.kind, &wanted.name).is_some_and(|object| !object.is_managed())
}

impl FolderSpecs {
    fn of(workspace: &Workspace, key: &InstanceKey) -> Self {
        Self { key: key.derived_for("secrets of folders"), secret_settings: secret_settings(workspace) }
    }

    fn wanted(&self, document: &FolderDocument) -> WantedObject {
        let secret_settings = |name: &str| self.secret_settings.get(name).cloned().unwrap_or_default();
        let masks = SpecMasks { key: *self.key, secret_settings: &secret_settings };
        WantedObject {
            kind: catalog_kind(document.kind, &document.key),
            name: document.key.clone(),
            was: None,
            labels: BTreeMap::new(),
            owner: None,
            spec: masks.spec(document),
        }
    }
}

/// The key that the workspace names, or that of the data directory, which is made once.
fn instance_key(workspace: &Workspace) -> Result<InstanceKey, AppError> {
    if let Some(key) = &workspace.instance_key {
        return Ok(key.clone());
    }
    let path = paths::instance_key(&workspace.data);
    let io = |action| {
        let path = path.clone();
        move |cause| AppError::Io { action, path, cause }
    };
    let foreign = |reason: &str| AppError::Foreign { path: path.clone(), reason: reason.to_owned() };
    match std::fs::read(&path) {
        Ok(bytes) => match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(InstanceKey::new(bytes)),
            Err(_) => Err(foreign("the instance key has not 32 bytes. Nothing was changed. Put the right file back")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if paths::catalog(&workspace.data).exists() {
                return Err(foreign(
                    "the instance key is not there, and the catalog is sealed under it. Nothing was changed. Put the file \
                     back, or name the key by `instance_key` in tidegate.yaml",
                ));
            }
            let bytes = clock::random::<KEY_BYTES>();
            whole_file::create(&path, &bytes).map_err(io("could not write"))?;
            Ok(InstanceKey::new(bytes))
        }
        Err(error) => Err(io("could not read")(error)),
    }
}

/// The revision of the catalog in a data directory; none before a server made it. Works beside a running server.
///
/// # Errors
/// The file cannot be read.
pub fn revision(data: &Path) -> Result<Option<u64>, CatalogError> {
    Ok(CatalogFile::read(&paths::catalog(data))?.map(|file| file.revision))
}
