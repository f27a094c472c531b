//! What the server runs is read again and changed while it runs. Who does that is not known here.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::reload::{Reload, Reloaded, WorkspaceProblem};
use tidegate_api_types::workspace::SyncEnding;
use tidegate_catalog::{CatalogError, CatalogOrder, Committed};
use tidegate_document::problem::Problem;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SharedApi;
use super::engines::AskedEngine;
use super::extract::Json;
use super::refusal::ApiRefusal;

/// An order to change what runs.
#[derive(Debug)]
pub struct ReloadRequest {
    pub what: OrderedChange,
    /// By the name of a sync, or of a source for all its syncs, or [`ALL_THAT_END`]: what becomes of what waits.
    pub endings: BTreeMap<String, SyncEnding>,
    /// Where the answer goes; whoever asked may be gone by then.
    pub reply: oneshot::Sender<Result<OrderDone, ReloadRefusal>>,
}

/// What is to be changed.
#[derive(Debug)]
pub enum OrderedChange {
    /// The folder is read again.
    Folder,
    /// The catalog is changed, and what runs follows it.
    Catalog {
        order: Box<CatalogOrder>,
        /// Say what would be wrong, and change nothing.
        is_dry_run: bool,
    },
}

/// An order that was carried out.
#[derive(Debug)]
pub struct OrderDone {
    pub running: Reloaded,
    /// What became of the catalog, where it was changed.
    pub committed: Option<Committed>,
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
    /// The catalog does not take the change.
    Catalog(Box<CatalogError>),
    /// The catalog has the change, and it was not put in place; a sentence.
    NotInPlace(String),
    /// The server is stopping.
    Stopping,
}

/// In the place of a name: every sync that ends by a change.
pub const ALL_THAT_END: &str = "*";

/// For the changes before.
const TURN_MAX: Duration = Duration::from_secs(30);
/// Compiling components is what may take long.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Reads the workspace's folder again and changes what runs, part by part; a workspace that is not right changes nothing.
#[utoipa::path(post, path = path::RELOAD, tag = "workspace", operation_id = "reload_workspace",
    params(WorkspaceQuery), request_body = Reload,
    responses((status = 200, body = Reloaded), ApiRefusal))]
pub(super) async fn reload(
    environment: AskedEngine,
    Json(Reload { drain, abandon }): Json<Reload>,
) -> Result<axum::Json<Reloaded>, ApiRefusal> {
    let endings = endings(drain, abandon)?;
    let (reply, answer) = oneshot::channel();
    let request = ReloadRequest { what: OrderedChange::Folder, endings, reply };
    environment.engine.reloads.try_send(request).map_err(|error| match error {
        TrySendError::Full(_) => too_busy(),
        TrySendError::Closed(_) => ReloadRefusal::Stopping.into(),
    })?;
    Ok(axum::Json(environment.shared.answered(answer).await?.running))
}

/// What becomes of what waits, as two lists of names say it.
pub(super) fn endings(drain: Vec<String>, abandon: Vec<String>) -> Result<BTreeMap<String, SyncEnding>, ApiRefusal> {
    if let Some(both) = drain.iter().find(|name| abandon.contains(name)) {
        let detail = format!("{both:?} is named by `drain` and by `abandon`");
        return Err(ApiRefusal::unprocessable("two-endings", detail, "name it in one of them").in_field("abandon"));
    }
    let of = |names: Vec<String>, ending| names.into_iter().map(move |name| (name, ending));
    Ok(of(drain, SyncEnding::Drain).chain(of(abandon, SyncEnding::Abandon)).collect())
}

fn too_busy() -> ApiRefusal {
    let fix = "send it again after Retry-After";
    ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", "several reloads wait already", fix)
        .after(Duration::from_secs(5))
}

impl SharedApi {
    /// Changes the catalog and what runs with it, in an environment that runs. Waits for its turn.
    pub(super) async fn order(
        &self,
        order: CatalogOrder,
        endings: BTreeMap<String, SyncEnding>,
        is_dry_run: bool,
    ) -> Result<OrderDone, ApiRefusal> {
        let engine = self.engine(order.workspace())?;
        let (reply, answer) = oneshot::channel();
        let what = OrderedChange::Catalog { order: Box::new(order), is_dry_run };
        let sent = timeout(TURN_MAX, engine.reloads.send(ReloadRequest { what, endings, reply })).await;
        sent.map_err(|_| too_busy())?.map_err(|_| ApiRefusal::from(ReloadRefusal::Stopping))?;
        self.answered(answer).await
    }

    async fn answered(
        &self,
        answer: oneshot::Receiver<Result<OrderDone, ReloadRefusal>>,
    ) -> Result<OrderDone, ApiRefusal> {
        let answered = timeout(ANSWER_MAX, answer).await.map_err(|_| {
            let detail = format!("the change is not done after {} seconds, and goes on", ANSWER_MAX.as_secs());
            let fix = "`tidegate status` shows what runs and what does not yet";
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "not-done-yet", detail, fix)
        })?;
        answered.unwrap_or(Err(ReloadRefusal::Stopping)).map_err(|refusal| match refusal {
            ReloadRefusal::Catalog(error) => self.refused(*error),
            refusal => refusal.into(),
        })
    }
}

impl From<ReloadRefusal> for ApiRefusal {
    fn from(refusal: ReloadRefusal) -> Self {
        match refusal {
            ReloadRefusal::Problems(problems) => {
                let (count, plural) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
                let first = problems.first().map(|first| match first.line {
                    // What the catalog says has no lines.
                    0 => format!("{}: {}", first.file.display(), first.message),
                    line => format!("{}:{line}: {}", first.file.display(), first.message),
                });
                let first = first.unwrap_or_default();
                let detail = format!("the workspace has {count} problem{plural}, and nothing was changed: {first}");
                let fix = "correct what `problems` names; `tidegate check` finds the same";
                Self::unprocessable("problems", detail, fix).with_problems(problems.iter().map(shown).collect())
            }
            ReloadRefusal::NeedsEnding(behind) => {
                let detail = format!("nothing was changed: {}", behind.join("; "));
                let fix = "say what becomes of it: drain it to have it delivered first, or abandon it to give it up and have it counted \
                           (`--drain NAME` and `--abandon NAME` of reload and apply, `?drain=true` and `?abandon=true` of DELETE); \
                           or keep them until `tidegate status` shows that nothing waits";
                Self::new(StatusCode::CONFLICT, "needs-ending", detail, fix)
            }
            ReloadRefusal::Failed(detail) => {
                let detail = format!("nothing was changed: {detail}");
                Self::unprocessable("cannot-run", detail, "mend what the message says, then reload again")
            }
            ReloadRefusal::Catalog(error) => Self::failed("the catalog could not do it", &error),
            ReloadRefusal::NotInPlace(detail) => {
                let detail = format!("the catalog was changed, and what runs was not: {detail}");
                let fix = "`tidegate reload` tries it again, and so does a start";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-in-place", detail, fix)
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
