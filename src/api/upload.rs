//! Uploads and builds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use tidegate_net::RequestBody as Incoming;
use tidegate_registry::{Progress, Shelf};

use super::Door;
use super::answer::Answer;
use super::route::Query;
use super::shelf::facts_json;

impl Door {
    /// Takes a component into the queue.
    pub(super) async fn push(
        &self,
        request: Request<Incoming>,
        shelf: Shelf,
        name: String,
        force: bool,
    ) -> Result<Answer, Answer> {
        // The place first: no more bytes are held than may wait.
        let place = match self.settings.store.place() {
            Ok(place) => place,
            Err(error) => {
                self.swallow(request).await;
                return Err(error.into());
            }
        };
        let bytes_max = self.settings.store.limits().component_bytes_max;
        let bytes = self.body(request, bytes_max, "a component").await?;
        let id = blocking(move || place.forced(force).take(shelf, &name, &bytes)).await??;
        Ok(Answer::accepted(json!({"build": &*id, "follow": format!("/admin/builds/{id}")})))
    }

    /// Reads what is sent and keeps nothing of it: a connection that is closed on a client in the middle of its body may
    /// take the answer with it. Bounded by time and by what a component may have.
    pub(super) async fn swallow(&self, request: Request<Incoming>) {
        let read = request.into_body().swallow(self.settings.store.limits().component_bytes_max);
        let _ = tokio::time::timeout(self.settings.limits.unwanted_timeout, read).await;
    }

    /// How far a build is; waits up to `wait_ms` for its end, or for a change from `from`.
    pub(super) async fn build(&self, id: &str, query: &Query) -> Result<Answer, Answer> {
        let unknown = || {
            Answer::error(
                StatusCode::NOT_FOUND,
                "no-such-build",
                "no build has this id; the last 256 since the server started are known",
                "push again: a version that is there already is ready at once",
            )
        };
        let mut progress = self.settings.store.build(id).ok_or_else(unknown)?;
        let wait = query.get("wait_ms").map_or(Ok(0), str::parse::<u64>);
        let wait = wait.map_err(|_| Answer::bad("wait_ms", "`wait_ms` is no number", "send milliseconds"))?;
        let wait = Duration::from_millis(wait).min(self.settings.limits.wait_max);
        let from = query.get("from").map(str::to_owned);
        let news =
            |progress: &Progress| progress.is_end() || from.as_deref().is_some_and(|from| from != state_name(progress));
        // Out of time is an answer too: how far it is now.
        let _ = tokio::time::timeout(wait, progress.wait_for(news)).await;
        let mut now = progress.borrow().clone();
        if !now.is_end() && progress.has_changed().is_err() {
            let reason = "the build broke off, or the server is stopping; push again".to_owned();
            now = Progress::Failed { code: "broke-off", reason };
        }
        Ok(Answer::ok(progress_json(id, &now)))
    }

    /// A JSON body; nothing is an empty object.
    pub(super) async fn json(&self, request: Request<Incoming>) -> Result<Value, Answer> {
        let body = self.body(request, self.settings.limits.json_bytes_max, "a JSON body").await?;
        if body.is_empty() {
            return Ok(json!({}));
        }
        let value: Value = serde_json::from_slice(&body)
            .map_err(|error| Answer::bad("json", format!("the body is not JSON: {error}"), "send a JSON object"))?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(Answer::bad("json", "the body is no object", "send a JSON object"))
        }
    }

    async fn body(&self, request: Request<Incoming>, bytes_max: usize, what: &str) -> Result<Bytes, Answer> {
        let too_large = || {
            let message = format!("{what} may have {bytes_max} bytes at most");
            Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message, "make it smaller")
        };
        let mut body = request.into_body();
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let collect = async {
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let broken = |_| Answer::bad("broken-body", "the connection broke off in the body", "send it again");
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                if bytes.len() + data.len() > bytes_max {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
            Ok(bytes.freeze())
        };
        tokio::time::timeout(self.settings.limits.body_timeout, collect).await.unwrap_or_else(|_| {
            let message = "the body took too long to arrive";
            Err(Answer::error(StatusCode::REQUEST_TIMEOUT, "body-timeout", message, "send it again"))
        })
    }
}

/// Runs what waits for a disk or a compiler away from the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Answer> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Answer::failed("the request broke off", &error))
}

const fn state_name(progress: &Progress) -> &'static str {
    match progress {
        Progress::Queued => "queued",
        Progress::Gates => "gates",
        Progress::Compiling { .. } => "compiling",
        Progress::Smoke => "smoke",
        Progress::Ready(_) => "ready",
        Progress::Failed { .. } => "failed",
    }
}

fn progress_json(id: &str, progress: &Progress) -> Value {
    let mut value = json!({"build": id, "state": state_name(progress)});
    match progress {
        Progress::Compiling { since } => value["seconds"] = since.elapsed().as_secs().into(),
        Progress::Ready(facts) => value["version"] = facts_json(facts),
        Progress::Failed { code, reason } => {
            let fix = "change the plugin as the message says, build it and push again";
            value["error"] = json!({"code": code, "message": reason, "fix": fix});
        }
        Progress::Queued | Progress::Gates | Progress::Smoke => {}
    }
    value
}
