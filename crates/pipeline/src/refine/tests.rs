//! The refiner with a log and a state: what syncs share, and who waits for whom.

use std::time::{Duration, Instant};

use tidegate_dedup::DedupSettings;
use tidegate_event::record::Record;
use tidegate_log::{Frames, LogSettings, SegmentLog};
use tidegate_wasm::function::Pool;

use super::*;

pub(crate) const EACH: usize = 100;

/// A refiner whose ranges are of 100 records, with three of them remembered.
pub(crate) struct Rig {
    pub(crate) handle: RefinerHandle,
    pub(crate) log: SegmentLog,
    _pool: Pool,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(&dir.path().join("log"), LogSettings::default(), 0, 1).unwrap();
        drop(writer.run().unwrap());
        let open = || State::open(&dir.path().join("state.db")).unwrap();
        let mut state = open();
        let dedup = state.dedup(&dir.path().join("dedup"), DedupSettings::default()).unwrap();
        let rules = vec![Rules { source: "web".into(), contract: None }];
        let (shared, own) = record(0);
        let bytes = shared.len() + own.len();
        let settings = RefineSettings {
            log_range_records_max: EACH,
            remembered_bytes_max: 3 * EACH * bytes + EACH,
            threads: 2,
            ..RefineSettings::default()
        };
        let refiner = Refiner::open(Arc::new(log.clone()), state, dedup, rules, settings).unwrap();
        let pool = Pool::start(1).unwrap();
        let functions = SourceFunctions {
            workers: pool.workers(),
            live: HashMap::new(),
            recall: Arc::new(|_: &str| Err("nothing was live".to_owned())),
            handed_to: HashMap::new(),
        };
        let (handle, _thread) = refiner.run(functions, open()).unwrap();
        Self { handle, log, _pool: pool, dir }
    }

    pub(crate) fn state(&self) -> State {
        State::open(&self.dir.path().join("state.db")).unwrap()
    }

    /// The same with so many ranges in its log.
    pub(crate) async fn with(ranges: usize) -> Self {
        let rig = Self::new();
        let mut frames = Frames::with_capacity(ranges * EACH * 200);
        frames.begin(|out| out.extend(record(0).0));
        for number in 0..ranges * EACH {
            frames.push(|out| out.extend(record(number).1));
        }
        rig.log.append_in_lane(0, frames).await.unwrap();
        rig
    }
}

/// A record of this event: the bytes that a group shares, and its own.
pub(super) fn written(event: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let record = Record {
        problem: None,
        route: None,
        received_at_us: 1_700_000_000_000_000,
        source: "web",
        ip: "",
        message_id: "",
        sent_at: "",
        context: b"",
        integrations: b"",
        event,
    };
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    record.write_shared(&mut shared);
    record.write_own(&mut own);
    (shared, own)
}

fn record(number: usize) -> (Vec<u8>, Vec<u8>) {
    written(format!(r#"{{"type":"track","event":"E","messageId":"m-{number:08}"}}"#).as_bytes())
}

/// Whether the two got the very same events, which were refined once for both.
fn is_shared(a: &Refined, b: &Refined) -> bool {
    a.range == b.range && !a.events.is_empty() && a.events.iter().zip(&b.events).all(|(a, b)| Arc::ptr_eq(a, b))
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.unwrap() });
}

#[test]
fn who_runs_ahead_is_held_until_the_other_has_what_would_be_forgotten() {
    run(async {
        let rig = Rig::with(8).await;
        let (quick, slow) = (rig.handle.for_sync(), rig.handle.for_sync());
        let first = slow.refined("web", 0).await.unwrap();
        let mut got = Vec::new();
        // The fourth pushes out the first, which both have.
        for at in 0..4 {
            got.push(quick.refined("web", at * EACH as u64).await.unwrap());
        }
        assert!(is_shared(&first, &got[0]));
        // The window was long in the making, so the quick one is held for long enough to be seen waiting.
        tokio::time::sleep(Duration::from_millis(900)).await;
        let held = quick.refined("web", 4 * EACH as u64);
        tokio::pin!(held);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut held).await;
        assert!(early.is_err(), "it had to wait for the slow one");
        let second = slow.refined("web", EACH as u64).await.unwrap();
        assert!(is_shared(&second, &got[1]));
        held.await.unwrap();
    });
}

#[test]
fn who_never_comes_is_left_behind_and_gets_the_same_events_later() {
    run(async {
        let rig = Rig::with(8).await;
        let (quick, dead) = (rig.handle.for_sync(), rig.handle.for_sync());
        dead.refined("web", 0).await.unwrap();
        let started = Instant::now();
        let mut got = Vec::new();
        for at in 0..8 {
            got.push(quick.refined("web", at * EACH as u64).await.unwrap());
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        let late = dead.refined("web", EACH as u64).await.unwrap();
        assert!(!is_shared(&late, &got[1]), "it was refined again");
        assert_eq!(late.events, got[1].events);
        assert_eq!(got.iter().map(|refined| refined.events.len()).sum::<usize>(), 8 * EACH);
    });
}

#[test]
fn those_who_lag_together_share_what_is_refined_again() {
    run(async {
        let rig = Rig::with(8).await;
        let (a, b) = (rig.handle.for_sync(), rig.handle.for_sync());
        let ahead = rig.handle.for_sync();
        for at in 0..8 {
            ahead.refined("web", at * EACH as u64).await.unwrap();
        }
        // Both begin to lag: the first range of each is its own, for nobody knows yet that they are near.
        a.refined("web", 0).await.unwrap();
        b.refined("web", 0).await.unwrap();
        let of_a = a.refined("web", EACH as u64).await.unwrap();
        let of_b = b.refined("web", EACH as u64).await.unwrap();
        assert!(is_shared(&of_a, &of_b));
    });
}
