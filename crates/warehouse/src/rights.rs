//! What the router may do in a warehouse, found out without changing anything.

use rustix::fs::{Access, access, statvfs};
use std::path::Path;

/// Whether something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Can {
    Yes,
    No,
    /// It was not tried, or the warehouse does not tell.
    Unknown,
}

/// One thing that loading does, and whether it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// Behind "may it ...".
    pub what: String,
    pub can: Can,
    /// Nothing can be loaded without it.
    pub is_needed: bool,
    /// Where it may not: the statement that gives it, or what else to do.
    pub fix: String,
}

impl Right {
    #[must_use]
    pub fn new(what: impl Into<String>, can: bool, is_needed: bool, fix: impl Into<String>) -> Self {
        let can = if can { Can::Yes } else { Can::No };
        Self { what: what.into(), can, is_needed, fix: fix.into() }
    }

    #[must_use]
    pub fn unknown(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), can: Can::Unknown, is_needed: false, fix: fix.into() }
    }

    /// Whether loading cannot work.
    #[must_use]
    pub fn is_in_the_way(&self) -> bool {
        self.is_needed && self.can == Can::No
    }
}

/// Less free space than this is as good as none.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Whether files can be written at `path`, which may be a file, a folder, or not there yet.
#[must_use]
pub fn of_a_path(path: &Path) -> Vec<Right> {
    // Where nothing is yet, it is made in the nearest folder that is there.
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    let folder = if there == path && !there.is_dir() { there.parent().unwrap_or(there) } else { there };
    let (shown, need) = (path.display(), Access::READ_OK | Access::WRITE_OK);
    let is_writable = |path: &Path| access(path, need).is_ok();
    let can = folder.is_dir() && is_writable(folder) && access(folder, Access::EXEC_OK).is_ok() && is_writable(there);
    let fix =
        format!("let the user that tidegate runs as write {} and its folder {}", there.display(), folder.display());
    let mut rights = vec![Right::new(format!("write {shown}"), can, true, fix)];
    if let Ok(space) = statvfs(folder) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let what = format!("use {} MB of free space", free / 1_000_000);
        rights.push(Right::new(
            what,
            free >= FREE_BYTES_MIN,
            true,
            format!("make room on the disk of {}", folder.display()),
        ));
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_below_a_file_cannot_be_written_and_one_that_is_not_there_yet_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let can = |path: &Path| of_a_path(path)[0].can;
        assert_eq!(can(&folder.path().join("a/b/warehouse.db")), Can::Yes);
        assert_eq!((can(&file), can(folder.path())), (Can::Yes, Can::Yes));
        let below = of_a_path(&file.join("warehouse.db"));
        assert!(below[0].is_in_the_way() && below[0].fix.contains("file"), "{below:?}");
    }
}
