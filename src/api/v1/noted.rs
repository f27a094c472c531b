//! What is noted in the audit log beside changes of the catalog.

use serde_json::Value;
use tidegate_catalog::{AuditRecord, AuditResult};

use super::asker::Requester;
use crate::api::SharedApi;
use crate::api::refusal::ApiRefusal;

impl SharedApi {
    /// Writes what somebody has done to no object in particular into the audit log.
    ///
    /// # Errors
    /// It could not be written: then nothing of it may be answered.
    pub(in crate::api) async fn note_done(
        &self,
        asker: &Requester,
        workspace: &str,
        (action, detail): (&str, Value),
    ) -> Result<(), ApiRefusal> {
        let record = AuditRecord {
            workspace: workspace.to_owned(),
            action: action.to_owned(),
            kind: None,
            object: None,
            name: None,
            result: AuditResult::Done,
            revision: None,
            detail,
        };
        let catalog = &self.settings.catalog.catalog;
        catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| self.refused(error))
    }
}
