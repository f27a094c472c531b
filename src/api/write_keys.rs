//! Write keys: which there are, what each is used for, and their way to the door. The keys themselves are known to nobody here.

use std::time::Duration;

use hyper::StatusCode;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::write_key::{ShownWriteKey, ShownWriteKeys, WriteKeyFrom};
use tidegate_event::time;
use tidegate_process::clock;
use tidegate_source::http::KeyOrigin;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::SharedApi;
use super::engines::AskedEngine;
use super::refusal::ApiRefusal;

/// An order to have the door take the write keys of the catalog as they are now. It is answered when the door has, or with the reason why
/// it has not; whoever gave it may be gone by then.
pub type KeyOrder = oneshot::Sender<Result<(), String>>;

/// How long an answer waits for the door.
const DOOR_MAX: Duration = Duration::from_secs(5);

/// The write keys of all sources, by source and name, each with what it was used for.
#[utoipa::path(get, path = path::WRITE_KEYS, tag = "sources", operation_id = "list_write_keys",
    params(WorkspaceQuery), responses((status = 200, body = ShownWriteKeys), ApiRefusal))]
pub(super) async fn list(environment: AskedEngine) -> axum::Json<ShownWriteKeys> {
    let (entrance, now_us) = (environment.engine.entrance(), clock::now_us());
    let shown = entrance.write_keys().map(|key| ShownWriteKey {
        source: key.source.to_string(),
        name: key.name.to_string(),
        from: from(key.origin),
        created: key.known_since_us().map(time::format),
        ends: key.ends_at_us.map(time::format),
        ended: key.has_ended(now_us),
        events: key.uses.events(),
        first_used: key.uses.first_us().map(time::format),
        last_used: key.uses.last_us().map(time::format),
    });
    let mut write_keys: Vec<ShownWriteKey> = shown.collect();
    write_keys.sort_by(|one, other| (&one.source, &one.name).cmp(&(&other.source, &other.name)));
    axum::Json(ShownWriteKeys { write_keys })
}

pub(super) const fn from(origin: KeyOrigin) -> WriteKeyFrom {
    match origin {
        KeyOrigin::File => WriteKeyFrom::File,
        KeyOrigin::Catalog => WriteKeyFrom::Api,
    }
}

impl SharedApi {
    /// Has the door take the write keys as the catalog has them now.
    ///
    /// # Errors
    /// It has not taken them yet, and why. It will, as soon as it can.
    pub(super) async fn take_keys(&self) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let stopping = || "the server is stopping; the next start takes them".to_owned();
        let taken = async {
            self.settings.write_keys.send(done).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        };
        let late = |_| format!("the door did not answer within {} seconds", DOOR_MAX.as_secs());
        timeout(DOOR_MAX, taken).await.map_err(late)?
    }

    /// The same for a change whose answer has no room for the difference.
    pub(super) async fn keys_taken(&self) -> Result<(), ApiRefusal> {
        self.take_keys().await.map_err(|reason| {
            let detail = format!("the change is committed, and the door does not go by it yet: {reason}");
            let fix = "look at GET /admin/write-keys; the door tries again every second";
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "not-in-force-yet", detail, fix)
        })
    }
}
