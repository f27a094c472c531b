//! What shall run: the documents of the folder, the catalog as it is or as it would be, and the secrets that they name, resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{
    CatalogError, CatalogOrder, CatalogSnapshot, EditDone, ObjectKind, OrderPreview, SecretValue, WriteKeyTable,
};
use tidegate_document::problem::Problem;
use tidegate_registry::PluginKind;
use tokio::time::timeout;

use super::catalog::FolderCatalog;
use super::{AppError, live_versions};
use crate::api::ReloadRefusal;
use crate::config::{
    CatalogInputs, KeptDocuments, MayBeLeftOut, ResolvedOverlay, Surroundings, Workspace, WorkspaceDocuments,
    environment, folder_kind, read_environment, resolve_what_runs,
};

/// Reading files, lookups' hashes included.
pub(super) const READING_MAX: Duration = Duration::from_secs(60);

/// A workspace as it is written and as it is resolved.
pub(super) type WholeWorkspace = (Arc<WorkspaceDocuments>, Arc<Workspace>);

/// A workspace that can run.
pub(super) struct WantedWorkspace {
    /// What the files of the folder and the catalog say.
    pub(super) told: Arc<ToldWorkspace>,
    /// The same, without what cannot run.
    pub(super) overlaid: Arc<WorkspaceDocuments>,
    /// Of each sync that drains, what it needs.
    pub(super) kept: KeptDocuments,
    /// All of it together.
    pub(super) whole: WholeWorkspace,
    /// Objects that cannot run, each with the reason.
    pub(super) left_out: BTreeMap<ObjectRef, String>,
    /// Those of them that are right as they are written, and cannot be loaded.
    pub(super) unloadable: BTreeMap<ObjectRef, String>,
    /// What may be left out when it cannot be loaded.
    pub(super) may: BTreeSet<ObjectRef>,
    /// Of the catalog.
    pub(super) revision: u64,
    /// Syncs that have delivered everything.
    pub(super) drained: BTreeSet<String>,
}

impl WantedWorkspace {
    fn of(told: Arc<ToldWorkspace>, kept: KeptDocuments, resolved: ResolvedOverlay) -> Self {
        let ResolvedOverlay { overlaid, documents, workspace, left_out } = resolved;
        let (overlaid, whole) = (Arc::new(overlaid), (Arc::new(documents), Arc::new(workspace)));
        let (unloadable, may) = (BTreeMap::new(), BTreeSet::new());
        Self {
            revision: told.revision,
            told,
            overlaid,
            kept,
            whole,
            left_out,
            unloadable,
            may,
            drained: BTreeSet::new(),
        }
    }

    /// Whether something of it could not be loaded or not be resolved before, and is tried again.
    pub(super) fn tries_again(&self) -> bool {
        let is_loaded = |object: &&ObjectRef| matches!(object.kind, ObjectRefKind::Function | ObjectRefKind::Lookup);
        self.may.iter().filter(is_loaded).any(|object| self.overlaid.objects.contains_key(object))
    }

    /// What the catalog says of what runs.
    pub(super) fn of_catalog(&self) -> BTreeSet<ObjectRef> {
        self.overlaid.objects.keys().filter(|object| self.is_of_catalog(object)).cloned().collect()
    }

    /// Whether this is an object of the catalog, and not one of a file or of what is kept.
    pub(super) fn is_of_catalog(&self, object: &ObjectRef) -> bool {
        self.overlaid.objects.get(object).is_some_and(|document| document.catalog.is_some())
    }

    /// Whether syncs cannot run.
    pub(super) fn has_left_out_syncs(&self) -> bool {
        self.left_out.keys().any(|object| object.kind == ObjectRefKind::Sync)
    }

    /// Says in the log what cannot run.
    pub(super) fn warn_of_left_out(&self) {
        for (object, reason) in &self.left_out {
            tracing::error!(object = %object, reason, "an object of the catalog cannot run, and is left out");
        }
    }
}

/// What the files of the folder and the catalog say, unresolved.
pub(super) struct ToldWorkspace {
    /// The folder alone.
    pub(super) folder: Arc<WorkspaceDocuments>,
    /// With the catalog over it.
    documents: WorkspaceDocuments,
    /// What somebody has paused.
    paused: BTreeSet<ObjectRef>,
    /// A secret that is being written.
    written: Option<(String, SecretValue)>,
    /// Secrets that are being deleted.
    deleted: BTreeSet<String>,
    /// Of the catalog.
    revision: u64,
}

impl ToldWorkspace {
    fn of(folder: Arc<WorkspaceDocuments>, snapshot: &CatalogSnapshot) -> Self {
        let documents = folder.overlaid(snapshot);
        let (paused, revision) = (paused(snapshot), snapshot.revision);
        Self { folder, documents, paused, written: None, deleted: BTreeSet::new(), revision }
    }

    /// The secrets that are named, also by what is kept and by what is uploaded.
    async fn secrets(
        &self,
        catalog: &FolderCatalog,
        kept: &KeptDocuments,
        of_store: BTreeSet<String>,
    ) -> Result<BTreeMap<String, SecretValue>, CatalogError> {
        let mut named = self.documents.with_kept(kept).secrets_named();
        named.extend(of_store);
        let mut secrets = catalog.secrets(named).await?;
        secrets.extend(self.written.clone());
        secrets.retain(|name, _| !self.deleted.contains(name));
        Ok(secrets)
    }

    /// Problems that may have come of objects that cannot be loaded, with what is wrong with those.
    fn with_unloadable(&self, mut problems: Vec<Problem>, unloadable: &BTreeMap<ObjectRef, String>) -> Vec<Problem> {
        let known = unloadable.iter().filter_map(|(object, reason)| {
            let file = &self.documents.objects.get(object)?.file;
            Some(Problem::of_file(file, 0, reason.clone(), "mend it, or take it away from what names it"))
        });
        problems.extend(known);
        problems.sort();
        problems
    }
}

/// The objects that somebody has paused.
fn paused(snapshot: &CatalogSnapshot) -> BTreeSet<ObjectRef> {
    let paused = snapshot.objects.iter().filter(|object| object.is_paused);
    let may_stop = [ObjectRefKind::Source, ObjectRefKind::Sync, ObjectRefKind::Destination];
    let named = paused.filter_map(|object| {
        let kind = folder_kind(object.content.kind).filter(|kind| may_stop.contains(kind))?;
        Some(ObjectRef::new(kind, object.content.name.as_str()))
    });
    named.collect()
}

/// Where the files of an environment are.
#[derive(Debug, Clone)]
pub(super) struct WorkspacePlace {
    pub(super) dir: PathBuf,
    pub(super) data: PathBuf,
    /// Where `tidegate.yaml` is, when that is another folder.
    pub(super) server_dir: Option<PathBuf>,
    /// Files that were sent with documents, for all environments.
    pub(super) sent_files: PathBuf,
    /// What belongs to other environments.
    pub(super) closed: Vec<PathBuf>,
}

impl WorkspacePlace {
    /// Reads the folder.
    fn read(&self) -> Result<(WorkspaceDocuments, Workspace), Vec<Problem>> {
        match &self.server_dir {
            Some(server) => read_environment((&self.dir, server), &self.data, live_versions::destination),
            None => Workspace::read_with_documents(&self.dir, Some(&self.data), live_versions::destination),
        }
    }
}

/// Where an environment has what it runs.
#[derive(Clone)]
pub(super) struct WorkspaceReader {
    pub(super) place: WorkspacePlace,
    pub(super) catalog: FolderCatalog,
}

impl WorkspaceReader {
    /// What an order would do.
    pub(super) async fn preview(&self, order: &CatalogOrder) -> Result<OrderPreview, ReloadRefusal> {
        answered(self.catalog.preview(order)).await
    }

    /// The write keys that somebody has made over the API, of all workspaces.
    pub(super) async fn write_keys(&self) -> Result<WriteKeyTable, ReloadRefusal> {
        answered(self.catalog.catalog().write_keys()).await
    }

    /// The folder read again, with the catalog as it is. It is right by itself, so that a start takes it as well.
    pub(super) async fn of_folder(
        &self,
        kept: KeptDocuments,
        left_out: &BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let place = self.place.clone();
        let (folder, _) = blocking(move || place.read()).await?.map_err(ReloadRefusal::Problems)?;
        let snapshot = answered(self.catalog.snapshot()).await?;
        let told = ToldWorkspace::of(Arc::new(folder), &snapshot);
        self.resolved(Arc::new(told), kept, left_out.keys().cloned().collect()).await
    }

    /// The folder as it was read, with the catalog as an order would leave it. What the order touches must run.
    pub(super) async fn of_order(
        &self,
        folder: &Arc<WorkspaceDocuments>,
        kept: KeptDocuments,
        (order, preview): (&CatalogOrder, &OrderPreview),
        left_out: &BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let is_untouched = |object: &&ObjectRef| {
            let kind = |of| folder_kind(of) == Some(object.kind);
            !preview.committed.objects.iter().any(|one| kind(one.kind) && one.name == object.key)
        };
        let left_out: BTreeSet<ObjectRef> = left_out.keys().filter(is_untouched).cloned().collect();
        let mut told = ToldWorkspace::of(Arc::clone(folder), &preview.snapshot);
        if let CatalogOrder::Write(write) = order
            && write.workspace == self.catalog.workspace()
        {
            told.written = Some((write.name.clone(), write.value.clone()));
        }
        let deleted = preview.committed.objects.iter().filter(|one| one.done == EditDone::Deleted);
        let secrets = deleted.filter(|one| one.kind == ObjectKind::Secret).map(|one| one.name.clone());
        told.deleted = secrets.collect();
        if !told.deleted.is_empty() {
            let used = self.users_of_secrets().await?;
            let in_use = told.deleted.iter().find_map(|name| Some((name, used.get(name)?.first()?)));
            if let Some((name, (kind, user))) = in_use {
                let by = format!("the settings of the uploaded {} {user:?}", kind.one());
                let error = CatalogError::InUse { kind: ObjectKind::Secret, name: name.clone(), by };
                return Err(ReloadRefusal::Catalog(Box::new(error)));
            }
        }
        self.resolved(Arc::new(told), kept, left_out).await
    }

    /// The folder as it was read, with the catalog as it is. The object that somebody asks about must run.
    pub(super) async fn as_it_is(
        &self,
        folder: &Arc<WorkspaceDocuments>,
        asked: &ObjectRef,
        left_out: &BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let snapshot = answered(self.catalog.snapshot()).await?;
        let told = ToldWorkspace::of(Arc::clone(folder), &snapshot);
        let left_out = left_out.keys().filter(|object| *object != asked).cloned().collect();
        self.resolved(Arc::new(told), KeptDocuments::new(), left_out).await
    }

    /// The same once more, with something else kept. What could run has to run.
    pub(super) async fn again(
        &self,
        told: &Arc<ToldWorkspace>,
        kept: KeptDocuments,
        left_out: &BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        self.resolved(Arc::clone(told), kept, left_out.keys().cloned().collect()).await
    }

    /// The same without objects that may be left out and cannot be loaded.
    pub(super) async fn without(
        &self,
        wanted: WantedWorkspace,
        mut unloadable: BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        unloadable.retain(|object, _| wanted.may.contains(object));
        if unloadable.is_empty() {
            return Ok(wanted);
        }
        unloadable.extend(wanted.unloadable);
        let WantedWorkspace { told, kept, may, drained, .. } = wanted;
        let without = self.resolved_without(told, kept, may, unloadable).await?;
        Ok(WantedWorkspace { drained, ..without })
    }

    /// The same with something else kept. What could run has to run.
    pub(super) async fn keeping(
        &self,
        wanted: WantedWorkspace,
        kept: KeptDocuments,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let WantedWorkspace { told, left_out, unloadable, may, drained, .. } = wanted;
        let left_out = left_out.into_keys().collect();
        let keeping = self.resolved_without(told, kept, left_out, unloadable).await?;
        Ok(WantedWorkspace { may, drained, ..keeping })
    }

    async fn resolved(
        &self,
        told: Arc<ToldWorkspace>,
        kept: KeptDocuments,
        left_out: BTreeSet<ObjectRef>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        self.resolved_without(told, kept, left_out, BTreeMap::new()).await
    }

    async fn resolved_without(
        &self,
        told: Arc<ToldWorkspace>,
        kept: KeptDocuments,
        left_out: BTreeSet<ObjectRef>,
        unloadable: BTreeMap<ObjectRef, String>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let of_store = self.users_of_secrets().await?.into_keys().collect();
        let secrets = answered(told.secrets(&self.catalog, &kept, of_store)).await?;
        let (place, asked, beside) = (self.place.clone(), Arc::clone(&told), kept.clone());
        let (may, without) = (left_out.clone(), unloadable.clone());
        let resolve = move || resolve(&place, (&asked, &beside), &secrets, (MayBeLeftOut::These(&left_out), &without));
        let resolved = blocking(resolve).await?;
        let resolved =
            resolved.map_err(|problems| ReloadRefusal::Problems(told.with_unloadable(problems, &unloadable)))?;
        Ok(WantedWorkspace { may, unloadable, ..WantedWorkspace::of(told, kept, resolved) })
    }
}

impl WorkspaceReader {
    /// Who of the store names which secrets.
    async fn users_of_secrets(&self) -> Result<BTreeMap<String, BTreeSet<(PluginKind, String)>>, ReloadRefusal> {
        let data = self.place.data.clone();
        blocking(move || live_versions::users_of_secrets(&data)).await
    }
}

/// What the catalog says, which has no more time than files.
async fn answered<T>(asked: impl Future<Output = Result<T, CatalogError>>) -> Result<T, ReloadRefusal> {
    let late = |_| {
        let seconds = READING_MAX.as_secs();
        ReloadRefusal::Failed(format!("the catalog did not answer within {seconds} seconds"))
    };
    let answer = timeout(READING_MAX, asked).await.map_err(late)?;
    answer.map_err(|error| ReloadRefusal::Catalog(Box::new(error)))
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

/// What a start runs: the folder, as `workspace` was made of it, with the catalog over it, if there is one already, and what is kept. Objects
/// of the catalog that cannot run are left out, those among them that are known to be `unloadable`.
///
/// # Errors
/// What is kept does not go with the folder, or the catalog cannot be read.
pub(super) async fn at_start(
    catalog: Option<&FolderCatalog>,
    folder: Arc<WorkspaceDocuments>,
    kept: KeptDocuments,
    (workspace, place): (&Workspace, &WorkspacePlace),
    unloadable: BTreeMap<ObjectRef, String>,
) -> Result<WantedWorkspace, AppError> {
    let snapshot = match catalog {
        Some(catalog) => catalog.snapshot().await?,
        None => CatalogSnapshot::default(),
    };
    let told = ToldWorkspace::of(folder, &snapshot);
    let secrets = match catalog {
        Some(catalog) => {
            let of_store = live_versions::users_of_secrets(&place.data).into_keys().collect();
            told.secrets(catalog, &kept, of_store).await?
        }
        None => BTreeMap::new(),
    };
    // Nobody is served yet who would have to wait.
    let resolved = resolve(place, (&told, &kept), &secrets, (MayBeLeftOut::OfCatalog, &unloadable));
    let mut resolved = resolved.map_err(AppError::Problems)?;
    // What was asked for when the program was started, and stands in no file.
    resolved.workspace.admin_listen = workspace.admin_listen;
    resolved.workspace.rebuild_state = workspace.rebuild_state;
    Ok(WantedWorkspace { unloadable, ..WantedWorkspace::of(Arc::new(told), kept, resolved) })
}

fn resolve(
    place: &WorkspacePlace,
    (told, kept): (&ToldWorkspace, &KeptDocuments),
    secrets: &BTreeMap<String, SecretValue>,
    (may, unloadable): (MayBeLeftOut<'_>, &BTreeMap<ObjectRef, String>),
) -> Result<ResolvedOverlay, Vec<Problem>> {
    let surroundings = Surroundings {
        dir: &place.dir,
        data: Some(&place.data),
        variables: &environment,
        look_up_live: live_versions::destination,
        catalog: CatalogInputs { secrets: Some(secrets), files: Some(&place.sent_files), closed: &place.closed },
    };
    let mut resolved = resolve_what_runs(told.documents.clone(), (&told.folder, kept), &surroundings, may, unloadable)?;
    resolved.workspace.paused_by_hand.clone_from(&told.paused);
    let gone = told.deleted.iter().map(|name| (name.clone(), None));
    let known = secrets.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
    resolved.workspace.secrets = Some(known.chain(gone).collect());
    resolved.workspace.left_out_sources = told.documents.left_out_sources(&resolved.left_out, &surroundings);
    Ok(resolved)
}
