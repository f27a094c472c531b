//! Syncs that end, and those that have: what is left of the one, what was given up by the others.

use serde_json::{Value, json};
use tidegate_event::time;
use tidegate_state::{EndedSync, EndingKind, State, StateError, SyncEnd};

use crate::cli::style;

/// A sync that ends.
struct EndingLine {
    sync: String,
    kind: EndingKind,
    /// Records that it has not had, of those that are for it.
    records: u64,
    pending: u64,
}

/// What there is to say of ends.
pub(super) struct SyncEndings {
    ending: Vec<EndingLine>,
    ended: Vec<EndedSync>,
}

impl SyncEndings {
    /// Of a state, where `records` says how many records there are in a partition from one offset up to another.
    pub(super) fn read(state: &State, records: impl Fn(u16, u64, u64) -> u64) -> Result<Self, StateError> {
        let (reports, pending) = (state.reports()?, state.pending_counts()?);
        let cursor = |sync: &str, partition: u16| {
            let report = reports.iter().find(|report| report.sync == sync)?;
            report.cursors.iter().find(|cursor| cursor.partition == partition).map(|cursor| cursor.offset)
        };
        let line = |SyncEnd { sync, kind, ends }: SyncEnd| {
            let left = ends.iter().map(|end| {
                let next = cursor(&sync, end.partition).unwrap_or(0);
                records(end.partition, next.min(end.offset), end.offset)
            });
            let records = left.sum();
            let pending = pending.iter().find(|count| count.sync == sync).map_or(0, |count| count.events);
            EndingLine { sync, kind, records, pending }
        };
        Ok(Self { ending: state.endings()?.into_iter().map(line).collect(), ended: state.ended_syncs()? })
    }

    /// How a sync ends, in a word.
    pub(super) fn of(&self, sync: &str) -> Option<&'static str> {
        let line = self.ending.iter().find(|line| line.sync == sync)?;
        Some(match line.kind {
            EndingKind::Drain => "draining",
            EndingKind::Abandon => "abandoned",
        })
    }

    fn abandoned(&self) -> u64 {
        self.ended.iter().map(|ended| ended.abandoned).sum()
    }

    pub(super) fn to_json(&self) -> Value {
        let ending = self.ending.iter().map(|line| {
            let of = json!({ "how": line.kind.as_str(), "records": line.records, "pending": line.pending });
            (line.sync.clone(), of)
        });
        let ended = self.ended.iter().map(|ended| {
            json!({
                "sync": ended.sync, "ended_at": time::format(ended.ended_at_us), "delivered": ended.delivered,
                "duplicates": ended.duplicates, "quarantined": ended.rejected, "filtered": ended.filtered,
                "abandoned": ended.abandoned,
            })
        });
        json!({
            "ending": ending.collect::<serde_json::Map<_, _>>(), "ended": ended.collect::<Vec<_>>(),
            "abandoned": self.abandoned(),
        })
    }

    pub(super) fn print(&self) {
        for line in &self.ending {
            let (sync, records, pending) =
                (style::plain(&line.sync, 200), style::count(line.records), style::count(line.pending));
            match line.kind {
                EndingKind::Drain => println!(
                    "{} sync {sync}: {records} records of the log and {pending} pending events until it ends",
                    style::bold("draining:")
                ),
                EndingKind::Abandon => println!("{} sync {sync}: it is being ended", style::bold("abandoned:")),
            }
        }
        if !self.ended.is_empty() {
            println!(
                "{} syncs have ended, and gave up {} events",
                style::count(self.ended.len() as u64),
                style::count(self.abandoned())
            );
        }
    }
}
