//! Jobs that the state keeps and somebody has asked for: who sees one, and how it is ended before its end.
//!
//! A job is seen by whoever has asked for it and by admins of the workspace. For everybody else it is not there.

use std::sync::Arc;

use serde_json::json;
use tidegate_state::{State, StateError};

use super::asker::Requester;
use super::refused::absent;
use crate::api::extract::blocking;
use crate::api::refusal::ApiRefusal;
use crate::api::{EngineSettings, SharedApi};

/// Jobs of one kind.
pub(super) struct OwnedJobs<J> {
    /// What is said of one that is not there.
    pub(super) absent: &'static str,
    /// What the audit log says when one is cancelled, and what its number is called there.
    pub(super) noted: (&'static str, &'static str),
    pub(super) id: fn(&J) -> u64,
    pub(super) asked_by: fn(&J) -> &str,
    /// Those that an answer lists, newest first.
    pub(super) newest: fn(&State) -> Result<Vec<J>, StateError>,
    pub(super) find: fn(&State, u64) -> Result<Option<J>, StateError>,
    /// Ends one; false where it does not run any more.
    pub(super) cancel: fn(&J, &mut State, i64) -> Result<bool, StateError>,
    /// Tells whoever works on them that one is over.
    pub(super) wake: fn(&EngineSettings),
    /// What is said when the state cannot be read or written.
    pub(super) failed: fn(&StateError) -> ApiRefusal,
}

impl<J: Send + 'static> OwnedJobs<J> {
    /// Those that somebody sees.
    pub(super) async fn seen(
        &self,
        (shared, asker): (&SharedApi, &Requester),
        workspace: Option<&str>,
    ) -> Result<Vec<J>, ApiRefusal> {
        let (workspace, engine) = shared.engine_of(asker, workspace, self.absent)?;
        let newest = self.newest;
        let mut jobs = self.with_state(engine, move |state| newest(state)).await?;
        jobs.retain(|job| self.is_seen(asker, &workspace, job));
        Ok(jobs)
    }

    /// The one of this id.
    pub(super) async fn one(
        &self,
        (shared, asker): (&SharedApi, &Requester),
        workspace: Option<&str>,
        id: &str,
    ) -> Result<J, ApiRefusal> {
        let (workspace, engine) = shared.engine_of(asker, workspace, self.absent)?;
        self.found(asker, (&workspace, engine), id).await
    }

    /// The one of this id, ended before its end. If it is over already, it is as it was.
    pub(super) async fn cancelled(
        &self,
        (shared, asker): (&SharedApi, &Requester),
        workspace: Option<&str>,
        id: &str,
    ) -> Result<J, ApiRefusal> {
        let (workspace, engine) = shared.engine_of(asker, workspace, self.absent)?;
        let job = self.found(asker, (&workspace, Arc::clone(&engine)), id).await?;
        let (number, now_us, cancel) = ((self.id)(&job), asker.at_us, self.cancel);
        if self.with_state(Arc::clone(&engine), move |state| cancel(&job, state, now_us)).await? {
            let (action, called) = self.noted;
            shared.note_done(asker, &workspace, (action, json!({ called: number }))).await?;
            (self.wake)(&engine);
        }
        self.found(asker, (&workspace, engine), id).await
    }

    async fn found(
        &self,
        asker: &Requester,
        (workspace, engine): (&str, Arc<EngineSettings>),
        id: &str,
    ) -> Result<J, ApiRefusal> {
        let id: u64 = id.parse().map_err(|_| absent(self.absent))?;
        let find = self.find;
        let job = self.with_state(engine, move |state| find(state, id)).await?;
        job.filter(|job| self.is_seen(asker, workspace, job)).ok_or_else(|| absent(self.absent))
    }

    fn is_seen(&self, asker: &Requester, workspace: &str, job: &J) -> bool {
        asker.is_admin(workspace) || (self.asked_by)(job) == asker.asked_by()
    }

    /// What the state of an environment says, or was told.
    async fn with_state<T: Send + 'static>(
        &self,
        engine: Arc<EngineSettings>,
        ask: impl FnOnce(&mut State) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, ApiRefusal> {
        let work = move || ask(&mut (engine.open_state)()?);
        blocking(work).await?.map_err(|error| (self.failed)(&error))
    }
}
