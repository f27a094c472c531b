//! The archive of the log, by the data directory: what it has, what waits, and what went wrong.

use std::path::Path;

use serde_json::{Value, json};
use tidegate_document::units;

use crate::app::archive::kept::{self, KeptArchive};
use crate::app::paths;
use crate::cli::style;

/// What was last known of the archive.
pub(super) struct ArchiveLines(Option<KeptArchive>);

impl ArchiveLines {
    pub(super) fn read(data: &Path) -> Self {
        let path = paths::archive(data);
        Self(kept::read(&path).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), error = %error, "how the archive of the log is is not known");
            None
        }))
    }

    pub(super) fn to_json(&self) -> Value {
        let Some(kept) = &self.0 else { return Value::Null };
        let ArchiveSums { segments, bytes, waiting, lost } = ArchiveSums::of(kept);
        json!({
            "place": kept.place, "segments": segments, "bytes": bytes, "waiting": waiting, "lost": lost,
            "last_copied_at": kept.last_copied_at, "failure": kept.failure,
        })
    }

    pub(super) fn print(&self) {
        let Some(kept) = &self.0 else { return };
        let ArchiveSums { segments, bytes, waiting, lost } = ArchiveSums::of(kept);
        let last = kept.last_copied_at.as_deref().map_or_else(String::new, |at| format!(", the last at {at}"));
        let place = style::plain(&kept.place, 300);
        let (segments, waiting_shown) = (style::count(segments), style::count(waiting));
        let size = units::size(bytes);
        println!("Archive {place}: {segments} segments with {size}{}; {waiting_shown} wait.", style::plain(&last, 60));
        if lost > 0 {
            println!(
                "{} the log gave up {} records, at most, before they were archived (`log.hard_cap_bytes`)",
                style::bold("archive:"),
                style::count(lost)
            );
        }
        if let Some(failure) = &kept.failure {
            println!("{} {}", style::bold("archive:"), style::plain(failure, 1_000));
        }
    }
}

/// Of all partitions.
#[derive(Default)]
struct ArchiveSums {
    segments: u64,
    bytes: u64,
    waiting: u64,
    /// Records, at most.
    lost: u64,
}

impl ArchiveSums {
    fn of(kept: &KeptArchive) -> Self {
        let mut sums = Self::default();
        for part in kept.partitions.values() {
            sums.segments += part.segments.len() as u64;
            sums.bytes += part.segments.values().map(|segment| segment.bytes).sum::<u64>();
            sums.waiting += part.waiting;
            sums.lost += part.lost.iter().map(|(from, to)| to.saturating_sub(*from)).sum::<u64>();
        }
        sums
    }
}
