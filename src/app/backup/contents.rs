//! `backup.json`: what a backup consists of. It is JSON, and its own SHA-256 stands in a file beside it.

use std::path::{Component, Path};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::backup_error::BackupError;

/// Raised when an older build could not restore the backup any more.
pub(super) const FORMAT: u32 = 1;
pub(super) const FILE: &str = "backup.json";
pub(super) const CHECKSUM: &str = "backup.json.sha256";
/// The folder with the files of the data directory.
pub(super) const DATA: &str = "data";
/// Room for a million files.
const BYTES_MAX: u64 = 256 << 20;
/// No segment of the log has more room.
const ZEROS_MAX: u64 = 8 << 30;

/// What a backup has, and of when it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupContents {
    pub format: u32,
    /// Of the program that made it.
    pub version: String,
    /// What was accepted by then is in it. UTC, as RFC 3339 has it.
    pub begun_at: String,
    pub ended_at: String,
    pub instance_key: InstanceKeyCopy,
    pub environments: Vec<BackedUpEnvironment>,
    /// Everything else lies beside it.
    pub files: Vec<BackedUpFile>,
    /// What lies in the data directory and is not in here, because the program does not know it.
    pub left_out: Vec<String>,
    /// What was found wrong when it was made.
    pub notes: Vec<String>,
}

/// Whether the key that secrets of the catalog are sealed under is in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceKeyCopy {
    /// It is in the backup: whoever has that has every secret.
    Contained,
    /// It lies in the data directory, and not in the backup.
    LeftOut,
    /// It lies elsewhere, where `instance_key` in `tidegate.yaml` says.
    Elsewhere,
    /// There is no catalog that would need one.
    NotNeeded,
}

/// An environment in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUpEnvironment {
    pub name: String,
    /// Of its `state.db`.
    pub state_format: Option<i64>,
    pub partitions: Vec<BackedUpPartition>,
    pub syncs: Vec<BackedUpSync>,
}

/// A partition of the log in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUpPartition {
    pub partition: u16,
    /// The oldest record.
    pub oldest: u64,
    /// The offset behind the newest record.
    pub end: u64,
    /// The state has refined the log below this.
    pub refined_to: u64,
}

/// How far a sync was in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUpSync {
    pub sync: String,
    pub partition: u16,
    pub cursor: u64,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUpFile {
    /// Within the backup, with `/` between names.
    pub path: String,
    pub bytes: u64,
    /// In small hexadecimal letters.
    pub sha256: String,
    /// Zeros that stand behind it where it is restored: the room of a segment of the log that is being written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub zeros: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl BackupContents {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Both files: `backup.json`, and what stands in its checksum.
pub(super) fn encode(contents: &BackupContents) -> serde_json::Result<(Vec<u8>, String)> {
    let mut bytes = serde_json::to_vec_pretty(contents)?;
    bytes.push(b'\n');
    let checksum = format!("{}  {FILE}\n", HEXLOWER.encode(&Sha256::digest(&bytes)));
    Ok((bytes, checksum))
}

/// The contents of the backup in `dir`.
pub(super) fn read(dir: &Path) -> Result<BackupContents, BackupError> {
    let (path, checksum) = (dir.join(FILE), dir.join(CHECKSUM));
    if !dir.is_dir() {
        return Err(BackupError::refused(dir, "there is no backup: a backup is a folder with a file backup.json"));
    }
    let damaged = |what: String| BackupError::Damaged(vec![format!("{FILE}: {what}")]);
    let length = path.metadata().map_err(BackupError::io("could not read the contents of the backup", &path))?.len();
    if length > BYTES_MAX {
        return Err(damaged(format!("it has {length} bytes, and a backup has at most {BYTES_MAX} there")));
    }
    let bytes = std::fs::read(&path).map_err(BackupError::io("could not read", &path))?;
    let said = std::fs::read(&checksum).map_err(BackupError::io("could not read", &checksum))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if said.split_whitespace().next() != Some(HEXLOWER.encode(&Sha256::digest(&bytes)).as_str()) {
        return Err(damaged(format!("its SHA-256 is another than {CHECKSUM} says")));
    }
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if let Some(found) = value["format"].as_u64().filter(|found| *found > FORMAT.into()) {
        return Err(BackupError::Newer { path, found, known: FORMAT });
    }
    let contents: BackupContents = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    if let Some(file) = contents.files.iter().find(|file| file.zeros > ZEROS_MAX) {
        return Err(damaged(format!("{} would get {} zeros, and no file has so many", file.path, file.zeros)));
    }
    if let Some(environment) = contents.environments.iter().find(|environment| !is_one_name(&environment.name)) {
        return Err(damaged(format!("{:?} is no name of an environment", environment.name)));
    }
    match contents.files.iter().find(|file| !is_below_data(&file.path)) {
        Some(file) => Err(damaged(format!("{:?} is no path of a file of it", file.path))),
        None => Ok(contents),
    }
}

/// Whether a text is the name of something in a folder.
fn is_one_name(text: &str) -> bool {
    let mut parts = Path::new(text).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// Whoever wrote a backup may be anybody: no file of it leaves the folder.
fn is_below_data(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let begins = parts.next() == Some(Component::Normal(DATA.as_ref()));
    begins && parts.clone().next().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &str) -> BackupContents {
        BackupContents {
            format: FORMAT,
            version: "1".to_owned(),
            begun_at: "now".to_owned(),
            ended_at: "later".to_owned(),
            instance_key: InstanceKeyCopy::LeftOut,
            environments: vec![BackedUpEnvironment { name: "default".to_owned(), ..BackedUpEnvironment::default() }],
            files: vec![BackedUpFile { path: path.to_owned(), bytes: 7, sha256: "ab".to_owned(), zeros: 0 }],
            left_out: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn written(dir: &Path, contents: &BackupContents) {
        let (bytes, checksum) = encode(contents).unwrap();
        std::fs::write(dir.join(FILE), bytes).unwrap();
        std::fs::write(dir.join(CHECKSUM), checksum).unwrap();
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), &contents("data/state.db"));
        assert_eq!(read(dir.path()).unwrap(), contents("data/state.db"));
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        for at in (0..whole.len()).step_by(17) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(dir.path().join(FILE), &bytes).unwrap();
            assert!(read(dir.path()).unwrap_err().to_string().contains(FILE), "byte {at}");
        }
        written(dir.path(), &BackupContents { format: 2, ..contents("data/a") });
        assert!(read(dir.path()).unwrap_err().to_string().contains("format 2, and this build supports up to 1"));
    }

    #[test]
    fn no_path_leaves_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["/etc/passwd", "data/../../a", "data", "data/", "backup.json", "", "data/./a/../../../b"] {
            written(dir.path(), &contents(path));
            assert!(read(dir.path()).is_err(), "{path}");
        }
        for name in ["..", "../../a", "/tmp", "a/../..", "", "."] {
            let mut contents = contents("data/state.db");
            name.clone_into(&mut contents.environments[0].name);
            written(dir.path(), &contents);
            let said = read(dir.path()).unwrap_err().to_string();
            assert!(said.contains("no name of an environment"), "{name}: {said}");
        }
    }
}
