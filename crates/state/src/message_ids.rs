//! By which `messageId` an entry of the quarantine is found: whoever sends such an event again sends a duplicate, and should hear of it.

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use tidegate_event::json;
use tidegate_event::value::Value;

pub(super) const TABLES: &str = "
    CREATE INDEX IF NOT EXISTS quarantine_by_message ON quarantine (message_hash) WHERE message_hash IS NOT NULL;
";

/// Events deeper than this have no id here.
const DEPTH_MAX: usize = 256;

/// Of the id of a quarantined event, as it stands in a column; nothing of bytes that are no event.
pub(super) fn hash_of_event(event: &[u8]) -> Option<i64> {
    let Ok(Value::Object(body)) = json::parse(event, DEPTH_MAX) else { return None };
    body.get("messageId").and_then(Value::as_str).map(hash)
}

fn hash(message_id: &str) -> i64 {
    let digest = Sha256::digest(message_id);
    digest.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// Whether there is any entry.
pub(super) fn has_entries(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT entries > 0 FROM quarantine_size";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Whether there is an entry with this id.
pub(super) fn is_quarantined(connection: &Connection, message_id: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM quarantine WHERE message_hash = ?1 LIMIT 1";
    connection.prepare_cached(sql)?.exists([hash(message_id)])
}
