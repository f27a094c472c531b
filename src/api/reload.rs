//! What the server runs is read again and changed while it runs. Who does that is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use tidegate_api_types::path;
use tidegate_api_types::reload::{Reload, Reloaded, WorkspaceProblem};
use tidegate_api_types::workspace::SyncEnding;
use tidegate_document::problem::Problem;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SharedApi;
use super::extract::Json;
use super::refusal::ApiRefusal;

/// What has changed, outside of what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderedChange {
    /// The files of the folder.
    Folder,
    /// Which objects of the catalog are paused.
    Paused,
}

/// An order to change what runs.
#[derive(Debug)]
pub struct ReloadRequest {
    pub what: OrderedChange,
    /// By the name of a sync, or of a source for all its syncs: what becomes of what waits.
    pub endings: BTreeMap<String, SyncEnding>,
    /// Where the answer goes; whoever asked may be gone by then.
    pub reply: oneshot::Sender<Result<Reloaded, ReloadRefusal>>,
}

/// Why everything goes on as it was.
#[derive(Debug)]
pub enum ReloadRefusal {
    /// The workspace is not right.
    Problems(Vec<Problem>),
    /// Events wait for what would be taken away: of each object a sentence.
    NeedsEnding(Vec<String>),
    /// Something cannot be loaded, or not be recorded; a sentence.
    Failed(String),
    /// The server is stopping.
    Stopping,
}

/// Compiling components is what may take long.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Reads the workspace's folder again and changes what runs, part by part; a workspace that is not right changes nothing.
#[utoipa::path(post, path = path::RELOAD, tag = "workspace", operation_id = "reload_workspace", request_body = Reload,
    responses((status = 200, body = Reloaded), ApiRefusal))]
pub(super) async fn reload(
    State(shared): State<Arc<SharedApi>>,
    Json(Reload { drain, abandon }): Json<Reload>,
) -> Result<axum::Json<Reloaded>, ApiRefusal> {
    if let Some(both) = drain.iter().find(|name| abandon.contains(name)) {
        let detail = format!("{both:?} is named by `drain` and by `abandon`");
        return Err(ApiRefusal::unprocessable("two-endings", detail, "name it in one of them").in_field("abandon"));
    }
    let of = |names: Vec<String>, ending| names.into_iter().map(move |name| (name, ending));
    let endings = of(drain, SyncEnding::Drain).chain(of(abandon, SyncEnding::Abandon)).collect();
    Ok(axum::Json(shared.order(OrderedChange::Folder, endings).await?))
}

impl SharedApi {
    /// Has what runs follow a change, and waits until it has.
    pub(super) async fn order(
        &self,
        what: OrderedChange,
        endings: BTreeMap<String, SyncEnding>,
    ) -> Result<Reloaded, ApiRefusal> {
        let (reply, answer) = oneshot::channel();
        self.settings.reloads.try_send(ReloadRequest { what, endings, reply }).map_err(|error| match error {
            TrySendError::Full(_) => ApiRefusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-busy",
                "several reloads wait already",
                "send it again after Retry-After",
            )
            .after(Duration::from_secs(5)),
            TrySendError::Closed(_) => ReloadRefusal::Stopping.into(),
        })?;
        let answered = timeout(ANSWER_MAX, answer).await.map_err(|_| {
            let detail = format!("the change is not done after {} seconds, and goes on", ANSWER_MAX.as_secs());
            let fix = "`tidegate status` shows what runs and what does not yet";
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "not-done-yet", detail, fix)
        })?;
        answered.unwrap_or(Err(ReloadRefusal::Stopping)).map_err(ApiRefusal::from)
    }
}

impl From<ReloadRefusal> for ApiRefusal {
    fn from(refusal: ReloadRefusal) -> Self {
        match refusal {
            ReloadRefusal::Problems(problems) => {
                let (count, plural) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
                let first =
                    problems.first().map(|first| format!("{}:{}: {}", first.file.display(), first.line, first.message));
                let first = first.unwrap_or_default();
                let detail = format!("the workspace has {count} problem{plural}, and nothing was changed: {first}");
                let fix = "correct what `problems` names; `tidegate check` finds the same";
                Self::unprocessable("problems", detail, fix).with_problems(problems.iter().map(shown).collect())
            }
            ReloadRefusal::NeedsEnding(behind) => {
                let detail = format!("nothing was changed: {}", behind.join("; "));
                let fix = "reload with `--drain NAME` to have it delivered first, or with `--abandon NAME` to give it up and \
                           have it counted; or keep them until `tidegate status` shows that nothing waits";
                Self::new(StatusCode::CONFLICT, "needs-ending", detail, fix)
            }
            ReloadRefusal::Failed(detail) => {
                let detail = format!("nothing was changed: {detail}");
                Self::unprocessable("cannot-run", detail, "mend what the message says, then reload again")
            }
            ReloadRefusal::Stopping => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "the server is stopping",
                "start it: a start takes the workspace as it is",
            ),
        }
    }
}

/// A problem as it goes over the wire.
fn shown(problem: &Problem) -> WorkspaceProblem {
    WorkspaceProblem {
        file: problem.file.display().to_string(),
        line: problem.line as u64,
        message: problem.message.clone(),
        fix: problem.fix.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong_with_each_file() {
        let problem = |line| Problem::of_file("sources/web.yaml", line, format!("line {line}"), "mend it");
        let refusal = ApiRefusal::from(ReloadRefusal::Problems(vec![problem(1), problem(7)]));
        let answer = refusal.into_answer();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["code"], "problems");
        assert!(body["detail"].as_str().unwrap().contains("2 problems"), "{body}");
        assert_eq!(
            body["problems"][1],
            serde_json::json!({"file": "sources/web.yaml", "line": 7, "message": "line 7", "fix": "mend it"})
        );
        let refusal = ApiRefusal::from(ReloadRefusal::NeedsEnding(vec!["sync a: 3 records wait".to_owned()]));
        let answer = refusal.into_answer();
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert!(body["detail"].as_str().unwrap().contains("3 records"), "{body}");
        assert!(body.get("problems").is_none(), "{body}");
    }
}
