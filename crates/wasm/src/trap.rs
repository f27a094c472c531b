//! Where a guest trapped, in words for whoever wrote it.

use wasmtime::WasmBacktrace;

/// The innermost functions of a trap, for whoever wrote the guest.
pub(super) fn place(backtrace: &WasmBacktrace) -> String {
    let printed = backtrace.to_string();
    // A frame is a line with its number, its address where that is known, and its function; functions inlined into it
    // follow on lines of their own, and below each the place of the source, where that is known.
    let mut frames: Vec<String> = Vec::new();
    for line in printed.lines().map(str::trim_start) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut().filter(|frame| !frame.contains(" at ")) {
                frame.push_str(" at ");
                frame.push_str(place);
            }
        } else if let Some(inlined) = line.strip_prefix("- ") {
            frames.push(inlined.to_owned());
        } else if let Some((number, frame)) = line.split_once(": ")
            && number.bytes().all(|digit| digit.is_ascii_digit())
        {
            let frame = frame.trim_start();
            let function = frame.strip_prefix("0x").and_then(|addressed| addressed.split_once(" - "));
            frames.push(function.map_or(frame, |(_, function)| function).to_owned());
        }
    }
    let named: Vec<_> = frames.into_iter().filter(|frame| !is_library(frame)).take(4).collect();
    if named.is_empty() { String::new() } else { format!(" in {}", named.join(" < ")) }
}

/// Whether a frame is on the way from a panic to its trap, which leads through a language's own library and is no news.
/// Frames read `plugin.wasm!std[a543]::panicking::panic_handler`, or the same without the module.
fn is_library(frame: &str) -> bool {
    let module = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let function = match frame.split_once('!') {
        Some((name, function)) if module(name) => function,
        _ => frame,
    };
    let function = function.trim_start_matches('<');
    let of = |library: &str| {
        function.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', ':', ' ']))
    };
    frame.contains("<unknown>")
        || frame.contains("<wasm function")
        || ["std", "core", "alloc", "__rustc", "panic_abort", "abort"].into_iter().any(of)
}
