//! A disk so small that it can be filled.

use std::fs;
use std::process::Command;

/// Unmounted in the end.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts it; an error says why not.
    pub fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path()).output();
        match mount {
            Ok(done) if done.status.success() => Ok(Self(folder)),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    /// Leaves so many bytes free.
    pub fn fill(&self, free: usize) -> std::path::PathBuf {
        use std::io::Write as _;
        let path = self.0.path().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        let mut written = 0;
        while let Ok(more) = file.write(&[1; 4096]) {
            written += more;
        }
        file.set_len(written.saturating_sub(free) as u64).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
