//! Streams against an upstream that the test holds in its hands, and a log that refuses when it is told to.

mod hindered;
mod log_bytes;
mod unmapped;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_event::record::{LoggedRecord, RecordProblem};
use tidegate_log::{
    AppendError, Appending, Frames, Log, LogError, LogPartitions, LogReader, LogSettings, SegmentLog, Trimmed,
};
use tidegate_process::clock;
use tidegate_stream::{
    PartitionProgress, SeekTarget, StreamBatch, StreamCheckpoints, StreamError, StreamMessage, StreamOrigin,
    StreamReader, StreamReceipt, StreamReply,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::http::{Entrance, EntranceSettings, KeyHasher, Rate, RequestLimits, WriteKeys};

const SOURCE: &str = "orders";

/// What upstream has, and what it was told.
#[derive(Debug, Default)]
struct UpstreamHeld {
    messages: Vec<StreamMessage>,
    /// So many messages are acknowledged.
    acknowledged: usize,
    /// In the order in which they came.
    receipts: Vec<u64>,
    /// What the next acknowledgements fail with.
    refused: VecDeque<StreamError>,
    /// The first reader fails once it has read so many.
    fails_at: Option<usize>,
    /// Whoever comes to this message waits for an operator.
    stops_at: Option<usize>,
    /// Messages at once.
    batch: usize,
    opened: usize,
    closed: usize,
    reads: usize,
    kept_alive: usize,
}

#[derive(Debug, Clone)]
struct TestUpstream(Arc<Mutex<UpstreamHeld>>);

impl TestUpstream {
    fn new(payloads: impl IntoIterator<Item = Option<String>>, batch: usize) -> Self {
        let message = |(at, payload): (usize, Option<String>)| StreamMessage {
            topic: "orders".into(),
            topic_mark: None,
            partition: "0".into(),
            at: at.to_string(),
            key: Some(Bytes::from_static(b"k")),
            payload: payload.map(Bytes::from),
            headers: vec![("trace".to_owned(), "t-1".to_owned())],
            published_at_us: Some(1_700_000_000_000_000),
        };
        let messages = payloads.into_iter().enumerate().map(message).collect();
        Self(Arc::new(Mutex::new(UpstreamHeld { messages, batch, ..UpstreamHeld::default() })))
    }

    fn numbered(count: usize, batch: usize) -> Self {
        Self::new((0..count).map(|n| Some(format!(r#"{{"n":{n}}}"#))), batch)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&UpstreamHeld) -> bool) {
        until(what, || is_so(&self.0.lock())).await;
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl StreamOrigin for TestUpstream {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn place(&self) -> String {
        "a test".to_owned()
    }

    fn open(&self, _: &str, _: Arc<dyn StreamCheckpoints>) -> StreamReply<'_, Box<dyn StreamReader>> {
        Box::pin(async move {
            let mut held = self.0.lock();
            held.opened += 1;
            let (next, upstream) = (held.acknowledged, Arc::clone(&self.0));
            let reader: Box<dyn StreamReader> = Box::new(TestReader { upstream, next, receipts: BTreeMap::new() });
            Ok(reader)
        })
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Reads on from what was acknowledged when it was opened.
struct TestReader {
    upstream: Arc<Mutex<UpstreamHeld>>,
    next: usize,
    /// How far each read came.
    receipts: BTreeMap<StreamReceipt, usize>,
}

impl StreamReader for TestReader {
    fn read(&mut self) -> StreamReply<'_, StreamBatch> {
        Box::pin(async move {
            {
                let mut held = self.upstream.lock();
                if held.fails_at.is_some_and(|at| self.next >= at) {
                    held.fails_at = None;
                    return Err(StreamError::Retry("away".to_owned()));
                }
                if held.stops_at == Some(self.next) {
                    let (reason, advice) = ("it leads nowhere".to_owned(), "go elsewhere".to_owned());
                    return Err(StreamError::Stop { reason, advice });
                }
            }
            let is_over = self.next >= self.upstream.lock().messages.len();
            if is_over {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut held = self.upstream.lock();
            held.reads += 1;
            let end = held.messages.len().min(self.next + held.batch);
            let messages = held.messages[self.next..end].to_vec();
            self.next = end;
            let last = self.receipts.keys().next_back().map_or(0, |receipt| receipt.0);
            let receipt = StreamReceipt(last + 1);
            self.receipts.insert(receipt, end);
            Ok(StreamBatch { messages, receipt })
        })
    }

    fn acknowledge(&mut self, receipt: StreamReceipt) -> StreamReply<'_, ()> {
        let mut held = self.upstream.lock();
        let done = match held.refused.pop_front() {
            Some(error) => Err(error),
            None => {
                held.receipts.push(receipt.0);
                held.acknowledged = self.receipts[&receipt];
                Ok(())
            }
        };
        drop(held);
        Box::pin(async move { done })
    }

    fn keep_alive(&mut self) -> StreamReply<'_, ()> {
        self.upstream.lock().kept_alive += 1;
        Box::pin(async { Ok(()) })
    }

    fn seek(&mut self, to: SeekTarget) -> StreamReply<'_, ()> {
        let done = match to {
            SeekTarget::Earliest => Ok(0),
            SeekTarget::Position { at, .. } => Ok(at.parse().unwrap()),
            SeekTarget::Latest | SeekTarget::Time(_) => {
                let (reason, advice) = ("it knows no times".to_owned(), "name a position".to_owned());
                Err(StreamError::Stop { reason, advice })
            }
        };
        if let Ok(at) = done {
            self.next = at;
        }
        Box::pin(async move { done.map(drop) })
    }

    fn progress(&self) -> Vec<PartitionProgress> {
        let held = self.upstream.lock();
        let (acknowledged, lag) = (held.acknowledged.to_string(), (held.messages.len() - held.acknowledged) as u64);
        let (topic, partition) = ("orders".into(), "0".into());
        vec![PartitionProgress { topic, partition, acknowledged, lag: Some(lag), behind: None, holder: None }]
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        self.upstream.lock().closed += 1;
        Box::pin(async { Ok(()) })
    }
}

struct NothingKept;

impl StreamCheckpoints for NothingKept {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(BTreeMap::new())
    }

    fn save(&self, _: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        Ok(())
    }
}

/// A log that has no room while it is told so.
struct RefusingLog {
    inner: SegmentLog,
    refuses: AtomicBool,
    /// So many appends are taken, and told later that the disk is full.
    fills: AtomicUsize,
}

impl Log for RefusingLog {
    fn can_ever_take(&self, bytes: usize) -> bool {
        Log::can_ever_take(&self.inner, bytes)
    }

    fn has_room(&self, lane: u32, bytes: usize) -> bool {
        !self.refuses.load(Ordering::SeqCst) && Log::has_room(&self.inner, lane, bytes)
    }

    fn append(&self, lane: u32, frames: Frames) -> Appending<'_> {
        if self.refuses.load(Ordering::SeqCst) {
            return Box::pin(async { Err(AppendError::Overloaded) });
        }
        if self.fills.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Box::pin(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(AppendError::DiskFull)
            });
        }
        Log::append(&self.inner, lane, frames)
    }

    fn committed(&self) -> u64 {
        Log::committed(&self.inner)
    }

    fn follow(&self) -> watch::Receiver<u64> {
        Log::follow(&self.inner)
    }

    fn oldest(&self) -> u64 {
        Log::oldest(&self.inner)
    }

    fn records(&self, from: u64, to: u64) -> u64 {
        Log::records(&self.inner, from, to)
    }

    fn reader(&self, offset: u64) -> Result<Box<dyn LogReader>, LogError> {
        Log::reader(&self.inner, offset)
    }

    fn due_to(&self, floor: u64, now_us: i64) -> u64 {
        Log::due_to(&self.inner, floor, now_us)
    }

    fn trim_below(&self, floor_and_to: (u64, u64), now_us: i64) -> Result<Trimmed, LogError> {
        Log::trim_below(&self.inner, floor_and_to, now_us)
    }

    fn seal(&self) -> Result<u64, AppendError> {
        Log::seal(&self.inner)
    }

    fn sealed(&self) -> Vec<std::ops::Range<u64>> {
        Log::sealed(&self.inner)
    }

    fn erase(
        &self,
        first: u64,
        eraser: &mut dyn tidegate_log::Eraser,
    ) -> Result<Option<tidegate_log::ErasedPart>, LogError> {
        Log::erase(&self.inner, first, eraser)
    }

    fn erasures(&self) -> u64 {
        Log::erasures(&self.inner)
    }

    fn size_bytes(&self) -> u64 {
        Log::size_bytes(&self.inner)
    }

    fn is_poisoned(&self) -> bool {
        Log::is_poisoned(&self.inner)
    }

    fn close(&self) {
        Log::close(&self.inner);
    }
}

/// A record as the log has it.
#[derive(Debug, PartialEq, Eq)]
struct SeenRecord {
    id: String,
    problem: Option<RecordProblem>,
    event: String,
    context: String,
}

/// A stream that runs, and everything around it.
struct TestStream {
    log: Arc<RefusingLog>,
    entrance: watch::Sender<Arc<Entrance>>,
    board: Arc<StreamBoard>,
    sources: StreamSources,
    stop: watch::Sender<Option<Duration>>,
    running: JoinHandle<()>,
    dir: tempfile::TempDir,
}

fn entrance(rate: &Rate) -> EntranceSettings {
    EntranceSettings {
        keys: WriteKeys::new(KeyHasher::new(&[1; 32]), []),
        rates: vec![(SOURCE.to_owned(), rate.clone())],
        paused: HashSet::new(),
        webhooks: Vec::new(),
    }
}

impl TestStream {
    fn begin(upstream: &TestUpstream) -> Self {
        Self::with(
            upstream,
            StreamSettings { mapping: stream_mapping(), ..StreamSettings::default() },
            &Rate::default(),
        )
    }

    fn with(upstream: &TestUpstream, settings: StreamSettings, rate: &Rate) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (inner, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
        drop(writer.run().unwrap());
        let log = Arc::new(RefusingLog { inner, refuses: AtomicBool::new(false), fills: AtomicUsize::new(0) });
        let entrance = watch::Sender::new(Arc::new(Entrance::new(entrance(rate), 2, Instant::now())));
        let board = Arc::new(StreamBoard::new(upstream.kind(), upstream.place()));
        let runner = StreamRunner {
            source: SOURCE.into(),
            origin: Arc::new(upstream.clone()),
            settings: Arc::new(settings),
            limits: RequestLimits::default(),
            log: LogPartitions::new(vec![Arc::clone(&log) as Arc<dyn Log>]),
            entrance: entrance.subscribe(),
            checkpoints: Arc::new(NothingKept),
            board: Arc::clone(&board),
            cores: 2,
        };
        let (stop, stops) = watch::channel(None);
        let (seeks, asked) = mpsc::channel(1);
        let sources = StreamSources::default();
        sources.list(SOURCE, Arc::clone(&board), Some(seeks));
        let running = tokio::spawn(runner.run(StreamOrders { stop: stops, seeks: asked }));
        Self { log, entrance, board, sources, stop, running, dir }
    }

    fn report(&self) -> StreamReport {
        self.board.report(clock::now_us())
    }

    /// The log as it is then, and its folder.
    async fn stop(self) -> (Arc<RefusingLog>, tempfile::TempDir) {
        self.stop.send_replace(Some(Duration::from_secs(30)));
        self.running.await.unwrap();
        assert_eq!(self.board.report(0).state, StreamState::Stopped);
        (self.log, self.dir)
    }

    /// The records that are in the log.
    fn records(&self) -> Vec<SeenRecord> {
        records(&self.log)
    }
}

fn records(log: &RefusingLog) -> Vec<SeenRecord> {
    let (mut reader, mut seen) = (log.reader(0).unwrap(), Vec::new());
    loop {
        let chunk = reader.read(1 << 20, 1_000).unwrap();
        if chunk.records.is_empty() {
            return seen;
        }
        for entry in chunk.records {
            let read = LoggedRecord::read(&entry.shared, &entry.own).unwrap();
            let record = read.record();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            seen.push(SeenRecord {
                id: record.message_id.to_owned(),
                problem: record.problem,
                event: text(record.event),
                context: text(record.context),
            });
        }
    }
}

fn ids(records: &[SeenRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_in_the_log_in_order_and_acknowledged_in_the_order_of_the_reads() {
    let upstream = TestUpstream::numbered(1_000, 70);
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 1_000).await;
    until("it is counted", || stream.report().messages == 1_000).await;
    let (records, report) = (stream.records(), stream.report());
    assert_eq!(records.len(), 1_000);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record.id, format!("orders/0/{n}"));
        let after = r#""timestamp":"2023-11-14T22:13:20.000Z","type":"track"}"#;
        assert_eq!(record.event, format!(r#"{{"event":"orders","properties":{{"n":{n}}},{after}"#));
        assert!(record.context.contains(r#""offset":"#) && record.context.contains(r#""key":"k""#), "{record:?}");
    }
    let receipts = upstream.0.lock().receipts.clone();
    assert!(receipts.is_sorted() && receipts.len() >= 15, "{receipts:?}");
    assert_eq!((report.events, report.quarantined, report.state), (1_000, 0, StreamState::Reading));
    stream.stop().await;
    assert_eq!(upstream.0.lock().closed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_acknowledged_comes_again_under_the_same_id() {
    let upstream = TestUpstream::numbered(10, 5);
    // It is in the log, and upstream does not hear of it: as if the process had died between the two.
    upstream.0.lock().refused.push_back(StreamError::Retry("away".to_owned()));
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 10).await;
    let records = stream.records();
    assert_eq!(upstream.0.lock().opened, 2, "the reader was closed, and another one opened");
    let different: HashSet<&str> = ids(&records).into_iter().collect();
    assert_eq!(different.len(), 10, "{:?}", ids(&records));
    let first = ids(&records).iter().filter(|id| **id == "orders/0/0").count();
    assert_eq!(first, 2, "{:?}", ids(&records));
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_room_slows_the_reading_and_nothing_is_lost_or_acknowledged_meanwhile() {
    let upstream = TestUpstream::numbered(2_000, 10);
    let stream = TestStream::begin(&upstream);
    stream.log.refuses.store(true, Ordering::SeqCst);
    until("it says that it waits", || stream.report().state == StreamState::WaitingForLog).await;
    upstream.until("upstream hears that somebody is there", |held| held.kept_alive >= 2).await;
    let (reads, acknowledged) = {
        let held = upstream.0.lock();
        (held.reads, held.acknowledged)
    };
    let appended = stream.records().len();
    assert!(acknowledged <= appended && appended < 2_000, "{acknowledged} {appended}");
    assert!(reads * 10 <= appended + BATCHES_MAX * 10 + 10, "{reads} reads, {appended} in the log");
    assert_eq!(stream.report().error.map(|(error, _)| error).as_deref(), Some("too many bytes wait for the disk"));
    stream.log.refuses.store(false, Ordering::SeqCst);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 2_000).await;
    let records = stream.records();
    let expected: Vec<String> = (0..2_000).map(|n| format!("orders/0/{n}")).collect();
    assert_eq!(ids(&records), expected, "in the order of the reads, each once");
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_mapped_in_parts_that_keep_their_order() {
    let text = "x".repeat(2_000);
    let upstream = TestUpstream::new((0..900).map(|n| Some(format!(r#"{{"n":{n},"text":"{text}"}}"#))), 300);
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 900).await;
    let records = stream.records();
    let expected: Vec<String> = (0..900).map(|n| format!("orders/0/{n}")).collect();
    assert_eq!(ids(&records), expected);
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_brings_what_was_read_into_the_log_and_closes_the_reader() {
    let upstream = TestUpstream::numbered(5_000, 10);
    let stream = TestStream::begin(&upstream);
    upstream.until("some is acknowledged", |held| held.acknowledged >= 100).await;
    let (log, _dir) = stream.stop().await;
    let (appended, held) = (records(&log).len(), upstream.0.lock());
    assert_eq!(held.acknowledged, appended, "all that is in the log is acknowledged, and nothing else");
    assert_eq!((held.opened, held.closed), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_backwards_brings_the_same_messages_under_the_same_ids() {
    let upstream = TestUpstream::numbered(50, 10);
    let stream = TestStream::begin(&upstream);
    upstream.until("everything is acknowledged", |held| held.acknowledged == 50).await;
    let position = |at: &str| SeekTarget::Position { topic: "orders".into(), partition: "0".into(), at: at.into() };
    assert_eq!(stream.sources.seek(SOURCE, position("40")).await, Ok(()));
    until("they come again", || stream.records().len() >= 60).await;
    let records = stream.records();
    assert_eq!(ids(&records)[50..60], ids(&records)[40..50]);
    // What it cannot do it says, and goes on.
    let refused = stream.sources.seek(SOURCE, SeekTarget::Time(0)).await;
    assert!(matches!(refused, Err(SeekProblem::Refused(StreamError::Stop { .. }))), "{refused:?}");
    assert_eq!(stream.sources.seek(SOURCE, SeekTarget::Earliest).await, Ok(()));
    until("all of them come again", || stream.records().len() >= 110).await;
    assert_eq!(upstream.0.lock().opened, 1);
    assert_eq!(stream.sources.seek("nosuch", SeekTarget::Earliest).await, Err(SeekProblem::NoStream));
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_reads_no_more_than_its_rate_allows_until_that_is_another() {
    let upstream = TestUpstream::numbered(1_000, 10);
    let slow = Rate { events: Some(1.0), burst: Duration::from_secs(1), ..Rate::default() };
    let settings = StreamSettings { mapping: stream_mapping(), ..StreamSettings::default() };
    let stream = TestStream::with(&upstream, settings, &slow);
    upstream.until("upstream hears that somebody is there", |held| held.kept_alive >= 1).await;
    let reads = upstream.0.lock().reads;
    assert!(reads < 50, "{reads} reads");
    let free = entrance(&Rate::default());
    stream.entrance.send_modify(|now| *now = Arc::new(now.followed_by(free, Instant::now())));
    upstream.until("everything is acknowledged", |held| held.acknowledged == 1_000).await;
    stream.stop().await;
}
