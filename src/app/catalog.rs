//! The catalog of the server: its file, the key that its secrets are sealed under, its first admin, and the objects of the folders, which
//! are applied to it at the start and whenever a folder is read again. Of everything else that is in it, it says what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_api_types::workspace::FolderDocument;
use tidegate_catalog::{
    Actor, Authority, Catalog, CatalogError, CatalogFile, CatalogOrder, CatalogSnapshot, Committed, Entropy,
    InstanceKey, ManagingFolder, NewToken, ObjectId, OrderPreview, PlanOptions, SecretValue, SqliteCatalog, TokenForm,
    WantedObject, plan,
};
use tidegate_process::clock;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::instance_key::instance_key;
use super::{AppError, paths};
use crate::api;
use crate::config::{
    DestinationConfig, DestinationKind, FILES_FIELD, MAIN_ENVIRONMENT, SpecMasks, WRITE_KEYS, Workspace,
    WorkspaceDocuments, catalog_kind, folder_file, masked_field, named_file, written_secret,
};

/// The name of the first admin.
const ADMIN: &str = "admin";
/// The name of the token that the first start shows.
const FIRST_TOKEN: &str = "first";
const KEY_BYTES: usize = 32;
/// For a folder that is read again.
const APPLY_MAX: Duration = Duration::from_secs(10);

/// The catalog, open.
pub(super) struct OpenedCatalog {
    /// Of the server's own folder.
    pub(super) folder: FolderCatalog,
    /// They end when nobody uses the catalog any more.
    pub(super) threads: Vec<JoinHandle<()>>,
}

/// The catalog as the folder's objects are put into it.
#[derive(Clone)]
pub(super) struct FolderCatalog {
    catalog: Arc<Catalog>,
    /// Of the environment.
    workspace: Arc<str>,
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
pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(KEY_BYTES) {
            let drawn = clock::random::<KEY_BYTES>();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

impl OpenedCatalog {
    /// The same where there is a catalog already; a start that is refused later makes none.
    pub(super) async fn open_known(workspace: &Workspace) -> Result<Option<Self>, AppError> {
        if paths::catalog(&workspace.data).exists() { Self::open(workspace).await.map(Some) } else { Ok(None) }
    }

    /// Opens the catalog of a workspace.
    pub(super) async fn open(workspace: &Workspace) -> Result<Self, AppError> {
        let key = instance_key(workspace)?;
        let specs = Arc::new(RwLock::new(FolderSpecs::of(workspace, &key)));
        let path = paths::catalog(&workspace.data);
        let mut store = SqliteCatalog::open(&path).map_err(CatalogError::from)?;
        let threads = store.take_threads();
        let at_us = clock::now_us();
        let catalog = Catalog::open(Arc::new(store), key.into(), Arc::new(SystemEntropy), at_us).await?;
        let folder = FolderCatalog { catalog: Arc::new(catalog), workspace: MAIN_ENVIRONMENT.into(), specs };
        Ok(Self { folder, threads })
    }

    /// The catalog as the folder of an environment is put into it, which `workspace` was made of.
    pub(super) fn of_environment(&self, name: &str, workspace: &Workspace) -> FolderCatalog {
        if name == MAIN_ENVIRONMENT {
            self.folder.note(workspace);
            return self.folder.clone();
        }
        let key = self.folder.specs.read().key.clone();
        let specs = Arc::new(RwLock::new(FolderSpecs { key, secret_settings: secret_settings(workspace) }));
        FolderCatalog { catalog: Arc::clone(&self.folder.catalog), workspace: name.into(), specs }
    }

    /// The catalog that is known, or a new one.
    pub(super) async fn known_or_new(known: Option<Self>, workspace: &Workspace) -> Result<Self, AppError> {
        match known {
            Some(known) => Ok(known),
            None => Self::open(workspace).await,
        }
    }

    /// The revision that runs, once every folder was applied. Whoever keeps the log has a checkpoint outside of the catalog.
    pub(super) async fn begun(&self) -> Result<u64, CatalogError> {
        let head = self.folder.catalog.audit_checkpoint(clock::now_us()).await?;
        let revision = self.folder.catalog.revision().await?;
        tracing::info!(revision, audit_seq = head.seq, audit_hash = head.hash, "the catalog is open");
        Ok(revision)
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

    /// What the API needs of it. `environments` are those that run.
    pub(super) fn settings<'e>(
        &self,
        environments: impl Iterator<Item = &'e FolderCatalog>,
        files: PathBuf,
    ) -> api::CatalogSettings {
        let FolderCatalog { catalog, specs, .. } = self.folder.clone();
        let by_workspace: BTreeMap<Arc<str>, Arc<RwLock<FolderSpecs>>> =
            environments.map(|one| (Arc::clone(&one.workspace), Arc::clone(&one.specs))).collect();
        let wanted = move |workspace: &str, document: &FolderDocument| {
            // In a workspace that does not run no plugin has said which of its settings are secret.
            by_workspace.get(workspace).unwrap_or(&specs).read().wanted(document)
        };
        api::CatalogSettings {
            catalog,
            wanted: Box::new(wanted),
            written_secret,
            masked_field,
            write_key_fields: WRITE_KEYS,
            folder_file,
            named_file,
            files_field: FILES_FIELD,
            files,
        }
    }
}

impl FolderCatalog {
    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The name of the workspace that runs.
    pub(super) fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The workspace that runs, as it is now.
    pub(super) async fn snapshot(&self) -> Result<CatalogSnapshot, CatalogError> {
        self.catalog.snapshot(&self.workspace, None).await
    }

    /// Applies the folder at a start.
    pub(super) async fn begin(&self, documents: &WorkspaceDocuments) -> Result<(), CatalogError> {
        // What is wrong with them was said: no server starts with such a folder.
        self.apply(&documents.of_folder().unwrap_or_default(), clock::now_us()).await
    }

    /// What an order would do.
    pub(super) async fn preview(&self, order: &CatalogOrder) -> Result<OrderPreview, CatalogError> {
        self.catalog.preview(order).await
    }

    /// Carries an order out.
    pub(super) async fn execute(&self, order: &CatalogOrder) -> Result<Committed, CatalogError> {
        self.catalog.execute(order).await
    }

    /// Whether an object has a version of this revision, or of a later one. That it was deleted is one too.
    pub(super) async fn has_version(&self, object: &ObjectId, revision: u64) -> Result<bool, CatalogError> {
        match self.catalog.history(&self.workspace, object, None, 1).await {
            Ok(page) => Ok(page.versions.first().is_some_and(|last| last.object.revision >= revision)),
            Err(CatalogError::Absent { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The secrets of these names, as far as there are any that can be unsealed.
    pub(super) async fn secrets(&self, names: BTreeSet<String>) -> Result<BTreeMap<String, SecretValue>, CatalogError> {
        let mut secrets = BTreeMap::new();
        for name in names {
            match self.catalog.secret(&self.workspace, &name).await {
                Ok(value) => drop(secrets.insert(name, value)),
                Err(CatalogError::Nothing { .. }) => {}
                Err(error @ CatalogError::Seal(_)) => {
                    tracing::error!(secret = name, error = %error, "a secret cannot be unsealed; write it anew");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(secrets)
    }

    /// What the catalog is to know of the workspace that runs now.
    pub(super) fn note(&self, workspace: &Workspace) {
        self.specs.write().secret_settings = secret_settings(workspace);
    }

    /// Tells the catalog what the folder says that runs now. Answers its revision, if it can be read.
    pub(super) async fn follow(&self, documents: &WorkspaceDocuments) -> Option<u64> {
        self.tell(&documents.of_folder().unwrap_or_default()).await;
        timeout(APPLY_MAX, self.catalog.revision()).await.ok()?.ok()
    }

    async fn tell(&self, documents: &[FolderDocument]) {
        let applied = timeout(APPLY_MAX, self.apply(documents, clock::now_us())).await;
        let error = match applied {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the catalog did not answer within {} seconds", APPLY_MAX.as_secs()),
        };
        tracing::error!(error, "the folder was not applied to the catalog; it is at the next reload or start");
    }

    /// Makes the catalog say what the folder says. What the folder cannot say changes nothing, and the server goes on.
    async fn apply(&self, documents: &[FolderDocument], at_us: i64) -> Result<(), CatalogError> {
        let snapshot = self.snapshot().await?;
        let wanted: Vec<WantedObject> = {
            let specs = self.specs.read();
            documents.iter().map(|document| specs.wanted(document)).collect()
        };
        // Of what somebody released, or applied from elsewhere, the catalog says what it is.
        let wanted: Vec<WantedObject> = wanted.into_iter().filter(|wanted| !is_of_others(&snapshot, wanted)).collect();
        // What is in no file any more does not run: it goes from the catalog as well. What this folder did not make stays.
        let options = PlanOptions { prune: true, take_over: false, folder: Some(ManagingFolder::Server) };
        let planned = plan(&snapshot, &wanted, options);
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
        DestinationKind::Warehouse(_) | DestinationKind::Stream(_) => None,
    };
    workspace.destinations.iter().filter_map(secret).collect()
}

/// Whether the object is in other hands than those of the server's folder.
fn is_of_others(snapshot: &CatalogSnapshot, wanted: &WantedObject) -> bool {
    let there = snapshot.named(wanted.kind, &wanted.name);
    there.is_some_and(|object| object.folder() != Some(ManagingFolder::Server))
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

/// The revision of the catalog in a data directory; none before a server made it. Works beside a running server.
///
/// # Errors
/// The file cannot be read.
pub fn revision(data: &Path) -> Result<Option<u64>, CatalogError> {
    Ok(CatalogFile::read(&paths::catalog(data))?.map(|file| file.revision))
}
