//! Where a rebuild writes to, what takes which place in the end, and what is in the way of that.

use std::sync::Arc;

use tidegate_api_types::rebuild::{RebuildOrder, RebuildReport};
use tidegate_event::in_partition;
use tidegate_pipeline::replay::{ReplayBounds, ReplayFilter, ReplayRules, ReplaySource};
use tidegate_state::RebuildJob;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::name::NAME_BYTES_MAX;
use tidegate_warehouse::swap::{LedgerSwap, TableSwap};

use super::running_syncs::SyncPlace;
use super::unopened::Unopened;
use super::{declare, destinations};
use crate::config::{DestinationKind, SyncConfig, Workspace};
use crate::warehouses::WarehouseSettings;

/// Room for what is put behind the name of a schema, such as `_rebuild_20261130_120000`.
const SCHEMA_BYTES_MAX: usize = NAME_BYTES_MAX - 26;

/// The names of schemas, from the beginning of a job on.
pub(super) struct RebuiltSchemas {
    pub(super) rebuilt: String,
    pub(super) before: String,
}

impl RebuiltSchemas {
    /// Named after the schema that is read, and the time of the job.
    pub(super) fn of(schema: Option<&str>, order: &RebuildOrder, job: &RebuildJob) -> Self {
        let mut base = schema.unwrap_or_default();
        while base.len() > SCHEMA_BYTES_MAX || base.ends_with('_') {
            let end = base.char_indices().next_back().map_or(0, |(at, _)| at);
            base = base.get(..end).unwrap_or_default();
        }
        let joint = if base.is_empty() { "" } else { "_" };
        let time = time_in_name(job.asked.at_us);
        let named = |what: &str| format!("{base}{joint}{what}_{time}");
        Self { rebuilt: order.schema.clone().unwrap_or_else(|| named("rebuild")), before: named("before") }
    }
}

/// `20261130_120000`: in names no two of a second are needed, for one job of a sync runs at a time.
fn time_in_name(at_us: i64) -> String {
    let text = tidegate_event::time::format(at_us);
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = digits.split_at(digits.len().min(8));
    format!("{}_{}", day.iter().collect::<String>(), time.iter().collect::<String>())
}

/// A job that is worked on.
pub(super) struct OpenRebuild {
    pub(super) job: RebuildJob,
    pub(super) order: RebuildOrder,
    pub(super) workspace: Arc<Workspace>,
    pub(super) config: SyncConfig,
    pub(super) settings: WarehouseSettings,
}

impl OpenRebuild {
    /// What a job is about, as it runs now.
    ///
    /// # Errors
    /// It can never be done; a sentence.
    pub(super) fn of(job: &RebuildJob, workspace: &Arc<Workspace>) -> Result<Self, String> {
        let order: RebuildOrder = serde_json::from_str(&job.asked.order).unwrap_or_default();
        let config = workspace.syncs.get(&job.asked.sync).ok_or("there is no such sync any more")?;
        let kind = workspace.destinations.get(&config.destination.0).map(|found| &found.kind);
        let Some(DestinationKind::Warehouse(settings)) = kind else {
            return Err("the destination of the sync is no warehouse".to_owned());
        };
        settings.can_swap().map_err(|failure| failure.to_string())?;
        let (job, workspace, config) = (job.clone(), Arc::clone(workspace), config.clone());
        Ok(Self { job, order, workspace, config, settings: WarehouseSettings::clone(settings) })
    }

    /// The schema that is read, where it has a name.
    pub(super) fn schema(&self) -> Option<&str> {
        self.config.schema.as_deref().or_else(|| self.settings.schema_default())
    }

    /// What is in the way of a job of which a report says this; a sentence.
    pub(super) fn in_the_way(&self, report: &RebuildReport) -> Option<String> {
        let (sync, destination) = (&*self.job.asked.sync, &*self.config.destination.0);
        let schema = self.schema().unwrap_or_default();
        if (destination, schema) != (&*report.destination, &*report.schema) {
            let (before, schema_before) = (&report.destination, &report.schema);
            return Some(format!(
                "the sync writes to another place now: it began in {before} ({schema_before:?}), and writes to {destination} ({schema:?})"
            ));
        }
        if report.rebuilt == schema {
            return Some(format!("{schema:?} is the schema that is read; name another one"));
        }
        let own = self.tables_of(self.config.schema.as_deref());
        let rebuilt = self.tables_of(Some(&report.rebuilt));
        for (name, other) in self.workspace.syncs.iter().filter(|(name, _)| *name != sync) {
            let kind = self.workspace.destinations.get(&other.destination.0).map(|found| &found.kind);
            let Some(DestinationKind::Warehouse(settings)) = kind else { continue };
            let schema = other.schema.as_deref();
            let tables = (settings.tables_place(schema), settings.prefix(&part_in(schema)));
            if tables == own {
                return Some(format!(
                    "the sync {name} writes to the same tables, and its rows would be missing in the new ones; give each of both a \
                     `schema` of its own"
                ));
            }
            if tables == rebuilt {
                return Some(format!("the tables of the sync {name} are in {:?}; name another schema", report.rebuilt));
            }
        }
        None
    }

    /// Which of these jobs makes its tables where a report says that this one will; a sentence. There may be none of them yet.
    pub(super) fn taken_by(&self, jobs: &[RebuildJob], report: &RebuildReport) -> Option<String> {
        let rebuilt = self.tables_of(Some(&report.rebuilt));
        let is_there = |other: &&RebuildJob| {
            let theirs: RebuildReport = serde_json::from_str(&other.progress).unwrap_or_default();
            let has_begun = other.id != self.job.id && !theirs.step.is_empty();
            has_begun
                && Self::of(other, &self.workspace)
                    .is_ok_and(|open| !open.order.dry_run && open.tables_of(Some(&theirs.rebuilt)) == rebuilt)
        };
        let other = jobs.iter().find(is_there)?;
        Some(format!("rebuild {} makes its tables in {:?}; name another schema", other.id, report.rebuilt))
    }

    /// By which syncs that write to the same tables are known.
    fn tables_of(&self, schema: Option<&str>) -> (String, String) {
        (self.settings.tables_place(schema), self.settings.prefix(&part_in(schema)))
    }

    /// Where the new tables are, with the row of the ledger of a partition.
    pub(super) fn rebuilt_part(&self, report: &RebuildReport, partition: u16) -> SyncPart {
        let part = declare::part(&self.workspace, &self.job.asked.sync, partition);
        let sync = in_partition(&self.job.name(), partition).into_owned();
        SyncPart { sync, schema: Some(report.rebuilt.clone()), ..part }
    }

    /// The new tables, in a partition.
    pub(super) fn rebuilt(&self, report: &RebuildReport, partition: u16) -> Unopened {
        destinations::unopened(&self.settings, &self.rebuilt_part(report, partition))
    }

    /// The tables that are read, in a partition.
    pub(super) fn read(&self, partition: u16) -> Unopened {
        destinations::unopened(&self.settings, &declare::part(&self.workspace, &self.job.asked.sync, partition))
    }

    /// What is read of a partition of the log, and what the sync makes of it.
    pub(super) fn source(&self, place: &SyncPlace) -> ReplaySource {
        ReplaySource {
            refiner: place.refiner.for_sync(),
            sync: (&*self.job.asked.sync).into(),
            source: self.config.source.0.as_str().into(),
            filter: destinations::filter(&self.workspace, &self.config),
            mapping: self.config.mapping.clone(),
            only: ReplayFilter {
                received: self.order.from_us.map_or(0..0, |from_us| from_us..i64::MAX),
                ..ReplayFilter::default()
            },
            rules: ReplayRules::Now,
            first: 0,
        }
    }

    /// How large its batches grow: as those of the sync.
    pub(super) fn bounds(&self) -> ReplayBounds {
        let settings = destinations::settings(&self.workspace, &self.config);
        ReplayBounds { events_max: settings.batch_events_max, bytes_max: settings.batch_bytes_max }
    }

    /// What takes which place, once the ledger of each partition is at one of these offsets.
    pub(super) fn swap(&self, report: &RebuildReport, offsets: &[(u16, u64)]) -> TableSwap {
        let (sync, name) = (&*self.job.asked.sync, self.job.name());
        let ledger = |(partition, log_offset): &(u16, u64)| LedgerSwap {
            sync: in_partition(sync, *partition).into_owned(),
            rebuilt: in_partition(&name, *partition).into_owned(),
            log_offset: *log_offset,
        };
        TableSwap {
            schema: self.config.schema.clone(),
            rebuilt: report.rebuilt.clone(),
            before: report.before.clone(),
            ledgers: offsets.iter().map(ledger).collect(),
        }
    }
}

/// A part of which only the schema matters.
fn part_in(schema: Option<&str>) -> SyncPart {
    SyncPart { schema: schema.map(str::to_owned), ..SyncPart::default() }
}

#[cfg(test)]
mod tests {
    use tidegate_state::{NewRebuildJob, RebuildJobState};

    use super::*;

    #[test]
    fn schemas_are_named_after_the_one_that_is_read_and_the_time() {
        let job = RebuildJob {
            id: 1,
            asked: NewRebuildJob { at_us: 1_764_504_000_000_000, ..NewRebuildJob::default() },
            state: RebuildJobState::Running,
            progress: String::new(),
            is_swap_asked: false,
            ended_at_us: None,
        };
        let order = RebuildOrder::default();
        let of = |schema: Option<&str>| {
            let RebuiltSchemas { rebuilt, before } = RebuiltSchemas::of(schema, &order, &job);
            (rebuilt, before)
        };
        assert_eq!(of(None), ("rebuild_20251130_120000".to_owned(), "before_20251130_120000".to_owned()));
        assert_eq!(of(Some("shop")).1, "shop_before_20251130_120000");
        let (rebuilt, before) = of(Some(&"é".repeat(31)));
        assert!(rebuilt.len() <= NAME_BYTES_MAX && before.len() <= NAME_BYTES_MAX, "{rebuilt} {before}");
        let named = RebuildOrder { schema: Some("fresh".to_owned()), ..order.clone() };
        assert_eq!(RebuiltSchemas::of(Some("shop"), &named, &job).rebuilt, "fresh");
    }
}
