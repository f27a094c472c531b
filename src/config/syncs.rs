//! `syncs/<name>.yaml`: which events of a source go to which destination, and as what.

use tidegate_document::fields::Fields;
use tidegate_event::{EventKind, time};
use tidegate_pipeline::sync;

use super::batch::BatchConfig;

/// `syncs/<name>.yaml`.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    pub source: (String, usize),
    pub destination: (String, usize),
    pub schema: Option<String>,
    /// None: what is usual for its destination.
    pub start: Option<StartConfig>,
    pub filter: sync::SyncFilter,
    pub functions: Vec<(String, usize)>,
    pub mapping: sync::Mapping,
    pub batch: BatchConfig,
    /// It delivers nothing for now, and the log keeps what waits for it.
    pub paused: bool,
    pub words: Words,
}

/// Which events a sync gets that never ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartConfig {
    /// Those that are accepted from then on.
    Now,
    /// All that the log keeps.
    Beginning,
    /// Those that were received then or later, microseconds since the epoch.
    Since(i64),
}

impl StartConfig {
    /// As it stands in a file of a sync.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Now => "now".to_owned(),
            Self::Beginning => "beginning".to_owned(),
            Self::Since(at_us) => time::format(at_us),
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        match text {
            "now" => Some(Self::Now),
            "beginning" => Some(Self::Beginning),
            text => time::parse(text).map(Self::Since),
        }
    }
}

/// Names of a sync that only events can prove right, each with its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Event names of the filter.
    pub events: Vec<(String, usize)>,
    /// JSON pointers that the mapping takes from.
    pub pointers: Vec<(String, usize)>,
    /// JSON pointers that the mapping renames to.
    pub targets: Vec<(String, usize)>,
}

pub(super) fn sync(fields: &mut Fields<'_>) -> Option<SyncConfig> {
    let source = fields.required("source", "web").map(|name| (name, fields.line_of("source")));
    let destination = fields.required("destination", "warehouse").map(|name| (name, fields.line_of("destination")));
    let schema = fields.text("schema");
    if let Some(schema) = &schema {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > 30 || !schema.chars().all(fits) || schema.starts_with('_') {
            let message = format!("the schema {schema:?} cannot stand in a table name");
            fields.problem("schema", message, "use up to 30 of a-z, 0-9 and _, not _ first");
        }
    }
    let start = fields.text("start").and_then(|text| {
        let start = StartConfig::of_text(&text);
        if start.is_none() {
            let message = format!("`start` is {:?}", text.chars().take(60).collect::<String>());
            let fix = "write `start: now`, `start: beginning` or a time such as `start: 2026-01-31T00:00:00Z`";
            fields.problem("start", message, fix);
        }
        start
    });
    let (mut filter, mut words) = (sync::SyncFilter::default(), Words::default());
    fields.within("filter", |f| {
        for (word, line) in f.texts_and_lines("types") {
            match EventKind::parse(&word) {
                Some(kind) => filter.kinds.push(kind),
                None => {
                    let words: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                    f.problem_at(
                        "types",
                        line,
                        format!("{word:?} is no event type"),
                        format!("use {}", words.join(", ")),
                    );
                }
            }
        }
        let (events, except_events) = (f.texts_and_lines("events"), f.texts_and_lines("except_events"));
        let names = |said: &[(String, usize)]| said.iter().map(|(name, _)| name.clone()).collect();
        (filter.events, filter.except_events) = (names(&events), names(&except_events));
        words.events.extend(events.into_iter().chain(except_events));
    });
    fields.within("consent", |f| {
        filter.consent.categories = f.texts("categories");
        filter.consent.without = f.word("without", &[("send", true), ("filter", false)]).unwrap_or(true);
        if filter.consent.categories.is_empty() && f.all_are_known() {
            f.problem("categories", "`consent` names no category", "write `categories: [Advertising]`");
        }
    });
    let functions = fields.texts_and_lines("functions");
    let mut mapping = sync::Mapping::default();
    fields.within("mapping", |f| {
        let pointer = |f: &mut Fields<'_>, name, text: &str, line| match text.parse::<sync::Pointer>() {
            Ok(pointer) => Some(pointer),
            Err(message) => {
                f.problem_at(name, line, message, "name fields by JSON pointer, e.g. /properties/order_id");
                None
            }
        };
        for (text, line) in f.texts_and_lines("remove") {
            mapping.remove.extend(pointer(f, "remove", &text, line));
            words.pointers.push((text, line));
        }
        for (from, to, line) in f.pairs("rename") {
            words.pointers.push((from.clone(), line));
            words.targets.push((to.clone(), line));
            if let (Some(from), Some(to)) = (pointer(f, "rename", &from, line), pointer(f, "rename", &to, line)) {
                mapping.rename.push((from, to));
            }
        }
    });
    let batch = BatchConfig::read(fields);
    let paused = fields.flag("paused").unwrap_or(false);
    Some(SyncConfig {
        source: source?,
        destination: destination?,
        schema,
        start,
        filter,
        functions,
        mapping,
        batch,
        paused,
        words,
    })
}
