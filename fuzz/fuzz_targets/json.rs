//! The JSON scanner and the parser say the same of any bytes, and what serde_json says of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_event::json::{self, JsonError};

fuzz_target!(|bytes: &[u8]| {
    let scanned = json::scan(bytes, 0).ok().map(|seen| json::space(bytes, seen.end)) == Some(bytes.len());
    let parsed = json::parse(bytes, 64);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(parsed.is_err(), "bytes that are no UTF-8 were parsed");
        return;
    };
    let judged = !matches!(parsed, Err(JsonError::DuplicateKey(_) | JsonError::TooDeep(_)));
    if judged {
        assert_eq!(scanned, parsed.is_ok(), "scanner and parser differ");
    }
    if let Ok(value) = &parsed {
        let again = serde_json::to_string(value).expect("a value can be written");
        assert_eq!(json::parse(again.as_bytes(), 64).as_ref(), Ok(value), "a value does not survive");
    }
    if judged && !text.contains("\\u") && !text.contains("$serde_json") {
        let theirs = serde_json::from_str::<serde_json::Value>(text);
        assert!(scanned == theirs.is_ok() || theirs.is_err_and(|error| error.to_string().contains("recursion")));
    }
    if let Some(end) = json::skip_malformed(bytes, 0) {
        assert!(end <= bytes.len());
    }
});
