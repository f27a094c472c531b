//! One connection: what is known through it, and the transaction of a batch.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_event::destination::Batch;
use tidegate_warehouse::loader::Snapshot;
use tidegate_warehouse::schema_cache::{FoundSchema, SchemaCache};
use tidegate_warehouse::table::{Family, RowTarget};

use super::catalog::{self, Fingerprints};
use super::ddl;
use super::error::PostgresError;
use super::ledger::PostgresLedger;
use super::settings::CheckedPostgres;
use super::view::Before;
use super::wire::PostgresWire;

/// How often tables that somebody alters meanwhile are looked at anew.
const LOOKS_MAX: usize = 4;

/// Where the rows of each event of a batch go; `None` for those that are there.
type Targets = Vec<Option<RowTarget>>;

/// What a connection knows.
pub(super) struct PostgresSession {
    pub(super) wire: PostgresWire,
    settings: Arc<CheckedPostgres>,
    prints: Fingerprints,
    /// What the ledger said last.
    durable: Option<u64>,
    ledger: PostgresLedger,
    /// The tables have been looked at.
    pub(super) looked: bool,
    /// Tables that this batch has altered.
    pub(super) altered: BTreeSet<String>,
    /// What goes before a change of the table in hand.
    pub(super) before: Before,
}

impl PostgresSession {
    pub(super) async fn open(settings: &Arc<CheckedPostgres>) -> Result<Self, PostgresError> {
        Ok(Self {
            wire: PostgresWire::open(settings).await?,
            settings: Arc::clone(settings),
            prints: Fingerprints::default(),
            durable: None,
            ledger: PostgresLedger::new(Arc::clone(settings)),
            looked: false,
            altered: BTreeSet::new(),
            before: Before::default(),
        })
    }

    pub(super) async fn durable_to(&mut self) -> Result<Option<u64>, PostgresError> {
        let Self { wire, ledger, .. } = &mut *self;
        self.durable = if ledger.exists(wire).await? { ledger.read(wire).await? } else { None };
        Ok(self.durable)
    }

    /// Makes what is missing of schema and ledger.
    pub(super) async fn prepare(&mut self) -> Result<(), PostgresError> {
        if !self.ledger.is_settled {
            self.ledger.settle(&mut self.wire).await?;
            self.durable = self.ledger.read(&self.wire).await?;
        }
        Ok(())
    }

    /// Begins the transaction, holds the tables of the batch against alteration, and sees that they are what is known of
    /// them. Whether they had to be looked at anew.
    pub(super) async fn begin(
        &mut self,
        batch: &Batch,
        known: &mut SchemaCache,
        found: &mut FoundSchema,
    ) -> Result<(Snapshot, bool), PostgresError> {
        let mut expected = self.durable;
        let (mut targets, mut names) = needed(known, found, batch, expected)?;
        // All at once: the server answers in order, and the first refusal is the cause of the others.
        let (wire, hold) = (&self.wire, ddl::hold(&self.wire.schema, &names));
        let (begun, fenced, durable_to, held, prints) = tokio::join!(
            wire.begin(),
            self.ledger.fence(wire),
            self.ledger.read(wire),
            wire.run("holding the tables", &hold),
            catalog::fingerprints(wire, Some(&names)),
        );
        begun?;
        fenced?;
        let durable_to = durable_to?;
        held?;
        let mut prints = prints?;
        for looks in 0..LOOKS_MAX {
            let is_known =
                names.iter().all(|name| prints.contains_key(name) && prints.get(name) == self.prints.get(name));
            if is_known && expected == durable_to {
                return Ok((Snapshot { durable_to, targets: Some(targets) }, looks > 0));
            }
            *found = self.look(known).await?;
            expected = durable_to;
            (targets, names) = needed(known, found, batch, expected)?;
            self.wire.run("holding the tables", &ddl::hold(&self.wire.schema, &names)).await?;
            prints = catalog::fingerprints(&self.wire, Some(&names)).await?;
        }
        Err(PostgresError::Restless)
    }

    /// Looks at the tables anew. The fingerprints come first: a change that slips in between shows later.
    pub(super) async fn look(&mut self, known: &mut SchemaCache) -> Result<FoundSchema, PostgresError> {
        self.prints = catalog::fingerprints(&self.wire, None).await?;
        let found = catalog::find(&self.wire).await?;
        let (limits, declared) = (self.settings.limits, Arc::clone(&self.settings.declared));
        *known = SchemaCache::new("", found.objects(), limits, declared, &self.settings.waiting);
        self.looked = true;
        Ok(found)
    }

    pub(super) async fn commit(&mut self, next: u64, notices: &mut Vec<String>) -> Result<(), PostgresError> {
        if !self.altered.is_empty() {
            let names: Vec<String> = std::mem::take(&mut self.altered).into_iter().collect();
            self.prints.extend(catalog::fingerprints(&self.wire, Some(&names)).await?);
        }
        self.ledger.write(&self.wire, next).await?;
        self.wire.commit().await?;
        self.durable = Some(next);
        notices.extend(self.ledger.left.take());
        Ok(())
    }
}

/// Where the events of the batch go, and the names of the tables that exist and get rows, in order.
fn needed(
    known: &mut SchemaCache,
    found: &mut FoundSchema,
    batch: &Batch,
    durable_to: Option<u64>,
) -> Result<(Targets, Vec<String>), PostgresError> {
    let (mut targets, mut tables) = (Vec::with_capacity(batch.events.len()), BTreeSet::new());
    for event in &batch.events {
        let fresh = durable_to.is_none_or(|durable_to| event.id.position.offset >= durable_to);
        let target = if fresh { Some(known.target(found, event)?) } else { None };
        if let Some(target) = &target {
            tables.insert(target.kind);
            tables.extend(target.event.as_ref().map(|(table, _)| *table));
        }
        targets.push(target);
    }
    if !batch.violations.is_empty() {
        tables.insert(known.fixed_table(found, Family::Violations)?);
    }
    Ok((targets, names(known, &tables)))
}

/// The names of tables, for the server.
pub(super) fn names(known: &SchemaCache, tables: &BTreeSet<usize>) -> Vec<String> {
    let there = tables.iter().map(|table| &known.tables.list[*table]).filter(|table| table.exists);
    let mut names: Vec<String> = there.map(|table| table.name.to_string()).collect();
    names.sort_unstable();
    names
}
