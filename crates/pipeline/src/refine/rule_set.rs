//! What events are judged by: one value with a number, put in place of another between log ranges.
//!
//! The state keeps the number with each log range and the contracts by their content, so that a log range which is refined
//! again is judged as it was.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_contract::{Contract, ContractLimits, Domain};
use tidegate_state::{ContractText, State};

use super::{FunctionChain, RefineError};

/// Rules of earlier revisions that are kept compiled.
const EARLIER_MAX: usize = 4;

/// What happens to events before any destination sees them.
#[derive(Clone, Default)]
pub struct RuleSet {
    /// What the state calls it.
    pub revision: u64,
    /// The hash of the text that its contracts can be made again from.
    pub contracts_sha256: Option<Arc<str>>,
    pub sources: HashMap<Arc<str>, SourceRules>,
    /// The functions of each sync.
    pub syncs: HashMap<Arc<str>, Arc<FunctionChain>>,
    /// Categories of consent that any sync asks for.
    pub consents: BTreeSet<String>,
}

/// What happens to the events of one source.
#[derive(Clone, Default)]
pub struct SourceRules {
    pub contract: Option<Arc<Contract>>,
    pub functions: Arc<FunctionChain>,
}

/// The text from which [`RuleSet::of_text`] makes the contracts of these sources again.
#[must_use]
pub fn contract_text<'a>(
    files: &BTreeMap<String, Value>,
    sources: impl IntoIterator<Item = &'a String>,
) -> ContractText {
    let sources: Vec<&String> = sources.into_iter().collect();
    ContractText::new(json!({"sources": sources, "files": files}).to_string())
}

impl RuleSet {
    /// The functions of a source.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Arc<FunctionChain> {
        self.sources.get(source).map_or_else(Arc::default, |rules| Arc::clone(&rules.functions))
    }

    /// The functions of a sync.
    #[must_use]
    pub fn of_sync(&self, sync: &str) -> Arc<FunctionChain> {
        self.syncs.get(sync).map_or_else(Arc::default, Arc::clone)
    }

    /// The contracts of an earlier revision.
    ///
    /// # Errors
    /// This build cannot make them again; a sentence.
    fn of_text(revision: u64, text: &ContractText) -> Result<Self, String> {
        let mut written: Value = serde_json::from_str(text.json()).map_err(|error| error.to_string())?;
        let files = match written["files"].take() {
            Value::Object(files) => files.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        let mut sources = HashMap::new();
        for source in written["sources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let made = Domain::from_files(&files, source)
                .and_then(|domains| Contract::compile(&domains, ContractLimits::default()));
            let contract = made.map_err(|problems| {
                problems.first().map_or_else(|| format!("that of source {source}"), ToString::to_string)
            })?;
            sources.insert(source.into(), SourceRules { contract: Some(Arc::new(contract)), ..SourceRules::default() });
        }
        let contracts_sha256 = Some(text.sha256().into());
        Ok(Self { revision, contracts_sha256, sources, ..Self::default() })
    }
}

/// The rules of revisions that ran before, those that were made last at the end.
#[derive(Default)]
pub(super) struct EarlierRules(VecDeque<(u64, Arc<RuleSet>)>);

impl EarlierRules {
    /// The rules that judge as those of `revision` did; `now` are those that judge what is new.
    pub(super) fn of(&mut self, revision: u64, now: &Arc<RuleSet>, state: &State) -> Result<Arc<RuleSet>, RefineError> {
        // Of what a build before revisions judged nobody knows more.
        if revision == now.revision || revision == 0 {
            return Ok(Arc::clone(now));
        }
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == revision) {
            return Ok(Arc::clone(known));
        }
        let text = state.contracts_of(revision)?;
        let sha256 = text.as_ref().map(ContractText::sha256);
        let mut known = self.0.iter().map(|(_, known)| known).chain([now]);
        let same = known.find(|known| known.contracts_sha256.as_deref() == sha256).cloned();
        drop(known);
        let rules = match (same, text) {
            (Some(same), _) => same,
            (None, Some(text)) => Arc::new(RuleSet::of_text(revision, &text).map_err(RefineError::Contracts)?),
            (None, None) => Arc::new(RuleSet { revision, ..RuleSet::default() }),
        };
        if self.0.len() == EARLIER_MAX {
            self.0.pop_front();
        }
        self.0.push_back((revision, Arc::clone(&rules)));
        Ok(rules)
    }
}
