//! What events are judged by, from the workspace.

use std::sync::Arc;

use tidegate_pipeline::refine::{self, RuleSet, SourceRules};
use tidegate_process::clock;
use tidegate_state::{RunRevision, State};

use super::AppError;
use crate::config::Workspace;

/// The rules of every source of the workspace, under a number by which the state finds their contracts again.
pub(super) fn begin(workspace: &Workspace, state: &mut State) -> Result<Arc<RuleSet>, AppError> {
    let contracts = (!workspace.contracts.is_empty())
        .then(|| refine::contract_text(&workspace.contract_files, workspace.contracts.keys()));
    let spec = contracts.as_ref().map_or("", |contracts| contracts.sha256());
    let revision = RunRevision { spec, contracts: contracts.as_ref(), catalog_revision: None };
    let revision = state.begin_revision(&revision, clock::now_us())?;
    let rules = |name: &String| SourceRules { contract: workspace.contracts.get(name).cloned() };
    Ok(Arc::new(RuleSet {
        revision,
        contracts_sha256: contracts.as_ref().map(|contracts| contracts.sha256().into()),
        sources: workspace.sources.keys().map(|name| (name.as_str().into(), rules(name))).collect(),
    }))
}
