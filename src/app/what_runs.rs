//! What shall run: the documents of the folder, the catalog as it is or as it would be, and the secrets that they name, resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::workspace::ObjectRef;
use tidegate_catalog::{CatalogError, CatalogOrder, CatalogSnapshot, OrderPreview, SecretValue};
use tidegate_document::problem::Problem;
use tokio::time::timeout;

use super::catalog::FolderCatalog;
use super::{AppError, live_versions, paths};
use crate::api::{ReloadRefusal, WORKSPACE_DEFAULT};
use crate::config::{
    CatalogInputs, MayBeLeftOut, ResolvedOverlay, Surroundings, Workspace, WorkspaceDocuments, environment,
    folder_kind, resolve_what_runs,
};

/// Reading files, lookups' hashes included.
pub(super) const READING_MAX: Duration = Duration::from_secs(60);

/// A workspace as it is written and as it is resolved.
pub(super) type WholeWorkspace = (Arc<WorkspaceDocuments>, Arc<Workspace>);

/// A workspace that can run.
pub(super) struct WantedWorkspace {
    /// What the files of the folder say.
    pub(super) folder: Arc<WorkspaceDocuments>,
    /// The same with the catalog over it.
    pub(super) whole: WholeWorkspace,
    /// Objects that cannot run, each with the reason.
    pub(super) left_out: BTreeMap<ObjectRef, String>,
    /// Of the catalog.
    pub(super) revision: u64,
}

impl WantedWorkspace {
    fn of(folder: Arc<WorkspaceDocuments>, resolved: ResolvedOverlay, revision: u64) -> Self {
        let ResolvedOverlay { documents, workspace, left_out } = resolved;
        Self { folder, whole: (Arc::new(documents), Arc::new(workspace)), left_out, revision }
    }
}

/// Where a server has what it runs.
#[derive(Clone)]
pub(super) struct WorkspaceReader {
    pub(super) dir: PathBuf,
    pub(super) data: PathBuf,
    pub(super) catalog: FolderCatalog,
}

/// What is resolved together.
struct ToResolve {
    folder: Arc<WorkspaceDocuments>,
    documents: WorkspaceDocuments,
    secrets: BTreeMap<String, SecretValue>,
    /// None: everything of the catalog.
    may_be_left_out: Option<BTreeSet<ObjectRef>>,
}

impl WorkspaceReader {
    /// The folder read again, with the catalog as it is. It is right by itself, so that a start takes it as well.
    pub(super) async fn of_folder(
        &self,
        left_out: &BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let (dir, data) = (self.dir.clone(), self.data.clone());
        let read = move || Workspace::read_with_documents(&dir, Some(&data), live_versions::destination);
        let (folder, _) = blocking(read).await?.map_err(ReloadRefusal::Problems)?;
        let snapshot = self.catalog.snapshot().await.map_err(refused)?;
        self.wanted(Arc::new(folder), &snapshot, left_out.keys().cloned().collect()).await
    }

    /// The folder as it was read, with the catalog as an order would leave it. What the order touches must run.
    pub(super) async fn of_order(
        &self,
        folder: &Arc<WorkspaceDocuments>,
        (order, preview): (&CatalogOrder, &OrderPreview),
        left_out: &BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let is_untouched = |object: &&ObjectRef| {
            let kind = |of| folder_kind(of) == Some(object.kind);
            !preview.committed.objects.iter().any(|one| kind(one.kind) && one.name == object.key)
        };
        let left_out: BTreeSet<ObjectRef> = left_out.keys().filter(is_untouched).cloned().collect();
        let (documents, mut secrets) = over(&self.catalog, folder, &preview.snapshot).await.map_err(refused)?;
        if let CatalogOrder::Write(write) = order
            && write.workspace == WORKSPACE_DEFAULT
        {
            secrets.insert(write.name.clone(), write.value.clone());
        }
        let asked = ToResolve { folder: Arc::clone(folder), documents, secrets, may_be_left_out: Some(left_out) };
        self.resolved(asked, preview.snapshot.revision).await
    }

    async fn wanted(
        &self,
        folder: Arc<WorkspaceDocuments>,
        snapshot: &CatalogSnapshot,
        left_out: BTreeSet<ObjectRef>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let (documents, secrets) = over(&self.catalog, &folder, snapshot).await.map_err(refused)?;
        let asked = ToResolve { folder, documents, secrets, may_be_left_out: Some(left_out) };
        self.resolved(asked, snapshot.revision).await
    }

    async fn resolved(&self, asked: ToResolve, revision: u64) -> Result<WantedWorkspace, ReloadRefusal> {
        let (dir, data, folder) = (self.dir.clone(), self.data.clone(), Arc::clone(&asked.folder));
        let resolved = blocking(move || resolve(&dir, &data, asked)).await?;
        Ok(WantedWorkspace::of(folder, resolved.map_err(ReloadRefusal::Problems)?, revision))
    }
}

fn refused(error: CatalogError) -> ReloadRefusal {
    ReloadRefusal::Catalog(Box::new(error))
}

/// Reads files away from the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReloadRefusal> {
    let late = |_| {
        let seconds = READING_MAX.as_secs();
        ReloadRefusal::Failed(format!("the files of the workspace were not read within {seconds} seconds"))
    };
    let read = timeout(READING_MAX, tokio::task::spawn_blocking(work)).await.map_err(late)?;
    read.map_err(|error| ReloadRefusal::Failed(format!("the files could not be read: {error}")))
}

/// The catalog over the folder, with the secrets that are named.
async fn over(
    catalog: &FolderCatalog,
    folder: &WorkspaceDocuments,
    snapshot: &CatalogSnapshot,
) -> Result<(WorkspaceDocuments, BTreeMap<String, SecretValue>), CatalogError> {
    let documents = folder.overlaid(snapshot);
    let secrets = catalog.secrets(documents.secrets_named()).await?;
    Ok((documents, secrets))
}

/// What a start runs: the folder, as `told` was made of it, with the catalog over it, if there is one already. Objects of the catalog
/// that cannot run are left out.
///
/// # Errors
/// The folder has problems, or the catalog cannot be read.
pub(super) async fn at_start(
    catalog: Option<&FolderCatalog>,
    folder: WorkspaceDocuments,
    told: Workspace,
) -> Result<WantedWorkspace, AppError> {
    let folder = Arc::new(folder);
    let (snapshot, documents, secrets) = match catalog {
        Some(catalog) => {
            let snapshot = catalog.snapshot().await?;
            let (documents, secrets) = over(catalog, &folder, &snapshot).await?;
            (snapshot, documents, secrets)
        }
        None => (CatalogSnapshot::default(), (*folder).clone(), BTreeMap::new()),
    };
    let asked = ToResolve { folder: Arc::clone(&folder), documents, secrets, may_be_left_out: None };
    // Nobody is served yet who would have to wait.
    let mut resolved = resolve(&told.dir, &told.data, asked).map_err(AppError::Problems)?;
    // What was asked for when the program was started, and stands in no file.
    resolved.workspace.admin_listen = told.admin_listen;
    resolved.workspace.rebuild_state = told.rebuild_state;
    for (object, reason) in &resolved.left_out {
        tracing::error!(object = %object, reason, "an object of the catalog cannot run, and is left out");
    }
    Ok(WantedWorkspace::of(folder, resolved, snapshot.revision))
}

fn resolve(dir: &Path, data: &Path, asked: ToResolve) -> Result<ResolvedOverlay, Vec<Problem>> {
    let ToResolve { folder, documents, secrets, may_be_left_out } = asked;
    let files = paths::sent_files(data);
    let surroundings = Surroundings {
        dir,
        data: Some(data),
        variables: &environment,
        look_up_live: live_versions::destination,
        catalog: CatalogInputs { secrets: Some(&secrets), files: Some(&files) },
    };
    let may = may_be_left_out.as_ref().map_or(MayBeLeftOut::OfCatalog, MayBeLeftOut::These);
    resolve_what_runs(documents, &folder, &surroundings, may)
}
