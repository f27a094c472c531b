//! Stand-ins for the functions of WASI 0.2, as the canonical ABI calls them: integers in, a result through a pointer that
//! comes last. They say what those of preview 1 say: output goes to the log, the clock and randomness are those of the
//! batch, there are no arguments, variables or files.

/// Interfaces that have stand-ins, without their versions. What is called in them and has none below, traps.
const PACKAGES: [&str; 6] =
    ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/", "wasi:sockets/"];

/// Whether `interface` is one of those that a standard library imports without being asked.
pub(super) fn has_stand_in(interface: &str) -> bool {
    PACKAGES.iter().any(|package| interface.starts_with(package))
}

// A list of nothing has an address all the same, which no compiler takes for none.
const NOTHING: &str = "(i64.store (local.get 0) (i64.const 8))";
const NONE: &str = "(i32.store8 (local.get 0) (i32.const 0))";
const RANDOM: &str = "(call $next_random)";
const BYTES: &str = "(local $at i32) (local $len i32)
    (local.set $len (i32.wrap_i64 (local.get 0)))
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $len)))
    (call $fill (local.get $at) (local.get $len))
    (i32.store (local.get 1) (local.get $at))
    (i32.store offset=4 (local.get 1) (local.get $len))";
const READY: &str = "(local $at i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 4)))
    (i32.store (local.get $at) (i32.const 0))
    (i32.store (local.get 2) (local.get $at))
    (i32.store offset=4 (local.get 2) (i32.const 1))";
const WRITE: &str = "(call $print (local.get 0) (local.get 1) (local.get 2)) (i32.store8 (local.get 3) (i32.const 0))";
const NANOSECONDS: &str = "(i64.add (global.get $passed) (i64.mul (call $now_ms) (i64.const 1000000)))";

/// The body of `name`, `interface#function`. Nothing more is known of what has none: it traps.
pub(super) fn body(name: &str, allocates: bool) -> String {
    let (_, function) = name.split_once('#').unwrap_or(("", name));
    if function.starts_with("[resource-drop]") {
        return String::new();
    }
    let clock = "(global.set $passed (i64.add (global.get $passed) (i64.const 1000)))";
    match function {
        "get-environment" | "get-arguments" | "get-directories" => NOTHING.to_owned(),
        "initial-cwd" | "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr" => NONE.to_owned(),
        "get-stdin" | "[method]output-stream.subscribe" | "[method]input-stream.subscribe" => {
            "(i32.const 0)".to_owned()
        }
        "get-stdout" | "[method]pollable.ready" => "(i32.const 1)".to_owned(),
        "get-stderr" => "(i32.const 2)".to_owned(),
        "[method]output-stream.check-write" => {
            "(i32.store8 (local.get 1) (i32.const 0)) (i64.store offset=8 (local.get 1) (i64.const 4096))".to_owned()
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => WRITE.to_owned(),
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            "(i32.store8 (local.get 1) (i32.const 0))".to_owned()
        }
        // The end: an error, whose second case is `closed`.
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            "(i32.store8 (local.get 2) (i32.const 1)) (i32.store8 offset=4 (local.get 2) (i32.const 1))".to_owned()
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            "(i32.store8 (local.get 2) (i32.const 1)) (i32.store8 offset=8 (local.get 2) (i32.const 1))".to_owned()
        }
        "[method]pollable.block" => String::new(),
        "poll" if allocates => READY.to_owned(),
        "[method]error.to-debug-string" => "(i64.store (local.get 1) (i64.const 8))".to_owned(),
        "resolution" if name.starts_with("wasi:clocks/monotonic-clock#") => "(i64.const 1000)".to_owned(),
        "now" if name.starts_with("wasi:clocks/monotonic-clock#") => format!("{clock} (global.get $passed)"),
        "subscribe-duration" => {
            "(global.set $passed (i64.add (global.get $passed) (local.get 0))) (i32.const 0)".to_owned()
        }
        "subscribe-instant" => "(if (i64.gt_u (local.get 0) (global.get $passed))
            (then (global.set $passed (local.get 0)))) (i32.const 0)"
            .to_owned(),
        "now" => format!(
            "(local $now i64) {clock} (local.set $now {NANOSECONDS})
            (i64.store (local.get 0) (i64.div_u (local.get $now) (i64.const 1000000000)))
            (i32.store offset=8 (local.get 0) (i32.wrap_i64 (i64.rem_u (local.get $now) (i64.const 1000000000))))"
        ),
        "resolution" => {
            "(i64.store (local.get 0) (i64.const 0)) (i32.store offset=8 (local.get 0) (i32.const 1000))".to_owned()
        }
        "get-random-u64" | "get-insecure-random-u64" => RANDOM.to_owned(),
        "get-random-bytes" | "get-insecure-random-bytes" if allocates => BYTES.to_owned(),
        "insecure-seed" | "get-insecure-seed" => {
            format!("(i64.store (local.get 0) {RANDOM}) (i64.store offset=8 (local.get 0) {RANDOM})")
        }
        _ => "(unreachable)".to_owned(),
    }
}
