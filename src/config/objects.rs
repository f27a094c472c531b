//! The objects of a workspace: sources, functions, destinations, syncs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_document::file;
use tidegate_event::EventKind;
use tidegate_pipeline::sync;
use tidegate_source::http::Rate;
use tidegate_wasm::CallLimits;

use super::fields::{ConfigFields, ConfigProblem};
use super::lookups::{self, Borrowed};
use super::outgoing::Outgoing;
use super::plugin::PluginConfig;
use super::read_file;
use crate::warehouses;

/// `sources/<name>.yaml`.
#[derive(Clone)]
pub struct SourceConfig {
    pub write_key: String,
    pub functions: Vec<(String, usize)>,
    /// How much may come in.
    pub rate: Rate,
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

/// `functions/<name>.yaml`.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    /// The component, a `.wasm` file.
    pub component: PathBuf,
    pub settings_json: String,
    pub memory_bytes_max: Option<usize>,
    pub cpu_batch_max: Option<Duration>,
    /// Tables that it may look up.
    pub lookups: Vec<Borrowed>,
}

/// `destinations/<name>.yaml`.
#[derive(Debug, Clone)]
pub struct DestinationConfig {
    pub kind: DestinationKind,
}

/// What a destination is.
#[derive(Debug, Clone)]
pub enum DestinationKind {
    Warehouse(Box<warehouses::WarehouseSettings>),
    Plugin(Box<PluginConfig>),
}

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

/// When a batch is large or old enough; what is not said is the destination's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchConfig {
    pub events_max: Option<usize>,
    pub bytes_max: Option<usize>,
    pub age_max: Option<Duration>,
}

/// A batch is held in memory.
pub(super) const BATCH_EVENTS_MAX: i64 = 10_000_000;
pub(super) const BATCH_BYTES_MAX: u64 = 4 << 30;

/// What names may refer to.
pub(super) struct ObjectNames<'a> {
    pub(super) sources: &'a BTreeMap<String, SourceConfig>,
    pub(super) functions: &'a BTreeMap<String, FunctionConfig>,
    pub(super) destinations: &'a BTreeMap<String, DestinationConfig>,
}

/// Reads every `*.yaml` in a folder; a missing folder is an empty one.
pub(super) fn read_folder<T>(
    dir: &Path,
    folder: &str,
    problems: &mut Vec<ConfigProblem>,
    mut read: impl FnMut(&mut ConfigFields<'_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut objects = BTreeMap::new();
    let mut paths: Vec<PathBuf> = yaml_files(dir, folder).collect();
    paths.sort();
    let mut before: Option<&Path> = None;
    for path in &paths {
        let name = object_name(path);
        if let Some(other) = before.replace(path).filter(|other| object_name(other) == name) {
            let other = other.file_name().unwrap_or_default().to_string_lossy();
            let message = format!("{name:?} stands in {other} too, and a name is one object");
            problems.push(ConfigProblem {
                file: path.clone(),
                line: 0,
                message,
                fix: "keep one of the two files".into(),
            });
            continue;
        }
        if !is_name(&name) {
            problems.push(ConfigProblem {
                file: path.clone(),
                line: 0,
                message: format!("the file's name is the object's name, and {name:?} cannot be one"),
                fix: "use up to 63 letters, digits, - and _ before .yaml".into(),
            });
            continue;
        }
        if let Some(object) = read_file(dir, path, problems, &mut read).flatten() {
            objects.insert(name, object);
        }
    }
    objects
}

/// The files of a folder by the names of their objects, unread.
pub(super) fn files(dir: &Path, folder: &str) -> BTreeMap<String, PathBuf> {
    let named = yaml_files(dir, folder).map(|path| (object_name(&path), path));
    named.filter(|(name, _)| is_name(name)).collect()
}

fn yaml_files(dir: &Path, folder: &str) -> impl Iterator<Item = PathBuf> {
    entries(&dir.join(folder)).filter(|path| is_yaml(path))
}

/// What lies in a folder; nothing where it cannot be read.
pub(super) fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether a file is read, by its name.
pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn object_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 63 && name.chars().all(fits)
}

pub(super) fn source(fields: &mut ConfigFields<'_>) -> Option<SourceConfig> {
    if let Some(kind) = fields.required("kind", "http").filter(|kind| kind != "http") {
        let message = format!("a source of kind {kind:?} is not known");
        fields.problem(fields.line_of("kind"), message, "write `kind: http`");
    }
    let write_key = fields.required("write_key", "<a secret of 16 characters or more>");
    let functions = fields.texts("functions");
    let mut rate = Rate { events: fields.per_second("rate", "5000/s"), ..Rate::default() };
    rate.bytes = fields.per_second("rate_bytes", "10 MB/s");
    if let Some(burst) = fields.duration("rate_burst") {
        rate.burst = burst;
    }
    let write_key = write_key?;
    if write_key.len() < 16 {
        let message = "the write key is shorter than 16 characters and could be guessed";
        fields.problem(fields.line_of("write_key"), message, "write a random one, e.g. from `openssl rand -hex 16`");
    }
    Some(SourceConfig { write_key, functions, rate })
}

pub(super) fn function(fields: &mut ConfigFields<'_>, dir: &Path) -> Option<FunctionConfig> {
    let component = fields.required("component", "functions/name.component.wasm");
    let settings_json = fields.json("settings").map_or_else(|| "{}".to_owned(), |json| json.to_string());
    let memory_bytes_max = fields.bytes_up_to("memory_bytes_max", CallLimits::default().memory_bytes_ceiling as u64);
    let cpu_batch_max = fields.duration("cpu_batch_max");
    let lookups = lookups::borrowed(fields);
    let component = dir.join(component?);
    if let Err(error) = file::stays_within(dir, &component).and_then(|()| file::open(&component)) {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!("the component {} does not exist", component.display()),
            _ => format!("the component {} cannot be read: {error}", component.display()),
        };
        let fix = "build it with `tidegate function build <its folder>` and point `component` at the .wasm file";
        fields.problem(fields.line_of("component"), message, fix);
    }
    Some(FunctionConfig { component, settings_json, memory_bytes_max, cpu_batch_max, lookups })
}

/// What a destination may refer to.
pub(super) struct Around<'a> {
    /// The workspace's folder.
    pub(super) dir: &'a Path,
    pub(super) data: &'a Path,
    pub(super) outgoing: &'a Outgoing,
}

pub(super) fn destination(fields: &mut ConfigFields<'_>, around: &Around<'_>) -> Option<DestinationConfig> {
    let Some(kind) = fields.required("kind", "sqlite") else {
        fields.leave_rest();
        return None;
    };
    let kind = match kind.as_str() {
        "plugin" => DestinationKind::Plugin(Box::new(super::plugin::plugin(fields, around)?)),
        kind => DestinationKind::Warehouse(Box::new(super::warehouses::warehouse(fields, kind, around)?)),
    };
    Some(DestinationConfig { kind })
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
    let mut batch = BatchConfig::default();
    fields.within("batch", |f| {
        batch.events_max = f.number_up_to("events_max", 1, BATCH_EVENTS_MAX);
        batch.bytes_max = f.bytes_up_to("bytes_max", BATCH_BYTES_MAX);
        batch.age_max = f.duration("age_max");
    });
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

/// Notes names that lead nowhere, and syncs that would write into each other's tables.
pub(super) fn check(
    dir: &Path,
    names: &ObjectNames<'_>,
    syncs: &BTreeMap<String, SyncConfig>,
    problems: &mut Vec<ConfigProblem>,
) {
    let mut note = |file: PathBuf, line, message: String, fix: String| {
        problems.push(ConfigProblem { file, line, message, fix });
    };
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, source) in names.sources {
        let file = dir.join(format!("sources/{name}.yaml"));
        if let Some(other) = keys.insert(&source.write_key, name) {
            let message = format!("the write key is also that of source {other}");
            note(file.clone(), 0, message, "give each source a key of its own".into());
        }
        unknown(&file, "function", &source.functions, names.functions, &mut note);
    }
    let mut targets: BTreeMap<(&str, Option<&str>), (&str, &str)> = BTreeMap::new();
    for (name, sync) in syncs {
        let file = dir.join(format!("syncs/{name}.yaml"));
        unknown(&file, "source", std::slice::from_ref(&sync.source), names.sources, &mut note);
        unknown(&file, "destination", std::slice::from_ref(&sync.destination), names.destinations, &mut note);
        unknown(&file, "function", &sync.functions, names.functions, &mut note);
        let kind = names.destinations.get(&sync.destination.0).map(|destination| &destination.kind);
        if kind.is_none() {
            continue;
        }
        if let Some(DestinationKind::Plugin(_)) = kind {
            if sync.schema.is_some() {
                let message = format!("a schema is for tables, and {} has none", sync.destination.0);
                note(file, 0, message, "take `schema` away".to_owned());
            }
            continue;
        }
        let target = (sync.destination.0.as_str(), sync.schema.as_deref());
        if let Some((other, source)) = targets.insert(target, (name, &sync.source.0)) {
            let message = format!(
                "this sync and sync {other} (source {source}) write into the same tables of {}, where one event could take the place of another",
                target.0
            );
            note(file, sync.destination.1, message, format!("add `schema: {name}` to one of them"));
        }
    }
}

fn unknown<T>(
    file: &Path,
    what: &str,
    asked: &[(String, usize)],
    known: &BTreeMap<String, T>,
    note: &mut impl FnMut(PathBuf, usize, String, String),
) {
    // What stands in a file that cannot be read has its own problem noted.
    let folder = file.parent().and_then(Path::parent).unwrap_or(Path::new("")).join(format!("{what}s"));
    let is_there = |name: &str| ["yaml", "yml"].iter().any(|end| folder.join(format!("{name}.{end}")).exists());
    for (name, line) in asked.iter().filter(|(name, _)| !known.contains_key(name) && !is_there(name)) {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        let fix = if names.is_empty() {
            format!("make {what}s/{name}.yaml")
        } else {
            format!("use one of {}, or make {what}s/{name}.yaml", names.join(", "))
        };
        note(file.to_owned(), *line, format!("there is no {what} {name:?}"), fix);
    }
}
