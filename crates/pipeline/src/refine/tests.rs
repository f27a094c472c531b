//! The refiner with a log and a state: what syncs share, and who waits for whom.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_contract::{Contract, ContractLimits, Domain};
use tidegate_dedup::DedupSettings;
use tidegate_event::record::Record;
use tidegate_log::{Frames, LogSettings, SegmentLog};
use tidegate_state::RunRevision;
use tidegate_wasm::function::{Function, Pool};
use tidegate_wasm::{CallLimits, Engine};

use super::*;

pub(crate) const EACH: usize = 100;

/// A refiner whose ranges are of 100 records, with three of them remembered.
pub(crate) struct Rig {
    pub(crate) handle: RefinerHandle,
    pub(crate) log: SegmentLog,
    rules: watch::Sender<Arc<RuleSet>>,
    thread: JoinHandle<()>,
    _pool: Pool,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(&dir.path().join("log"), LogSettings::default(), 0, 1).unwrap();
        drop(writer.run().unwrap());
        Self::open(dir, log, RuleSet::default())
    }

    /// With the log and the state that are in `dir`.
    fn open(dir: tempfile::TempDir, log: SegmentLog, rules: RuleSet) -> Self {
        let rules = watch::Sender::new(Arc::new(rules));
        let open = || State::open(&dir.path().join("state.db")).unwrap();
        let mut state = open();
        let dedup = state.dedup(&dir.path().join("dedup"), DedupSettings::default()).unwrap();
        let (shared, own) = record(0);
        let bytes = shared.len() + own.len();
        let settings = RefineSettings {
            log_range_records_max: EACH,
            remembered_bytes_max: 3 * EACH * bytes + EACH,
            threads: 2,
            ..RefineSettings::default()
        };
        let refiner = Refiner::open(Arc::new(log.clone()), state, dedup, rules.subscribe(), settings).unwrap();
        let pool = Pool::start(1).unwrap();
        let functions = SourceFunctions {
            workers: pool.workers(),
            recall: Arc::new(|_: &str| Err("nothing was live".to_owned())),
            handed_to: HashMap::new(),
            taps: EventTaps::default(),
            metrics: EngineMetrics::default(),
        };
        let (handle, thread) = refiner.run(functions, open()).unwrap();
        Self { handle, log, rules, thread, _pool: pool, dir }
    }

    /// Once more with other rules, as after a restart.
    fn restarted(self, rules: impl FnOnce(&mut State) -> RuleSet) -> Self {
        let Self { handle, log, thread, dir, .. } = self;
        drop(handle);
        thread.join().unwrap();
        let rules = rules(&mut State::open(&dir.path().join("state.db")).unwrap());
        Self::open(dir, log, rules)
    }

    pub(crate) fn state(&self) -> State {
        State::open(&self.dir.path().join("state.db")).unwrap()
    }

    /// The same with so many ranges in its log.
    pub(crate) async fn with(ranges: usize) -> Self {
        let rig = Self::new();
        rig.append(0..ranges).await;
        rig
    }

    /// Has all that is handed out from now on go through a function, which keeps every event; the key of its chain.
    pub(crate) fn go_through_a_function(&self) -> String {
        let functions = Arc::new(FunctionChain::of([keeping()]));
        let key = functions.key().to_owned();
        let sources = HashMap::from([("web".into(), SourceRules { functions, ..SourceRules::default() })]);
        self.rules.send_replace(Arc::new(RuleSet { sources, ..RuleSet::default() }));
        key
    }

    /// Files of the log that this process has open.
    fn open_segments(&self) -> usize {
        let log = self.dir.path().join("log").canonicalize().unwrap();
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        files.filter(|file| file.starts_with(&log) && file.extension().is_some_and(|found| found == "log")).count()
    }

    /// One more record, of this event.
    pub(crate) async fn append_event(&self, event: &str) {
        let (shared, own) = written(event.as_bytes());
        let mut frames = Frames::with_capacity(shared.len() + own.len());
        frames.begin(|out| out.extend(shared));
        frames.push(|out| out.extend(own));
        self.log.append_in_lane(0, frames).await.unwrap();
    }

    async fn append(&self, ranges: Range<usize>) {
        let mut frames = Frames::with_capacity(ranges.len() * EACH * 200);
        frames.begin(|out| out.extend(record(0).0));
        for number in ranges.start * EACH..ranges.end * EACH {
            frames.push(|out| out.extend(record(number).1));
        }
        self.log.append_in_lane(0, frames).await.unwrap();
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

#[test]
fn a_place_in_the_log_is_kept_open_for_whoever_lags_and_closed_when_they_have_caught_up_or_are_gone() {
    run(async {
        let rig = Rig::with(8).await;
        let at = |range: usize| (range * EACH) as u64;
        let ahead = rig.handle.for_sync();
        for range in 0..8 {
            ahead.refined("web", at(range)).await.unwrap();
        }
        let before = rig.open_segments();
        let late = rig.handle.for_sync();
        for range in 0..5 {
            late.refined("web", at(range)).await.unwrap();
            assert_eq!(rig.open_segments(), before + 1, "it reads on where it is");
        }
        // What comes now is remembered, and nobody reads it from the log again.
        late.refined("web", at(5)).await.unwrap();
        assert_eq!(rig.open_segments(), before, "it has caught up");
        let gone = rig.handle.for_sync();
        gone.refined("web", 0).await.unwrap();
        assert_eq!(rig.open_segments(), before + 1);
        drop(gone);
        while rig.open_segments() > before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Begins a revision whose contract lets track events with these names through and blocks others.
fn declaring(state: &mut State, names: &[&str]) -> RuleSet {
    let mut files = BTreeMap::from([(
        "domains/shop/domain.yaml".to_owned(),
        json!({"name": "shop", "onUndeclaredSchema": "BLOCK_EVENT"}),
    )]);
    for name in names {
        let event = json!({"name": name, "type": "track", "schema": {"type": "object"}});
        files.insert(format!("domains/shop/{name}.yaml"), event);
    }
    let text = contract_text(&files, [&"web".to_owned()]);
    let spec = RunRevision { spec: text.sha256(), contracts: Some(&text), catalog_revision: None };
    let domains = Domain::from_files(&files, "web").unwrap();
    let contract = Contract::compile(&domains, ContractLimits::default()).unwrap();
    RuleSet {
        revision: state.begin_revision(&spec, 1).unwrap(),
        contracts_sha256: Some(text.sha256().into()),
        sources: HashMap::from([(
            "web".into(),
            SourceRules { contract: Some(Arc::new(contract)), ..SourceRules::default() },
        )]),
        ..RuleSet::default()
    }
}

#[test]
fn a_lagging_sync_gets_what_the_contract_of_then_let_through() {
    run(async {
        let rig = Rig::new().restarted(|state| declaring(state, &["E"]));
        rig.append(0..1).await;
        let first = rig.handle.for_sync().refined("web", 0).await.unwrap();
        assert_eq!(first.events.len(), EACH);
        // Tighter, and then as it was: both times what was judged before stays as it was judged.
        let rig = rig.restarted(|state| declaring(state, &["F"]));
        let again = rig.handle.for_sync().refined("web", 0).await.unwrap();
        assert_eq!((&again.events, again.violations.len()), (&first.events, 0));
        rig.append(1..2).await;
        let second = rig.handle.for_sync().refined("web", EACH as u64).await.unwrap();
        assert_eq!(
            (second.events.len(), second.violations.len()),
            (0, EACH),
            "what is new is judged by the rules of now"
        );
        let rig = rig.restarted(|state| declaring(state, &["E", "F"]));
        let lagging = rig.handle.for_sync();
        assert_eq!(lagging.refined("web", 0).await.unwrap().events, first.events);
        assert_eq!(lagging.refined("web", EACH as u64).await.unwrap().events.len(), 0, "they are in quarantine");
    });
}

#[test]
fn rules_change_between_ranges_and_each_range_says_which() {
    run(async {
        let rig = Rig::new();
        let sync = rig.handle.for_sync();
        let mut counts = Vec::new();
        for (range, names) in (0..3).zip([["E"], ["F"], ["E"]]) {
            rig.rules.send_replace(Arc::new(declaring(&mut rig.state(), &names)));
            rig.append(range..range + 1).await;
            let refined = sync.refined("web", (range * EACH) as u64).await.unwrap();
            counts.push((refined.events.len(), refined.violations.len()));
        }
        assert_eq!(counts, [(EACH, 0), (0, EACH), (EACH, 0)]);
        let each = EACH as u64;
        let known = [0, each, 2 * each].map(|at| rig.state().log_range_at(at).unwrap().unwrap());
        assert_eq!(known, [(0..each, 1), (each..2 * each, 2), (2 * each..3 * each, 3)]);
    });
}

#[test]
fn a_refiner_without_syncs_waits_for_one() {
    run(async {
        let rig = Rig::with(2).await;
        let first = rig.handle.for_sync();
        first.refined("web", 0).await.unwrap();
        drop(first);
        let next = rig.handle.for_sync();
        assert_eq!(next.refined("web", EACH as u64).await.unwrap().events.len(), EACH);
    });
}

#[test]
fn an_asker_that_is_gone_says_so() {
    let (asks, mut asked) = mpsc::channel(1);
    drop(AskerGuard { id: AskerId(7), asks });
    assert!(matches!(asked.try_recv(), Ok(RefineRequest::Gone(AskerId(7)))));
}

/// A function that keeps every event.
fn keeping() -> Arc<Function> {
    let core = r#"(module
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 1024))
        (func $take (param $bytes i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get $bytes)))
            (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
                (then (drop (memory.grow (i32.add (i32.shr_u (local.get $bytes) (i32.const 16)) (i32.const 1))))))
            (local.get $at))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $take (local.get 3)))
        (func (export "tidegate:plugin/lifecycle@0.1.0#configure") (param i32 i32 i64) (result i32)
            (call $take (i32.const 64)))
        (func (export "tidegate:plugin/transformer@0.1.0#transform") (param $batch i32) (param $events i32) (result i32)
            (local $answer i32)
            (local.set $answer (call $take (i32.const 64)))
            (i32.store offset=4 (local.get $answer) (call $take (i32.mul (local.get $events) (i32.const 24))))
            (i32.store offset=8 (local.get $answer) (local.get $events))
            (local.get $answer)))"#;
    let mut module = wat::parse_str(core).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("plugin.wit", include_str!("../../../../wit/plugin.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("transform")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    let component = wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    let engine = Engine::new(&CallLimits { calls_at_once_max: 2, ..CallLimits::default() }).unwrap();
    let function = Function::load(&engine, "keep", &component, "{}".to_owned(), CallLimits::default()).unwrap();
    Arc::new(function.with_version("v1"))
}

#[test]
fn a_source_that_comes_later_goes_through_its_functions() {
    run(async {
        let rig = Rig::new();
        rig.append(0..1).await;
        let sync = rig.handle.for_sync();
        assert_eq!(sync.refined("web", 0).await.unwrap().events.len(), EACH);
        assert_eq!((rig.handle.handed_to("web"), rig.state().function_chains().unwrap().1), (EACH as u64, Vec::new()));
        let key = rig.go_through_a_function();
        rig.append(1..2).await;
        // What was handed out stays as it was.
        assert_eq!(rig.handle.for_sync().refined("web", 0).await.unwrap().events.len(), EACH);
        assert_eq!(sync.refined("web", EACH as u64).await.unwrap().events.len(), EACH);
        let took_over = ("web".to_owned(), EACH as u64, key);
        assert_eq!(rig.state().function_chains().unwrap().1, [took_over]);
        assert_eq!(rig.handle.handed_to("web"), 2 * EACH as u64);
    });
}
