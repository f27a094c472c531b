//! The files of a contract repository, already parsed, to the domains that apply to one source.
//!
//! Two layouts, of which a repository uses exactly one, below its root or below `events/`:
//! * `domains/<domain>/domain.yaml`, `domains/<domain>/<event>.yaml`, `domains/<domain>/components/<slug>.yaml`;
//! * `contracts/<contract>.yaml`, `contracts/<contract>/<event>.yaml` (older).
//!
//! Whatever lies elsewhere is none of our business. Whatever lies below one of the two and cannot be understood is a
//! problem, because a rule that is silently left out is a rule that does not protect.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidegate_document::nearest::nearest;
use tidegate_event::EventKind;

use super::schema::{clip, escape};
use super::{
    ContractProblem, Domain, EventRule, OnSchemaViolation, OnUndeclaredFields, OnUndeclaredSchema, VERSION_DEFAULT,
};

const EVENTS: &str = "events/";

#[derive(Clone, Copy, PartialEq, Eq)]
enum LayoutShape {
    Domains,
    Contracts,
}

/// What one file is, by its place.
enum LayoutPart<'a> {
    Meta { domain: &'a str },
    Event { domain: &'a str },
    Component { domain: &'a str, slug: &'a str },
}

/// A domain as its files come in.
#[derive(Default)]
struct Draft {
    /// What the domain's own file says, once it was met.
    meta: Option<Meta>,
    /// The domain's own file was met, even if it was faulty.
    met: bool,
    events: Vec<EventRule>,
    components: BTreeMap<String, Value>,
    /// Any of its files, for messages.
    origin: String,
}

/// What the file of a domain says.
struct Meta {
    name: String,
    on_undeclared_schema: OnUndeclaredSchema,
    undeclared_rows: bool,
    sources: Option<Vec<String>>,
}

impl Domain {
    /// Whether a file at `path` may be read by [`Domain::from_files`].
    #[must_use]
    pub fn reads(path: &str) -> bool {
        place(path).is_some()
    }

    /// The domains that apply to `source`, from every parsed file of a repository by its relative path (with `/`).
    /// Reports everything that is wrong, in domains for other sources too.
    pub fn from_files(files: &BTreeMap<String, Value>, source: &str) -> Result<Vec<Self>, Vec<ContractProblem>> {
        let mut reading = LayoutReading { source, drafts: BTreeMap::new(), problems: Vec::new() };
        // As for the reference tooling, `events/` wins over directories of the same names at the root.
        let root = if files.keys().any(|path| place(path).is_some_and(|it| it.0 == EVENTS)) { EVENTS } else { "" };
        let mut first: Option<(LayoutShape, &str)> = None;
        for (path, value) in files {
            let Some((_, shape, below)) = place(path).filter(|it| it.0 == root) else { continue };
            match first {
                None => first = Some((shape, path)),
                Some((layout, _)) if layout == shape => {}
                Some((_, other)) => {
                    let problem = format!("It is laid out unlike {other}.");
                    let fix = "Use one layout: move everything under domains, or everything under contracts.";
                    return Err(vec![ContractProblem::new(path, problem, fix)]);
                }
            }
            match part(path, shape, below) {
                Ok(part) => reading.read(path, value, &part),
                Err(problem) => reading.problems.push(problem),
            }
        }
        if first.is_none() {
            let fix = "Put domains into events/domains/<domain>/domain.yaml, events beside it.";
            return Err(vec![ContractProblem::new("contracts", "There are no contract files here.", fix)]);
        }
        let LayoutReading { drafts, mut problems, .. } = reading;
        let mut domains = Vec::new();
        for (slug, draft) in drafts {
            match draft.meta {
                Some(Meta { name, on_undeclared_schema, undeclared_rows, sources }) => {
                    if sources.is_none_or(|sources| sources.iter().any(|it| it == source)) {
                        let Draft { events, components, .. } = draft;
                        domains.push(Self { name, on_undeclared_schema, undeclared_rows, events, components });
                    }
                }
                None if draft.met => {}
                None => {
                    let problem = format!("It belongs to \"{slug}\", which has no file of its own.");
                    let fix = format!("Add {slug}/domain.yaml (in the older layout, {slug}.yaml) with a `name`.");
                    problems.push(ContractProblem::new(draft.origin, problem, fix));
                }
            }
        }
        if problems.is_empty() { Ok(domains) } else { Err(problems) }
    }
}

/// Where a path lies in either layout: the root, the layout, and what follows.
fn place(path: &str) -> Option<(&str, LayoutShape, &str)> {
    let (root, rest) = path.strip_prefix(EVENTS).map_or(("", path), |rest| (EVENTS, rest));
    let (shape, below) = match rest.split_once('/')? {
        ("domains", below) => (LayoutShape::Domains, below),
        ("contracts", below) => (LayoutShape::Contracts, below),
        _ => return None,
    };
    let name = below.rsplit('/').next()?;
    (has_extension(name, "yaml") || has_extension(name, "yml")).then_some((root, shape, below))
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}

fn part<'a>(path: &str, shape: LayoutShape, below: &'a str) -> Result<LayoutPart<'a>, ContractProblem> {
    let Some(below) = below.strip_suffix(".yaml") else {
        return Err(ContractProblem::new(path, "Its name does not end in .yaml.", "Rename it to end in .yaml."));
    };
    let steps: Vec<&str> = below.split('/').collect();
    match (shape, steps.as_slice()) {
        (LayoutShape::Domains, [domain, "domain"]) | (LayoutShape::Contracts, [domain]) => {
            Ok(LayoutPart::Meta { domain })
        }
        (LayoutShape::Domains, [_, event]) if event.eq_ignore_ascii_case("domain") => {
            let fix = "Give the event file another name, or write domain.yaml in lower case.";
            Err(ContractProblem::new(path, "The name \"domain\" is reserved for the domain's own file.", fix))
        }
        (_, [domain, _]) => Ok(LayoutPart::Event { domain }),
        (LayoutShape::Domains, [domain, "components", slug]) => Ok(LayoutPart::Component { domain, slug }),
        _ => Err(ContractProblem::new(
            path,
            "It lies where no event and no component is looked for.",
            "Put events beside their domain.yaml, components into components/, or move it out.",
        )),
    }
}

/// What the files of a repository have said so far, read for one source.
struct LayoutReading<'a> {
    source: &'a str,
    drafts: BTreeMap<&'a str, Draft>,
    problems: Vec<ContractProblem>,
}

impl<'a> LayoutReading<'a> {
    fn read(&mut self, path: &str, value: &Value, part: &LayoutPart<'a>) {
        let (LayoutPart::Meta { domain } | LayoutPart::Event { domain } | LayoutPart::Component { domain, .. }) = part;
        let draft = self.drafts.entry(domain).or_default();
        if draft.origin.is_empty() {
            path.clone_into(&mut draft.origin);
        }
        draft.met |= matches!(part, LayoutPart::Meta { .. });
        let Some(map) = value.as_object() else {
            self.problems.push(ContractProblem::new(
                path,
                "It is not a mapping.",
                "Write keys and values, as in `name: Shop`.",
            ));
            return;
        };
        let mut keys = LayoutKeys { path, map, problems: Vec::new() };
        match part {
            LayoutPart::Meta { .. } => draft.meta = read_meta(&mut keys),
            LayoutPart::Event { .. } => draft.events.extend(read_event(&mut keys)),
            LayoutPart::Component { slug, .. } => {
                if let Some(schema) = read_component(&mut keys, self.source) {
                    draft.components.insert((*slug).to_owned(), schema);
                }
            }
        }
        self.problems.append(&mut keys.problems);
    }
}

fn read_meta(keys: &mut LayoutKeys<'_>) -> Option<Meta> {
    keys.allow(&["name", "description", "onUndeclaredSchema", "undeclaredRows", "sources"]);
    keys.text("description");
    let policy = keys.word("onUndeclaredSchema", OnUndeclaredSchema::parse, OnUndeclaredSchema::WORDS);
    let undeclared_rows = keys.truth("undeclaredRows").unwrap_or(false);
    let sources = keys.texts("sources");
    let name = keys.required_text("name")?;
    Some(Meta { name, on_undeclared_schema: policy.unwrap_or_default(), undeclared_rows, sources })
}

fn read_event(keys: &mut LayoutKeys<'_>) -> Option<EventRule> {
    keys.allow(&[
        "type",
        "name",
        "description",
        "version",
        "onSchemaViolation",
        "onUndeclaredFields",
        "includeBuiltInContext",
        "schema",
    ]);
    keys.text("description");
    let name = keys.text("name");
    let version = keys.text("version");
    let on_schema_violation = keys.word("onSchemaViolation", OnSchemaViolation::parse, OnSchemaViolation::WORDS);
    let on_undeclared_fields = keys.word("onUndeclaredFields", OnUndeclaredFields::parse, OnUndeclaredFields::WORDS);
    let include_built_in_context = keys.truth("includeBuiltInContext");
    let schema = keys.required("schema");
    let kind = keys.required("type").and_then(Value::as_str).and_then(EventKind::parse);
    if kind.is_none() && keys.map.contains_key("type") {
        keys.problem("type", "`type` is no kind of event.", "Write track, identify, page, screen, group or alias.");
    }
    Some(EventRule {
        kind: kind?,
        // An empty name names nothing; a track without a name is then a problem of its own.
        name: name.filter(|name| !name.is_empty()),
        version: version.unwrap_or_else(|| VERSION_DEFAULT.to_owned()),
        on_schema_violation: on_schema_violation.unwrap_or_default(),
        on_undeclared_fields: on_undeclared_fields.unwrap_or_default(),
        include_built_in_context: include_built_in_context.unwrap_or(false),
        schema: schema?.clone(),
        origin: keys.path.to_owned(),
    })
}

/// The schema of a component, when it is there for `source`.
fn read_component(keys: &mut LayoutKeys<'_>, source: &str) -> Option<Value> {
    keys.allow(&["name", "version", "description", "sources", "schema"]);
    keys.required_text("name");
    keys.text("version");
    keys.text("description");
    let sources = keys.texts("sources").unwrap_or_default();
    let schema = keys.required("schema")?;
    (sources.is_empty() || sources.iter().any(|it| it == source)).then(|| schema.clone())
}

/// One file's mapping, read key by key. A null counts as left out.
struct LayoutKeys<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
    problems: Vec<ContractProblem>,
}

impl<'a> LayoutKeys<'a> {
    fn problem(&mut self, key: &str, problem: impl Into<String>, fix: impl Into<String>) {
        let place = format!("/{}", escape(key));
        self.problems.push(ContractProblem::new(self.path, problem, fix).at(place));
    }

    fn allow(&mut self, known: &[&str]) {
        let map = self.map;
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let fix = match nearest(key, known) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Known are {}.", known.join(", ")),
            };
            self.problem(key, format!("The key `{}` is unknown here.", clip(key)), fix);
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn required(&mut self, key: &str) -> Option<&'a Value> {
        let found = self.get(key);
        if found.is_none() {
            self.problem(key, format!("`{key}` is missing."), format!("Add `{key}`."));
        }
        found
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let text = self.get(key)?.as_str();
        if text.is_none() {
            self.problem(key, format!("`{key}` is not text."), "Put it in quotes.");
        }
        text.map(str::to_owned)
    }

    fn required_text(&mut self, key: &str) -> Option<String> {
        self.required(key)?;
        let text = self.text(key)?;
        if text.is_empty() {
            self.problem(key, format!("`{key}` is empty."), "Write a name.");
            return None;
        }
        Some(text)
    }

    fn truth(&mut self, key: &str) -> Option<bool> {
        let truth = self.get(key)?.as_bool();
        if truth.is_none() {
            self.problem(key, format!("`{key}` is neither true nor false."), "Write true or false, without quotes.");
        }
        truth
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        // Not even null is taken for left out here: an emptied list must not turn "none" into "all".
        let list = self.map.get(key)?.as_array();
        let texts = list.and_then(|list| list.iter().map(|it| it.as_str().map(str::to_owned)).collect());
        if texts.is_none() {
            self.problem(
                key,
                format!("`{key}` is not a list of names."),
                "Write a list of source names, as in [web, ios].",
            );
        }
        texts
    }

    fn word<T>(&mut self, key: &str, parse: fn(&str) -> Option<T>, words: &str) -> Option<T> {
        let word = self.get(key)?.as_str().and_then(parse);
        if word.is_none() {
            self.problem(key, format!("`{key}` is no policy."), format!("Write {words}."));
        }
        word
    }
}
