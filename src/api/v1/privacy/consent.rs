//! What people consent to, as an operator says it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::json;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::privacy::{ConsentsSaid, SayConsents, ShownConsent};
use tidegate_event::subject::SubjectKind;
use tidegate_event::time;
use tidegate_state::{ConsentSaid, HashedSubject, KnownConsent, SaidBy, StateError};

use super::{NAME_BYTES_MAX, clear_subjects, failed, hashed, hashed_name};
use crate::api::extract::{Json, Query, blocking};
use crate::api::refusal::ApiRefusal;
use crate::api::v1::asker::{OfApi, Requester};
use crate::api::withhold_pending;

/// Categories of one request.
const CATEGORIES_MAX: usize = 50;

/// Says what people consent to. What waits for a sync that needs a category is held against it: what is pending is filtered by this request,
/// and what the sync has not gathered yet when it does. What an operator denies stands whatever events say. Without a category it says what
/// is known.
#[utoipa::path(post, path = path::PRIVACY_CONSENT, tag = "privacy", operation_id = "say_consents",
    params(WorkspaceQuery), request_body = SayConsents, responses((status = 200, body = ConsentsSaid), ApiRefusal))]
pub(in crate::api::v1) async fn consent(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<SayConsents>,
) -> Result<axum::Json<ConsentsSaid>, ApiRefusal> {
    let (workspace, engine) = shared.engine_of_privacy(&asker, query.workspace.as_deref())?;
    let subjects = clear_subjects(&order.subjects)?;
    let is_person = |kind| matches!(kind, SubjectKind::User | SubjectKind::Anonymous);
    if let Some(at) = subjects.iter().position(|subject| !is_person(subject.kind)) {
        let (detail, fix) = ("only users and visitors consent", "name a `user` or an `anonymous`");
        let refusal = ApiRefusal::unprocessable("subject-kind", detail, fix);
        return Err(refusal.in_field(format!("subjects.{at}.kind")));
    }
    let said = said(order.categories)?;
    let people = hashed(&engine, subjects).await?;
    if !said.is_empty() {
        let categories: BTreeMap<&str, Option<bool>> =
            said.iter().map(|said| (said.category.as_str(), said.is_granted)).collect();
        let subjects: Vec<_> = people.iter().map(hashed_name).collect();
        let detail = json!({ "subjects": subjects, "categories": categories });
        shared.note_done(&asker, &workspace, ("privacy_consent_said", detail)).await?;
    }
    let (asked_by, now_us) = (asker.asked_by(), asker.at_us);
    let work = move || -> Result<Option<ConsentsSaid>, StateError> {
        let mut state = (engine.open_state)()?;
        let mut done = ConsentsSaid::default();
        if !said.is_empty() {
            let Some(changed) = state.say_of(&people, &said, (&asked_by, now_us))? else { return Ok(None) };
            let names = Arc::clone(&engine.names.borrow());
            (done.changed, done.withheld) = (changed, withhold_pending(&mut state, &names, now_us)?);
        }
        done.known = state.consents_of(&people)?.iter().map(shown).collect();
        Ok(Some(done))
    };
    let done = blocking(work).await?.map_err(|error| failed(&error))?;
    done.map(axum::Json).ok_or_else(|| {
        let (detail, fix) =
            ("there is no room for it: too much is known of too many people", "take back what counts no more");
        ApiRefusal::new(StatusCode::INSUFFICIENT_STORAGE, "too-many", detail, fix)
    })
}

fn said(categories: BTreeMap<String, Option<bool>>) -> Result<Vec<ConsentSaid>, ApiRefusal> {
    let is_name = |name: &String| !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX;
    if categories.len() > CATEGORIES_MAX || !categories.keys().all(is_name) {
        let detail = format!(
            "`categories` has {CATEGORIES_MAX} names at most, each of 1 to {NAME_BYTES_MAX} bytes that are not blank"
        );
        let fix = "name categories as syncs do";
        return Err(ApiRefusal::unprocessable("categories", detail, fix).in_field("categories"));
    }
    Ok(categories.into_iter().map(|(category, is_granted)| ConsentSaid { category, is_granted }).collect())
}

fn shown((person, known): &(HashedSubject, KnownConsent)) -> ShownConsent {
    ShownConsent {
        subject: hashed_name(person),
        category: known.category.clone(),
        granted: known.is_granted,
        since: time::format(known.at_us),
        by: match known.by {
            SaidBy::Operator => "operator",
            SaidBy::Event => "event",
        }
        .to_owned(),
    }
}
