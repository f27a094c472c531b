//! Entries as they are shown and exported.

use serde_json::{Map, Value, json};
use tidegate_api_types::quarantine::{EntryOriginal, ShownEntry};
use tidegate_event::decode;
use tidegate_event::record::LoggedRecord;
use tidegate_event::time;
use tidegate_event::undecoded::without_write_key;
use tidegate_state::{KeptEntry, KeptOriginal};

use crate::api::MaskedField;
use crate::api::masked_fields::{covers_pointer, mask_value};

/// What somebody sees of an entry.
#[derive(Clone, Copy)]
pub(super) struct EntryMask<'f> {
    /// They may not see its event.
    pub(super) is_masked: bool,
    /// Otherwise these fields of it stay masked.
    pub(super) fields: &'f [MaskedField],
}

/// An event without the values of some fields.
fn without(mut event: Value, fields: &[MaskedField]) -> Value {
    fields.iter().for_each(|field| field.mask(&mut event));
    event
}

/// An entry without the record that its event came in.
pub(super) fn shown(kept: &KeptEntry, is_retried: bool, mask: &EntryMask<'_>) -> ShownEntry {
    let EntryMask { is_masked, fields } = *mask;
    // Both quote the event.
    let has_reasons = !is_masked && fields.is_empty();
    let KeptEntry { id, entry, attempts, revision, for_sync, kept_at_us, .. } = kept;
    let event = if is_masked { masked(&entry.event) } else { Some(without(readable(&entry.event), fields)) };
    let detail = || entry.detail.as_deref().and_then(|text| serde_json::from_str(text).ok());
    ShownEntry {
        id: *id,
        position: entry.id.position.to_string(),
        part: entry.id.part,
        stage: entry.stage.to_owned(),
        scope: entry.scope.clone(),
        code: entry.code.clone(),
        received_at: time::format(entry.at_us),
        quarantined_at: time::format(*kept_at_us),
        attempts: *attempts,
        retrying: is_retried,
        for_sync: for_sync.clone(),
        revision: Some(*revision).filter(|revision| *revision > 0),
        message: has_reasons.then(|| entry.message.clone()),
        event,
        detail: if has_reasons { detail() } else { None },
        original: None,
        masked: is_masked,
    }
}

/// JSON as it is, other bytes as text.
fn readable(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// The fields of an event without their values; nothing of what is none.
fn masked(bytes: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    mask_value(&mut value);
    Some(value)
}

/// The name of an event.
pub(super) fn event_name(kept: &KeptEntry) -> Option<String> {
    let value: Value = serde_json::from_slice(&kept.entry.event).ok()?;
    let name = |field: &str| value[field].as_str().map(|name| name.chars().take(200).collect());
    name("event").or_else(|| name("name")).or_else(|| name("type"))
}

/// The event as it came.
pub(super) fn original(original: &KeptOriginal, fields: &[MaskedField]) -> Option<EntryOriginal> {
    let read = LoggedRecord::read(&original.shared, &original.own).ok()?;
    let record = read.record();
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let json = |bytes: &[u8]| (!bytes.is_empty()).then(|| readable(bytes));
    // It is the context of its event.
    let context = |context: Value| without(json!({ "context": context }), fields).get_mut("context").map(Value::take);
    let ip = text(record.ip).filter(|_| !covers_pointer(fields, "/context/ip"));
    Some(EntryOriginal {
        source: record.source.to_owned(),
        received_at: time::format(record.received_at_us),
        ip,
        message_id: text(record.message_id),
        sent_at: text(record.sent_at),
        context: json(record.context).and_then(context),
        integrations: json(record.integrations),
        event: without(readable(&without_write_key(record.event)), fields),
    })
}

/// The event as it could be sent elsewhere: with its id, and the time at which it happened. `None` of what is no event.
pub(super) fn exported(kept: &KeptEntry, original: Option<&KeptOriginal>, fields: &[MaskedField]) -> Option<Value> {
    let read = original.and_then(|original| LoggedRecord::read(&original.shared, &original.own).ok())?;
    let record = read.record();
    let decoded = decode::decode(&record, record.source.into(), kept.entry.id.position);
    let mut event: Map<String, Value> = match decoded {
        Ok(event) => serde_json::from_str(&event.to_json()).ok()?,
        Err(_) if record.problem.is_none() => serde_json::from_slice(&without_write_key(record.event)).ok()?,
        Err(_) => return None,
    };
    // The clock of the client is corrected already, and whoever takes the event corrects it by these once more.
    for field in ["receivedAt", "sentAt", "originalTimestamp", "clientTimestamp", "writeKey"] {
        event.remove(field);
    }
    Some(without(Value::Object(event), fields))
}
