//! From domains to a contract: every rule checked, compiled and findable by kind, name and version.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use jsonschema::{Draft, PatternOptions, Validator};
use tidegate_event::EventKind;
use tidegate_event::time::{SENT_AT_READ_AS, TIMESTAMP_READ_AS};

use super::document::{self, Component};
use super::fields::{self, ContractFields};
use super::instance::EventJson;
use super::schema::clip;
use super::{
    ContractLimits, ContractProblem, Domain, EventRule, FieldType, OnSchemaViolation, OnUndeclaredFields,
    OnUndeclaredSchema, types,
};

/// Fields of `context` that are never undeclared: what the judge itself reads, and what the server says of the times that it
/// read and of where a message is from, is no business of a schema.
const CONTEXT_ALWAYS: [&str; 4] = ["htevents", SENT_AT_READ_AS, TIMESTAMP_READ_AS, "webhook"];

/// Fields of `context` that SDKs fill in by themselves, and the server where they did not.
const CONTEXT_BUILT_IN: [&str; 32] = [
    "active",
    "amp",
    "app",
    "campaign",
    "channel",
    "consent",
    "device",
    "direct",
    "externalId",
    "fbc",
    "fbp",
    "groupId",
    "instanceId",
    "ip",
    "library",
    "locale",
    "location",
    "migrationId",
    "network",
    "os",
    "page",
    "protocols",
    "referrer",
    "screen",
    "session",
    "sessionId",
    "sessionStart",
    "timezone",
    "traits",
    "userAgent",
    "userAgentData",
    "userId",
];

/// Every domain that applies to one source, compiled.
pub struct Contract {
    /// Some domain blocks what no rule declares.
    pub(super) block_undeclared: bool,
    /// Some domain wants a violation of each event that no rule declares, allowed or not.
    pub(super) undeclared_rows: bool,
    rules: Vec<ContractRule>,
    /// By kind, in the order of [`Kind::ALL`].
    kinds: [EventNames; 6],
    types: Vec<FieldType>,
}

/// One rule, compiled.
pub(super) struct ContractRule {
    /// It is for events of one name, where a page or screen may be for all.
    pub(super) is_named: bool,
    pub(super) version: String,
    pub(super) on_schema_violation: OnSchemaViolation,
    pub(super) on_undeclared_fields: OnUndeclaredFields,
    pub(super) undeclared_rows: bool,
    pub(super) fields: ContractFields,
    pub(super) validator: Validator<EventJson>,
}

/// Rules of one kind. The lists of versions are short, so they are searched from end to end.
#[derive(Default)]
struct EventNames {
    named: HashMap<String, Vec<usize>>,
    any: Vec<usize>,
}

/// What the contract knows of a (kind, name, version).
pub(super) enum EventLookup<'a> {
    Rule(&'a ContractRule),
    /// The event is declared, this version of it is not.
    UnknownVersion,
    Undeclared,
}

impl Contract {
    /// Compiles every domain that applies to one source, and reports everything that is wrong with them.
    pub fn compile(domains: &[Domain], limits: ContractLimits) -> Result<Self, Vec<ContractProblem>> {
        let mut contract = Self {
            block_undeclared: domains.iter().any(|it| it.on_undeclared_schema == OnUndeclaredSchema::BlockEvent),
            undeclared_rows: domains.iter().any(|it| it.undeclared_rows),
            rules: Vec::new(),
            kinds: Default::default(),
            types: Vec::new(),
        };
        let mut problems = Vec::new();
        let mut seen = HashMap::new();
        let count: usize = domains.iter().map(|domain| domain.events.len()).sum();
        if count > limits.rules_max {
            let problem = format!("It brings the events of one source to {count}, limit {}.", limits.rules_max);
            let origin = domains.last().map_or("", |domain| &domain.name);
            return Err(vec![ContractProblem::new(
                format!("domain \"{origin}\""),
                problem,
                "Give the source fewer domains.",
            )]);
        }
        for domain in domains {
            let (components, found) = document::components(&domain.name, &domain.components, &limits);
            problems.extend(found);
            for rule in &domain.events {
                let first = match seen.entry(identity(rule)) {
                    Entry::Occupied(first) => Some(*first.get()),
                    Entry::Vacant(place) => {
                        place.insert(rule.origin.as_str());
                        None
                    }
                };
                let found = check_identity(rule, first);
                if !found.is_empty() {
                    problems.extend(found);
                    continue;
                }
                match compile_rule(rule, domain.undeclared_rows, &components, &limits) {
                    Ok((compiled, types)) => {
                        contract.add(rule, compiled);
                        contract.types.extend(types);
                    }
                    Err(found) => problems.extend(found),
                }
            }
        }
        if problems.is_empty() { Ok(contract) } else { Err(problems) }
    }

    /// The types that the rules declare for fields; the same field may come several times, from several versions.
    #[must_use]
    pub fn types(&self) -> &[FieldType] {
        &self.types
    }

    fn add(&mut self, rule: &EventRule, compiled: ContractRule) {
        let names = &mut self.kinds[rule.kind as usize];
        let versions = match identity(rule).1 {
            Some(name) => names.named.entry(name.to_owned()).or_default(),
            None => &mut names.any,
        };
        versions.push(self.rules.len());
        self.rules.push(compiled);
    }

    /// The names of declared tracks, and whether tracks of other names are blocked.
    #[must_use]
    pub fn tracks(&self) -> (Vec<&str>, bool) {
        let mut names: Vec<&str> = self.kinds[EventKind::Track as usize].named.keys().map(String::as_str).collect();
        names.sort_unstable();
        (names, self.block_undeclared)
    }

    /// Whether some rule is for events of this name.
    #[must_use]
    pub fn has_name(&self, kind: EventKind, name: &str) -> bool {
        self.kinds[kind as usize].named.contains_key(name)
    }

    /// The rule for an event. A page or screen is looked for by its name first, then among the rules for any name.
    pub(super) fn find(&self, kind: EventKind, name: Option<&str>, version: &str) -> EventLookup<'_> {
        let names = &self.kinds[kind as usize];
        let named = name.and_then(|name| names.named.get(name)).map_or(&[][..], Vec::as_slice);
        let mut candidates = named.iter().chain(&names.any).map(|at| &self.rules[*at]);
        match candidates.find(|rule| rule.version == version) {
            Some(rule) => EventLookup::Rule(rule),
            None if named.is_empty() && names.any.is_empty() => EventLookup::Undeclared,
            None => EventLookup::UnknownVersion,
        }
    }
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = self.rules.len();
        f.debug_struct("Contract").field("block_undeclared", &self.block_undeclared).field("rules", &rules).finish()
    }
}

/// What tells one rule from another. Only tracks, pages and screens have names to match.
fn identity(rule: &EventRule) -> (EventKind, Option<&str>, &str) {
    let name = match rule.kind {
        EventKind::Track | EventKind::Page | EventKind::Screen => rule.name.as_deref(),
        EventKind::Identify | EventKind::Group | EventKind::Alias => None,
    };
    (rule.kind, name, &rule.version)
}

fn check_identity(rule: &EventRule, first: Option<&str>) -> Vec<ContractProblem> {
    let mut problems = Vec::new();
    if rule.kind == EventKind::Track && rule.name.as_deref().is_none_or(str::is_empty) {
        let fix = "Write `name`, exactly as the event is called in the code that sends it.";
        problems.push(ContractProblem::new(&rule.origin, "It declares a track without a name.", fix));
    }
    if rule.version.is_empty() {
        let fix = "Write a version, or leave `version` out for \"default\".";
        problems.push(ContractProblem::new(&rule.origin, "Its version is empty.", fix));
    }
    if let Some(first) = first {
        let (kind, name, version) = identity(rule);
        let name = name.map_or_else(|| "without a name".to_owned(), |name| format!("\"{}\"", clip(name)));
        let problem = format!("It declares {kind} {name}, version \"{}\", which {first} declares.", clip(version));
        problems.push(ContractProblem::new(&rule.origin, problem, "Give one of them another version, or remove it."));
    }
    problems
}

fn compile_rule(
    rule: &EventRule,
    undeclared_rows: bool,
    components: &BTreeMap<String, Component>,
    limits: &ContractLimits,
) -> Result<(ContractRule, Vec<FieldType>), Vec<ContractProblem>> {
    let built_in: &[&str] = if rule.include_built_in_context { &CONTEXT_BUILT_IN } else { &[] };
    let context_names = &[&CONTEXT_ALWAYS, built_in].concat();
    let document = document::prepare(&rule.origin, &rule.schema, components, context_names, limits)?;
    let fields = fields::compile(&document, context_names, limits)
        .map_err(|(problem, fix)| vec![ContractProblem::new(&rule.origin, problem, fix)])?;
    let patterns =
        PatternOptions::regex().size_limit(limits.pattern_bytes_max).dfa_size_limit(limits.pattern_bytes_max);
    let options =
        jsonschema::options_for::<EventJson>().with_draft(Draft::Draft7).offline().with_pattern_options(patterns);
    let validator = options.build(&document).map_err(|error| {
        let at = error.schema_path().as_str().to_owned();
        let problem = format!("Its schema cannot be compiled: at {at}, {}.", clip(&error.masked().to_string()));
        let fix = "Correct that keyword; patterns cannot have look-around or back-references.";
        vec![ContractProblem::new(&rule.origin, problem, fix)]
    })?;
    let compiled = ContractRule {
        is_named: identity(rule).1.is_some(),
        version: rule.version.clone(),
        on_schema_violation: rule.on_schema_violation,
        on_undeclared_fields: rule.on_undeclared_fields,
        undeclared_rows,
        fields,
        validator,
    };
    Ok((compiled, types::of(rule, &document)))
}
