//! Recorded responses: `fixtures/<case>.responses.json`, a list of
//! `{"request": 0, "response": {"status": 429, "headers": {..}, "body": .., "attempt": 1}, "verdict": {"retry": 1000}}`.

use tidegate_wasm::function::golden;
use tidegate_wasm::{AnsweredRequest, DestinationExport, GuestPlan, GuestRequest};

use super::case::{Case, CaseResult, compare};
use super::fixtures::{CaseFiles, TestError, read_json};
use super::runner::Runner;

/// Runs the recorded responses of a case through `classify`. `None` when the case has none.
pub(super) async fn classified(
    runner: &Runner,
    files: &CaseFiles<'_>,
    settings: &str,
    (export, plan): (DestinationExport, &GuestPlan),
    update: bool,
) -> Result<Option<Case>, TestError> {
    let path = files.responses();
    if !path.exists() {
        return Ok(None);
    }
    let recorded = read_json(&path)?;
    let mut actual = recorded.clone();
    let (mut log, mut notes) = (Vec::new(), Vec::new());
    for (index, exchange) in actual.as_array_mut().into_iter().flatten().enumerate() {
        let request = exchange["request"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
        let Some(GuestRequest { tag, events, .. }) = plan.requests.get(request) else {
            notes.push(format!("response {index} answers request {request}; the plan has {}", plan.requests.len()));
            continue;
        };
        let response = golden::response(&exchange["response"]);
        let answered = AnsweredRequest { tag, events, response: &response };
        let (verdict, mut lines) = runner.classify(settings, (export, answered)).await;
        exchange["verdict"] = verdict;
        log.append(&mut lines);
    }
    let events = actual.as_array().map_or(0, Vec::len);
    let mut result = compare(&path, &actual, update)?;
    if !notes.is_empty() {
        result = CaseResult::Differs { diff: notes.join("\n") };
    }
    Ok(Some(Case { name: format!("{} (responses)", files.name), events, result, log, notes }))
}
