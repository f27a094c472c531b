//! Which functions, and which version of each, the events of a source or a sync go through.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_wasm::function::{Function, Lane, RolloutMode};

/// Functions in order. It never changes: going live, going back and a canary are other function chains.
#[derive(Default)]
pub struct FunctionChain {
    slots: Vec<ChainSlot>,
    key: Arc<str>,
}

/// One place in a function chain.
#[derive(Clone)]
pub struct ChainSlot {
    pub function: Arc<Function>,
    pub canary: Option<Candidate>,
}

/// A function as a key has it.
pub struct RecalledFunction<'k> {
    pub name: &'k str,
    pub version: &'k str,
    /// As they were written, JSON text.
    pub settings: &'k str,
}

/// A candidate beside the live one.
#[derive(Clone)]
pub struct Candidate {
    pub function: Arc<Function>,
    pub mode: RolloutMode,
}

impl FunctionChain {
    #[must_use]
    pub fn new(slots: Vec<ChainSlot>) -> Self {
        let keys: Vec<Value> = slots
            .iter()
            .map(|slot| {
                let mut key = named(&slot.function);
                if let Some(Candidate { function, mode: RolloutMode::Share(share) }) = &slot.canary {
                    key["canary"] = named(function);
                    key["share"] = json!(share);
                }
                key
            })
            .collect();
        Self { slots, key: Value::Array(keys).to_string().into() }
    }

    /// A function chain of live versions alone.
    #[must_use]
    pub fn of(functions: impl IntoIterator<Item = Arc<Function>>) -> Self {
        Self::new(functions.into_iter().map(|function| ChainSlot { function, canary: None }).collect())
    }

    /// Makes a function chain again from its key, with the functions that `find` knows. Tables and values of secrets are not kept:
    /// where a function had others, it gets those of now.
    ///
    /// # Errors
    /// A version is gone, or a secret; a sentence.
    pub fn recalled(
        key: &str,
        find: &dyn Fn(&RecalledFunction<'_>) -> Result<Arc<Function>, String>,
    ) -> Result<Self, String> {
        let slots: Vec<Value> =
            serde_json::from_str(key).map_err(|error| format!("{key} is no function chain: {error}"))?;
        let function = |named: &Value| {
            let text = |field: &str| named[field].as_str().unwrap_or_default();
            let (name, version, settings) = (text("name"), text("version"), text("settings"));
            let found = find(&RecalledFunction { name, version, settings })?;
            if named["tables"].as_str().is_some_and(|tables| found.tables() != Some(tables)) {
                tracing::warn!(
                    function = name,
                    version,
                    "a lookup has changed since events went through this function, and some of them go through it again: it looks \
                     them up in the tables of now"
                );
            }
            Ok::<_, String>(found)
        };
        let slot = |key: &Value| {
            let canary = match key["share"].as_u64() {
                Some(share) => {
                    let mode = RolloutMode::Share(u8::try_from(share).unwrap_or(100));
                    Some(Candidate { function: function(&key["canary"])?, mode })
                }
                None => None,
            };
            Ok(ChainSlot { function: function(key)?, canary })
        };
        let slots = slots.iter().map(slot).collect::<Result<_, String>>()?;
        Ok(Self { slots, key: key.into() })
    }

    /// The versions that the function chain with this key is made of.
    #[must_use]
    pub fn versions(key: &str) -> Vec<String> {
        texts(key, "version")
    }

    /// The settings of its functions as they are written, each as JSON text.
    #[must_use]
    pub fn settings(key: &str) -> Vec<String> {
        texts(key, "settings")
    }

    /// Whether it is made of the very same functions, tried in the same way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_candidate = |one: &Option<Candidate>, two: &Option<Candidate>| match (one, two) {
            (Some(one), Some(two)) => one.mode == two.mode && Arc::ptr_eq(&one.function, &two.function),
            (one, two) => one.is_none() && two.is_none(),
        };
        self.slots.len() == other.slots.len()
            && self
                .slots
                .iter()
                .zip(&other.slots)
                .all(|(one, two)| Arc::ptr_eq(&one.function, &two.function) && same_candidate(&one.canary, &two.canary))
    }

    /// Its functions, candidates among them.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.slots
            .iter()
            .flat_map(|slot| std::iter::once(&slot.function).chain(slot.canary.as_ref().map(|canary| &canary.function)))
    }

    #[must_use]
    pub fn slots(&self) -> &[ChainSlot] {
        &self.slots
    }

    /// The lane of its slowest function.
    #[must_use]
    pub fn lane(&self) -> Lane {
        let slow = self.slots.iter().any(|slot| slot.function.lane() == Lane::Slow);
        if slow { Lane::Slow } else { Lane::Quick }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What tells function chains apart whose events come out differently: names, versions, settings and shares, as JSON text.
    #[must_use]
    pub fn key(&self) -> &str {
        if self.key.is_empty() { "[]" } else { &self.key }
    }
}

/// What a key has under a field of each function, candidates among them.
fn texts(key: &str, field: &str) -> Vec<String> {
    let slots: Vec<Value> = serde_json::from_str(key).unwrap_or_default();
    let named = slots.iter().flat_map(|slot| [&slot[field], &slot["canary"][field]]);
    named.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// What tells functions apart whose events come out differently.
fn named(function: &Function) -> Value {
    named_by(function.name(), function.version(), function.settings_json(), function.tables())
}

/// The same of a function that has these. Text of settings rather than their hash: the function chain can be made again from
/// its key.
pub(super) fn named_by(name: &str, version: &str, settings: &str, tables: Option<&str>) -> Value {
    let mut named = json!({"name": name, "version": version, "settings": settings});
    if let Some(tables) = tables {
        named["tables"] = tables.into();
    }
    named
}

/// What tells a function by itself from others, by the values of its secrets too. It is never kept.
pub(super) fn key_of(function: &Function) -> String {
    format!("{} {}", function.revision(), named(function))
}

impl ChainSlot {
    /// The function for a batch with this seed: the share of a canary is a property of the batch, so that running the
    /// batch again gives the same.
    pub(super) fn choose(&self, seed: u64) -> &Arc<Function> {
        match &self.canary {
            Some(Candidate { function, mode: RolloutMode::Share(share) }) if spread(seed) % 100 < u64::from(*share) => {
                function
            }
            _ => &self.function,
        }
    }

    pub(super) fn shadow(&self) -> Option<&Arc<Function>> {
        self.canary.as_ref().filter(|canary| canary.mode == RolloutMode::Shadow).map(|canary| &canary.function)
    }
}

/// Makes neighbouring numbers far apart (the finaliser of SplitMix64).
fn spread(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread_over_neighbouring_batches() {
        let taken = (0..100_000_u64).step_by(1024).filter(|seed| spread(*seed) % 100 < 30).count();
        assert!((15..=45).contains(&taken), "{taken} of 98");
    }

    #[test]
    fn a_function_without_tables_has_the_key_that_it_had_before_tables_counted() {
        let key = |tables| named_by("f", "v", "{}", tables).to_string();
        assert_eq!(key(None), r#"{"name":"f","settings":"{}","version":"v"}"#);
        assert_ne!(key(Some("1")), key(None));
        assert_ne!(key(Some("1")), key(Some("2")));
    }

    #[test]
    fn a_key_names_its_versions_and_those_of_candidates() {
        let mut slot = named_by("f", "1", "{}", None);
        slot["canary"] = named_by("f", "2", "{}", None);
        let key = json!([slot, named_by("g", "3", "{}", None)]).to_string();
        assert_eq!(FunctionChain::versions(&key), ["1", "2", "3"]);
        assert_eq!(FunctionChain::settings(&key), ["{}"; 3]);
        assert_eq!(FunctionChain::versions("[]"), [""; 0]);
    }

    #[test]
    fn the_empty_function_chain_has_one_key() {
        assert_eq!(FunctionChain::default().key(), FunctionChain::of([]).key());
    }
}
