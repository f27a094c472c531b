//! One batch, one commit.
//!
//! Rows are gathered by table and partition, each such part becomes a file under a name of its own, and all of them
//! become visible when the root is replaced, together with the ledger. Until then nothing that a reader looks at has
//! changed. If somebody else replaces the root first, the batch is laid onto the new one; if the two do not go together
//! (another type for the same column, the same sync twice at once), it begins anew. A batch that comes again, after a
//! crash or a lost answer, meets its own ledger.
//!
//! What is known of the lake is remembered from batch to batch and forgotten at any failure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tidegate_event::EventKind;
use tidegate_event::destination::{Batch, Failure};
use tidegate_object_store::{ObjectTag, Replacement};
use tidegate_process::clock;
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::encoder::Piece;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::loader::{Loader, Snapshot, Stopped};
use tidegate_warehouse::name;
use tidegate_warehouse::profiles::PROFILES;
use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable, Object, SchemaCache};
use tidegate_warehouse::table::{Changes, Family, OVERFLOW, Table};
use tidegate_warehouse::waiting::{Refusal, Waiting};
use tokio::task::JoinHandle;

use super::capabilities::CAPABILITIES;
use super::error::LakeError;
use super::gather::{Filled, Gather};
use super::lay::{fetch, lay, pause};
use super::manifest::{Edit, Root, TableManifest};
use super::settings::CheckedLake;
use super::stage;
use super::{tidy, views};

/// How often a batch is laid out anew, or onto a new root, before the sync waits and tries again.
const TRIES_MAX: u32 = 12;

/// What is known of the lake.
#[derive(Debug)]
struct LakeState {
    root: Root,
    tag: ObjectTag,
    /// The tables are known, too.
    is_known: bool,
}

/// A batch whose files are written.
#[derive(Debug, Default)]
struct Staged {
    edits: Vec<Edit>,
    started_us: i64,
}

/// One lake, for one sync.
pub struct LakeLoader {
    settings: Arc<CheckedLake>,
    state: Option<LakeState>,
    /// Tables whose columns have been looked up.
    found: FoundSchema,
    gather: Gather,
    /// What the batch does to tables, by name.
    changes: HashMap<Box<str>, Changes>,
    staged: Staged,
    /// Times that others have been ahead of the batch.
    overtaken: u32,
    /// By path; they never change.
    manifests: HashMap<String, Arc<TableManifest>>,
    /// The tables that the views were last written for.
    viewed: Option<BTreeSet<(String, String)>>,
    tidying: Option<JoinHandle<()>>,
    swept_us: i64,
}

impl Drop for LakeLoader {
    fn drop(&mut self) {
        if let Some(tidying) = self.tidying.take() {
            tidying.abort();
        }
    }
}

/// How a commit ended.
enum CommitOutcome {
    /// The root is the one it was made for, or others were ahead.
    Done { alone: bool },
    /// Somebody else did something that the batch does not go with.
    Again,
}

impl LakeLoader {
    pub(super) fn new(settings: Arc<CheckedLake>) -> Self {
        let gather = Gather(settings.settings.partition);
        Self {
            settings,
            state: None,
            found: FoundSchema::default(),
            gather,
            changes: HashMap::new(),
            staged: Staged::default(),
            overtaken: 0,
            manifests: HashMap::new(),
            viewed: None,
            tidying: None,
            swept_us: 0,
        }
    }

    /// What is known of the lake; looked at anew where nothing is.
    async fn state(&mut self) -> Result<&mut LakeState, LakeError> {
        let state = match self.state.take() {
            Some(state) => state,
            None => {
                let (root, tag) = self.settings.store.root().await?;
                LakeState { root, tag, is_known: false }
            }
        };
        Ok(self.state.insert(state))
    }

    /// Looks up the tables that the batch needs.
    async fn prepare(&mut self, batch: &Batch) -> Result<(), LakeError> {
        let Self { settings, state: Some(state), manifests, found, .. } = self else { return Err(LakeError::Gone) };
        let names: BTreeSet<&str> = batch
            .events
            .iter()
            .filter(|event| event.kind == EventKind::Track)
            .filter_map(|event| event.name())
            .collect();
        let fixed = Family::FIXED.iter().map(|name| (*name).to_owned()).chain([OVERFLOW.to_owned()]);
        let unnamed = name::table("", &Family::FIXED);
        // A table gives way to a view of the latest traits.
        let beside_views = PROFILES.iter().map(|profile| format!("_{}", profile.view));
        let named = names.into_iter().map(|name| name::table(name, &Family::FIXED));
        let wanted: BTreeSet<String> = named.chain(fixed).chain([unnamed]).chain(beside_views).collect();
        let missing: Vec<(String, String)> = wanted
            .into_iter()
            .filter(|name| !found.tables.contains_key(name))
            .filter_map(|name| Some((state.root.table(&settings.schema, &name)?.manifest.clone(), name)))
            .collect();
        fetch(&settings.store, manifests, missing.iter().map(|(path, _)| path)).await?;
        for (path, name) in missing {
            let manifest = manifests.get(&path).ok_or(LakeError::Vanished { path })?;
            found.tables.insert(name, found_table(manifest));
        }
        Ok(())
    }

    fn known(&self, root: &Root) -> SchemaCache {
        let objects = root.of_schema(&self.settings.schema).map(|entry| Object {
            name: entry.name.clone(),
            is_table: true,
            is_event_table: !Family::FIXED.contains(&&*entry.name),
        });
        // Nothing stands in the way of a manifest.
        let (declared, waiting) = (Arc::clone(&self.settings.declared), Waiting::default());
        SchemaCache::new("", objects, self.settings.settings.limits, declared, &waiting)
    }

    /// What the batch does to each table, but for the files.
    fn edits(&self, root: &Root, tables: &[Filled]) -> Vec<Edit> {
        let edit = |table: &Filled| Edit {
            schema: self.settings.schema.clone(),
            base: root.table(&self.settings.schema, &table.name).map(|entry| entry.manifest.clone()),
            name: table.name.clone(),
            columns: table.columns.clone(),
            widened: !table.widened.is_empty(),
            ..Edit::default()
        };
        tables.iter().map(edit).collect()
    }

    /// Replaces the root.
    async fn replace(&mut self, state: &mut LakeState, staged: &Staged, next: u64) -> Result<CommitOutcome, LakeError> {
        let settings = Arc::clone(&self.settings);
        let durable_to = state.root.durable_to(&settings.sync);
        if durable_to == Some(next) && staged.edits.is_empty() {
            return Ok(CommitOutcome::Done { alone: true });
        }
        for attempt in 0..TRIES_MAX {
            // Nobody deletes files of a batch that is younger than that.
            let age_us = clock::now_us().saturating_sub(staged.started_us);
            if u128::try_from(age_us).is_ok_and(|age| age > settings.settings.orphan_age.as_micros() / 2)
                && !settings.settings.orphan_age.is_zero()
            {
                return Err(LakeError::Late);
            }
            let Ok(mut root) = lay(&settings.store, &mut self.manifests, &state.root, &staged.edits).await? else {
                return Ok(CommitOutcome::Again);
            };
            root.advance(&settings.sync, next, &root.written_at.clone());
            if let Replacement::Done(tag) = settings.store.put_root(&root, &state.tag).await? {
                (state.root, state.tag) = (root, tag);
                return Ok(CommitOutcome::Done { alone: attempt == 0 });
            }
            pause(attempt).await;
            let (found, tag) = settings.store.root().await?;
            if found.commit == root.commit {
                // The answer was lost, not the commit.
                (state.root, state.tag) = (found, tag);
                return Ok(CommitOutcome::Done { alone: attempt == 0 });
            }
            if found.durable_to(&settings.sync) != durable_to {
                return Ok(CommitOutcome::Again);
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
            let text =
                views::duckdb(&from_anywhere(&self.settings.name), &settings.schema, &tables, settings.limits.profiles);
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

impl Loader for LakeLoader {
    type Error = LakeError;
    type Catalog = FoundSchema;
    type Encoder = Gather;

    const TRIES_MAX: u32 = TRIES_MAX;

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        format!("lake {}", self.settings.name)
    }

    fn failure(&self, error: LakeError) -> Failure {
        error.failure(&self.settings.name)
    }

    fn tools(&mut self) -> (&mut FoundSchema, &mut Gather) {
        (&mut self.found, &mut self.gather)
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, LakeError> {
        // Whoever asks has just begun, or wonders what became of a batch.
        self.state = None;
        let sync = self.settings.sync.clone();
        Ok(self.state().await?.root.durable_to(&sync))
    }

    async fn snapshot(&mut self, batch: &Batch, known: &mut SchemaCache) -> Result<Snapshot, LakeError> {
        self.state().await?;
        let mut state = self.state.take().ok_or(LakeError::Gone)?;
        if !state.is_known {
            (*known, self.found, state.is_known) = (self.known(&state.root), FoundSchema::default(), true);
        }
        let durable_to = state.root.durable_to(&self.settings.sync);
        self.state = Some(state);
        self.prepare(batch).await?;
        (self.changes, self.staged) = (HashMap::new(), Staged::default());
        Ok(Snapshot { durable_to, targets: None })
    }

    /// There is no statement for it: the files of the batch have the new columns, and those that have a narrower one are
    /// written anew in its commit.
    async fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        _used: &[u32],
        notices: &mut Vec<String>,
    ) -> Result<Option<Refusal<LakeError>>, LakeError> {
        for at in &changes.widen {
            let column = &table.columns[*at];
            notices.push(table.widened(*at, column.declared.map_or("", Type::as_str), column.kind().as_str()));
        }
        self.changes.insert(table.name.clone(), changes.clone());
        Ok(None)
    }

    /// Writes the files of the batch, which nobody can see yet.
    async fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, Self::Encoder>,
    ) -> Result<(), Stopped<LakeError>> {
        let changes = std::mem::take(&mut self.changes);
        let of = |table: &Table| changes.get(&table.name).cloned().unwrap_or_default();
        let tables = piece.part.filled(load.tables(), of)?;
        let root = self.state.as_ref().map(|state| &state.root).ok_or(LakeError::Gone)?;
        let (mut edits, started_us) = (self.edits(root, &tables), clock::now_us());
        stage::stage(&self.settings, &self.manifests, tables, &mut edits, load.batch().range.start).await?;
        fail::fail_point!("warehouse_after_stage", |_| std::process::abort());
        self.staged = Staged { edits, started_us };
        Ok(())
    }

    async fn commit(&mut self, next: u64, _notices: &mut Vec<String>) -> Result<(), LakeError> {
        let (mut state, staged) = (self.state.take().ok_or(LakeError::Gone)?, std::mem::take(&mut self.staged));
        let CommitOutcome::Done { alone } = self.replace(&mut state, &staged, next).await? else {
            // What the background does can wait.
            self.tidying.take().inspect(JoinHandle::abort);
            pause(self.overtaken).await;
            self.overtaken += 1;
            return Err(LakeError::Overtaken);
        };
        self.overtaken = 0;
        self.after(&state.root, &staged.edits).await;
        // What others did to the tables is not known here: the next batch looks anew.
        self.state = Some(state).filter(|_| alone);
        Ok(())
    }

    fn abandon(&mut self) {
        self.state = None;
    }
}

fn found_table(manifest: &TableManifest) -> FoundTable {
    FoundTable { is_table: true, key: vec!["id".to_owned()], columns: manifest.found() }
}

/// All tables of the schema.
pub(super) async fn find(settings: &CheckedLake) -> Result<FoundSchema, LakeError> {
    let (root, _) = settings.store.root().await?;
    let mut manifests = HashMap::new();
    let entries: Vec<_> = root.of_schema(&settings.schema).collect();
    fetch(&settings.store, &mut manifests, entries.iter().map(|entry| &entry.manifest)).await?;
    let tables = entries
        .into_iter()
        .filter_map(|entry| Some((entry.name.clone(), found_table(manifests.get(&entry.manifest)?))));
    Ok(FoundSchema { has_schema: true, tables: tables.collect() })
}

/// A lake's name as its readers need it, who begin in folders of their own.
fn from_anywhere(lake: &str) -> String {
    if lake.contains("://") {
        return lake.to_owned();
    }
    std::path::absolute(lake).map_or_else(|_| lake.to_owned(), |folder| folder.display().to_string())
}
