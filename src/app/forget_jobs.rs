//! Forgets subjects, job by job, while everything else goes on.
//!
//! A step of a job is one segment of the log, or all rows of the state, and is kept with what it found. Whoever dies makes the step again, which
//! finds less to do: a record that was erased says which job did it, so that it is counted all the same. The order is that in which events
//! flow, so that nothing comes from behind into what was looked at: first what may be retried, then the log, then the tools that it was sent to,
//! then what came of its records here, then the file that all of it was in.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::privacy::{ErasedSegment, ForgetReport, ForgottenPlace};
use tidegate_event::Position;
use tidegate_event::record::ErasedRecord;
use tidegate_log::{Eraser, Erasing, Log, LogEntry, LogError, LogPartitions, partition_dir};
use tidegate_process::clock;
use tidegate_state::{ForgetJob, State, SubjectSet};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::sleep;

use super::active_runtimes::ActiveRuntimes;
use super::archive::{HeldSegment, LogArchive, unless_stopped};
use super::tool_deletions::{PeopleToDelete, ToolDeletions, any_waits};
use super::{AppError, paths};
use crate::api::WorkspaceNames;

/// Between two looks for a job, when nobody says that there is one.
const IDLE: Duration = Duration::from_secs(5);
/// After a failure, and while somebody else holds a file.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 1_024;
/// Segments that a report names.
const SEGMENTS_MAX: usize = 1_000;
/// Files of torn writes that are read; none is larger than what the log writes at once.
const TORN_BYTES_MAX: u64 = 256 << 20;

const LOG: &str = "log";
const ARCHIVE: &str = "archive of the log";
const TORN: &str = "torn writes beside the log";
const FOREIGN: &str = "foreign files beside the log";
const STATE_FILE: &str = "state.db";

/// Works on the jobs of one environment.
pub(super) struct ForgetJobs {
    state: State,
    log: LogPartitions,
    archive: Option<Arc<LogArchive>>,
    data: PathBuf,
    names: watch::Receiver<Arc<WorkspaceNames>>,
    tools: ToolDeletions,
    wake: Arc<Notify>,
    /// Held by whoever sends entries of the quarantine on, from when it reads them until the log has them.
    sending: Arc<Mutex<()>>,
}

/// Whether a job looks through the log, or is about to: nothing that is here already may come into it behind its back.
pub(super) fn is_in_log(state: &State) -> Result<bool, AppError> {
    let Some(job) = state.running_forget_job()? else { return Ok(false) };
    let report: ForgetReport = serde_json::from_str(&job.progress).unwrap_or_default();
    Ok(!job.asked.dry_run && matches!(report.step.as_str(), "" | "log"))
}

/// What is to be done next.
enum ForgetStep {
    Idle,
    Next,
    /// Somebody else holds what is needed.
    Busy,
}

/// What was found in a part of the log.
#[derive(Default)]
struct SubjectRecords {
    looked_at: u64,
    offsets: Vec<u64>,
    /// Records that this job has erased before.
    erased_before: Vec<u64>,
    /// A subject stands in bytes that were kept of records which cannot be read.
    is_in_damage: bool,
    /// Ranges that cannot be read.
    damaged: u64,
}

impl ForgetJobs {
    pub(super) fn new(
        (state, log, archive): (State, LogPartitions, Option<Arc<LogArchive>>),
        data: PathBuf,
        (names, runtimes): (watch::Receiver<Arc<WorkspaceNames>>, Arc<ActiveRuntimes>),
        wake: Arc<Notify>,
        sending: Arc<Mutex<()>>,
    ) -> Self {
        Self { state, log, archive, data, names, tools: ToolDeletions::new(runtimes), wake, sending }
    }

    /// Works until `stop` turns true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let wake = Arc::clone(&self.wake);
        while !*stop.borrow() {
            let stops = stop.clone();
            // Off the threads that answer clients.
            let work = move || {
                let step = self.step(&stops).map_err(|error| error.to_string());
                (self, step)
            };
            let Ok((same, step)) = tokio::task::spawn_blocking(work).await else { return };
            self = same;
            let step = step.unwrap_or_else(|error| {
                tracing::warn!(error, "a job that forgets somebody could not go on; it is tried again");
                ForgetStep::Busy
            });
            let pause = match step {
                ForgetStep::Next => continue,
                ForgetStep::Busy => FAILED_PAUSE,
                ForgetStep::Idle => IDLE,
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn step(&mut self, stop: &watch::Receiver<bool>) -> Result<ForgetStep, AppError> {
        let Some(job) = self.state.running_forget_job()? else { return Ok(ForgetStep::Idle) };
        let mut report: ForgetReport = serde_json::from_str(&job.progress).unwrap_or_default();
        let subjects = self.state.subject_set(&job.asked.subjects)?;
        let step = match report.step.as_str() {
            "" if !job.asked.dry_run => self.first_step(&subjects, &mut report)?,
            "" | "log" => self.log_step((&job, &subjects), &mut report, stop)?,
            "tools" => self.tools_step((&job, &subjects), &mut report, stop)?,
            "state" => self.state_step((&job, &subjects), &mut report)?,
            "file" => self.file_step((&job, &subjects), &mut report)?,
            _ => ForgetStep::Next,
        };
        if !matches!(step, ForgetStep::Next) {
            return Ok(step);
        }
        let ended_at_us = (report.step == "done").then(clock::now_us);
        let progress = serde_json::to_string(&report).unwrap_or_default();
        self.state.step_forget_job(job.id, &progress, ended_at_us)?;
        if ended_at_us.is_some() {
            let removed: u64 = report.places.iter().map(|place| place.removed).sum();
            tracing::info!(job = job.id, dry_run = job.asked.dry_run, removed, "a job that forgets somebody is done");
        }
        fail::fail_point!("forget_stepped", |_| std::process::abort());
        Ok(ForgetStep::Next)
    }

    /// What names a subject and could go anywhere yet. Whoever sends entries of the quarantine on sees that there is this job, and sends none until
    /// the log was looked through; what it had in hand is waited for.
    fn first_step(&mut self, subjects: &SubjectSet, report: &mut ForgetReport) -> Result<ForgetStep, AppError> {
        if self.sending.try_lock().is_err() {
            return Ok(ForgetStep::Busy);
        }
        self.remove_rows(subjects, report)?;
        "log".clone_into(&mut report.step);
        Ok(ForgetStep::Next)
    }

    /// Removes what there is in the state by now.
    fn remove_rows(&mut self, subjects: &SubjectSet, report: &mut ForgetReport) -> Result<(), AppError> {
        for rows in self.state.forget_rows(subjects, &[], false)? {
            let place = place(report, rows.place);
            place.found += rows.found;
            place.removed += rows.removed;
        }
        Ok(())
    }

    /// The next segment of the log.
    fn log_step(
        &mut self,
        (job, subjects): (&ForgetJob, &SubjectSet),
        report: &mut ForgetReport,
        stop: &watch::Receiver<bool>,
    ) -> Result<ForgetStep, AppError> {
        let partition = report.partition;
        let found = self.log.iter().find(|(number, _)| *number == partition).map(|(_, log)| Arc::clone(log));
        let Some(log) = found else {
            // Entries go on from here: none that is known by its record alone, which was erased.
            if !job.asked.dry_run {
                self.remove_rows(subjects, report)?;
            }
            "tools".clone_into(&mut report.step);
            return Ok(ForgetStep::Next);
        };
        "log".clone_into(&mut report.step);
        let to = match report.to {
            Some(to) => to,
            None if job.asked.dry_run => log.committed(),
            None => match log.seal() {
                // Kept before anything else: what fails and is tried again does not seal again.
                Ok(to) => {
                    report.to = Some(to);
                    return Ok(ForgetStep::Next);
                }
                // It goes on when the log does.
                Err(_) => return Ok(ForgetStep::Busy),
            },
        };
        report.to = Some(to);
        let archive = self.archive.clone();
        let turn = match &archive {
            Some(archive) if !archive.is_known() => return Ok(ForgetStep::Busy),
            // Nobody copies a segment while records of it are erased.
            Some(archive) => match unless_stopped(archive.turn(), stop) {
                Some(turn) => Some(turn),
                None => return Ok(ForgetStep::Busy),
            },
            None => None,
        };
        let archived = archive.as_ref().and_then(|archive| {
            let of_archive = report.next..log.oldest();
            archive.first_in(partition, &of_archive).map(|segment| (archive, segment))
        });
        // What the log does not have any more is fetched, and read and erased like what it has.
        let held = match &archived {
            Some((archive, segment)) => match unless_stopped(archive.fetch(segment), stop) {
                Some(fetched) => Some(fetched?),
                None => return Ok(ForgetStep::Busy),
            },
            None => None,
        };
        let at = if held.is_some() { ARCHIVE } else { LOG };
        let next = report.next.max(if held.is_some() { 0 } else { log.oldest() });
        if next >= to {
            (report.partition, report.next, report.to) = (partition.saturating_add(1), 0, None);
            return Ok(ForgetStep::Next);
        }
        let sealed = log.sealed().into_iter().find(|part| part.end > next).filter(|part| part.start < to);
        let part = held.as_ref().map_or_else(|| sealed.unwrap_or(next..to), HeldSegment::range);
        let is_gone = || archive.is_some() && held.is_none() && log.oldest() > part.start;
        let Some(found) = found_in(&*log, &part, (job, subjects), stop)? else { return Ok(ForgetStep::Busy) };
        if is_gone() {
            // It was trimmed meanwhile: the archive has it.
            return Ok(ForgetStep::Next);
        }
        let found_now = (found.offsets.len() + found.erased_before.len()) as u64;
        let mut removed = found.erased_before.len() as u64;
        if !job.asked.dry_run && found_now > 0 {
            let offsets = found.offsets.iter().chain(&found.erased_before);
            let positions: Vec<Position> = offsets.map(|offset| Position::new(partition, *offset)).collect();
            // First what the rows are found by that came of these records.
            self.state.keep_forgotten(&positions, job.id)?;
        }
        if !job.asked.dry_run && (!found.offsets.is_empty() || found.is_in_damage) {
            fail::fail_point!("forget_kept", |_| std::process::abort());
            let offsets = found.offsets.iter().copied().collect();
            let mut eraser = SubjectEraser { subjects, offsets, job: number_of(job) };
            if let Some(erased) = log.erase(part.start, &mut eraser)? {
                removed += erased.records;
                if erased.too_short > 0 {
                    let left =
                        "records of a few bytes are too short to be erased in their places; they go with retention";
                    place(report, at).left = Some(left.to_owned());
                }
                let proof = ErasedSegment {
                    partition,
                    segment: part.start,
                    records: erased.records,
                    sha256_before: erased.before,
                    sha256_after: erased.after,
                };
                report.segments.push(proof);
                let more = report.segments.len().saturating_sub(SEGMENTS_MAX);
                report.segments.drain(..more);
            } else if is_gone() {
                return Ok(ForgetStep::Next);
            } else if log.oldest() > part.start {
                // It was trimmed meanwhile.
                removed += found.offsets.len() as u64;
            } else {
                // It is not sealed: then it has to be, and is looked at again.
                report.to = None;
                return Ok(ForgetStep::Next);
            }
            fail::fail_point!("forget_erased", |_| std::process::abort());
        }
        if let Some(turn) = turn.as_ref().filter(|_| !job.asked.dry_run && (found_now > 0 || found.is_in_damage))
            && !turn.put_back((partition, part.start, held.is_some()), stop)?
        {
            return Ok(ForgetStep::Busy);
        }
        let place = place(report, at);
        place.looked_at += found.looked_at;
        place.found += found_now;
        place.removed += removed;
        if found.damaged > 0 {
            let left = "a part of the log cannot be read, so nobody knows what stands in it; it goes with retention";
            place.left = Some(left.to_owned());
        }
        report.next = part.end;
        Ok(ForgetStep::Next)
    }

    /// Some people of one tool behind a destination plugin.
    fn tools_step(
        &mut self,
        (job, subjects): (&ForgetJob, &SubjectSet),
        report: &mut ForgetReport,
        stop: &watch::Receiver<bool>,
    ) -> Result<ForgetStep, AppError> {
        if job.asked.dry_run {
            report.tools = self.tools.tried(job.asked.subjects.len() as u64);
            "state".clone_into(&mut report.step);
            return Ok(ForgetStep::Next);
        }
        let people = self.state.forget_people(job.id)?;
        if report.tools.is_empty() {
            report.tools = self.tools.begun(&people);
            if any_waits(&report.tools) {
                return Ok(ForgetStep::Next);
            }
        }
        if !any_waits(&report.tools) {
            self.state.drop_forget_people(job.id)?;
            "state".clone_into(&mut report.step);
            return Ok(ForgetStep::Next);
        }
        let Some(place) = self.tools.due(&report.tools) else { return Ok(ForgetStep::Busy) };
        let Some(tool) = report.tools.get_mut(place) else { return Ok(ForgetStep::Busy) };
        let asked = PeopleToDelete { people: &people, subjects };
        let mut stops = stop.clone();
        let is_stopped = tokio::runtime::Handle::current().block_on(async {
            tokio::select! {
                _ = stops.wait_for(|stop| *stop) => true,
                () = self.tools.ask(tool, asked) => false,
            }
        });
        fail::fail_point!("forget_asked", |_| std::process::abort());
        // What a tool was asked for in vain it is asked for again.
        Ok(if is_stopped { ForgetStep::Busy } else { ForgetStep::Next })
    }

    /// Everything in the state file.
    fn state_step(
        &mut self,
        (job, subjects): (&ForgetJob, &SubjectSet),
        report: &mut ForgetReport,
    ) -> Result<ForgetStep, AppError> {
        let oldest: Vec<Position> =
            self.log.iter().map(|(partition, log)| Position::new(partition, log.readable_from())).collect();
        for rows in self.state.forget_rows(subjects, &oldest, job.asked.dry_run)? {
            let place = place(report, rows.place);
            place.looked_at += rows.looked_at;
            place.found += rows.found;
            place.removed += rows.removed;
        }
        "file".clone_into(&mut report.step);
        Ok(ForgetStep::Next)
    }

    /// The file of the state itself, and files that nothing reads.
    fn file_step(
        &mut self,
        (job, subjects): (&ForgetJob, &SubjectSet),
        report: &mut ForgetReport,
    ) -> Result<ForgetStep, AppError> {
        if !job.asked.dry_run && !self.state.leave_no_trace()? {
            return Ok(ForgetStep::Busy);
        }
        if !job.asked.dry_run {
            let left = "it was written anew, and its write-ahead log is empty";
            place(report, STATE_FILE).left = Some(left.to_owned());
        }
        for (partition, _) in self.log.iter() {
            let dir = partition_dir(&paths::log(&self.data), partition);
            torn_writes(&dir, (job, subjects), report)?;
        }
        self.say_what_is_left(report);
        "done".clone_into(&mut report.step);
        Ok(ForgetStep::Next)
    }

    /// What this server cannot take back.
    fn say_what_is_left(&self, report: &mut ForgetReport) {
        let entries = std::fs::read_dir(&self.data).into_iter().flatten().flatten();
        let copies =
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("state.db.damaged-")).count();
        if copies > 0 {
            let left = format!(
                "{copies} damaged copies of state.db lie beside it, and nobody can say what is in them: remove them"
            );
            place(report, "damaged copies of state.db").left = Some(left);
        }
        for sync in self.names.borrow().sync_sources.keys() {
            let left = "what it has delivered is at its destination: `tidegate privacy warehouses` prints the statements for \
                        warehouses and runs some; of plugins the job says whether their tools were asked; streams have to be asked by \
                        their own means. At most two batches that it had gathered before are delivered yet";
            place(report, &format!("sync {sync}")).left = Some(left.to_owned());
        }
        if self.archive.is_none() && paths::archive(&self.data).exists() {
            let left = "the log had an archive (`log: archive:` in tidegate.yaml), and nobody has looked into it: write the setting again, \
                        restart, and run the job once more; or remove what lies there";
            place(report, ARCHIVE).left = Some(left.to_owned());
        }
        let left = "it says what was done by whom, and cannot be changed: what somebody looked for by a text stands in it as they wrote it";
        place(report, "audit log").left = Some(left.to_owned());
        let left = "copies of the data directory that were made before are as they were";
        place(report, "backups").left = Some(left.to_owned());
    }
}

/// The place of a report with this name, made where there is none.
fn place<'r>(report: &'r mut ForgetReport, name: &str) -> &'r mut ForgottenPlace {
    let at = report.places.iter().position(|place| place.place == name).unwrap_or_else(|| {
        report.places.push(ForgottenPlace { place: name.to_owned(), ..ForgottenPlace::default() });
        report.places.len() - 1
    });
    &mut report.places[at]
}

/// The number by which records say which job has erased them.
fn number_of(job: &ForgetJob) -> u32 {
    u32::try_from(job.id).unwrap_or(u32::MAX)
}

/// The records in a part of the log that are about any of the subjects; `None` when the server stops.
fn found_in(
    log: &dyn Log,
    part: &Range<u64>,
    (job, subjects): (&ForgetJob, &SubjectSet),
    stop: &watch::Receiver<bool>,
) -> Result<Option<SubjectRecords>, AppError> {
    let mut found = SubjectRecords::default();
    let mut reader = match log.reader(part.start) {
        Err(LogError::Trimmed { .. }) => return Ok(Some(found)),
        reader => reader?,
    };
    loop {
        if *stop.borrow() {
            return Ok(None);
        }
        let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
        for damage in chunk.damage.iter().filter(|damage| damage.missing.start < part.end) {
            found.damaged += 1;
            found.is_in_damage |= subjects.holds_text(&damage.bytes);
        }
        for entry in chunk.records.iter().filter(|entry| entry.offset < part.end) {
            found.looked_at += 1;
            match ErasedRecord::read(&entry.shared, &entry.own) {
                Some(Ok(erased)) if erased.job == number_of(job) => found.erased_before.push(entry.offset),
                Some(_) => {}
                None if subjects.holds_record(&entry.shared, &entry.own) => found.offsets.push(entry.offset),
                None => {}
            }
        }
        let is_end = chunk.records.is_empty() && chunk.damage.is_empty();
        if is_end || chunk.next >= part.end {
            return Ok(Some(found));
        }
    }
}

/// Removes what is left of writes that nobody was answered for, when a subject stands in it.
fn torn_writes(
    dir: &Path,
    (job, subjects): (&ForgetJob, &SubjectSet),
    report: &mut ForgetReport,
) -> Result<(), AppError> {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("foreign-") {
            let place = place(report, FOREIGN);
            place.looked_at += 1;
            let left =
                "they were found under names of segments and are none of this log: look into them, and remove them";
            place.left = Some(left.to_owned());
            continue;
        }
        let is_small = entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= TORN_BYTES_MAX);
        if !name.starts_with("torn-") || !is_small {
            continue;
        }
        let path = entry.path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        place(report, TORN).looked_at += 1;
        if !subjects.stands_in(&bytes) {
            continue;
        }
        place(report, TORN).found += 1;
        if !job.asked.dry_run {
            let failed = |cause| AppError::Io { action: "could not remove", path: path.clone(), cause };
            std::fs::remove_file(&path).map_err(failed)?;
            place(report, TORN).removed += 1;
        }
    }
    Ok(())
}

/// Erases the records of a part that were found.
struct SubjectEraser<'a> {
    subjects: &'a SubjectSet,
    offsets: HashSet<u64>,
    job: u32,
}

impl Eraser for SubjectEraser<'_> {
    fn record(&mut self, entry: &LogEntry) -> Erasing {
        if ErasedRecord::read(&entry.shared, &entry.own).is_some() {
            return Erasing::IsErased;
        }
        if !self.offsets.contains(&entry.offset) {
            return Erasing::Stays;
        }
        let erased = ErasedRecord::of(&entry.shared, &entry.own, self.job);
        match erased {
            Some(erased) => Erasing::With(erased.own(entry.shared.is_empty())),
            // Bytes that are no record: whence they came is not known either.
            None => {
                Erasing::With(ErasedRecord { job: self.job, was_retry: true, received_at_us: 0, source: "" }.own(true))
            }
        }
    }

    fn shared(&mut self, shared: &[u8]) -> Option<Vec<u8>> {
        ErasedRecord::shared(shared)
    }

    fn lost(&mut self, bytes: &[u8]) -> bool {
        self.subjects.holds_text(bytes)
    }
}
