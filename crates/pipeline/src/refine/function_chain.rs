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

/// A candidate beside the live one.
#[derive(Clone)]
pub struct Candidate {
    pub function: Arc<Function>,
    pub mode: RolloutMode,
}

impl FunctionChain {
    #[must_use]
    pub fn new(slots: Vec<ChainSlot>) -> Self {
        let named = |function: &Function| {
            // Text of settings rather than their hash: the function chain can be made again from its key.
            json!({"name": function.name(), "version": function.version(), "settings": function.settings_json()})
        };
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

    /// Makes a function chain again from its key, with the functions that `find` knows by name and version.
    ///
    /// # Errors
    /// A version is gone; a sentence.
    pub fn recalled(key: &str, find: &dyn Fn(&str, &str) -> Option<Arc<Function>>) -> Result<Self, String> {
        let slots: Vec<Value> =
            serde_json::from_str(key).map_err(|error| format!("{key} is no function chain: {error}"))?;
        let function = |named: &Value| {
            let text = |field: &str| named[field].as_str().unwrap_or_default();
            let (name, version, settings) = (text("name"), text("version"), text("settings"));
            let found = find(name, version)
                .ok_or_else(|| format!("version {version} of function {name} is gone; bring its component back"))?;
            let same = found.settings_json() == settings;
            Ok::<_, String>(if same { found } else { Arc::new(Function::clone(&found).with_settings(settings)) })
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
        Ok(Self::new(slots.iter().map(slot).collect::<Result<_, String>>()?))
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
    fn the_empty_function_chain_has_one_key() {
        assert_eq!(FunctionChain::default().key(), FunctionChain::of([]).key());
    }
}
