//! Any body on any route: the door takes it or refuses it; what it takes can be framed, and it ends the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_event::EventKind;
use tidegate_source::http::try_body;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let kind = EventKind::ALL.get(usize::from(*first % 8)).copied();
    let once = try_body(kind, body);
    assert_eq!(once, try_body(kind, body), "the same body ends in two ways");
    if kind.is_some() {
        assert!(matches!(once, Ok(1) | Err(_)), "one event makes one record");
        // One element between neighbours never costs them. What is no JSON may be several: a comma in it parts it.
        let batch = [br#"{"batch":[{"a":1},"#.as_slice(), body, br#",{"b":2}]}"#].concat();
        if once == Ok(1) && !body.starts_with(b"\xef\xbb\xbf") && batch.len() < 400_000 {
            let among = try_body(None, &batch);
            if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
                assert_eq!(among, Ok(3), "an element that ends well alone does not among others");
            } else {
                assert!(!matches!(among, Ok(0)), "a batch is taken and nothing of it kept");
            }
        }
    }
});
