//! A wall clock that is wrong, or jumps by years, panics nowhere and loses nothing.

use std::path::PathBuf;

use serde_json::json;

use super::Running;
use crate::conformance::skipped;
use crate::support::Workspace;
use crate::support::waiting::PATIENCE;

/// The library that shows a program another time (Debian: faketime).
fn library() -> Option<PathBuf> {
    let found = ["x86_64", "aarch64"].map(|arch| format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1"));
    let found = found.into_iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        skipped("process::clock", "libfaketime is not installed; on Debian it is the package faketime");
    }
    found
}

#[test]
fn clocks_before_1970_beyond_9999_and_jumps_between_lose_nothing() {
    let Some(library) = library() else { return };
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog:\n  segment_bytes: 1 MiB\n  retention_age: 1 h\n");
    let page = |id: String| json!({"type": "page", "messageId": id, "properties": {"filler": "x".repeat(8_000)}});
    let mut sent = 0;
    for (round, at) in ["+0y", "-66y", "+30y", "+8000y", "+1d"].into_iter().enumerate() {
        let environment =
            [("LD_PRELOAD", library.to_str().unwrap()), ("FAKETIME", at), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        let mut server = Running::start_in(&workspace, &[], &environment);
        // HTTP cannot say what time it is there: such a clock is waited out, and the client keeps its events.
        let can_be_told = !matches!(at, "-66y" | "+8000y");
        for n in 0..8 {
            let events: Vec<_> = (0..20).map(|m| page(format!("r{round}-{n}-{m}"))).collect();
            if !can_be_told {
                let reply = server.post(&workspace.write_key, &events);
                assert_eq!(reply.code(), "503 wrong-clock", "{at}");
                continue;
            }
            server.batch(&workspace.write_key, &events);
            // The client did not get its answer.
            server.batch(&workspace.write_key, &events);
            sent += events.len() as u64;
        }
        server.signal("TERM");
        assert_eq!(server.ends_within(PATIENCE).code(), Some(0), "{at}: {}", server.log());
        assert!(!server.log().contains("panicked") && !server.log().contains("ERROR"), "{at}: {}", server.log());
        assert_eq!(workspace.warehouse().count("pages"), sent, "{at}");
    }
    assert_eq!(workspace.quarantined(), Vec::<String>::new());
}
