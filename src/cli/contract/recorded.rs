//! Recorded events: those in the log of a workspace, whether a server runs on it or not, or lines of a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_document::units;
use tidegate_event::record::{ErasedRecord, LoggedRecord};
use tidegate_event::{Event, Position, RetryMark, decode};
use tidegate_log as intake;

use crate::app::paths;
use crate::app::sample::sampled_event;
use crate::cli::CommandFailure;
use crate::cli::moments::option_us;

/// Bytes of one line of a file of events.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Which recorded events a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RecordedArgs {
    /// Events of this source [default: the only source of the workspace]
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Only events received since: a time such as 2026-01-31T00:00:00Z, or an age such as 7d; of the log alone
    #[arg(long, value_name = "WHEN", conflicts_with = "from")]
    pub(super) since: Option<String>,
    /// Look at so many of the newest records of the log at most, in each of its partitions
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) events: u64,
    /// Events from a file instead of the log: JSON lines as SDKs send them; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
}

/// How much was read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RecordedCount {
    pub(super) events: u64,
    /// Records that are no events, or that cannot be read.
    pub(super) unreadable: u64,
}

/// That there is nothing to look at: a source of another name, or a file of something else.
pub(super) fn no_events(source: &str, count: RecordedCount) -> CommandFailure {
    CommandFailure::Failed(nothing_recorded(source, count))
}

/// The same, in words.
pub(super) fn nothing_recorded(source: &str, count: RecordedCount) -> String {
    let unreadable = match count.unreadable {
        0 => String::new(),
        count => format!(" ({count} records are no events)"),
    };
    format!(
        "there are no events of the source {source:?} to look at{unreadable}; send some, name another source with --source, or read a file with --from"
    )
}

impl RecordedArgs {
    /// The source that is meant, of a workspace with these.
    pub(super) fn source(&self, sources: &BTreeMap<String, PathBuf>) -> Result<String, CommandFailure> {
        match (&self.source, sources.len()) {
            // It may be in the catalog alone.
            (Some(source), _) => Ok(source.clone()),
            (None, 1) => Ok(sources.keys().next().cloned().unwrap_or_default()),
            (None, 0) => Err(CommandFailure::Failed("name the source with --source".to_owned())),
            (None, _) => {
                let names = sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(CommandFailure::Failed(format!("name a source with --source: there are {names}")))
            }
        }
    }

    /// Hands every event of a source to `take`: those of the file, or else of the log in the data directory.
    pub(super) fn each(
        &self,
        data: &Path,
        source: &str,
        take: &mut dyn FnMut(&Event),
    ) -> Result<RecordedCount, CommandFailure> {
        match &self.from {
            Some(path) => of_file(path, source, take),
            None => self.of_log(data, source, take),
        }
    }

    fn of_log(&self, data: &Path, source: &str, take: &mut dyn FnMut(&Event)) -> Result<RecordedCount, CommandFailure> {
        let since_us = self.since.as_deref().map(|text| option_us("--since", text)).transpose()?.unwrap_or(i64::MIN);
        if !data.exists() {
            let place = data.display();
            return Err(CommandFailure::Failed(format!(
                "there are no events to look at: there is no data directory {place}; start a server once, or read a file with --from"
            )));
        }
        let log = paths::log(data);
        let mut count = RecordedCount::default();
        let name: Arc<str> = source.into();
        for partition in 0..intake::partitions_in(&log).max(1) {
            let dir = intake::partition_dir(&log, partition);
            let lost = intake::read_newest(&dir, self.events, &mut |entry| {
                // An event that is in the log once more was counted where it came first.
                if matches!(RetryMark::split(&entry.own), Some((Some(_), _))) {
                    return true;
                }
                if ErasedRecord::read(&entry.shared, &entry.own).is_some() {
                    return true;
                }
                let Ok(read) = LoggedRecord::read(&entry.shared, &entry.own) else {
                    count.unreadable += 1;
                    return true;
                };
                let record = read.record();
                if record.source != source || record.received_at_us < since_us {
                    return true;
                }
                match decode::decode(&record, Arc::clone(&name), Position::new(partition, entry.offset)) {
                    Ok(event) => {
                        count.events += 1;
                        take(&event);
                    }
                    Err(_) => count.unreadable += 1,
                }
                true
            })?;
            count.unreadable += lost;
        }
        Ok(count)
    }
}

fn of_file(path: &Path, source: &str, take: &mut dyn FnMut(&Event)) -> Result<RecordedCount, CommandFailure> {
    let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", path.display()));
    let mut reader: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let source: Arc<str> = source.into();
    let (mut count, mut line) = (RecordedCount::default(), Vec::new());
    for number in 0_u64.. {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            break;
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            let message = format!(
                "{}: line {} is longer than {}; write one event on each line",
                path.display(),
                number + 1,
                units::size(LINE_BYTES_MAX)
            );
            return Err(CommandFailure::Failed(message));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        match sampled_event(text, &source, number) {
            Ok(event) => {
                count.events += 1;
                take(&event);
            }
            Err(_) => count.unreadable += 1,
        }
    }
    Ok(count)
}
