//! `sources/<name>.yaml`: where events enter.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::{NAME_CHARS_MAX, QUOTED_CHARS_MAX, shortened};
use tidegate_event::time;
use tidegate_source::http::{KEY_BYTES_MAX, Rate};
use tidegate_source::webhook::WebhookSettings;

use super::outgoing::Outgoing;
use super::streams::{self, StreamKind, StreamSourceConfig};
use super::surroundings::ObjectInputs;
use super::{folder, webhooks};

/// `sources/<name>.yaml`.
#[derive(Clone)]
pub struct SourceConfig {
    /// That of `write_key` first, the others in the order of their names in the file. A source of the catalog may have none here, and one
    /// that reads a stream has none.
    pub write_keys: Vec<WriteKeyConfig>,
    pub functions: Vec<(String, usize)>,
    /// How much may come in.
    pub rate: Rate,
    /// It takes nothing in for now.
    pub paused: bool,
    /// How long its events are kept in the log, in quarantine and for another try, microseconds; as long as everything else where it does not
    /// say.
    pub retention_us: Option<i64>,
    /// How it takes webhooks, if that is what it takes.
    pub webhook: Option<Arc<WebhookSettings>>,
    /// What it reads, if it is a stream.
    pub stream: Option<StreamSourceConfig>,
}

/// `write_key`, or an entry of `write_keys`. It prints nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct WriteKeyConfig {
    /// Unique in its source.
    pub name: String,
    pub key: String,
    /// From when on it opens nothing.
    pub ends_at_us: Option<i64>,
    pub line: usize,
}

impl std::fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets never print.
        f.debug_struct("SourceConfig")
            .field("functions", &self.functions)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

pub(super) fn source(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<SourceConfig> {
    let kind = fields.required("kind", "http");
    let webhook = (kind.as_deref() == Some(WEBHOOK)).then(|| webhooks::webhook(fields));
    let of_stream = kind.as_deref().and_then(StreamKind::of);
    let stream = of_stream.map(|kind| streams::stream(kind, fields, inputs, outgoing));
    if let Some(kind) = kind.filter(|kind| kind != "http" && kind != WEBHOOK && of_stream.is_none()) {
        let message = format!("a source of kind {kind:?} is not known");
        fields.problem("kind", message, "write http, webhook, kafka, pubsub or kinesis");
    }
    let is_signed = webhook.as_ref().is_some_and(|webhook| webhook.is_signed);
    let may_lack_keys = inputs.is_of_catalog() || is_signed || stream.is_some();
    let write_keys = if stream.is_some() { Vec::new() } else { write_keys(fields, may_lack_keys) };
    let functions = fields.texts_and_lines("functions");
    let mut rate = Rate { events: fields.per_second("rate", "5000/s"), ..Rate::default() };
    rate.bytes = fields.per_second("rate_bytes", "10 MB/s");
    if let Some(burst) = fields.duration("rate_burst") {
        rate.burst = burst;
    }
    let paused = fields.flag("paused").unwrap_or(false);
    let retention = fields.duration("retention");
    let retention_us = retention.map(|retention| i64::try_from(retention.as_micros()).unwrap_or(i64::MAX));
    let webhook = match webhook {
        Some(read) => Some(Arc::new(read.settings?)),
        None => None,
    };
    let stream = match stream {
        Some(read) => Some(read?),
        None => None,
    };
    let is_whole = may_lack_keys || !write_keys.is_empty();
    is_whole.then_some(SourceConfig { write_keys, functions, rate, paused, retention_us, webhook, stream })
}

const WEBHOOK: &str = "webhook";

/// Whether SDKs send to a source, by its document: no webhooks come to it, and it reads no stream.
pub(super) fn is_for_sdks(node: &DocumentNode) -> bool {
    let document = node.to_json();
    let kind = document.get("kind").and_then(serde_json::Value::as_str).unwrap_or_default();
    kind != WEBHOOK && StreamKind::of(kind).is_none()
}

/// The name of the key that stands in `write_key`.
const NAME_DEFAULT: &str = "default";
const EXAMPLE: &str = "<a secret of 16 characters or more>";

fn write_keys(fields: &mut Fields<'_>, may_lack_keys: bool) -> Vec<WriteKeyConfig> {
    let has_more = fields.has("write_keys");
    let alone =
        if has_more || may_lack_keys { fields.text("write_key") } else { fields.required("write_key", EXAMPLE) };
    let has_default = alone.is_some();
    let line = fields.line_of("write_key");
    let mut keys: Vec<WriteKeyConfig> = alone
        .map(|key| {
            check(fields, "write_key", &key);
            WriteKeyConfig { name: NAME_DEFAULT.to_owned(), key, ends_at_us: None, line }
        })
        .into_iter()
        .collect();
    let named = fields.each("write_keys", "key", |name, entry| {
        if !folder::is_name(name) {
            let message = format!("{:?} cannot be the name of a write key", shortened(name, NAME_CHARS_MAX));
            entry.problem("", message, "use up to 63 letters, digits, - and _");
        }
        if name == NAME_DEFAULT && has_default {
            let message = "`write_key` is the key of this name already";
            entry.problem("", message, "give one of the two another name, here, or take it away");
        }
        let (line, ends_at_us) = (entry.line_of(""), end(entry));
        let key = entry.required("key", EXAMPLE)?;
        check(entry, "key", &key);
        Some(WriteKeyConfig { name: name.to_owned(), key, ends_at_us, line })
    });
    if has_more && !has_default && named.is_empty() && !may_lack_keys {
        let fix = format!("write `<name>: {EXAMPLE}` below it, or `write_key` instead of it");
        fields.problem("write_keys", "there is no write key below `write_keys`", fix);
    }
    keys.extend(named.into_iter().flatten());
    keys
}

fn check(fields: &mut Fields<'_>, name: &str, key: &str) {
    const FIX: &str = "write a random one, e.g. from `openssl rand -hex 16`";
    if key.len() < 16 {
        fields.problem(name, "the write key is shorter than 16 characters and could be guessed", FIX);
    } else if key.len() > KEY_BYTES_MAX {
        fields.problem(name, format!("the write key is longer than {KEY_BYTES_MAX} bytes"), FIX);
    }
}

fn end(fields: &mut Fields<'_>) -> Option<i64> {
    let text = fields.text("ends")?;
    let end = time::parse(&text);
    if end.is_none() {
        let said = shortened(&text, QUOTED_CHARS_MAX);
        let message = format!("`{}` is {said:?}, not a time with its offset from UTC", fields.at("ends"));
        fields.problem("ends", message, "write it as `ends: 2026-12-31T00:00:00Z`");
    }
    end
}

/// The key of a source's file that a program takes to send: `write_key`, or else the first that has not ended.
pub(super) fn first_key(mut fields: Fields<'_>, now_us: i64) -> Option<String> {
    if fields.has("write_key") || !fields.has("write_keys") {
        return fields.only("write_key", "<the key>");
    }
    let keys = write_keys(&mut fields, false);
    fields.leave_rest();
    fields.finish();
    let open = keys.iter().find(|key| key.ends_at_us.is_none_or(|end| end > now_us));
    open.or(keys.first()).map(|key| key.key.clone())
}
