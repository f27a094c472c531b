//! Functions that are written as a text, and trying functions out.

use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_api_types::build::Pushed;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::script::{FunctionTried, PushScript, ScriptLanguage, ScriptQuery, ShownScript, TryFunction};
use tidegate_plugin::Language;
use tidegate_registry::{NewScript, PluginKind, RegistryError, WrittenScript};

use super::access::WORKSPACE_DEFAULT;
use super::builds;
use super::change::{object, sha};
use super::engines::AskedEngine;
use super::extract::{Json, Name, NameInPath, Query, blocking};
use super::refusal::ApiRefusal;
use super::tries::{TriedCode, TriedSample, TryFunctionOrder};
use super::v1::Requester;

/// Events that are tried, when nobody says how many.
const EVENTS_DEFAULT: u64 = 20;
const EVENTS_MAX: usize = 200;
const DESCRIPTION: &str = "A script.";

/// The script that a version was made of.
#[utoipa::path(get, path = path::FUNCTION_SCRIPT, tag = "functions", operation_id = "show_script",
    params(NameInPath, ScriptQuery), responses((status = 200, body = ShownScript), ApiRefusal))]
pub(super) async fn show(
    environment: AskedEngine,
    Name(name): Name,
    Query(query): Query<ScriptQuery>,
) -> Result<axum::Json<ShownScript>, ApiRefusal> {
    let store = environment.engine.store.clone();
    let sha256 = match &query.sha256 {
        Some(text) => sha(text)?,
        None => {
            let releases = store.releases();
            let live = releases.of_kind(PluginKind::Functions).get(&name).and_then(|release| release.live.as_ref());
            let not_live = RegistryError::NotLive { plugin_kind: PluginKind::Functions, name: name.clone() };
            live.ok_or(not_live)?.sha256
        }
    };
    let written = blocking(move || store.script(&name, sha256)).await??;
    let language = written.as_ref().map(|script| match script.language {
        Language::Ts => ScriptLanguage::TypeScript,
        _ => ScriptLanguage::JavaScript,
    });
    Ok(axum::Json(ShownScript { sha256: sha256.to_string(), script: written.map(|script| script.text), language }))
}

/// Makes a version of a script, when it can be read and passes every check. It is followed as an upload is.
#[utoipa::path(post, path = path::FUNCTION_SCRIPT, tag = "functions", operation_id = "push_script",
    params(NameInPath, WorkspaceQuery), request_body = PushScript, responses((status = 202, body = Pushed), ApiRefusal))]
pub(super) async fn push(
    environment: AskedEngine,
    Name(name): Name,
    Json(asked): Json<PushScript>,
) -> Result<(StatusCode, axum::Json<Pushed>), ApiRefusal> {
    let PushScript { script, language, description, settings_schema } = asked;
    let settings = object(settings_schema)?.unwrap_or_else(|| json!({ "type": "object" }));
    let written = written(script, language);
    let javascript = environment.javascript(&written).await?.map_err(unreadable)?;
    let code = TriedCode::ScriptAlone(javascript.clone());
    let events = TriedSample::Newest(0);
    let order = TryFunctionOrder { name: name.clone(), code, settings: None, source: None, events };
    let tried = environment.function_tried(order).await?;
    if let Some(reason) = tried.error {
        return Err(unreadable(reason));
    }
    let (store, of) = (environment.engine.store.clone(), name.clone());
    let component = move || {
        let description = description.as_deref().unwrap_or(DESCRIPTION);
        let script =
            NewScript { name: &of, description, settings: &settings, written: &written, javascript: &javascript };
        store.script_component(&script)
    };
    let component = blocking(component).await??;
    let place = environment.engine.store.place()?;
    let id = blocking(move || place.take(PluginKind::Functions, &name, &component)).await??;
    Ok((StatusCode::ACCEPTED, axum::Json(builds::pushed(&environment, &id))))
}

/// Runs a function, as it is or as a script would have it, on the newest events of a source or on those that are sent. Nothing is delivered, and
/// nothing is changed. Neither secrets nor tables that it looks up are given to it.
#[utoipa::path(post, path = path::FUNCTION_TRY, tag = "functions", operation_id = "try_function",
    params(NameInPath, WorkspaceQuery), request_body = TryFunction, responses((status = 200, body = FunctionTried), ApiRefusal))]
pub(super) async fn try_out(
    environment: AskedEngine,
    asker: Requester,
    Name(name): Name,
    Json(asked): Json<TryFunction>,
) -> Result<axum::Json<FunctionTried>, ApiRefusal> {
    let TryFunction { script, language, sha256, settings, source, count, events } = asked;
    let sample = sample(source.as_deref(), count, events)?;
    if let Some(source) = &source
        && !environment.engine.names().sources.contains(source)
    {
        let detail = format!("there is no source {source:?} here");
        return Err(ApiRefusal::bad("no-such-source", detail, "name a source of the workspace").in_field("source"));
    }
    let code = match (script, sha256) {
        (Some(script), None) => environment.javascript(&written(script, language)).await?.map(TriedCode::Script),
        (None, sha256) => Ok(TriedCode::Version(sha256.as_deref().map(sha).transpose()?)),
        (Some(_), Some(_)) => {
            let detail = "`script` and `sha256` are two things to be tried";
            return Err(ApiRefusal::bad("sha256", detail, "leave one of them out"));
        }
    };
    let detail = json!({ "function": name, "source": source });
    let settings = object(settings)?;
    let tried = match code {
        Ok(code) => {
            let order = TryFunctionOrder { name, code, settings, source, events: sample };
            environment.function_tried(order).await?
        }
        Err(reason) => FunctionTried { error: Some(reason), ..FunctionTried::default() },
    };
    // Whoever has seen events is in the audit log before they are answered.
    let workspace = environment.workspace.as_deref().unwrap_or(WORKSPACE_DEFAULT);
    environment.shared.note_done(&asker, workspace, ("function_tested", detail)).await?;
    Ok(axum::Json(tried))
}

fn written(text: String, language: Option<ScriptLanguage>) -> WrittenScript {
    let language = match language.unwrap_or_default() {
        ScriptLanguage::JavaScript => Language::Js,
        ScriptLanguage::TypeScript => Language::Ts,
    };
    WrittenScript { text, language }
}

fn unreadable(reason: String) -> ApiRefusal {
    let fix = "mend the script at the line and column that the detail names; lines are counted from 1";
    ApiRefusal::unprocessable("script", reason, fix).in_field("script")
}

/// The events that are asked for.
fn sample(source: Option<&str>, count: Option<u64>, events: Option<Vec<Value>>) -> Result<TriedSample, ApiRefusal> {
    let too_many = |field: &str| {
        let detail = format!("at most {EVENTS_MAX} events are tried at once");
        ApiRefusal::unprocessable("too-many", detail, "send less").in_field(field)
    };
    if let Some(events) = events {
        return if events.len() > EVENTS_MAX { Err(too_many("events")) } else { Ok(TriedSample::Given(events)) };
    }
    if source.is_none() {
        return Ok(TriedSample::Newest(0));
    }
    let count = usize::try_from(count.unwrap_or(EVENTS_DEFAULT)).unwrap_or(usize::MAX);
    if count > EVENTS_MAX { Err(too_many("count")) } else { Ok(TriedSample::Newest(count)) }
}

impl AskedEngine {
    async fn function_tried(&self, order: TryFunctionOrder) -> Result<FunctionTried, ApiRefusal> {
        (self.engine.function_tries)(order).await.map_err(|refusal| self.shared.not_tried(refusal))
    }

    /// What runs of a script, or what is wrong with it.
    async fn javascript(&self, script: &WrittenScript) -> Result<Result<String, String>, ApiRefusal> {
        let (store, script) = (self.engine.store.clone(), script.clone());
        match blocking(move || store.javascript(&script)).await? {
            Ok(javascript) => Ok(Ok(javascript)),
            Err(RegistryError::TypeScript(reason)) => Ok(Err(reason)),
            Err(error) => Err(error.into()),
        }
    }
}
