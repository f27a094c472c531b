//! Functions: what they make of events, and what becomes of guests that attack.

use std::path::Path;

use serde_json::json;
use tidegate::function::{Function, LoadError, Outcome, RunContext};
use tidegate::wasm::{Engine, Limits};

use crate::support::guests::component;
use crate::support::{Workspace, run};

const CX: RunContext = RunContext { now_ms: 5, seed: 7 };

fn engine() -> Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().unwrap()).clone()
}

fn load(name: &str) -> Function {
    Function::load(&engine(), name, &component(name), "{}".into(), Limits::default()).unwrap()
}

fn outcomes(function: &Function, batch: &[String]) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(function.run(batch, CX)).outcomes
}

fn attack(name: &str) -> String {
    json!({"type": "track", "event": "A", "properties": {"attack": name}}).to_string()
}

fn good() -> String {
    json!({"type": "track", "event": "Good", "properties": {}}).to_string()
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Fault { code, .. } => code,
        Outcome::Fail { .. } => "fail",
        Outcome::Keep => "keep",
        Outcome::Replace(_) => "replace",
        Outcome::Emit(_) => "emit",
        Outcome::Drop(_) => "drop",
    }
}

#[test]
fn each_attack_is_contained_and_its_neighbours_go_on() {
    let function = load("attacks");
    for (name, want) in [
        ("loop", "cpu-budget"),
        ("memory-bomb", "memory-limit"),
        ("memory-greed", "keep"),
        ("recursion", "trap"),
        ("huge-return", "output-limit"),
        ("many-events", "output-limit"),
        ("panic", "trap"),
        ("too-few", "wrong-count"),
        ("too-many", "wrong-count"),
        ("fatal", "batch-failed"),
        ("retryable", "batch-failed"),
        ("log-flood", "keep"),
        ("bad-json", "replace"),
    ] {
        let mut batch = vec![good(); 20];
        batch[13] = attack(name);
        let got = outcomes(&function, &batch);
        let codes: Vec<_> = got.iter().map(code).collect();
        let mut expected = vec!["keep"; 20];
        expected[13] = want;
        assert_eq!(codes, expected, "{name}: {:?}", got[13]);
    }
    assert_eq!(outcomes(&function, &[good()]), [Outcome::Keep]);
}

#[test]
fn several_attacks_in_one_batch_are_told_apart() {
    let mut batch = vec![good(); 40];
    for (at, name) in [(0, "panic"), (7, "loop"), (8, "too-few"), (9, "too-few"), (39, "memory-bomb")] {
        batch[at] = attack(name);
    }
    let got = outcomes(&load("attacks"), &batch);
    let odd: Vec<_> =
        got.iter().enumerate().filter(|(_, o)| **o != Outcome::Keep).map(|(at, o)| (at, code(o))).collect();
    assert_eq!(odd, [(0, "trap"), (7, "cpu-budget"), (8, "wrong-count"), (9, "wrong-count"), (39, "memory-limit")]);
}

#[test]
fn what_aliases_one_megabyte_a_hundred_thousand_times_costs_little() {
    let before = peak_kib();
    let got = outcomes(&load("alias"), &[good()]);
    assert_eq!(code(&got[0]), "output-limit");
    assert!(peak_kib() < before + (200 << 10), "the host copied what it was told to copy");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_loop_in_a_start_function_is_caught_too() {
    let got = outcomes(&load("start-loop"), &[good(), good()]);
    assert!(got.iter().all(|outcome| code(outcome) == "cpu-budget"), "{got:?}");
}

#[test]
fn words_from_a_guest_are_cut_and_made_harmless() {
    let got = outcomes(&load("attacks"), &[attack("long-words")]);
    let Outcome::Fail { code, message } = &got[0] else { panic!("{got:?}") };
    assert!(code.len() <= 64 && message.len() <= 10 << 10 && !message.contains('\u{1b}'));
}

#[test]
fn no_state_survives_a_batch_and_the_same_batch_gives_the_same() {
    let function = load("attacks");
    let first = outcomes(&function, &[attack("state")]);
    let want = r#"{"type":"track","event":"State","properties":{"batches":1,"now":5,"seed":7}}"#;
    assert_eq!(first, [Outcome::Replace(want.into())]);
    assert_eq!(outcomes(&function, &[attack("state")]), first);
}

#[test]
fn settings_that_a_guest_refuses_are_its_own_fault() {
    let function = Function::load(&engine(), "f", &component("attacks"), r#"{"refuse":1}"#.into(), Limits::default());
    let got = outcomes(&function.unwrap(), &[good(), good()]);
    assert!(got.iter().all(|outcome| code(outcome) == "configure-failed"), "{got:?}");
}

#[test]
fn what_may_not_run_is_refused_with_the_reason() {
    let load = |bytes: &[u8], limits: Limits| Function::load(&engine(), "f", bytes, "{}".into(), limits).err().unwrap();
    let size = Limits { component_bytes_max: 1000, ..Limits::default() };
    assert!(matches!(load(&component("attacks"), size), LoadError::TooLarge { max: 1000, .. }));
    assert!(matches!(load(b"not wasm", Limits::default()), LoadError::NotWasm));
    assert!(matches!(load(b"\0asm\x01\0\0\0", Limits::default()), LoadError::CoreModule));
    let memory = Limits { memory_bytes_max: 64 << 10, ..Limits::default() };
    assert!(matches!(load(&component("attacks"), memory), LoadError::Resources(_)));
    // A component of another world: valid, and of no use here.
    assert!(matches!(load(b"\0asm\x0d\0\x01\0", Limits::default()), LoadError::Export(_)));
}

#[test]
fn a_guest_that_wants_to_sleep_is_refused_by_the_name_of_its_import() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/hostile/sleeper");
    let target = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap().join("guests");
    let output = crate::support::tidegate()
        .args(["function", "build", dir.to_str().unwrap()])
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("wasi:io/poll@0.2.6") || text.contains("wasi:clocks/monotonic-clock@0.2.6"), "{text}");
}

#[test]
fn the_functions_we_ship_do_what_their_fixtures_say() {
    for name in ["redact-pii", "utm-referrer"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/transform").join(name);
        let component = crate::support::guests::components().join(format!("{name}.component.wasm"));
        let output =
            run(&["function", "test", dir.to_str().unwrap(), "--component", component.to_str().unwrap(), "--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(r#""ok":true"#), "{text}");
    }
}

/// A workspace whose source runs `component` with `settings`.
fn with_function(name: &str, settings: &str) -> Workspace {
    let workspace = Workspace::new();
    std::fs::write(workspace.path().join("functions/f.component.wasm"), component(name)).unwrap();
    workspace.write("functions/f.yaml", &format!("component: functions/f.component.wasm\nsettings: {settings}\n"));
    workspace.append("sources/web.yaml", "\nfunctions: [f]\n");
    workspace
}

#[test]
fn a_running_server_sets_poison_aside_and_delivers_the_rest() {
    let workspace = with_function("attacks", "{}");
    let server = workspace.serve();
    let mut batch: Vec<_> =
        (0..60).map(|n| json!({"type": "track", "event": "Good", "properties": {"n": n}})).collect();
    for (at, name) in [
        (3, "panic"),
        (20, "loop"),
        (21, "memory-bomb"),
        (40, "too-many"),
        (50, "bad-json"),
        (51, "not-an-event"),
        (52, "huge-return"),
    ] {
        batch[at] = json!({"type": "track", "event": "Bad", "properties": {"attack": name}});
    }
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    let mut codes = workspace.quarantined();
    codes.sort();
    assert_eq!(
        codes,
        ["cpu-budget", "invalid-output", "malformed-json", "memory-limit", "output-limit", "trap", "wrong-count"]
    );
    assert_eq!(workspace.warehouse().count("good"), 53);
    assert!(!workspace.warehouse().has("bad"));
}

#[test]
fn functions_run_in_order_on_what_the_contract_let_through() {
    let workspace = with_function("redact-pii", r#"{"salt": "s", "fields": {"email": "hash", "phone": "mask"}}"#);
    std::fs::write(workspace.path().join("functions/g.component.wasm"), component("utm-referrer")).unwrap();
    workspace.write("functions/g.yaml", "component: functions/g.component.wasm\n");
    workspace.append("syncs/web-to-warehouse.yaml", "\nfunctions: [g]\nmapping: {remove: [/context/page/search]}\n");
    let server = workspace.serve();
    let event = json!({
        "type": "page", "name": "Home", "messageId": "m", "properties": {"email": "a@b.c", "n": 1.10},
        "context": {"page": {"url": "https://a.example/?utm_source=x", "search": "?utm_source=x", "referrer": "https://www.bing.com/"}},
    });
    assert_eq!(server.batch(&[event]).status, 200);
    server.stop();
    let rows = workspace
        .warehouse()
        .rows("SELECT id, length(email), n, context_campaign_source, context_referrer_type FROM pages");
    assert_eq!(rows, ["m|32|1.1|x|search"]);
    assert!(
        !workspace.warehouse().rows("SELECT group_concat(name) FROM pragma_table_info('pages')")[0].contains("search")
    );
}
