//! `restored.json`: that a data directory was made of a backup, until a server goes on from it. That start says what follows.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_event::time;
use tidegate_process::whole_file;
use tidegate_state::SyncReport;

use super::kept_json::{self, KeptJsonError};

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;

/// No partition takes records faster than one in so many microseconds, for as long as a backup may be old.
const RECORD_US: u64 = 16;
/// The least that [`leap`] says.
const LEAP_MIN: u64 = 1 << 24;
/// Of a backup whose time is not known: a year, in microseconds.
const UNKNOWN_AGE_US: u64 = 366 * 24 * 3_600 * 1_000_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoredFile {
    format: u32,
    /// When the backup was begun, as RFC 3339 has it.
    backup_of: String,
}

fn place(data: &Path) -> PathBuf {
    data.join("restored.json")
}

/// Says of a data directory that it was made of a backup that was begun at this time.
///
/// # Errors
/// It is not said.
pub(super) fn write(data: &Path, backup_of: &str) -> io::Result<()> {
    let file = RestoredFile { format: FORMAT, backup_of: backup_of.to_owned() };
    whole_file::replace(&place(data), &serde_json::to_vec(&file)?)
}

/// A server goes on from here.
///
/// # Errors
/// It may be said once more.
pub(super) fn forget(data: &Path) -> io::Result<()> {
    whole_file::remove(&place(data))
}

/// What a start has to say of a data directory; nothing when no backup was restored there since the last one. `in_state` are the syncs whose
/// cursors are in the state alone.
///
/// # Errors
/// A newer build restored it.
pub(super) fn told(data: &Path, in_state: &[&str], reports: &[SyncReport]) -> Result<Vec<String>, (PathBuf, String)> {
    let path = place(data);
    match kept_json::read::<RestoredFile>(&path, FORMAT) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(file)) => Ok(lines(&file.backup_of, in_state, reports)),
        Err(error @ KeptJsonError::Newer { .. }) => Err((path, error.to_string())),
        Err(_) => Ok(lines("a time that cannot be read", in_state, reports)),
    }
}

/// How many offsets the server that was backed up can have given behind the end of the log that was restored, by `now_us`; `None` when no backup
/// was restored there since the last start.
pub(super) fn leap(data: &Path, now_us: i64) -> Option<u64> {
    let backup_us = match kept_json::read::<RestoredFile>(&place(data), FORMAT) {
        Ok(None) => return None,
        Ok(Some(file)) => time::parse(&file.backup_of),
        Err(_) => None,
    };
    // A clock that went back says nothing.
    let age_us = backup_us.and_then(|backup_us| u64::try_from(now_us.saturating_sub(backup_us)).ok());
    Some((age_us.unwrap_or(UNKNOWN_AGE_US) / RECORD_US).max(LEAP_MIN))
}

fn lines(backup_of: &str, in_state: &[&str], reports: &[SyncReport]) -> Vec<String> {
    let mut lines = vec![format!(
        "the data directory was restored from a backup of {backup_of}. What was accepted later is not in it; destinations that keep a ledger get \
         nothing a second time of what is. Whoever was suppressed or forgotten later is known no more: name them again (tidegate privacy); what \
         anybody consented to, or denied, later is not known either. Sources that read streams go on where they were last: `tidegate \
         source seek` has them read again from that time"
    )];
    let cursors: BTreeMap<&str, &SyncReport> = reports.iter().map(|report| (report.sync.as_str(), report)).collect();
    let of_sync = |sync: &&str| {
        let cursors = cursors.get(*sync).map(|report| report.cursors.as_slice()).unwrap_or_default();
        let cursors: Vec<String> = cursors.iter().map(ToString::to_string).collect();
        format!("{sync} from offset {}", if cursors.is_empty() { "0".to_owned() } else { cursors.join(", ") })
    };
    if !in_state.is_empty() {
        let syncs: Vec<String> = in_state.iter().map(of_sync).collect();
        lines.push(format!(
            "the destinations of these syncs keep no ledger, so they get again what they had of the log after the backup of {backup_of}, and what was \
             pending then: {}",
            syncs.join("; ")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_event::Position;

    #[test]
    fn the_older_a_backup_is_the_further_new_offsets_are_from_those_that_it_has() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(leap(dir.path(), 0), None);
        write(dir.path(), "2026-12-01T00:00:00Z").unwrap();
        let begun_us = time::parse("2026-12-01T00:00:00Z").unwrap();
        assert_eq!(leap(dir.path(), begun_us + 1), Some(LEAP_MIN));
        assert_eq!(leap(dir.path(), begun_us + 1_600_000_000), Some(100_000_000));
        assert_eq!(leap(dir.path(), begun_us - 1), Some(UNKNOWN_AGE_US / RECORD_US), "the clock went back");
        std::fs::write(place(dir.path()), "{").unwrap();
        assert_eq!(leap(dir.path(), begun_us), Some(UNKNOWN_AGE_US / RECORD_US));
        forget(dir.path()).unwrap();
        assert_eq!(leap(dir.path(), begun_us), None);
    }

    #[test]
    fn what_may_come_twice_is_said_until_a_server_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        assert!(told(dir.path(), &["crm"], &[]).unwrap().is_empty());
        write(dir.path(), "2026-12-01T00:00:00Z").unwrap();
        assert_eq!(told(dir.path(), &[], &[]).unwrap().len(), 1);
        let report = SyncReport {
            sync: "crm".to_owned(),
            cursors: vec![Position::new(0, 7), Position::new(1, 9)],
            ..SyncReport::default()
        };
        let said = told(dir.path(), &["crm", "new"], &[report]).unwrap();
        assert!(said[0].contains("a backup of 2026-12-01T00:00:00Z"), "{said:?}");
        assert!(said[1].contains("crm from offset 7, 1/9; new from offset 0"), "{said:?}");
        forget(dir.path()).unwrap();
        forget(dir.path()).unwrap();
        assert!(told(dir.path(), &["crm"], &[]).unwrap().is_empty());
    }
}
