//! Who hears of a change of what runs: the admin API of names, destinations of grants, the keeper of the quarantine of its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::workspace::ObjectRef;
use tidegate_state::QuarantineBounds;
use tokio::sync::watch;

use super::active_runtimes::{self, WorkspaceGrants};
use super::granted_tables;
use crate::api::WorkspaceNames;
use crate::config::{Workspace, WorkspaceDocuments};

/// Who hears of a change.
pub(super) struct Followers {
    pub(super) names: watch::Sender<Arc<WorkspaceNames>>,
    pub(super) grants: watch::Sender<Arc<WorkspaceGrants>>,
    pub(super) quarantine: watch::Sender<QuarantineBounds>,
    /// What was last put in place.
    pub(super) report: watch::Sender<Arc<RunningNow>>,
    /// None until something runs.
    pub(super) folder: watch::Sender<Option<Arc<FollowedFolder>>>,
}

/// The folder as it was read last, and what of the catalog cannot run.
pub(super) struct FollowedFolder {
    pub(super) documents: Arc<WorkspaceDocuments>,
    pub(super) left_out: BTreeMap<ObjectRef, String>,
}

impl Followers {
    pub(super) fn new(workspace: &Workspace) -> Self {
        Self {
            names: watch::Sender::new(Arc::new(names(workspace))),
            grants: watch::Sender::new(Arc::new(active_runtimes::grants(workspace))),
            quarantine: watch::Sender::new(workspace.quarantine.clone()),
            report: watch::Sender::new(Arc::default()),
            folder: watch::Sender::new(None),
        }
    }
}

/// What the workspace says of names, for the admin API.
pub(super) fn names(workspace: &Workspace) -> WorkspaceNames {
    WorkspaceNames {
        sources: workspace.sources.keys().cloned().collect(),
        functions: workspace.functions.keys().cloned().collect(),
        syncs: active_runtimes::used(workspace),
        granted: granted_tables::granted(workspace),
    }
}
