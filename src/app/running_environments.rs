//! Which workspaces run side by side, so that no one takes what another one has: a write key, or the tables of a warehouse.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_document::problem::Problem;

use crate::config::{Workspace, clashes};

/// By environment: what it runs, and beside it what is being put in its place. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct RunningEnvironments(Arc<Mutex<BTreeMap<String, Vec<Arc<Workspace>>>>>);

impl RunningEnvironments {
    /// From here on what `wanted` has is taken, beside what the environment has now, until that [settles](Self::settle).
    ///
    /// # Errors
    /// Another environment has something of it.
    pub(super) fn claim(&self, name: &str, wanted: &Arc<Workspace>) -> Result<(), Vec<Problem>> {
        let mut all = self.0.lock();
        let others = all.iter().filter(|(other, _)| *other != name);
        let others = others.flat_map(|(other, running)| running.iter().map(|workspace| (other.as_str(), &**workspace)));
        let mut problems = clashes(wanted, others);
        problems.dedup();
        if !problems.is_empty() {
            return Err(problems);
        }
        all.entry(name.to_owned()).or_default().push(Arc::clone(wanted));
        Ok(())
    }

    /// The environment has what `running` has, and nothing else any more.
    pub(super) fn settle(&self, name: &str, running: &Arc<Workspace>) {
        self.0.lock().insert(name.to_owned(), vec![Arc::clone(running)]);
    }
}
