//! What every provider of a [`Log`] must pass. A provider is opened, used and opened again by these cases and knows nothing
//! of them.

use std::sync::Arc;
use std::time::Duration;

use crate::{AppendError, Frames, Log, LogError, LogSettings, SegmentLog, segment};

/// One way to have a log.
trait Provider {
    /// Opens the log, or what is left of it; records that come get no offset below `floor`.
    fn open(&self, floor: u64) -> OpenedLog;
}

/// An open log, closed in order when it is dropped.
struct OpenedLog {
    log: Arc<dyn Log>,
    close: Option<Box<dyn FnOnce()>>,
}

impl Drop for OpenedLog {
    fn drop(&mut self) {
        self.log.close();
        if let Some(close) = self.close.take() {
            close();
        }
    }
}

/// The log that is built in, with segments of a few records.
struct SegmentProvider(tempfile::TempDir);

impl Provider for SegmentProvider {
    fn open(&self, floor: u64) -> OpenedLog {
        let settings = LogSettings {
            segment_bytes: 4096,
            pending_bytes_max: 64 << 10,
            retention_age_us: 10,
            ..LogSettings::default()
        };
        let (log, writer, _) = SegmentLog::open(self.0.path(), settings, floor, 1).unwrap();
        let writer = writer.run().unwrap();
        OpenedLog { log: Arc::new(log), close: Some(Box::new(move || writer.join().unwrap())) }
    }
}

fn providers() -> Vec<Box<dyn Provider>> {
    vec![Box::new(SegmentProvider(tempfile::tempdir().unwrap()))]
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.expect("it ends") })
}

fn frames(records: &[String]) -> Frames {
    let mut frames = Frames::default();
    frames.begin(|out| out.extend_from_slice(b"shared"));
    for record in records {
        frames.push(|out| out.extend_from_slice(record.as_bytes()));
    }
    frames
}

fn texts(names: std::ops::Range<u64>) -> Vec<String> {
    names.map(|n| format!("record {n} {}", "x".repeat(usize::try_from(n % 60).unwrap()))).collect()
}

/// All records from `offset` on, with their offsets.
fn read(log: &dyn Log, offset: u64) -> Vec<(u64, String)> {
    let mut reader = log.reader(offset).unwrap();
    let mut records = Vec::new();
    loop {
        let chunk = reader.read(500, 7).unwrap();
        assert!(chunk.damage.is_empty() && chunk.records.len() <= 7);
        assert_eq!(reader.next(), chunk.next);
        if chunk.records.is_empty() {
            assert!(chunk.next <= log.committed());
            return records;
        }
        records.extend(chunk.records.into_iter().map(|entry| {
            assert_eq!(&*entry.shared, b"shared");
            (entry.offset, String::from_utf8(entry.own.to_vec()).unwrap())
        }));
    }
}

#[test]
fn what_was_answered_is_read_in_order_from_anywhere_and_after_a_restart() {
    for provider in providers() {
        let mut want: Vec<(u64, String)> = Vec::new();
        for round in 0..3 {
            let opened = provider.open(0);
            let log = &*opened.log;
            assert_eq!(read(log, log.oldest()), want);
            for n in 0..20 {
                let records = texts(round * 100 + n * 5..round * 100 + n * 5 + n % 5 + 1);
                let first = block_on(log.append(0, frames(&records))).unwrap();
                assert!(want.last().is_none_or(|(last, _)| first > *last), "offsets grow");
                want.extend((first..).zip(records));
                let behind = want.last().unwrap().0 + 1;
                assert!(log.committed() >= behind && log.records(first, behind) > n % 5);
            }
            for at in [0, 1, want.len() / 2, want.len() - 1] {
                assert_eq!(read(log, want[at].0), want[at..]);
            }
            assert_eq!(read(log, log.committed()), []);
        }
    }
}

#[test]
fn nobody_gets_an_offset_below_what_somebody_has_seen() {
    for provider in providers() {
        assert_eq!(block_on(provider.open(0).log.append(0, frames(&texts(0..3)))), Ok(0));
        let opened = provider.open(1_000);
        let first = block_on(opened.log.append(0, frames(&texts(3..4)))).unwrap();
        assert!(first >= 1_000);
        let offsets: Vec<u64> = read(&*opened.log, 0).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, [0, 1, 2, first], "a gap is no loss");
    }
}

#[test]
fn those_who_follow_are_woken_and_see_whole_appends() {
    for provider in providers() {
        let opened = provider.open(0);
        let mut committed = opened.log.follow();
        let mut reader = opened.log.reader(0).unwrap();
        assert!(reader.read(1 << 20, 100).unwrap().records.is_empty());
        block_on(async {
            let appending = opened.log.append(0, frames(&texts(0..9)));
            let (first, changed) = tokio::join!(appending, committed.wait_for(|committed| *committed > 0));
            assert_eq!((first, *changed.unwrap()), (Ok(0), 9));
        });
        assert_eq!(reader.read(1 << 20, 100).unwrap().records.len(), 9);
    }
}

#[test]
fn many_who_append_at_once_keep_each_their_order() {
    for provider in providers() {
        let opened = provider.open(0);
        let log = &*opened.log;
        block_on(async {
            let lane = |lane: u32| async move {
                for n in 0..30 {
                    let record = [format!("{lane} {n}")];
                    while log.append(lane, frames(&record)).await == Err(AppendError::Overloaded) {
                        tokio::task::yield_now().await;
                    }
                }
            };
            futures_util::future::join_all((0..20).map(lane)).await;
        });
        let records = read(log, 0);
        assert_eq!(records.len(), 600);
        for lane in 0..20 {
            let own: Vec<&str> =
                records.iter().filter_map(|(_, record)| record.strip_prefix(&format!("{lane} "))).collect();
            assert_eq!(own, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_cannot_wait_is_refused_and_nothing_of_it_is_there() {
    for provider in providers() {
        let opened = provider.open(0);
        let large: Vec<String> = (0..100).map(|_| "x".repeat(1_000)).collect();
        let bytes = frames(&large).bytes();
        assert!(!opened.log.can_ever_take(bytes) && !opened.log.has_room(0, bytes) && opened.log.has_room(0, 1_000));
        assert_eq!(block_on(opened.log.append(0, frames(&large))), Err(AppendError::Overloaded));
        block_on(opened.log.append(0, frames(&texts(0..1)))).unwrap();
        opened.log.close();
        assert_eq!(block_on(opened.log.append(0, frames(&texts(1..2)))), Err(AppendError::Closed));
        assert_eq!(read(&*opened.log, 0).len(), 1);
    }
}

#[test]
fn what_every_cursor_has_passed_goes_and_is_not_read_in_silence() {
    for provider in providers() {
        let opened = provider.open(0);
        let log = &*opened.log;
        for n in 0..400 {
            block_on(log.append(0, frames(&texts(n..n + 1)))).unwrap();
        }
        let before = log.size_bytes();
        assert_eq!(log.trim(0, i64::MAX).unwrap().segments, 0, "somebody has not passed them");
        let due_to = log.due_to(300, i64::MAX);
        assert!(due_to > 0 && due_to <= 300);
        let before_due = log.trim_below((300, due_to - 1), i64::MAX).unwrap();
        assert!(log.oldest() < due_to, "{before_due:?}");
        let trimmed = log.trim(300, i64::MAX).unwrap();
        assert!(trimmed.segments > 0 && trimmed.records_lost == 0 && log.size_bytes() < before);
        let oldest = log.oldest();
        assert!(oldest > 0 && oldest <= 300);
        let Err(LogError::Trimmed { wanted: 0, oldest: told }) = log.reader(0).map(drop) else { panic!("it is gone") };
        assert_eq!(told, oldest);
        assert_eq!(read(log, oldest).len() as u64, 400 - oldest);
        drop(opened);
        assert_eq!(provider.open(0).log.oldest(), oldest, "what is gone stays gone");
    }
}

#[test]
fn a_partition_in_a_directory_of_its_own_is_no_part_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let of = |partition| {
        let dir = crate::partition_dir(dir.path(), partition);
        let (log, writer, _) = SegmentLog::open(&dir, LogSettings::default(), 0, 1).unwrap();
        let writer = writer.run().unwrap();
        OpenedLog { log: Arc::new(log), close: Some(Box::new(move || writer.join().unwrap())) }
    };
    for _ in 0..2 {
        let (first, second) = (of(0), of(1));
        block_on(second.log.append(0, frames(&texts(0..2)))).unwrap();
        assert_eq!(read(&*first.log, 0), []);
    }
    assert_eq!(segment::end(dir.path()).unwrap(), 0);
    assert_eq!(segment::end(&crate::partition_dir(dir.path(), 1)).unwrap(), 4);
    assert!(segment::verify(dir.path()).unwrap().is_whole());
}
