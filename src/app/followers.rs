//! Who hears of a change of what runs: the admin API of names, destinations of grants, the keeper of the quarantine of its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::workspace::ObjectRef;
use tidegate_pipeline::sync::Consent;
use tidegate_state::QuarantineBounds;
use tokio::sync::watch;

use super::active_runtimes::{self, WorkspaceGrants};
use super::granted_tables;
use crate::api::{MaskedField, SyncRepeats, WorkspaceNames};
use crate::config::{DestinationKind, SyncConfig, Workspace, WorkspaceDocuments};

/// Who hears of a change.
pub(super) struct Followers {
    pub(super) names: watch::Sender<Arc<WorkspaceNames>>,
    pub(super) grants: watch::Sender<Arc<WorkspaceGrants>>,
    pub(super) quarantine: watch::Sender<QuarantineBounds>,
    pub(super) workspace: watch::Sender<Arc<Workspace>>,
    /// What was last put in place.
    pub(super) report: watch::Sender<Arc<RunningNow>>,
    /// None until something runs.
    pub(super) folder: watch::Sender<Option<Arc<FollowedFolder>>>,
}

/// The folder as it was read last, and what of the catalog cannot run.
pub(super) struct FollowedFolder {
    pub(super) documents: Arc<WorkspaceDocuments>,
    pub(super) left_out: BTreeMap<ObjectRef, String>,
    /// Those of them that are known not to load.
    pub(super) unloadable: BTreeMap<ObjectRef, String>,
}

impl Followers {
    pub(super) fn new(workspace: &Arc<Workspace>) -> Self {
        Self {
            names: watch::Sender::new(Arc::new(names(workspace))),
            grants: watch::Sender::new(Arc::new(active_runtimes::grants(workspace))),
            quarantine: watch::Sender::new(workspace.quarantine.clone()),
            workspace: watch::Sender::new(Arc::clone(workspace)),
            report: watch::Sender::new(Arc::default()),
            folder: watch::Sender::new(None),
        }
    }

    /// Tells them of another workspace, before anything runs.
    pub(super) fn follow(&self, workspace: &Arc<Workspace>) {
        self.grants.send_replace(Arc::new(active_runtimes::grants(workspace)));
        self.runs(workspace);
    }

    /// Tells them what runs; of grants they have heard.
    pub(super) fn runs(&self, workspace: &Arc<Workspace>) {
        self.names.send_replace(Arc::new(names(workspace)));
        self.quarantine.send_replace(workspace.quarantine.clone());
        self.workspace.send_replace(Arc::clone(workspace));
    }
}

/// What the workspace says of names, for the admin API.
pub(super) fn names(workspace: &Workspace) -> WorkspaceNames {
    WorkspaceNames {
        sources: workspace.sources.keys().cloned().collect(),
        functions: workspace.functions.keys().cloned().collect(),
        syncs: active_runtimes::used(workspace),
        sync_sources: workspace.syncs.iter().map(|(name, sync)| (name.clone(), sync.source.0.clone())).collect(),
        paused_syncs: workspace.syncs.keys().filter(|name| workspace.is_sync_paused(name)).cloned().collect(),
        granted: granted_tables::granted(workspace),
        repeats: workspace.syncs.iter().map(|(name, sync)| (name.clone(), repeats(workspace, sync))).collect(),
        consents: workspace.syncs.iter().filter_map(|(name, sync)| Some((name.clone(), consent(sync)?))).collect(),
        masked: workspace.masked.iter().map(|path| MaskedField::new(path)).collect(),
    }
}

/// The consent that a sync needs, if it needs any.
fn consent(sync: &SyncConfig) -> Option<Consent> {
    Some(&sync.filter.consent).filter(|consent| !consent.categories.is_empty()).cloned()
}

/// What becomes of an event that goes to the destination of a sync once more.
fn repeats(workspace: &Workspace, sync: &SyncConfig) -> SyncRepeats {
    match workspace.destinations.get(&sync.destination.0).map(|destination| &destination.kind) {
        Some(DestinationKind::Warehouse(warehouse)) if warehouse.capabilities().knows_ids => SyncRepeats::KnownById,
        Some(DestinationKind::Warehouse(_)) => SyncRepeats::StoredAgain,
        Some(DestinationKind::Stream(_)) => SyncRepeats::WrittenAgain,
        Some(DestinationKind::Plugin(_)) | None => SyncRepeats::SentAgain,
    }
}
