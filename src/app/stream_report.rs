//! How the streams of an environment are, kept in the file `streams.json` so that `tidegate status` shows it without asking the server.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_api_types::stream::ShownStream;
use tidegate_event::time;
use tidegate_process::whole_file;

use super::kept_json::{self, KeptJsonError};

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;

/// What the streams said of themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptStreams {
    format: u32,
    /// When they said so.
    pub at: String,
    pub streams: Vec<ShownStream>,
}

/// Keeps it in the place of what they said before; where there are no streams there is no file.
pub(super) fn write(path: &Path, now_us: i64, streams: Vec<ShownStream>) -> io::Result<()> {
    if streams.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let kept = KeptStreams { format: FORMAT, at: time::format(now_us), streams };
    whole_file::replace_quickly(path, &serde_json::to_vec(&kept)?)
}

/// What they said last; none where there are no streams, or no server has run.
///
/// # Errors
/// The file cannot be read, is damaged, or is of a newer build.
pub fn read(path: &Path) -> Result<Option<KeptStreams>, KeptJsonError> {
    kept_json::read(path, FORMAT)
}
