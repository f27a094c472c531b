//! One batch, one commit.
//!
//! Rows are gathered by table and partition, each such part becomes a file under a name of its own, and all of them
//! become visible when the root is replaced, together with the ledger. Until then nothing that a reader looks at has
//! changed. If somebody else replaces the root first, the batch is laid onto the new one; if the two do not go together
//! (another type for the same column, the same sync twice at once), it begins anew. A batch that comes again, after a
//! crash or a lost answer, meets its own ledger.
//!
//! A [`Session`] remembers what it knows of the lake from batch to batch and forgets it at any failure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::Kind;
use tidegate_event::destination::{Batch, Delivery};
use tidegate_process::clock;
use tidegate_warehouse::ledger::{self, LedgerPosition};
use tidegate_warehouse::name;
use tidegate_warehouse::schema_cache::{Found, FoundTable, Object, SchemaCache, Told};
use tidegate_warehouse::table::{Family, OVERFLOW};
use tidegate_warehouse::waiting::Waiting;
use tokio::task::JoinHandle;

use super::client::Checked;
use super::error::LakeError;
use super::gather::{self, Gathered};
use super::manifest::{Conflict, Edit, FORMAT, Manifest, Root};
use super::stage;
use super::store::{Put, Store, Tag};
use super::{tidy, views};

/// How often a batch is laid out anew, or onto a new root, before the sync waits and tries again.
const TRIES_MAX: u32 = 12;

/// What is known of the lake.
#[derive(Debug)]
struct State {
    root: Root,
    tag: Tag,
    /// Tables whose columns have been looked up.
    found: Found,
    /// Gone while a batch uses it, and after one that others were ahead of.
    known: Option<SchemaCache>,
}

/// One sync's view of a lake.
pub(super) struct Session {
    settings: Arc<Checked>,
    state: Option<State>,
    /// By path; they never change.
    manifests: HashMap<String, Arc<Manifest>>,
    told: Told,
    /// The tables that the views were last written for.
    viewed: Option<BTreeSet<(String, String)>>,
    tidying: Option<JoinHandle<()>>,
    swept_us: i64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(tidying) = self.tidying.take() {
            tidying.abort();
        }
    }
}

/// How a commit ended.
enum Outcome {
    /// The root is the one it was made for, or others were ahead.
    Done { alone: bool },
    /// Somebody else did something that the batch does not go with.
    Again,
}

impl Session {
    pub(super) fn new(settings: Arc<Checked>) -> Self {
        Self {
            settings,
            state: None,
            manifests: HashMap::new(),
            told: Told::default(),
            viewed: None,
            tidying: None,
            swept_us: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) async fn durable_to(&mut self) -> Result<Option<u64>, LakeError> {
        // Whoever asks has just begun, or wonders what became of a batch.
        self.state = None;
        let state = self.look().await?;
        let offset = state.root.durable_to(&self.settings.sync);
        self.state = Some(state);
        Ok(offset)
    }

    /// Looks at the lake anew.
    async fn look(&self) -> Result<State, LakeError> {
        let (root, tag) = self.settings.store.root().await?;
        Ok(State { root, tag, found: Found::default(), known: None })
    }

    pub(super) async fn deliver(&mut self, batch: &Arc<Batch>) -> Result<Delivery, LakeError> {
        for attempt in 0..TRIES_MAX {
            let mut state = match self.state.take() {
                Some(state) => state,
                None => self.look().await?,
            };
            let position = ledger::position(state.root.durable_to(&self.settings.sync), &batch.range);
            self.prepare(&mut state, batch).await?;
            let gathered = self.gather(&mut state, batch, &position).await?;
            let started_us = clock::now_us();
            let mut edits = self.edits(&state, &gathered);
            let Gathered { known, tables, mut delivery } = gathered;
            stage::stage(&self.settings, &self.manifests, tables, &mut edits, batch.range.start).await?;
            fail::fail_point!("warehouse_after_stage", |_| std::process::abort());
            let Outcome::Done { alone } = self.commit(&mut state, &edits, &position, started_us).await? else {
                // What the background does can wait.
                self.tidying.take().inspect(JoinHandle::abort);
                pause(attempt).await;
                continue;
            };
            let mut known = known;
            known.tables.trim();
            if let Some(gap) = position.gap {
                let (start, end) = (gap.start, gap.end);
                known.notices.push(format!("offsets {start} to {end} of the log never reached this warehouse"));
            }
            delivery.notices = known.fresh_notices(&mut self.told);
            self.after(&state.root, &edits).await;
            // What others did to the tables is not known here: the next batch looks anew.
            if alone {
                state.known = Some(known);
                self.state = Some(state);
            }
            return Ok(delivery);
        }
        Err(LakeError::Contended)
    }

    /// Looks up the tables that the batch needs.
    async fn prepare(&mut self, state: &mut State, batch: &Batch) -> Result<(), LakeError> {
        let schema = &self.settings.schema;
        if state.known.is_none() {
            let objects = state.root.of_schema(schema).map(|entry| Object {
                name: entry.name.clone(),
                is_table: true,
                is_event_table: !Family::FIXED.contains(&&*entry.name),
            });
            let declared = Arc::clone(&self.settings.declared);
            // Nothing stands in the way of a manifest.
            let waiting = Waiting::default();
            state.known = Some(SchemaCache::new("", objects, self.settings.settings.limits, declared, &waiting));
        }
        let names: BTreeSet<&str> =
            batch.events.iter().filter(|event| event.kind == Kind::Track).filter_map(|event| event.name()).collect();
        let fixed = Family::FIXED.iter().map(|name| (*name).to_owned()).chain([OVERFLOW.to_owned()]);
        let unnamed = name::table("", &Family::FIXED);
        let wanted: BTreeSet<String> =
            names.into_iter().map(|name| name::table(name, &Family::FIXED)).chain(fixed).chain([unnamed]).collect();
        let missing: Vec<(String, String)> = wanted
            .into_iter()
            .filter(|name| !state.found.tables.contains_key(name))
            .filter_map(|name| Some((state.root.table(schema, &name)?.manifest.clone(), name)))
            .collect();
        fetch(&self.settings.store, &mut self.manifests, missing.iter().map(|(path, _)| path)).await?;
        for (path, name) in missing {
            let manifest = self.manifests.get(&path).ok_or(LakeError::Vanished { path })?;
            state.found.tables.insert(name, found_table(manifest));
        }
        Ok(())
    }

    /// Plans the rows and gathers them by column, on a thread where that may take long.
    async fn gather(
        &self,
        state: &mut State,
        batch: &Arc<Batch>,
        position: &LedgerPosition,
    ) -> Result<Gathered, LakeError> {
        let known = state.known.take().unwrap_or_default();
        let (found, batch) = (std::mem::take(&mut state.found), Arc::clone(batch));
        let (skip_below, partition) = (position.skip_below, self.settings.settings.partition);
        let work = move || (gather::gather(known, &mut found.clone(), &batch, skip_below, partition), found);
        let (gathered, found) = tokio::task::spawn_blocking(work).await.map_err(|_| LakeError::Gone)?;
        state.found = found;
        gathered
    }

    /// What the batch does to each table, but for the files.
    fn edits(&self, state: &State, gathered: &Gathered) -> Vec<Edit> {
        let edit = |table: &gather::Filled| Edit {
            schema: self.settings.schema.clone(),
            base: state.root.table(&self.settings.schema, &table.name).map(|entry| entry.manifest.clone()),
            name: table.name.clone(),
            columns: table.columns.clone(),
            widened: !table.widened.is_empty(),
            ..Edit::default()
        };
        gathered.tables.iter().map(edit).collect()
    }

    /// Replaces the root.
    async fn commit(
        &mut self,
        state: &mut State,
        edits: &[Edit],
        position: &LedgerPosition,
        started_us: i64,
    ) -> Result<Outcome, LakeError> {
        let settings = Arc::clone(&self.settings);
        let durable_to = state.root.durable_to(&settings.sync);
        if durable_to == Some(position.next) && edits.is_empty() {
            return Ok(Outcome::Done { alone: true });
        }
        for attempt in 0..TRIES_MAX {
            // Nobody deletes files of a batch that is younger than that.
            let age_us = clock::now_us().saturating_sub(started_us);
            if u128::try_from(age_us).is_ok_and(|age| age > settings.settings.orphan_age.as_micros() / 2)
                && !settings.settings.orphan_age.is_zero()
            {
                return Err(LakeError::Late);
            }
            let Ok(mut root) = lay(&settings.store, &mut self.manifests, &state.root, edits).await? else {
                return Ok(Outcome::Again);
            };
            root.advance(&settings.sync, position.next, &root.written_at.clone());
            fail::fail_point!("warehouse_before_commit", |_| std::process::abort());
            if let Put::Done(tag) = settings.store.put_root(&root, &state.tag).await? {
                fail::fail_point!("warehouse_after_commit", |_| std::process::abort());
                (state.root, state.tag) = (root, tag);
                return Ok(Outcome::Done { alone: attempt == 0 });
            }
            pause(attempt).await;
            let (found, tag) = settings.store.root().await?;
            if found.commit == root.commit {
                // The answer was lost, not the commit.
                (state.root, state.tag) = (found, tag);
                return Ok(Outcome::Done { alone: attempt == 0 });
            }
            if found.durable_to(&settings.sync) != durable_to {
                return Ok(Outcome::Again);
            }
            (state.root, state.tag) = (found, tag);
        }
        Err(LakeError::Contended)
    }

    /// What can wait until the batch is durable: nothing here can fail it.
    async fn after(&mut self, root: &Root, edits: &[Edit]) {
        let paths: BTreeSet<&str> = root.tables.iter().map(|entry| &*entry.manifest).collect();
        self.manifests.retain(|path, _| paths.contains(&**path));
        let tables = root.tables.iter().map(|entry| (entry.schema.clone(), entry.name.clone())).collect();
        if self.viewed.as_ref() != Some(&tables) {
            let settings = &self.settings.settings;
            let text = views::duckdb(&self.settings.name, &settings.schema, &tables, settings.limits.profiles);
            match self.settings.store.put(views::DUCKDB, text.into()).await {
                Ok(()) => self.viewed = Some(tables),
                Err(error) => {
                    tracing::warn!(%error, "the views of the lake were not written; the next batch tries again")
                }
            }
        }
        if self.tidying.as_ref().is_some_and(|tidying| !tidying.is_finished()) {
            return;
        }
        let now_us = clock::now_us();
        let sweep = now_us.saturating_sub(self.swept_us) > tidy::sweep_interval_us(&self.settings.settings);
        let touched = edits.iter().filter_map(|edit| root.table(&edit.schema, &edit.name));
        let merge = touched
            .filter_map(|entry| self.manifests.get(&entry.manifest))
            .any(|manifest| !tidy::merges(&manifest.files, &self.settings.settings).is_empty());
        if sweep || merge {
            self.swept_us = if sweep { now_us } else { self.swept_us };
            let settings = Arc::clone(&self.settings);
            self.tidying = Some(tokio::spawn(async move {
                if let Err(error) = tidy::run(&settings, sweep).await {
                    tracing::warn!(%error, "the lake was not tidied; it is tried again after a later batch");
                }
            }));
        }
    }
}

/// The next root: `edits` laid onto the tables of `root`, their new manifests written.
pub(super) async fn lay(
    store: &Store,
    manifests: &mut HashMap<String, Arc<Manifest>>,
    root: &Root,
    edits: &[Edit],
) -> Result<Result<Root, Conflict>, LakeError> {
    let now_us = clock::now_us();
    let version = root.version + 1;
    let commit = clock::uuid();
    let current = |edit: &Edit| root.table(&edit.schema, &edit.name).map(|entry| entry.manifest.clone());
    let paths: Vec<String> = edits.iter().filter_map(current).collect();
    fetch(store, manifests, paths.iter()).await?;
    let mut next = Root {
        format: FORMAT,
        version,
        written_at: super::encode::instant_text(now_us - now_us.rem_euclid(1_000)),
        ..root.clone()
    };
    let mut puts = tokio::task::JoinSet::new();
    for edit in edits {
        let path = current(edit);
        let before = path.as_deref().and_then(|path| Some((path, &**manifests.get(path)?)));
        let Ok(manifest) = edit.apply(before, now_us) else { return Ok(Err(Conflict)) };
        let path = format!("_tidegate/tables/{}/{}/{version:012}-{}.json", edit.schema, edit.name, &commit[..8]);
        let text =
            serde_json::to_vec(&manifest).map_err(|source| LakeError::Manifest { path: path.clone(), source })?;
        next.put(manifest.entry(path.clone()));
        let (store, at) = (store.clone(), path.clone());
        manifests.insert(path, Arc::new(manifest));
        puts.spawn(async move { store.put(&at, text.into()).await });
        if puts.len() >= stage::REQUESTS_MAX
            && let Some(put) = puts.join_next().await
        {
            put.map_err(|_| LakeError::Gone)??;
        }
    }
    while let Some(put) = puts.join_next().await {
        put.map_err(|_| LakeError::Gone)??;
    }
    next.commit = commit;
    Ok(Ok(next))
}

/// Reads the manifests at `paths` that are not known yet.
pub(super) async fn fetch(
    store: &Store,
    manifests: &mut HashMap<String, Arc<Manifest>>,
    paths: impl Iterator<Item = &String>,
) -> Result<(), LakeError> {
    let missing: Vec<String> = paths.filter(|path| !manifests.contains_key(*path)).cloned().collect();
    let mut gets = tokio::task::JoinSet::new();
    let mut left = missing.into_iter();
    loop {
        while gets.len() < stage::REQUESTS_MAX
            && let Some(path) = left.next()
        {
            let store = store.clone();
            gets.spawn(async move {
                let bytes = store.get(&path).await?;
                let read = serde_json::from_slice::<Manifest>(&bytes);
                let manifest = read.map_err(|source| LakeError::Manifest { path: path.clone(), source })?;
                Ok::<_, LakeError>((path, manifest))
            });
        }
        let Some(got) = gets.join_next().await else { return Ok(()) };
        let (path, manifest) = got.map_err(|_| LakeError::Gone)??;
        manifests.insert(path, Arc::new(manifest));
    }
}

/// Lets others go first, longer each time, and never in step with them.
pub(super) async fn pause(attempt: u32) {
    let most_ms = 10_u64 << attempt.min(7);
    let share = u64::from(u16::from_le_bytes(clock::random()));
    tokio::time::sleep(Duration::from_micros(most_ms * 1_000 * share / u64::from(u16::MAX))).await;
}

fn found_table(manifest: &Manifest) -> FoundTable {
    FoundTable { is_table: true, key: vec!["id".to_owned()], columns: manifest.found() }
}

/// All tables of the schema.
pub(super) async fn find(settings: &Checked) -> Result<Found, LakeError> {
    let (root, _) = settings.store.root().await?;
    let mut manifests = HashMap::new();
    let entries: Vec<_> = root.of_schema(&settings.schema).collect();
    fetch(&settings.store, &mut manifests, entries.iter().map(|entry| &entry.manifest)).await?;
    let tables = entries
        .into_iter()
        .filter_map(|entry| Some((entry.name.clone(), found_table(manifests.get(&entry.manifest)?))));
    Ok(Found { has_schema: true, tables: tables.collect() })
}
