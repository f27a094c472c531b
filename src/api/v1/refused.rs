//! What the catalog refuses, as problems that name the field and the fix.

use std::time::Duration;

use hyper::StatusCode;
use tidegate_catalog::{CatalogError, ContentProblem, CredentialProblem, Denial, MissingGrant, ObjectKind};
use tidegate_state::StateError;

use crate::api::SharedApi;
use crate::api::refusal::ApiRefusal;

impl SharedApi {
    /// Why the catalog did not do it, for whoever asked.
    pub(in crate::api) fn refused(&self, error: CatalogError) -> ApiRefusal {
        let detail = error.to_string();
        let new = |status, code, fix: &str| ApiRefusal::new(status, code, detail.clone(), fix);
        let unprocessable = |code, fix: &str| new(StatusCode::UNPROCESSABLE_ENTITY, code, fix);
        let conflict = |code, fix: &str| new(StatusCode::CONFLICT, code, fix);
        match error {
            CatalogError::Store(_) | CatalogError::Seal(_) | CatalogError::Unreadable(_) => {
                ApiRefusal::failed("the catalog could not do it", &error)
            }
            CatalogError::Denied(denial) => denied(&denial),
            CatalogError::Principal(_) => new(StatusCode::UNAUTHORIZED, "wrong-token", "sign in again"),
            CatalogError::Content { ref problem, .. } | CatalogError::Workspace(ref problem) => {
                unprocessable("content", "send what fits; the detail says what does").in_field(field(problem))
            }
            CatalogError::Absent { .. } => absent(NO_OBJECT),
            CatalogError::Nothing { .. } => absent(detail),
            CatalogError::Conflict { .. } => {
                new(StatusCode::PRECONDITION_FAILED, "conflict", "read it again, and send If-Match with its ETag")
            }
            CatalogError::Moved { .. } => new(StatusCode::PRECONDITION_FAILED, "stale-plan", "plan again"),
            CatalogError::NameTaken { .. } => {
                conflict("name-taken", "choose another name, or change what is there").in_field("name")
            }
            CatalogError::Managed { kind, ref name } => self.managed(kind, name),
            CatalogError::Dangling { .. } => {
                unprocessable("dangling", "make what it names first, or write another name").in_field("spec")
            }
            CatalogError::InUse { .. } => conflict("in-use", "change what names it first; `used-by` lists that"),
            CatalogError::LastAdmin => conflict("last-admin", "make another admin first"),
            CatalogError::OtherRequest { .. } => unprocessable("idempotency-key", "take a new key for a new request"),
            CatalogError::Twice { .. } => unprocessable("twice", "name each object once"),
            CatalogError::TooMany { .. } => unprocessable("too-many", "send less"),
            CatalogError::Cursor => {
                new(StatusCode::BAD_REQUEST, "cursor", "begin at the first page").in_field("cursor")
            }
            CatalogError::DraftDecided { .. } => conflict("draft-decided", "propose the change anew"),
            CatalogError::DraftStale { .. } => conflict("draft-stale", "propose the change anew"),
            CatalogError::OwnDraft => new(StatusCode::FORBIDDEN, "own-draft", "ask somebody else to approve it"),
            CatalogError::Credential(CredentialProblem::Busy) => {
                let fix = "send it again after Retry-After";
                new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", fix).after(Duration::from_secs(2))
            }
            CatalogError::Credential(CredentialProblem::SessionOver) => {
                new(StatusCode::UNAUTHORIZED, "session-over", "sign in again")
            }
            CatalogError::Credential(_) => unprocessable("credential", "send what fits; the detail says what does"),
        }
    }

    fn managed(&self, kind: ObjectKind, name: &str) -> ApiRefusal {
        let file = (self.settings.catalog.folder_file)(kind, name).unwrap_or_else(|| "a file of the folder".to_owned());
        let detail = format!("the {kind} {name:?} is managed by {file}");
        let fix = format!(
            "change {file}; or take the object out of the folder's hands with POST …/release; or send `force=true`, which the \
             next apply of the folder undoes"
        );
        ApiRefusal::new(StatusCode::CONFLICT, "managed-by-file", detail, fix)
    }
}

/// What may not be viewed is not there.
pub(super) fn denied(denial: &Denial) -> ApiRefusal {
    if denial.is_hidden {
        return absent(denial.to_string());
    }
    let fix = if denial.may_propose {
        "propose it with POST /api/v1/drafts, for somebody else to approve"
    } else if denial.missing == MissingGrant::Person {
        "do it on the page /people of the console, signed in there, or with the admin token (`--token tg_…`)"
    } else {
        "ask an admin for that grant"
    };
    ApiRefusal::new(StatusCode::FORBIDDEN, "forbidden", denial.to_string(), fix)
}

/// The same words for what is not there and for what may not be viewed.
pub(super) const NO_OBJECT: &str = "there is no such object";

pub(super) fn absent(detail: impl Into<String>) -> ApiRefusal {
    ApiRefusal::new(
        StatusCode::NOT_FOUND,
        "no-such-object",
        detail,
        "check the name and the workspace; a list has what you may see of its kind",
    )
}

/// The state could not be read or written, for the handlers that keep their jobs there.
pub(super) fn failed(error: &StateError) -> ApiRefusal {
    ApiRefusal::failed("the state could not be read or written", error)
}

fn field(problem: &ContentProblem) -> String {
    match problem {
        ContentProblem::Name(_) => "name".to_owned(),
        ContentProblem::Label(_) => "labels".to_owned(),
        ContentProblem::SpecSize { .. } | ContentProblem::SpecShape => "spec".to_owned(),
        ContentProblem::Workspace(_) | ContentProblem::OfServer { .. } => "workspace".to_owned(),
        ContentProblem::Spec { field, .. } => field.clone(),
    }
}
