//! `syncs/<name>.yaml`: which events of a source go to which destination, and as what.

use tidegate_event::EventKind;
use tidegate_pipeline::sync;

use super::batch::BatchConfig;
use super::fields::ConfigFields;

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
    pub words: Words,
}

/// Which events a sync gets that never ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartConfig {
    /// Those that are accepted from then on.
    Now,
    /// All that the log keeps.
    Beginning,
}

impl StartConfig {
    /// The word in a file of a sync.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Beginning => "beginning",
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

pub(super) fn sync(fields: &mut ConfigFields<'_>) -> Option<SyncConfig> {
    let source = fields.required("source", "web").map(|name| (name, fields.line_of("source")));
    let destination = fields.required("destination", "warehouse").map(|name| (name, fields.line_of("destination")));
    let schema = fields.text("schema");
    if let Some(schema) = &schema {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > 30 || !schema.chars().all(fits) || schema.starts_with('_') {
            let message = format!("the schema {schema:?} cannot stand in a table name");
            fields.problem(fields.line_of("schema"), message, "use up to 30 of a-z, 0-9 and _, not _ first");
        }
    }
    let start = match fields.text("start").as_deref() {
        None => None,
        Some("now") => Some(StartConfig::Now),
        Some("beginning") => Some(StartConfig::Beginning),
        Some(other) => {
            let message = format!("`start` cannot be {other:?}");
            fields.problem(fields.line_of("start"), message, "write `start: now` or `start: beginning`");
            None
        }
    };
    let (mut filter, mut words) = (sync::SyncFilter::default(), Words::default());
    fields.within("filter", |f| {
        for (word, line) in f.texts("types") {
            match EventKind::parse(&word) {
                Some(kind) => filter.kinds.push(kind),
                None => {
                    let words: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                    f.problem(line, format!("{word:?} is no event type"), format!("use {}", words.join(", ")));
                }
            }
        }
        let (events, except_events) = (f.texts("events"), f.texts("except_events"));
        let names = |said: &[(String, usize)]| said.iter().map(|(name, _)| name.clone()).collect();
        (filter.events, filter.except_events) = (names(&events), names(&except_events));
        words.events.extend(events.into_iter().chain(except_events));
    });
    fields.within("consent", |f| {
        filter.consent.categories = f.texts("categories").into_iter().map(|(name, _)| name).collect();
        filter.consent.without = match f.text("without").as_deref() {
            None | Some("send") => true,
            Some("filter") => false,
            Some(other) => {
                let message = format!("`without` cannot be {other:?}");
                f.problem(f.line_of("without"), message, "write `without: filter` or `without: send`");
                true
            }
        };
        if filter.consent.categories.is_empty() && f.all_are_known() {
            f.problem(f.line_of("categories"), "`consent` names no category", "write `categories: [Advertising]`");
        }
    });
    let functions = fields.texts("functions");
    let mut mapping = sync::Mapping::default();
    fields.within("mapping", |f| {
        let pointer = |f: &mut ConfigFields<'_>, text: &str, line| match text.parse::<sync::Pointer>() {
            Ok(pointer) => Some(pointer),
            Err(message) => {
                f.problem(line, message, "name fields by JSON pointer, e.g. /properties/order_id");
                None
            }
        };
        for (text, line) in f.texts("remove") {
            mapping.remove.extend(pointer(f, &text, line));
            words.pointers.push((text, line));
        }
        for (from, to, line) in f.pairs("rename") {
            words.pointers.push((from.clone(), line));
            words.targets.push((to.clone(), line));
            if let (Some(from), Some(to)) = (pointer(f, &from, line), pointer(f, &to, line)) {
                mapping.rename.push((from, to));
            }
        }
    });
    let batch = BatchConfig::read(fields);
    Some(SyncConfig {
        source: source?,
        destination: destination?,
        schema,
        start,
        filter,
        functions,
        mapping,
        batch,
        words,
    })
}
