//! What a sync would deliver of a sample of events: each goes through what an event of its source goes through, the
//! contract, the functions, the sync's filter, functions and mapping. Nothing of the data directory is changed, and a
//! server may be using it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tidegate_event::decode::DecodeRefusal;
use tidegate_event::record::Record;
use tidegate_event::{Event, Position, ViolationRecord, decode};
use tidegate_pipeline::refine::{self, BatchContext, ChainOutput, FunctionChain, Judged};
use tidegate_process::clock;
use tidegate_registry::{self as store, VersionStore};
use tidegate_wasm::HiddenTexts;

use super::live::Live;
use super::store_secrets::SecretReader;
use super::{AppError, destinations, paths};
use crate::config::Workspace;

/// What a sync would deliver, and why not the rest.
#[derive(Debug, Default)]
pub struct Sampled {
    pub events: Vec<Event>,
    pub violations: Vec<ViolationRecord>,
    /// How many events stay behind, by the reason.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Secrets that the functions were given, and that may stand in the events.
    pub hidden: HiddenTexts,
}

/// Why an event of a sample is not delivered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    Duplicate,
    Filtered,
    /// By a function, with the reason that it gives.
    Dropped(String),
    Quarantined {
        code: String,
        message: String,
    },
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate => f.write_str("a duplicate, by its messageId"),
            Self::Filtered => f.write_str("the sync's filter leaves it out"),
            Self::Dropped(by) => write!(f, "dropped by {by}"),
            Self::Quarantined { code, message } if message.is_empty() => write!(f, "quarantined, {code}"),
            Self::Quarantined { code, message } => write!(f, "quarantined, {code}: {message}"),
        }
    }
}

/// Stands for the address of whoever sends: an address of the documentation range.
const IP: &str = "192.0.2.1";

/// An event of a sample as the server would have it, the one with this number.
///
/// # Errors
/// It would be quarantined, and why.
pub fn sampled_event(text: &str, source: &Arc<str>, number: u64) -> Result<Event, DecodeRefusal> {
    let id = format!("sample-{number}");
    let record = Record {
        problem: None,
        route: None,
        received_at_us: clock::now_us(),
        source,
        ip: IP,
        message_id: &id,
        sent_at: "",
        context: b"",
        integrations: b"",
        event: text.as_bytes(),
    };
    decode::decode(&record, Arc::clone(source), Position::new(0, number))
}

/// Everything that events go through.
pub struct Sampler<'w> {
    workspace: &'w Workspace,
    live: Option<Arc<Live>>,
    /// Holds a copy of the store, where it is no server that asks.
    _folder: Option<tempfile::TempDir>,
}

impl<'w> Sampler<'w> {
    /// Loads the functions: those of the workspace's files, and the attached ones as they are live now.
    ///
    /// # Errors
    /// The store cannot be copied, or a function cannot be loaded.
    pub async fn open(workspace: &'w Workspace) -> Result<Self, AppError> {
        let failed = |cause| AppError::Io { action: "could not copy", path: workspace.data.clone(), cause };
        let folder = tempfile::tempdir().map_err(failed)?;
        let mut live = None;
        let store = paths::store(&workspace.data);
        if store.exists() || !workspace.functions.is_empty() {
            copy(&store, folder.path()).map_err(failed)?;
            let (store, _builder) = VersionStore::open(folder.path(), store::RegistrySettings::default())?;
            live = Some(Live::open(workspace, store, String::new(), SecretReader::default()).await?);
        }
        Ok(Self { workspace, live, _folder: Some(folder) })
    }

    /// The same within a server, which has the store open.
    pub(super) async fn within(workspace: &'w Workspace, store: VersionStore) -> Result<Self, AppError> {
        let live = Some(Live::open(workspace, store, String::new(), SecretReader::default()).await?);
        Ok(Self { workspace, live, _folder: None })
    }

    /// What the sync `name` would deliver of `events`, which are of its source.
    pub async fn pass(&self, name: &str, events: Vec<Event>) -> Sampled {
        let mut sampled = Sampled::default();
        let Some(sync) = self.workspace.syncs.get(name) else { return sampled };
        let taken = self.refine(&mut sampled, &sync.source.0, events).await;
        let filter = destinations::filter(self.workspace, sync);
        let (taken, filtered): (Vec<_>, Vec<_>) = taken.into_iter().partition(|event| filter.takes(event));
        filtered.iter().for_each(|_| sampled.leave_out(LeftOut::Filtered));
        let of_sync = self.live.as_ref().map(|live| live.rules().borrow().of_sync(name));
        sampled.events = sampled.run(of_sync, name, taken).await;
        for event in &mut sampled.events {
            sync.mapping.apply(&mut event.body);
        }
        sampled
    }

    /// What would go on to the syncs of a source of `events`, which are of it.
    pub async fn refined(&self, source: &str, events: Vec<Event>) -> Sampled {
        let mut sampled = Sampled::default();
        sampled.events = self.refine(&mut sampled, source, events).await;
        sampled
    }

    /// Duplicates, the contract and the functions of a source.
    async fn refine(&self, sampled: &mut Sampled, source: &str, events: Vec<Event>) -> Vec<Event> {
        let (mut seen, mut taken) = (HashSet::new(), Vec::with_capacity(events.len()));
        for event in events {
            if !seen.insert(event.message_id().to_owned()) {
                sampled.leave_out(LeftOut::Duplicate);
                continue;
            }
            let Some(contract) = self.workspace.contracts.get(source) else {
                taken.push(event);
                continue;
            };
            let Judged { event, violation, quarantined, .. } = refine::judged(contract, event);
            sampled.violations.extend(violation);
            if let Some(entry) = quarantined {
                sampled.leave_out(LeftOut::Quarantined { code: entry.code, message: String::new() });
            }
            taken.extend(event);
        }
        let of_source = self.live.as_ref().map(|live| live.rules().borrow().of_source(source));
        sampled.run(of_source, source, taken).await
    }
}

impl Sampled {
    /// Counts one that stays behind.
    pub fn leave_out(&mut self, reason: LeftOut) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    async fn run(&mut self, function_chain: Option<Arc<FunctionChain>>, scope: &str, events: Vec<Event>) -> Vec<Event> {
        let Some(function_chain) = function_chain.filter(|function_chain| !function_chain.is_empty()) else {
            return events;
        };
        for function in function_chain.functions() {
            self.hidden = self.hidden.joined(function.hidden());
        }
        let now_us = clock::now_us();
        let batch = BatchContext {
            scope: scope.into(),
            now_ms: u64::try_from(now_us / 1000).unwrap_or_default(),
            seed: 0,
            bytes: events.iter().map(|event| event.to_json().len()).sum(),
            at_us: now_us,
            tap: None,
        };
        let ChainOutput { events, quarantined, dropped, .. } = refine::chain(&function_chain, events, &batch).await;
        for entry in quarantined {
            self.leave_out(LeftOut::Quarantined { code: entry.code, message: entry.message });
        }
        for (reason, count) in dropped {
            *self.left_out.entry(LeftOut::Dropped(reason)).or_default() += count;
        }
        events
    }
}

/// Copies a store, if there is one. Its files never change, they are only put in each other's place.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let listed = match std::fs::read_dir(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        let passing = name == "incoming" || Path::new(&name).extension().is_some_and(|end| end == "tmp");
        match entry.file_type()? {
            _ if passing => {}
            kind if kind.is_dir() => {
                std::fs::create_dir_all(to.join(&name))?;
                copy(&entry.path(), &to.join(&name))?;
            }
            _ => match std::fs::copy(entry.path(), to.join(&name)) {
                // Put in place of another, or swept, since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => _ = copied?,
            },
        }
    }
    Ok(())
}
