//! What alerts are evaluated on: the counts of the state, how syncs are, the disk, certificates. What no rule asks for is not read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::statvfs;
use tidegate_alert::{AlertCondition, AlertRule, AlertSnapshot, DiskSeen, FunctionSeen, SourceSeen, SyncSeen, ends_us};
use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_net::trust;
use tidegate_state::{PendingCount, State, StateError, SyncReport};

use super::live::Live;
use super::log_times;
use super::running_syncs::SyncPlace;
use crate::config::Workspace;

/// How files end that hold certificates.
const CERTIFICATES: [&str; 3] = ["pem", "crt", "cer"];

/// What a snapshot is made of.
pub(super) struct SnapshotParts<'a> {
    pub(super) state: &'a State,
    pub(super) workspace: &'a Workspace,
    pub(super) running: &'a RunningNow,
    pub(super) live: &'a Live,
    /// Of each partition of the log.
    pub(super) places: &'a Arc<[SyncPlace]>,
    pub(super) data: &'a Path,
    pub(super) has_breach: Option<bool>,
}

/// What rules ask for that takes more than a look.
#[derive(Debug, Clone, Copy, Default)]
struct SnapshotNeeds {
    hours: bool,
    pending: bool,
    ages: bool,
    functions: bool,
    certificates: bool,
}

impl SnapshotNeeds {
    fn of(rules: &[AlertRule]) -> Self {
        let mut needs = Self::default();
        for rule in rules {
            match rule.condition {
                AlertCondition::VolumeDrop { .. }
                | AlertCondition::VolumeSpike { .. }
                | AlertCondition::SourceSilent { .. } => needs.hours = true,
                AlertCondition::SyncFailing { .. } => needs.pending = true,
                AlertCondition::SyncLate { .. } => (needs.pending, needs.ages) = (true, true),
                AlertCondition::FunctionFailing { .. } => needs.functions = true,
                AlertCondition::Certificate { .. } => needs.certificates = true,
                _ => {}
            }
        }
        needs
    }
}

impl SnapshotParts<'_> {
    /// Looks at everything that `rules` ask for, now.
    ///
    /// # Errors
    /// The state cannot be read.
    pub(super) fn snapshot(&self, rules: &[AlertRule], at_us: i64) -> Result<AlertSnapshot, StateError> {
        let needs = SnapshotNeeds::of(rules);
        let reports = self.state.reports()?;
        let (mut sources, mut quarantined) = self.sources()?;
        quarantined += reports.iter().map(|report| report.rejected).sum::<u64>();
        if needs.hours {
            let hours = AlertSnapshot::hours_needed(at_us);
            for (name, source) in &mut sources {
                let (came, first_hour) = self.state.accepted_in_hours(name, &hours)?;
                (source.hours, source.first_hour) = (came.into_iter().collect(), first_hour);
            }
        }
        Ok(AlertSnapshot {
            at_us,
            sources,
            syncs: self.syncs(&reports, needs)?,
            functions: if needs.functions { self.functions()? } else { BTreeMap::new() },
            quarantined,
            disk: disk(self.data),
            certificates: if needs.certificates { self.certificates() } else { BTreeMap::new() },
            has_breach: self.has_breach,
        })
    }

    /// What came to each source, and how many events of all of them were quarantined.
    fn sources(&self) -> Result<(BTreeMap<String, SourceSeen>, u64), StateError> {
        let mut sources: BTreeMap<String, SourceSeen> = BTreeMap::new();
        for name in self.workspace.sources.keys() {
            let is_paused = self.workspace.is_paused(ObjectRefKind::Source, name);
            sources.insert(name.clone(), SourceSeen { is_paused, ..SourceSeen::default() });
        }
        let mut quarantined = 0_u64;
        for (scope, name, value) in self.state.counters()? {
            let Some(source) = sources.get_mut(&scope) else { continue };
            match name.as_str() {
                "accepted" => source.accepted = value,
                "violations" => source.violations = value,
                "quarantined" => quarantined += value,
                _ => {}
            }
        }
        Ok((sources, quarantined))
    }

    fn syncs(&self, reports: &[SyncReport], needs: SnapshotNeeds) -> Result<BTreeMap<String, SyncSeen>, StateError> {
        let pending = if needs.pending { self.state.pending_counts()? } else { Vec::new() };
        let mut starts = Vec::new();
        for place in self.places.iter().filter(|_| needs.ages) {
            starts.push(self.state.starts_in(place.refiner.partition())?);
        }
        let mut syncs = BTreeMap::new();
        for (name, config) in &self.workspace.syncs {
            let report = reports.iter().find(|report| report.sync == *name);
            let destination = config.destination.0.clone();
            let pending = pending.iter().find(|count| count.sync == *name && count.events > 0);
            // What a destination says may quote events, and is for those who may see them.
            let retried = || pending.and_then(PendingCount::failure);
            let failure = report.and_then(|report| report.failure.clone()).or_else(retried);
            let oldest_pending = pending.filter(|_| needs.ages);
            let oldest_in_log = self.oldest_in_log(name, report, &starts);
            let oldest_waiting_us =
                oldest_pending.map(|count| count.oldest_at_us).into_iter().chain(oldest_in_log).min();
            syncs.insert(
                name.clone(),
                SyncSeen {
                    delivered: report.map_or(0, |report| report.delivered),
                    quarantined: report.map_or(0, |report| report.rejected),
                    failure: failure.or_else(|| self.behind(name, &destination)),
                    is_paused: self.workspace.is_sync_paused(name),
                    oldest_waiting_us,
                    destination,
                },
            );
        }
        Ok(syncs)
    }

    /// Why a sync, or its destination, does not run as it is wanted.
    fn behind(&self, sync: &str, destination: &str) -> Option<String> {
        let is_of_it = |kind: ObjectRefKind, key: &str| match kind {
            ObjectRefKind::Sync => key == sync,
            ObjectRefKind::Destination => key == destination,
            _ => false,
        };
        let mut behind = self.running.behind.iter().filter(|one| is_of_it(one.object.kind, &one.object.key));
        behind.find_map(|one| one.error.clone())
    }

    /// When the oldest record was received that a sync has not had. `starts` say for each partition where syncs begin; without, nothing is
    /// looked for.
    fn oldest_in_log(&self, sync: &str, report: Option<&SyncReport>, starts: &[BTreeMap<String, u64>]) -> Option<i64> {
        let of_partition = self.places.iter().zip(starts).filter_map(|(place, starts)| {
            let (log, partition) = (&place.log, place.refiner.partition());
            let cursors = report.into_iter().flat_map(|report| &report.cursors);
            let cursor = cursors.filter(|cursor| cursor.partition == partition).map(|cursor| cursor.offset);
            // One that has only failed so far has a cursor before its start, and one that has not ended a batch yet has none.
            let from = cursor.chain(starts.get(sync).copied()).max()?.max(log.oldest());
            let end = log.committed();
            if from >= end || log.records(from, end) == 0 {
                return None;
            }
            // What cannot be read is told by others.
            log_times::received_at(&**log, from).ok().flatten()
        });
        of_partition.min()
    }

    fn functions(&self) -> Result<BTreeMap<String, FunctionSeen>, StateError> {
        let mut functions: BTreeMap<String, FunctionSeen> = BTreeMap::new();
        let versions = self.live.versions();
        for (charge, stopped) in self.state.charges()? {
            // A version that was stopped and is not among them any more holds nothing up.
            let is_run = versions.contains(&(charge.function.clone(), charge.version.clone()));
            let seen = functions.entry(charge.function).or_default();
            seen.events += charge.events;
            seen.failed += charge.errors + charge.failed;
            seen.stopped = seen.stopped.take().or(stopped.filter(|_| is_run));
        }
        Ok(functions)
    }

    /// When the certificates end in files that the workspace names, those of its ports among them; the first of each file, none where it cannot be
    /// told.
    fn certificates(&self) -> BTreeMap<String, Option<i64>> {
        let named = self.workspace.files.keys().filter(|file| {
            let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            ending.is_some_and(|ending| CERTIFICATES.contains(&&*ending))
        });
        let dir = &self.workspace.dir;
        let mut files: BTreeSet<PathBuf> = named.map(|file| dir.join(file)).collect();
        for tls in [&self.workspace.tls, &self.workspace.admin_tls].into_iter().flatten() {
            files.insert(tls.files.certificate.clone());
            files.extend(tls.files.client_ca.clone());
        }
        let found = files.iter().map(|file| {
            let certificates = trust::certificates(file).unwrap_or_default();
            let first = certificates.iter().filter_map(|certificate| ends_us(certificate)).min();
            (file.strip_prefix(dir).unwrap_or(file).display().to_string(), first)
        });
        found.collect()
    }
}

/// The disk of a folder; none where nobody can tell.
fn disk(data: &Path) -> Option<DiskSeen> {
    fail::fail_point!("alerts_disk_full", |_| Some(DiskSeen { free: 5, total: 100 }));
    let found = statvfs(data).ok()?;
    Some(DiskSeen {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
    })
}
