//! Secrets: written, named by other objects, and shown by nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use tidegate_api_types::object::{ChangeDone, ObjectQuery, SecretList, ShownSecret, WorkspaceQuery, WriteSecret};
use tidegate_api_types::path;
use tidegate_catalog::{CatalogObject, CatalogOrder, ObjectKind, SecretValue, SecretWrite, references};
use tidegate_event::time;

use super::asker::{OfApi, Requester, workspace_of};
use super::objects::listed;
use super::shown::done;
use crate::api::SharedApi;
use crate::api::extract::{Json, Name, NameInPath, Query};
use crate::api::refusal::ApiRefusal;

/// The secrets, page by page: who changed each last, and how many objects name it. Values are shown to nobody.
#[utoipa::path(get, path = path::SECRETS, tag = "secrets", operation_id = "list_secrets",
    params(ObjectQuery), responses((status = 200, body = SecretList), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<ObjectQuery>,
) -> Result<axum::Json<SecretList>, ApiRefusal> {
    let workspace = workspace_of(ObjectKind::Secret, query.workspace.as_deref());
    let asked = listed(ObjectKind::Secret, &workspace, query)?;
    let catalog = &shared.settings.catalog.catalog;
    let page = catalog.list(&asked).await.map_err(|error| shared.refused(error))?;
    let objects = shared.visible(&asker, &workspace, page.objects).await?;
    let snapshot = match objects.is_empty() {
        true => None,
        false => Some(catalog.snapshot(&workspace, None).await.map_err(|error| shared.refused(error))?),
    };
    let mut uses: BTreeMap<String, u64> = BTreeMap::new();
    for object in snapshot.iter().flat_map(|snapshot| &snapshot.objects) {
        let named = references(&object.content).into_iter().filter(|named| named.kind == ObjectKind::Secret);
        named.for_each(|named| *uses.entry(named.name).or_default() += 1);
    }
    for (secret, uploaded) in shared.uploaded_users(&workspace) {
        *uses.entry(secret).or_default() += uploaded.len() as u64;
    }
    let mut secrets: Vec<ShownSecret> = Vec::with_capacity(objects.len());
    for object in objects {
        let used_by = uses.get(&object.content.name).copied().unwrap_or(0);
        secrets.push(shared.shown_secret(object, used_by).await?);
    }
    let names = shared.names_of(secrets.iter().filter_map(|secret| secret.changed_by.as_deref()).collect()).await?;
    for secret in &mut secrets {
        secret.changed_by_name = names.of(secret.changed_by.as_deref());
    }
    Ok(axum::Json(SecretList { secrets, next: page.next }))
}

impl SharedApi {
    async fn shown_secret(&self, object: CatalogObject, used_by: u64) -> Result<ShownSecret, ApiRefusal> {
        let catalog = &self.settings.catalog.catalog;
        let last = catalog.history(&object.workspace, &object.id, None, 1).await;
        let last = last.map_err(|error| self.refused(error))?.versions.into_iter().next();
        Ok(ShownSecret {
            id: object.id.to_string(),
            version: object.content.spec["version"].as_u64().unwrap_or(0),
            fingerprint: object.content.spec["fingerprint"].as_str().unwrap_or_default().to_owned(),
            name: object.content.name,
            revision: object.revision,
            changed_at: time::format(object.updated_at_us),
            changed_by: last.and_then(|version| version.changed_by),
            changed_by_name: None,
            used_by,
        })
    }
}

/// Keeps a value under a name, sealed; the one before it is gone, also from what runs. The same value again changes nothing. `used-by` of the object lists
/// what refers to it.
#[utoipa::path(put, path = path::SECRET, tag = "secrets", operation_id = "write_secret",
    params(NameInPath, WorkspaceQuery), request_body = WriteSecret,
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn write(
    State(shared): State<Arc<SharedApi>>,
    asker: Requester,
    Name(name): Name,
    Query(query): Query<WorkspaceQuery>,
    Json(asked): Json<WriteSecret>,
) -> Result<(StatusCode, axum::Json<ChangeDone>), ApiRefusal> {
    let write = SecretWrite {
        workspace: workspace_of(ObjectKind::Secret, query.workspace.as_deref()),
        name,
        value: SecretValue::from(asked.value),
        authority: asker.authority(),
        actor: asker.actor.clone(),
        at_us: asker.at_us,
    };
    let ordered = shared.execute(CatalogOrder::Write(write), false).await?;
    Ok((StatusCode::OK, axum::Json(done(ordered.committed, false))))
}
