//! Trying destinations and syncs out before they are used, or changed.

use axum::extract::State;
use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_api_types::object::{NewObject, WorkspaceQuery};
use tidegate_api_types::path;
use tidegate_api_types::tried::{ObjectTried, TriedEvent, TriedMessage, TryObject};
use tidegate_catalog::{
    ActingPrincipal, AuditRecord, AuditResult, CatalogObject, CatalogOrder, Labels, ObjectContent, ObjectEdit,
    ObjectKind, RightsTarget, Verb, authorise,
};

use super::asker::{OfApi, Requester, workspace_of};
use super::permit::{KindInPath, NamedOrNewObject};
use super::refused::{NO_OBJECT, absent};
use crate::api::extract::{Json, Query};
pub(super) use crate::api::masked_fields::{MASK, mask_value};
use crate::api::refusal::ApiRefusal;
use crate::api::tries::{TriedSample, TryOrder};
use crate::api::{MaskedField, SharedApi};

/// Events that are tried, when nobody says how many.
const EVENTS_DEFAULT: u64 = 20;
const EVENTS_MAX: usize = 200;

/// Tries a destination or a sync out, as it is, or as `spec` would make it. Of a destination: whether it is there, takes the credentials, and what
/// may be done there; of a stream also the messages that events would become which are sent. Of a sync the same of its destination, and what it would make of the newest events of its source, or of those that are
/// sent. Nothing is delivered, and nothing is changed. Who may not see events gets their fields without the values.
#[utoipa::path(post, path = path::OBJECT_TEST, tag = "objects", operation_id = "test_object",
    params(("kind" = String, Path), ("name" = String, Path), WorkspaceQuery), request_body = TryObject,
    responses((status = 200, body = ObjectTried), ApiRefusal))]
pub(super) async fn try_out(
    State(shared): OfApi,
    asker: Requester,
    KindInPath(kind): KindInPath,
    named: NamedOrNewObject,
    (Query(query), Json(asked)): (Query<WorkspaceQuery>, Json<TryObject>),
) -> Result<axum::Json<ObjectTried>, ApiRefusal> {
    let NamedOrNewObject { name, object } = named;
    let object = object.as_deref();
    let workspace = workspace_of(kind, query.workspace.as_deref());
    let can_be_tried = matches!(kind, ObjectKind::Destination | ObjectKind::Sync);
    let runs_here = shared.settings.engines.contains_key(&workspace);
    // The same words for what may not be viewed.
    if object.is_none() && (asked.spec.is_none() || !can_be_tried || !runs_here) {
        return Err(absent(NO_OBJECT));
    }
    if !can_be_tried {
        let detail = format!("a {kind} connects to nothing and delivers nothing");
        return Err(ApiRefusal::unprocessable("not-this-way", detail, "try a destination or a sync").in_field("kind"));
    }
    if !runs_here {
        let detail = format!("nothing of the workspace {workspace:?} runs on this server");
        let fix = "try objects of a workspace that runs here: the environments of tidegate.yaml";
        return Err(ApiRefusal::unprocessable("not-this-way", detail, fix).in_field("workspace"));
    }
    let events = sample(kind, &asked)?;
    if let Some(spec) = &asked.spec {
        shared.refuse_unknown_blobs(&asker, &workspace, spec).await?;
    }
    let content = asked.spec.map(|spec| shared.tried_content(kind, (&name, object), spec)).transpose()?;
    let is_masked = match asker.acting() {
        Some(acting) if kind == ObjectKind::Sync => {
            !shared.may_see_events(acting, &workspace, (object, content.as_ref())).await?
        }
        _ => false,
    };
    let name = object.map_or(name, |object| object.content.name.clone());
    let change = content.map(|content| shared.tried_change(&asker, &workspace, (object, content)));
    let mut tried = shared.tried(&workspace, TryOrder { kind, name, change, events }).await?;
    let is_admin = asker.is_admin(&workspace);
    let fields = shared.settings.engines.get(&workspace).map(|engine| engine.masked_for(is_admin)).unwrap_or_default();
    if is_masked {
        mask(&mut tried);
    } else if kind == ObjectKind::Sync && !fields.is_empty() {
        mask_fields(&mut tried, &fields);
    }
    let record = AuditRecord {
        workspace,
        action: "tested".to_owned(),
        kind: Some(kind),
        object: object.map(|object| object.id.clone()),
        name: Some(tried.name.clone()),
        result: AuditResult::Done,
        revision: None,
        detail: json!({ "events": tried.events.len(), "masked": tried.masked }),
    };
    // Whoever has seen events is in the audit log before they are answered.
    let catalog = &shared.settings.catalog.catalog;
    catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| shared.refused(error))?;
    Ok(axum::Json(tried))
}

/// The events that are asked for.
fn sample(kind: ObjectKind, asked: &TryObject) -> Result<TriedSample, ApiRefusal> {
    let too_many = |field: &str| {
        let detail = format!("at most {EVENTS_MAX} events are tried at once");
        ApiRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many", detail, "send less").in_field(field)
    };
    if kind != ObjectKind::Sync && asked.count.is_some() {
        let detail = "the newest events of a source are tried with a sync: a destination has no source";
        let refusal = ApiRefusal::unprocessable("not-this-way", detail, "leave `count` away");
        return Err(refusal.in_field("count"));
    }
    if let Some(events) = &asked.events {
        return if events.len() > EVENTS_MAX {
            Err(too_many("events"))
        } else {
            Ok(TriedSample::Given(events.clone()))
        };
    }
    if kind != ObjectKind::Sync {
        return Ok(TriedSample::Newest(0));
    }
    let count = usize::try_from(asked.count.unwrap_or(EVENTS_DEFAULT)).unwrap_or(usize::MAX);
    if count > EVENTS_MAX { Err(too_many("count")) } else { Ok(TriedSample::Newest(count)) }
}

impl SharedApi {
    /// What the object would be; no secret comes into its spec.
    pub(super) fn tried_content(
        &self,
        kind: ObjectKind,
        (name, object): (&str, Option<&CatalogObject>),
        spec: Value,
    ) -> Result<ObjectContent, ApiRefusal> {
        let (name, labels, owner) = match object.map(|object| object.content.clone()) {
            Some(content) => (content.name, content.labels, content.owner.map(String::from)),
            None => (name.to_owned(), Labels::new(), None),
        };
        self.content(kind, NewObject { name, labels, owner, spec })
    }

    /// The change that would make the object what is tried. Whoever asks must be allowed to make it; it is not made.
    pub(super) fn tried_change(
        &self,
        asker: &Requester,
        workspace: &str,
        (object, content): (Option<&CatalogObject>, ObjectContent),
    ) -> CatalogOrder {
        let edit = match object {
            Some(object) => ObjectEdit::Update { id: object.id.clone(), expected: None, content },
            None => ObjectEdit::Create { id: self.settings.catalog.catalog.new_id(content.kind), content },
        };
        // What a file says may be tried otherwise.
        CatalogOrder::Change(asker.change(workspace, vec![edit], true))
    }

    /// Whether somebody may see the events of a sync, as it is and as it would be.
    async fn may_see_events(
        &self,
        acting: &ActingPrincipal,
        workspace: &str,
        (object, content): (Option<&CatalogObject>, Option<&ObjectContent>),
    ) -> Result<bool, ApiRefusal> {
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let named = |kind, name: &str| snapshot.named(kind, name);
        let now = object.map(|object| RightsTarget::of(object, named));
        let then = content.map(|content| RightsTarget::of_new(workspace, content, named));
        let may_see = |target: RightsTarget| authorise(acting, Verb::SeePayloads.into(), &target).is_ok();
        Ok(now.into_iter().chain(then).all(may_see))
    }
}

/// Takes the values out of all events, and leaves the fields.
fn mask(tried: &mut ObjectTried) {
    tried.masked = true;
    for event in &mut tried.events {
        if let Some(id) = &mut event.message_id {
            MASK.clone_into(id);
        }
        event.delivered.iter_mut().for_each(mask_value);
        mask_what_quotes(event);
    }
}

/// Takes the values of some fields out of all events. Where they are in rows and messages nobody can tell.
fn mask_fields(tried: &mut ObjectTried, fields: &[MaskedField]) {
    for event in &mut tried.events {
        event.delivered.iter_mut().for_each(|event| fields.iter().for_each(|field| field.mask(event)));
        mask_what_quotes(event);
    }
}

/// Takes out what quotes an event, and all that is made of its values.
fn mask_what_quotes(event: &mut TriedEvent) {
    let TriedEvent { reason, violations, rows, messages, .. } = event;
    violations.clear();
    *reason = None;
    for row in rows {
        // A table is named after its event.
        MASK.clone_into(&mut row.table);
        row.columns.iter_mut().for_each(|column| MASK.clone_into(&mut column.value));
    }
    for TriedMessage { topic, key, headers, payload, is_base64: _ } in messages {
        // All of them may be made of values.
        for text in [topic, key, payload].into_iter().chain(headers.values_mut()) {
            MASK.clone_into(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_api_types::tried::TryOutcome;

    use super::*;

    #[test]
    fn a_masked_message_says_nothing_of_its_event() {
        let message = TriedMessage {
            topic: "orders-de".to_owned(),
            key: "ann".to_owned(),
            headers: BTreeMap::from([("plan".to_owned(), "pro".to_owned())]),
            payload: "{}".to_owned(),
            is_base64: false,
        };
        let event = TriedEvent {
            message_id: None,
            outcome: TryOutcome::Delivered,
            code: None,
            reason: None,
            violations: Vec::new(),
            delivered: Vec::new(),
            rows: Vec::new(),
            messages: vec![message],
        };
        let mut tried = ObjectTried { events: vec![event], ..ObjectTried::default() };
        mask(&mut tried);
        let TriedMessage { topic, key, headers, payload, .. } = &tried.events[0].messages[0];
        assert_eq!([topic, key, payload, &headers["plan"]], [MASK; 4]);
    }

    #[test]
    fn a_masked_event_has_its_fields_and_none_of_its_values() {
        let mut event =
            json!({"type": "track", "properties": {"total": 12.5, "items": [{"sku": "a"}], "paid": true, "no": null}});
        mask_value(&mut event);
        let masked =
            json!({"type": "***", "properties": {"total": 0, "items": [{"sku": "***"}], "paid": false, "no": null}});
        assert_eq!(event, masked);
    }
}
