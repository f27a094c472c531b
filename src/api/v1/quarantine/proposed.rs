//! What quarantined events are tried with, as it would be: one object, or what a folder says. It is not made so.

use tidegate_api_types::quarantine::{ProposedFolder, ProposedObject};
use tidegate_catalog::{CatalogOrder, CatalogSnapshot, ObjectEdit, ObjectKind, PlanOptions, PlannedChange, plan};

use crate::api::SharedApi;
use crate::api::quarantine::ProposedChange;
use crate::api::refusal::ApiRefusal;
use crate::api::v1::apply::{missing, problems, refuse, written};
use crate::api::v1::asker::Requester;
use crate::api::v1::blobs::named_blobs;
use crate::api::v1::folders::wanted;
use crate::api::v1::permit::named_kind;

/// The kinds of objects that events go through before a destination has them, and what these read.
const TRIED_KINDS: [ObjectKind; 7] = [
    ObjectKind::Domain,
    ObjectKind::Component,
    ObjectKind::Event,
    ObjectKind::Function,
    ObjectKind::Lookup,
    ObjectKind::Source,
    ObjectKind::Sync,
];

impl SharedApi {
    /// The change that would make an object what is proposed, or make the catalog say what a folder says. Whoever asks must be allowed to make
    /// it. None where nothing would change.
    pub(super) async fn proposed(
        &self,
        asker: &Requester,
        workspace: &str,
        (object, folder): (Option<ProposedObject>, Option<ProposedFolder>),
    ) -> Result<Option<ProposedChange>, ApiRefusal> {
        match (object, folder) {
            (None, None) => Ok(None),
            (Some(object), None) => self.proposed_object(asker, workspace, object).await.map(Some),
            (None, Some(folder)) => self.proposed_folder(asker, workspace, folder).await,
            (Some(_), Some(_)) => {
                let detail = "`change` is one object, and `folder` says it of all";
                Err(ApiRefusal::unprocessable("one-of-both", detail, "send one of both").in_field("folder"))
            }
        }
    }

    async fn proposed_object(
        &self,
        asker: &Requester,
        workspace: &str,
        proposed: ProposedObject,
    ) -> Result<ProposedChange, ApiRefusal> {
        let ProposedObject { kind, name, spec } = proposed;
        let kind = named_kind(&kind).map_err(|refusal| refusal.in_field("change.kind"))?;
        let catalog = &self.settings.catalog.catalog;
        let object = catalog.find(workspace, kind, &name).await.map_err(|error| self.refused(error))?;
        self.refuse_unknown_blobs(asker, workspace, &spec).await?;
        let content = self.tried_content(kind, (&name, object.as_ref()), spec)?;
        let order = self.tried_change(asker, workspace, (object.as_ref(), content));
        Ok(ProposedChange { objects: vec![(kind, name)], order })
    }

    async fn proposed_folder(
        &self,
        asker: &Requester,
        workspace: &str,
        proposed: ProposedFolder,
    ) -> Result<Option<ProposedChange>, ApiRefusal> {
        let ProposedFolder { documents, files } = proposed;
        let settings = &self.settings.catalog;
        let snapshot = settings.catalog.snapshot(workspace, None).await.map_err(|error| self.refused(error))?;
        let wanted = wanted(settings, &snapshot, (&documents, &files), true);
        if let Some(other) = wanted.iter().find(|want| !TRIED_KINDS.contains(&want.kind)) {
            let detail = format!("the {} {:?} is nothing that events go through", other.kind, other.name);
            let fix = "leave it out: contracts, functions, lookups, sources and syncs are tried";
            return Err(ApiRefusal::unprocessable("not-this-way", detail, fix).in_field("folder.documents"));
        }
        let there = wanted.iter().filter_map(|want| snapshot.named(want.kind, &want.name)).collect();
        self.refuse_hidden(asker, &snapshot, there).await?;
        refuse(written(settings, &documents, &wanted), |count| {
            let detail = format!("secrets are written down in {count} fields of the folder, and nothing was tried");
            ApiRefusal::unprocessable("problems", detail, "correct what `problems` names")
        })?;
        let named = wanted.iter().flat_map(|want| named_blobs(settings, &want.spec));
        refuse(missing(settings, named, &self.known_blobs(asker, &snapshot)), |count| {
            let detail = format!("{count} files of the folder are not there, and nothing was tried");
            ApiRefusal::unprocessable("missing-files", detail, "send what `problems` names, then try again")
        })?;
        let planned = plan(&snapshot, &wanted, PlanOptions { prune: false, take_over: true, folder: None });
        refuse(problems(settings, &planned), |count| {
            let detail = format!("the folder cannot be tried for {count} reasons");
            ApiRefusal::unprocessable("problems", detail, "correct what `problems` names")
        })?;
        Ok(self.change_of(asker, &snapshot, planned.changes))
    }

    /// What is planned as one change; none where all of it is there.
    fn change_of(
        &self,
        asker: &Requester,
        snapshot: &CatalogSnapshot,
        planned: Vec<PlannedChange>,
    ) -> Option<ProposedChange> {
        let (mut objects, mut edits) = (Vec::new(), Vec::new());
        for change in planned {
            let (content, edit) = match change {
                PlannedChange::Create { content } => {
                    let id = self.settings.catalog.catalog.new_id(content.kind);
                    (content.clone(), ObjectEdit::Create { id, content })
                }
                PlannedChange::Update { id, content, fields, .. } if !fields.is_empty() => {
                    (content.clone(), ObjectEdit::Update { id, expected: None, content })
                }
                // Only who manages it would change.
                PlannedChange::Update { .. } | PlannedChange::Delete { .. } => continue,
            };
            objects.push((content.kind, content.name));
            edits.push(edit);
        }
        if edits.is_empty() {
            return None;
        }
        // What a file says may be tried otherwise.
        let order = CatalogOrder::Change(asker.change(&snapshot.workspace, edits, true));
        Some(ProposedChange { objects, order })
    }
}
