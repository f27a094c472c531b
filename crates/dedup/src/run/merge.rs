//! Several runs as one: marks in order of their hashes; of an id that is in several, the newest run's.

use std::sync::Arc;

use super::{MARK_BYTES, MarkRun};
use crate::DedupError;
use crate::mark::IdMark;

/// Buckets that are read at once.
const BUCKETS_READ: usize = 64;

/// The marks of runs that follow one another, the oldest first.
pub(crate) struct Merged {
    scans: Vec<RunScan>,
}

struct RunScan {
    run: Arc<MarkRun>,
    next_bucket: usize,
    buffer: Vec<u8>,
    at: usize,
    head: Option<IdMark>,
}

impl Merged {
    pub(crate) fn new(runs: &[Arc<MarkRun>]) -> Result<Self, DedupError> {
        let scan = |run: &Arc<MarkRun>| {
            let mut scan = RunScan { run: Arc::clone(run), next_bucket: 0, buffer: Vec::new(), at: 0, head: None };
            scan.advance()?;
            Ok(scan)
        };
        Ok(Self { scans: runs.iter().map(scan).collect::<Result<_, DedupError>>()? })
    }

    /// The next mark; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<IdMark>, DedupError> {
        let heads = self.scans.iter().filter_map(|scan| scan.head);
        let Some(least) = heads.map(|mark| mark.hash).min() else { return Ok(None) };
        let mut newest = None;
        for scan in &mut self.scans {
            if let Some(mark) = scan.head
                && mark.hash == least
            {
                newest = Some(mark);
                scan.advance()?;
            }
        }
        Ok(newest)
    }
}

impl RunScan {
    fn advance(&mut self) -> Result<(), DedupError> {
        let buckets = self.run.buckets.len();
        while self.at >= self.buffer.len() && self.next_bucket < buckets {
            let end = (self.next_bucket + BUCKETS_READ).min(buckets);
            self.run.read_buckets(self.next_bucket..=end - 1, &mut self.buffer)?;
            (self.next_bucket, self.at) = (end, 0);
        }
        let mark = self.buffer.get(self.at..).and_then(|rest| rest.first_chunk::<MARK_BYTES>());
        self.head = mark.map(|bytes| self.run.mark(bytes));
        self.at += MARK_BYTES;
        Ok(())
    }
}
