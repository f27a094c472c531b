//! Guests that attack their host, and the examples that do not.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_authoring::{self as project, BuildError, CaseResult, Workbench};
use tidegate_wasm::function::{
    CallLimits, Function, FunctionError, FunctionErrorCode, FunctionRan, Lane, Level, Outcome, RunContext,
};
use tidegate_wasm::{Engine, ModuleError};

use crate::support::guests;

const CX: RunContext = RunContext { now_ms: 1_700_000_000_123, seed: 42, deadline: None };

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn function(guest: &str, settings: &str) -> Function {
    limited(guest, settings, CallLimits::default())
}

fn limited(guest: &str, settings: &str, limits: CallLimits) -> Function {
    Function::of(guests::module(guest), guest, settings.to_owned(), limits)
}

fn fine(n: usize) -> String {
    json!({ "type": "track", "properties": { "n": n } }).to_string()
}

fn attack(attack: &str) -> String {
    json!({ "type": "track", "properties": { "attack": attack } }).to_string()
}

fn run(function: &Function, batch: &[String]) -> FunctionRan {
    block_on(function.run(batch, CX))
}

fn code(outcome: &Outcome) -> Option<FunctionErrorCode> {
    if let Outcome::Error { code, .. } = outcome { Some(*code) } else { None }
}

fn message(outcome: &Outcome) -> &str {
    if let Outcome::Error { message, .. } | Outcome::Fail { message, .. } = outcome { message } else { "" }
}

/// Enough CPU time for a guest to fill its memory, page fault by page fault, on a slow machine.
fn patient() -> CallLimits {
    let (cpu, search) = (Duration::from_millis(500), Duration::from_secs(30));
    let wall = Duration::from_secs(300);
    CallLimits {
        cpu_base: cpu,
        cpu_max: Duration::from_secs(1),
        wall_max: wall,
        isolation_cpu_max: search,
        ..CallLimits::default()
    }
}

/// Puts the attacks at places of a batch of 100 and checks that all other events come out as if they were alone.
fn attacked(attacks: &[(usize, &str)]) -> FunctionRan {
    let mut batch: Vec<String> = (0..100).map(fine).collect();
    for (at, name) in attacks {
        batch[*at] = attack(name);
    }
    let function = limited("hostile/attacks", "{}", patient());
    let ran = run(&function, &batch);
    assert_eq!(ran.outcomes.len(), 100);
    for (n, outcome) in ran.outcomes.iter().enumerate() {
        if attacks.iter().all(|(at, _)| *at != n) {
            assert_eq!(*outcome, Outcome::Replace(format!(r#"{{"fine":{n}}}"#)), "{n} beside {attacks:?}");
        }
    }
    // The engine is none the worse for it.
    assert_eq!(run(&function, &[fine(7)]).outcomes, [Outcome::Replace(r#"{"fine":7}"#.to_owned())]);
    ran
}

#[test]
fn each_attack_is_pinned_on_its_event() {
    for (name, expected) in [
        ("loop", FunctionErrorCode::CpuBudget),
        ("recursion", FunctionErrorCode::Trap),
        ("panic", FunctionErrorCode::Trap),
        ("memory-bomb", FunctionErrorCode::MemoryLimit),
        ("huge-return", FunctionErrorCode::OutputLimit),
        ("alias-return", FunctionErrorCode::OutputLimit),
        ("many-events", FunctionErrorCode::OutputLimit),
        ("too-few", FunctionErrorCode::WrongCount),
        ("too-many", FunctionErrorCode::WrongCount),
        ("fatal", FunctionErrorCode::BatchFatal),
        ("retry", FunctionErrorCode::BatchFatal),
    ] {
        for at in [0, 63, 99] {
            let ran = attacked(&[(at, name)]);
            assert_eq!(code(&ran.outcomes[at]), Some(expected), "{name} at {at}: {:?}", ran.outcomes[at]);
            assert!(!message(&ran.outcomes[at]).is_empty());
        }
    }
}

#[test]
fn what_broke_is_in_the_slow_lane_until_it_went_well_for_a_while() {
    let function = limited("hostile/attacks", "{}", patient());
    run(&function, &[fine(1)]);
    assert_eq!(function.lane(), Lane::Quick);
    for name in ["panic", "memory-bomb", "huge-return"] {
        run(&function, &[attack(name)]);
        assert_eq!(function.lane(), Lane::Slow, "{name}");
    }
    let well = |n: &usize| {
        run(&function, &[fine(*n)]);
        function.lane() == Lane::Quick
    };
    assert_eq!((1..1_000).find(well), Some(64));
}

#[test]
fn several_attacks_in_one_batch_are_told_apart() {
    // One outcome too few and one too many in one batch would make the count right again, and nobody could tell.
    let attacks = [(0, "panic"), (1, "too-few"), (2, "too-few"), (50, "loop"), (98, "memory-bomb"), (99, "fatal")];
    let codes: Vec<_> = {
        let ran = attacked(&attacks);
        attacks.iter().map(|(at, _)| code(&ran.outcomes[*at]).unwrap().as_str()).collect()
    };
    assert_eq!(codes, ["trap", "wrong-count", "wrong-count", "cpu-budget", "memory-limit", "batch-fatal"]);
}

#[test]
fn what_stays_within_the_limits_is_answered() {
    let ran = attacked(&[(3, "memory-bomb-tolerant"), (4, "bad-json"), (5, "log-flood")]);
    // 64 MiB are 1,024 pages.
    let Outcome::Drop(reason) = &ran.outcomes[3] else { panic!("{:?}", ran.outcomes[3]) };
    let pages: u32 = reason.strip_prefix("stopped at ").unwrap().strip_suffix(" pages").unwrap().parse().unwrap();
    assert!((1_000..=1_024).contains(&pages), "{pages}");
    assert!(ran.stats.memory_peak_bytes <= 64 << 20);
    assert_eq!(ran.outcomes[4], Outcome::Replace("{\"never\": closed".to_owned()));
    assert_eq!(ran.outcomes[5], Outcome::Keep);
    assert_eq!(ran.stats.calls_failed, 0);
}

#[test]
fn a_log_flood_is_cut_and_escaped() {
    let ran = run(&limited("hostile/attacks", "{}", patient()), &[attack("log-flood")]);
    assert_eq!(ran.call_log.lines.len(), 16);
    assert_eq!(ran.call_log.lines_dropped, 10_000 - 16);
    assert_eq!(ran.call_log.counters.len(), 32);
    assert!(ran.call_log.lines.iter().all(|line| line.text.len() <= 1_024 && !line.text.contains('\u{1b}')));
    assert!(ran.call_log.lines[0].text.starts_with("0 \\u{1b}[2J yyy") && ran.call_log.lines[0].level == Level::Info);
}

#[test]
fn codes_and_messages_of_a_guest_are_cut_and_escaped() {
    let ran = run(&function("hostile/attacks", "{}"), &[attack("long-code")]);
    let Outcome::Fail { code, message, .. } = &ran.outcomes[0] else { panic!("{:?}", ran.outcomes[0]) };
    assert_eq!(code.len(), 64);
    assert!(message.len() <= 1_024 && message.starts_with("\\u{1b}[2J\\u{1b}"), "{message}");
}

#[test]
fn a_trap_names_the_function_it_happened_in() {
    let ran = run(&function("hostile/attacks", "{}"), &[attack("recursion")]);
    assert!(message(&ran.outcomes[0]).contains("recurse"), "{:?}", ran.outcomes[0]);
}

#[test]
fn copies_for_the_host_cost_the_host_nothing() {
    // A hundred thousand strings of one shared mebibyte, and one string of 40 MiB.
    for name in ["alias-return", "huge-return"] {
        let function = limited("hostile/attacks", "{}", patient());
        run(&function, &[fine(0)]);
        reset_peak_rss();
        let before = rss_kib("VmHWM");
        let ran = run(&function, &[attack(name)]);
        assert_eq!(code(&ran.outcomes[0]), Some(FunctionErrorCode::OutputLimit), "{name}");
        // What grows is the guest's own memory, at most its 64 MiB, and what other tests of this process use meanwhile.
        let grown = rss_kib("VmHWM").saturating_sub(before);
        assert!(grown < 512 << 10, "{name}: {grown} KiB");
    }
}

fn reset_peak_rss() {
    // Where the kernel does not allow it, the peak before counts, which only makes the test stricter on itself.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn rss_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_loop_before_any_call_is_caught_and_nobody_is_searched_for() {
    let ran = run(&function("hostile/start-loop", "{}"), &[fine(0), fine(1), fine(2)]);
    assert!(
        ran.outcomes.iter().all(|outcome| code(outcome) == Some(FunctionErrorCode::CpuBudget)),
        "{:?}",
        ran.outcomes
    );
    assert!(message(&ran.outcomes[0]).starts_with("while being started: "), "{:?}", ran.outcomes[0]);
    assert_eq!(ran.stats.calls, 1);
}

#[test]
fn an_error_in_configure_is_everybodys() {
    for (mode, expected) in [
        ("refuse-settings", FunctionErrorCode::ConfigureFailed),
        ("loop-in-configure", FunctionErrorCode::CpuBudget),
        ("trap-in-configure", FunctionErrorCode::Trap),
    ] {
        let function = function("hostile/attacks", &json!({ "mode": mode }).to_string());
        let ran = run(&function, &[fine(0), fine(1)]);
        assert!(ran.outcomes.iter().all(|outcome| code(outcome) == Some(expected)), "{mode}: {:?}", ran.outcomes);
        assert_eq!(ran.stats.calls, 1, "{mode}");
        assert_eq!(block_on(function.check()).unwrap_err().code, expected, "{mode}");
    }
    let Err(FunctionError { message, .. }) =
        block_on(function("hostile/attacks", r#"{"mode":"refuse-settings"}"#).check())
    else {
        panic!("these settings are refused");
    };
    assert_eq!(message, "bad-settings: these settings \\u{1b}[31mwill not do\\n");
    assert_eq!(block_on(function("hostile/attacks", "{}").check()), Ok(()));
}

#[test]
fn a_retry_is_made_as_often_as_allowed_and_then_taken_for_a_failure() {
    let function = function("hostile/attacks", r#"{"mode":"always-retry"}"#);
    let ran = run(&function, &[fine(0), fine(1)]);
    assert!(ran.outcomes.iter().all(|outcome| code(outcome) == Some(FunctionErrorCode::BatchFatal)));
    assert_eq!(ran.stats.retries, 2);
    // Twice again, then each half once.
    assert_eq!(ran.stats.calls, 1 + 2 + 2);
}

#[test]
fn a_function_that_always_fails_costs_a_bounded_number_of_attempts() {
    let batch: Vec<String> = (0..500).map(fine).collect();
    for mode in ["always-fatal", "none-for-all"] {
        let function = function("hostile/attacks", &json!({ "mode": mode }).to_string());
        let ran = run(&function, &batch);
        assert!(ran.outcomes.iter().all(|outcome| code(outcome).is_some()), "{mode}");
        assert_eq!(ran.stats.calls, 1 + 16 * 2 * (9 + 1), "{mode}");
        assert!(message(&ran.outcomes[499]).contains("attempts"), "{:?}", ran.outcomes[499]);
    }
}

#[test]
fn a_function_that_loops_on_everything_costs_a_bounded_time() {
    let limits = CallLimits { isolation_cpu_max: Duration::from_millis(100), ..CallLimits::default() };
    let batch = vec![attack("loop"); 200];
    let ran = run(&limited("hostile/attacks", "{}", limits), &batch);
    assert!(ran.outcomes.iter().all(|outcome| code(outcome) == Some(FunctionErrorCode::CpuBudget)));
    // The whole batch, one half, and perhaps one more before the clock is looked at again.
    assert!(ran.stats.calls <= 3, "{}", ran.stats.calls);
    assert!(message(&ran.outcomes[199]).contains("time for finding"), "{:?}", ran.outcomes[199]);
}

#[test]
fn a_run_ends_at_its_deadline() {
    let cx = RunContext { deadline: Some(Instant::now()), ..CX };
    let ran = block_on(function("hostile/attacks", "{}").run(&[attack("loop"), fine(1)], cx));
    assert!(
        ran.outcomes.iter().all(|outcome| code(outcome) == Some(FunctionErrorCode::WallLimit)),
        "{:?}",
        ran.outcomes
    );

    // A guest that has a generous CPU budget meets the wall instead.
    let limits = CallLimits {
        cpu_base: Duration::from_secs(60),
        cpu_max: Duration::from_secs(60),
        wall_max: Duration::from_millis(50),
        ..CallLimits::default()
    };
    let ran = run(&limited("hostile/attacks", "{}", limits), &[attack("loop")]);
    assert_eq!(code(&ran.outcomes[0]), Some(FunctionErrorCode::WallLimit), "{:?}", ran.outcomes);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the sleep is what is tested: a machine that stands still")]
fn an_event_does_not_pay_for_a_machine_that_stood_still() {
    let limits = CallLimits { wall_max: Duration::from_secs(2), ..CallLimits::default() };
    let (function, batch) = (limited("hostile/attacks", "{}", limits), [attack("loop")]);
    // The guest gives way at its first tick, and nothing runs until its wall limit is over.
    let pause = async { std::thread::sleep(Duration::from_millis(2_100)) };
    let (ran, ()) = block_on(async { tokio::join!(function.run(&batch, CX), pause) });
    assert_eq!(ran.stats.retries, 1);
    assert_eq!(code(&ran.outcomes[0]), Some(FunctionErrorCode::CpuBudget), "{:?}", ran.outcomes);
}

#[test]
fn nothing_survives_a_batch() {
    let function = function("hostile/attacks", r#"{"mode":"count"}"#);
    for _ in 0..50 {
        let seen: Vec<_> = run(&function, &[fine(0), fine(1)]).outcomes;
        assert_eq!(seen, [1, 2].map(|seen| Outcome::Replace(format!(r#"{{"seen":{seen}}}"#))));
    }
}

#[test]
fn the_same_batch_has_the_same_outcomes() {
    let function = function("hostile/attacks", r#"{"mode":"clock"}"#);
    let first = run(&function, &[fine(0)]).outcomes;
    assert_eq!(first, [Outcome::Replace(r#"{"now_ms":1700000000123,"seed":42}"#.to_owned())]);
    assert_eq!(run(&function, &[fine(0)]).outcomes, first);

    let mixed: Vec<String> = (0..40).map(|n| if n % 13 == 5 { attack("panic") } else { fine(n) }).collect();
    let function = self::function("hostile/attacks", "{}");
    assert_eq!(run(&function, &mixed).outcomes, run(&function, &mixed).outcomes);
}

#[test]
fn a_large_batch_is_cut_by_count_and_by_bytes() {
    let batch: Vec<String> = (0..1_203).map(fine).collect();
    let ran = run(&function("hostile/attacks", "{}"), &batch);
    assert_eq!(ran.outcomes.len(), 1_203);
    assert_eq!(ran.outcomes[1_202], Outcome::Replace(r#"{"fine":1202}"#.to_owned()));
    assert_eq!(ran.stats.calls, 3);

    let limits = CallLimits { batch_bytes_max: 2 * fine(10).len(), ..CallLimits::default() };
    let ran = run(&limited("hostile/attacks", "{}", limits), &batch[10..15]);
    assert_eq!(ran.stats.calls, 3);

    let ran = run(&function("hostile/attacks", "{}"), &[]);
    assert!(ran.outcomes.is_empty() && ran.stats.calls == 0);
}

#[test]
fn calls_beyond_the_slots_wait_for_one() {
    let engine = Engine::new(&CallLimits { calls_at_once_max: 2, ..CallLimits::default() }).unwrap();
    let bytes = std::fs::read(guests::component("hostile/attacks")).unwrap();
    let function = Function::load(&engine, "waiting", &bytes, "{}".to_owned(), CallLimits::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..40)
            .map(|n| {
                let function = function.clone();
                tokio::spawn(async move { function.run(&[fine(n), attack("panic")], CX).await.outcomes })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            let outcomes = task.await.unwrap();
            assert_eq!(outcomes[0], Outcome::Replace(format!(r#"{{"fine":{n}}}"#)));
            assert_eq!(code(&outcomes[1]), Some(FunctionErrorCode::Trap));
        }
    });
}

#[test]
fn a_guest_that_would_sleep_is_refused_by_the_name_of_its_import() {
    let workbench = Workbench { tools: guests::tools(), target_dir: Some(guests::guests_target_dir()) };
    let refused = project::build(&guests::folder("hostile/sleeper"), &workbench, None, &mut |_| {}).unwrap_err();
    let BuildError::Refused(ModuleError::ForbiddenImport { import, .. }) = &refused else { panic!("{refused}") };
    assert_eq!(import, "wasi:clocks/monotonic-clock@0.2.6");
}

#[test]
fn wasi_names_of_a_standard_library_lead_nowhere() {
    let function = function("hostile/inert-wasi", "{}");
    let ran = run(&function, &["environment", "print", "exit"].map(|ask| json!({ "ask": ask }).to_string()));
    assert_eq!(ran.outcomes[0], Outcome::Replace(r#"{"variables":0,"nowhere":true}"#.to_owned()));
    assert_eq!(ran.outcomes[1], Outcome::Replace(r#"{"room":true,"written":true}"#.to_owned()));
    assert_eq!(code(&ran.outcomes[2]), Some(FunctionErrorCode::Trap));
    assert!(message(&ran.outcomes[2]).contains("exit"), "{:?}", ran.outcomes[2]);
    assert!(ran.call_log.lines.iter().any(|line| line.text == "half a line, and the rest"), "{:?}", ran.call_log);
}

#[test]
fn the_examples_pass_their_own_fixtures() {
    for guest in ["transform/redact-pii", "transform/utm-referrer"] {
        let (dir, component) = (guests::folder(guest), guests::component(guest));
        let report = block_on(project::test(&dir, &component, CallLimits::default(), false)).unwrap();
        for case in &report.cases {
            assert_eq!(case.result, CaseResult::Passed, "{guest} {}", case.name);
        }
        assert!(report.us_per_event > 0.0 && report.cpu_share_max < 1.0 && report.memory_share_max < 0.5, "{report:?}");
    }
}

#[test]
fn a_fixture_that_differs_is_shown_line_by_line_and_updated_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(dir.path().join("fixtures")).unwrap();
        std::fs::write(dir.path().join("fixtures").join(name), text).unwrap();
    };
    write("one.in.json", &fine(1));
    write("one.out.json", r#"[{"replace":{"fine":2}}]"#);
    write("two.in.json", &format!("[{},{}]", fine(1), attack("panic")));
    let component = guests::component("hostile/attacks");
    let test = |update| block_on(project::test(dir.path(), &component, CallLimits::default(), update)).unwrap();

    let report = test(false);
    assert!(!report.passed());
    let CaseResult::Differs { diff } = &report.cases[0].result else { panic!("{report:?}") };
    assert!(diff.contains("-       \"fine\": 2\n+       \"fine\": 1\n"), "{diff}");
    let CaseResult::Unknown { actual } = &report.cases[1].result else { panic!("{report:?}") };
    assert!(actual.contains("\"code\": \"trap\""), "{actual}");

    assert!(test(true).cases.iter().all(|case| case.result == CaseResult::Updated));
    assert!(test(false).cases.iter().all(|case| case.result == CaseResult::Passed));
}

#[test]
fn what_a_server_would_refuse_does_not_pass_a_test() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, value: serde_json::Value| {
        std::fs::create_dir_all(dir.path().join("fixtures")).unwrap();
        std::fs::write(dir.path().join("fixtures").join(name), value.to_string()).unwrap();
    };
    let notes = |component: &Path, update| {
        let report = block_on(project::test(dir.path(), component, CallLimits::default(), update)).unwrap();
        assert!(!report.passed(), "{report:?}");
        assert_eq!(report.cases[0].result, CaseResult::Refused, "{report:?}");
        report.cases[0].notes.join("\n")
    };
    // What comes back is no event: without a name, and no JSON at all. That it was expected does not help.
    let track = json!({"type": "track", "event": "E", "properties": {"n": 1}});
    let broken = json!({"type": "track", "event": "E", "properties": {"attack": "bad-json"}});
    write("one.in.json", json!([track, broken]));
    for update in [true, false] {
        let said = notes(&guests::component("hostile/attacks"), update);
        assert!(said.contains("event 0 would be quarantined: missing-event-name"), "{said}");
        assert!(said.contains("event 1 would be quarantined: malformed-json: the function returned"), "{said}");
    }

    // A plan that leads where the manifest does not ask to go.
    let manifest = json!({
        "name": "courier", "kind": "destination", "hosts": ["{{settings.endpoint}}"],
        "settings": {"type": "object", "required": ["endpoint"], "properties": {"endpoint": {"type": "string"}}},
    });
    let component = dir.path().join("courier.wasm");
    std::fs::write(&component, guests::destination("hostile/destination", &manifest)).unwrap();
    let evil = json!({"attack": "url", "url": "https://evil.example/"});
    write("one.in.json", json!({"type": "track", "event": "E", "properties": evil}));
    write("settings.json", json!({"endpoint": "https://crm.example"}));
    let said = notes(&component, true);
    assert!(said.contains("host-not-asked") && said.contains("evil.example"), "{said}");
    write("one.in.json", track.clone());
    let report = block_on(project::test(dir.path(), &component, CallLimits::default(), true)).unwrap();
    assert!(report.passed(), "{report:?}");

    // Settings that a push would refuse.
    write("settings.json", json!({}));
    let refused =
        block_on(project::test(dir.path(), &component, CallLimits::default(), false)).unwrap_err().to_string();
    assert!(refused.contains("\"endpoint\" is a required property"), "{refused}");

    // Without events there is nothing to measure.
    write("settings.json", json!({"endpoint": "https://crm.example"}));
    write("one.in.json", json!([]));
    let refused = block_on(project::bench(dir.path(), &component, CallLimits::default())).unwrap_err().to_string();
    assert!(refused.contains("no events to measure"), "{refused}");
}

#[test]
fn a_project_that_cannot_be_built_has_one_readable_cause() {
    let dir = tempfile::tempdir().unwrap();
    let project = |lib: &str, kind: &str| {
        let manifest = format!(
            "[package]\nname = \"broken\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"{kind}\"]\n[workspace]\n"
        );
        std::fs::create_dir_all(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::write(dir.path().join("src/lib.rs"), lib).unwrap();
        let mut progress = Vec::new();
        let workbench = Workbench { tools: guests::tools(), target_dir: Some(dir.path().join("t")) };
        let built = project::build(dir.path(), &workbench, None, &mut |line| progress.push(line.to_owned()));
        (built.unwrap_err(), progress)
    };
    let (refused, progress) = project("pub fn f() -> u32 { missing }", "cdylib");
    let BuildError::Compile { errors } = &refused else { panic!("{refused}") };
    assert!(errors.starts_with("error[E0425]: cannot find value `missing`"), "{errors}");
    assert!(progress.iter().any(|line| line.contains("Compiling broken")), "{progress:?}");

    let (refused, _) = project("pub fn f() {}", "rlib");
    assert!(matches!(refused, BuildError::NotCdylib), "{refused}");

    // A module without bindings becomes an empty component, which exports nothing.
    let (refused, _) = project("#[unsafe(no_mangle)] pub extern \"C\" fn f() {}", "cdylib");
    assert!(matches!(refused, BuildError::Encode(_) | BuildError::Refused(_)), "{refused}");
    assert!(!Path::new(&dir.path().join("t/components/broken.component.wasm")).exists());
}
