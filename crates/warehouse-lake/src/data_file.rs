//! Where a file of rows is: in the folder of its table and partition, under a name of its own that begins with the offset of
//! the log from which its rows are.

use tidegate_process::clock;

use super::error::LakeError;
use super::file::WrittenFile;
use super::manifest::FileEntry;
use super::settings::Partition;
use super::store::LakeStore;

/// Stores a file in the table's folder, under a name of its own.
pub(super) async fn put(
    store: &LakeStore,
    folder: &str,
    partition: Option<String>,
    written: WrittenFile,
    start: u64,
) -> Result<FileEntry, LakeError> {
    let unique = u64::from_le_bytes(clock::random());
    let path = match &partition {
        Some(name) => format!("{folder}/{}/{start:020}-{unique:016x}.parquet", partition_folder(name)),
        None => format!("{folder}/{start:020}-{unique:016x}.parquet"),
    };
    let bytes = written.bytes.len() as u64;
    store.put(&path, written.bytes).await?;
    Ok(FileEntry { path, partition, rows: written.rows, bytes })
}

/// Two underscores: so is no column called, whatever properties there are.
fn partition_folder(name: &str) -> String {
    format!("received__{}={name}", if name.len() > 10 { "hour" } else { "day" })
}

/// `2024-05-06` or `2024-05-06-07`; none for an instant beyond the calendar.
pub(super) fn partition_name(key: i64, partition: Partition) -> Option<String> {
    let (seconds, format) = match partition {
        Partition::None => return None,
        Partition::Day => (86_400, "%Y-%m-%d"),
        Partition::Hour => (3_600, "%Y-%m-%d-%H"),
    };
    let at = jiff::Timestamp::from_second(key.checked_mul(seconds)?).ok()?;
    Some(at.strftime(format).to_string())
}

/// The log offset that a file's name begins with.
pub(super) fn start_of(path: &str) -> u64 {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_day_or_hour() {
        assert_eq!(partition_name(19_849, Partition::Day).as_deref(), Some("2024-05-06"));
        assert_eq!(partition_name(19_849 * 24 + 7, Partition::Hour).as_deref(), Some("2024-05-06-07"));
        assert_eq!(partition_name(-1, Partition::Day).as_deref(), Some("1969-12-31"));
        assert_eq!(partition_name(i64::MAX, Partition::Day), None);
        assert_eq!(partition_folder("2024-05-06"), "received__day=2024-05-06");
        assert_eq!(partition_folder("2024-05-06-07"), "received__hour=2024-05-06-07");
    }
}
