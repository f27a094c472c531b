//! How many schemas a validator applies to one value of an event, repetitions counted.
//!
//! A schema that refers to itself twice from the same place doubles the work at every level of the event: an event
//! of sixty levels would be judged for longer than anyone lives. This follows the places of an event downwards, each
//! with the schemas that apply there and how often, and refuses the schema where they become too many. Keys that
//! match several patterns at once are followed for each pattern by itself; whoever writes contracts is trusted not
//! to hide in that.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::ContractLimits;
use super::schema::{Relation, children, members, target};

/// A schema and how often it applies.
type AppliedSchema<'a, S> = (&'a S, usize);

type AppliedMap<'a> = AppliedSchema<'a, Map<String, Value>>;

/// Checks a document that is known not to be endless in place. The error is one sentence.
pub(super) fn check(document: &Value, limits: &ContractLimits) -> Result<(), String> {
    let mut work =
        JudgeWork { document, limits, known: HashSet::new(), open: VecDeque::new(), patterns: HashMap::new() };
    work.place(0, vec![(document, 1)])?;
    while let Some((level, schemas)) = work.open.pop_front() {
        if level < limits.event_depth_max {
            work.below(level + 1, &schemas)?;
        }
    }
    Ok(())
}

struct JudgeWork<'a> {
    document: &'a Value,
    limits: &'a ContractLimits,
    /// Places already met, by the schemas that apply there (by address) and how often.
    known: HashSet<Vec<(*const Map<String, Value>, usize)>>,
    /// Places still to be followed, the upper levels first, so that every place is met at its highest.
    open: VecDeque<(usize, Vec<AppliedMap<'a>>)>,
    /// A pattern that cannot be compiled is refused elsewhere.
    patterns: HashMap<&'a str, Option<Regex>>,
}

impl<'a> JudgeWork<'a> {
    fn place(&mut self, level: usize, mut schemas: Vec<AppliedSchema<'a, Value>>) -> Result<(), String> {
        let mut gathered: BTreeMap<*const Map<String, Value>, AppliedMap<'a>> = BTreeMap::new();
        let mut total = 0_usize;
        while let Some((schema, times)) = schemas.pop() {
            total = total.saturating_add(times);
            if total > self.limits.applied_max {
                return Err(format!("Its schema applies more than {} schemas to one value.", self.limits.applied_max));
            }
            let Value::Object(map) = schema else { continue };
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                schemas.extend(target(self.document, reference).map(|schema| (schema, times)));
                continue;
            }
            let mut reaches_below = false;
            for (_, child, relation) in children(map) {
                match relation {
                    Relation::Same | Relation::Negated => schemas.push((child, times)),
                    Relation::Below => reaches_below = true,
                    Relation::Apart => {}
                }
            }
            if reaches_below {
                gathered.entry(std::ptr::from_ref(map)).or_insert((map, 0)).1 += times;
            }
        }
        let key: Vec<_> = gathered.iter().map(|(address, (_, times))| (*address, *times)).collect();
        if key.is_empty() || !self.known.insert(key) {
            return Ok(());
        }
        if self.known.len() > self.limits.places_max {
            return Err(format!("Its schema tells more than {} places apart.", self.limits.places_max));
        }
        self.open.push_back((level, gathered.into_values().collect()));
        Ok(())
    }

    fn below(&mut self, level: usize, schemas: &[AppliedMap<'a>]) -> Result<(), String> {
        let listed: BTreeSet<&str> = names(schemas, "properties").collect();
        let patterns: BTreeSet<&'a str> = names(schemas, "patternProperties").collect();
        for key in listed {
            let matching: Vec<_> = patterns.iter().copied().filter(|pattern| self.matches(pattern, key)).collect();
            self.place(level, with_key(schemas, Some(key), &matching))?;
        }
        for pattern in patterns {
            self.place(level, with_key(schemas, None, &[pattern]))?;
        }
        self.place(level, with_key(schemas, None, &[]))?;

        let lists = schemas.iter().filter_map(|(schema, _)| schema.get("items").and_then(Value::as_array));
        let length = lists.map(Vec::len).max().unwrap_or(0);
        for at in 0..=length {
            let mut here: Vec<AppliedSchema<'a, Value>> = Vec::new();
            for (schema, times) in schemas {
                let item = match schema.get("items") {
                    Some(Value::Array(list)) => list.get(at).or_else(|| schema.get("additionalItems")),
                    every => every,
                };
                here.extend(item.into_iter().chain(schema.get("contains")).map(|it| (it, *times)));
            }
            self.place(level, here)?;
        }
        Ok(())
    }

    fn matches(&mut self, pattern: &'a str, key: &str) -> bool {
        let bytes_max = self.limits.pattern_bytes_max;
        let compile = || RegexBuilder::new(pattern).size_limit(bytes_max).build().ok();
        self.patterns.entry(pattern).or_insert_with(compile).as_ref().is_some_and(|it| it.is_match(key))
    }
}

fn names<'a>(schemas: &[AppliedMap<'a>], keyword: &str) -> impl Iterator<Item = &'a str> {
    schemas.iter().flat_map(move |(schema, _)| members(schema, keyword)).map(|(name, _)| name.as_str())
}

/// The schemas that apply below a key, listed or not, that matches `patterns`.
fn with_key<'a>(schemas: &[AppliedMap<'a>], key: Option<&str>, patterns: &[&str]) -> Vec<AppliedSchema<'a, Value>> {
    let mut below = Vec::new();
    for (schema, times) in schemas {
        let before = below.len();
        below.extend(key.and_then(|key| Some((schema.get("properties")?.get(key)?, *times))));
        for pattern in patterns {
            below.extend(schema.get("patternProperties").and_then(|it| Some((it.get(*pattern)?, *times))));
        }
        if below.len() == before {
            below.extend(schema.get("additionalProperties").map(|it| (it, *times)));
        }
    }
    below
}
