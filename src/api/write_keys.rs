//! Write keys: which there are, and what each is used for. The keys themselves are known to nobody here.

use std::sync::Arc;

use axum::extract::State;
use tidegate_api_types::path;
use tidegate_api_types::write_key::{ShownWriteKey, ShownWriteKeys};
use tidegate_event::time;
use tidegate_process::clock;

use super::SharedApi;
use super::refusal::ApiRefusal;

/// The write keys of all sources, by source and name, each with what it was used for since the server started.
#[utoipa::path(get, path = path::WRITE_KEYS, tag = "sources", operation_id = "list_write_keys",
    responses((status = 200, body = ShownWriteKeys), ApiRefusal))]
pub(super) async fn list(shared: State<Arc<SharedApi>>) -> axum::Json<ShownWriteKeys> {
    let (entrance, now_us) = (Arc::clone(&shared.settings.entrance.borrow()), clock::now_us());
    let shown = entrance.write_keys().map(|key| ShownWriteKey {
        source: key.source.to_string(),
        name: key.name.to_string(),
        created: time::format(key.created_at_us),
        ends: key.ends_at_us.map(time::format),
        ended: key.has_ended(now_us),
        events: key.uses.events(),
        last_used: key.uses.last_us().map(time::format),
    });
    let mut write_keys: Vec<ShownWriteKey> = shown.collect();
    write_keys.sort_by(|one, other| (&one.source, &one.name).cmp(&(&other.source, &other.name)));
    axum::Json(ShownWriteKeys { write_keys })
}
