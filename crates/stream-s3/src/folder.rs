//! Where files may be, and how they are called.

use tidegate_event::partition_of;

/// The most bytes of a file's folder. With the prefix of the bucket and its name a file has to stay within what S3 takes, 1,024.
pub const FOLDER_BYTES_MAX: usize = 600;
/// The most bytes of one part of it. Disks take 255.
const PART_BYTES_MAX: usize = 200;
/// Where the ledgers are.
pub(crate) const LEDGERS: &str = "_tidegate";
/// What files end with, before the compression.
pub(crate) const ENDING: &str = ".jsonl";

/// Why no file may be in such a folder; `None` where it may.
#[must_use]
pub fn illegal_folder(folder: &str) -> Option<String> {
    if folder.len() > FOLDER_BYTES_MAX {
        return Some(format!("the path of its file would have {} bytes, more than {FOLDER_BYTES_MAX}", folder.len()));
    }
    for part in folder.split('/') {
        let problem = if part.is_empty() {
            "a part without a name"
        } else if part == "." || part == ".." {
            "a part that leads elsewhere"
        } else if part.len() > PART_BYTES_MAX {
            "a part that is too long"
        } else if part.chars().any(char::is_control) {
            "a control character"
        } else if part.contains('\\') {
            "a backslash"
        } else if part.contains(ENDING) {
            "a part that is called like a file"
        } else {
            continue;
        };
        return Some(format!("the path of its file would have {problem}: {folder:?}"));
    }
    let first = folder.split('/').next().unwrap_or_default();
    (first == LEDGERS).then(|| format!("no file goes to {LEDGERS}, where the ledgers are"))
}

/// What the names of the files of a sync begin with, and of its ledger: the sync and the partition of the log.
pub(crate) fn stem(ledger: &str) -> String {
    let (sync, partition) = partition_of(ledger);
    format!("{sync}-{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_below_the_place_and_never_that_of_the_ledgers() {
        for folder in ["events", "events/web/dt=2024-05-06/hour=07", "Order Done", "events/_tidegate", "größe/…"] {
            assert_eq!(illegal_folder(folder), None, "{folder}");
        }
        let long = "x/".repeat(FOLDER_BYTES_MAX);
        let part = "x".repeat(PART_BYTES_MAX + 1);
        for folder in [
            "",
            "/",
            "/etc",
            "a//b",
            "a/",
            "../a",
            "a/./b",
            "a\nb",
            "a\\b",
            "a/x.jsonl.gz/b",
            "_tidegate",
            "_tidegate/a",
            long.as_str(),
            part.as_str(),
        ] {
            assert!(illegal_folder(folder).is_some(), "{folder:?}");
        }
    }

    #[test]
    fn the_partition_is_in_the_name_whichever_it_is() {
        assert_eq!(stem("tidegate-web"), "tidegate-web-0");
        assert_eq!(stem("tidegate-web/3"), "tidegate-web-3");
    }
}
