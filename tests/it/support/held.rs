//! What a process of this machine holds.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// How many threads and open files a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldByProcess {
    pub threads: usize,
    /// Each database counts once, however often it is open: SQLite keeps the descriptors of connections that were closed for those that
    /// come later, as many as were open at once.
    pub files: usize,
}

impl HeldByProcess {
    pub fn of(process: u32) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
        let is_database = |file: &PathBuf| file.extension().is_some_and(|found| found == "db");
        let (databases, others): (Vec<PathBuf>, Vec<PathBuf>) = open_files(process).into_iter().partition(is_database);
        let databases: BTreeSet<PathBuf> = databases.into_iter().collect();
        Self { threads, files: databases.len() + others.len() }
    }
}

/// What each descriptor of a process leads to.
pub fn open_files(process: u32) -> Vec<PathBuf> {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    // One that is closed meanwhile leads nowhere.
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
}
