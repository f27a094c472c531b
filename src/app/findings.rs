//! What a check found damaged, kept in the file `findings.json` so that `tidegate status` shows it until it is mended.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_process::whole_file;

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;

/// One damaged file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub file: String,
    pub what: String,
    pub follows: String,
    pub remedy: String,
}

#[derive(Serialize, Deserialize)]
struct KeptFindings {
    format: u32,
    findings: Vec<Finding>,
}

/// The findings that are kept; none when there is no such file. One that cannot be read is a finding by itself.
#[must_use]
pub fn read(path: &Path) -> Vec<Finding> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let (what, remedy) = match (newer(&bytes), serde_json::from_slice::<KeptFindings>(&bytes)) {
        (None, Ok(kept)) => return kept.findings,
        (Some(found), _) => (
            format!("format {found}, and this build supports up to {FORMAT}"),
            "use the newer build that wrote it; this one does not start with it",
        ),
        (None, Err(error)) => {
            (error.to_string(), "run `tidegate check --deep`; the next start of the server writes the file anew")
        }
    };
    vec![Finding {
        file: path.display().to_string(),
        what,
        follows: "what the last check of the data directory found is not known".to_owned(),
        remedy: remedy.to_owned(),
    }]
}

/// The format of the file, where only a newer build can read it.
#[must_use]
pub fn newer_format(path: &Path) -> Option<u64> {
    newer(&std::fs::read(path).ok()?)
}

fn newer(bytes: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value["format"].as_u64().filter(|found| *found > FORMAT.into())
}

/// Keeps these findings and no others.
///
/// # Errors
/// The file is as it was.
pub fn write(path: &Path, findings: &[Finding]) -> std::io::Result<()> {
    if findings.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    whole_file::replace(path, &serde_json::to_vec(&KeptFindings { format: FORMAT, findings: findings.to_vec() })?)
}

/// What follows from damage of the state file, and what to do.
#[must_use]
pub fn of_state(path: &Path, what: String) -> Finding {
    Finding {
        file: path.display().to_string(),
        what,
        follows:
            "the file holds the dedup window, the quarantine, pending deliveries and the cursors of plugins; what \
                  lies on a damaged page is lost, and writing on may damage more"
                .to_owned(),
        remedy: "stop the server, then put a backup of the file back, or start with `tidegate serve --rebuild-state`: \
                 it moves the file away and makes it anew from the log and from the rows that are whole"
            .to_owned(),
    }
}

/// The same of one event in the state file.
#[must_use]
pub fn of_row(path: &Path, what: String) -> Finding {
    Finding {
        file: path.display().to_string(),
        what,
        follows:
            "a damaged entry of the quarantine is listed with the code damaged-entry; a damaged pending event is not \
                  delivered and goes to quarantine. Everything else goes on"
                .to_owned(),
        remedy:
            "the event as it was accepted is in the log while that keeps it; send it again if you need it, and remove \
                 the entry with `tidegate quarantine purge --offset`"
                .to_owned(),
    }
}

/// The same of a SQLite warehouse.
#[must_use]
pub fn of_warehouse(path: &Path, what: String) -> Finding {
    let file = path.display();
    Finding {
        file: file.to_string(),
        what,
        follows:
            "rows on a damaged page are lost or wrong; events that come wait in the log while the sync stands still"
                .to_owned(),
        remedy: format!(
            "put a backup of {file} back, or move it away: it is made anew with what the log still keeps; \
             `sqlite3 {file} .recover` reads what is left of the old one"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stay_until_they_are_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("findings.json");
        assert!(read(&path).is_empty());
        let found = [of_state(Path::new("state.db"), "page 7".to_owned())];
        write(&path, &found).unwrap();
        assert_eq!(read(&path), found);
        std::fs::write(&path, r#"{"format": 2, "findings": []}"#).unwrap();
        assert!(read(&path)[0].what.contains("format 2"));
        assert_eq!(newer_format(&path), Some(2));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(read(&path).len(), 1);
        write(&path, &[]).unwrap();
        write(&path, &[]).unwrap();
        assert!(read(&path).is_empty());
    }
}
