use proptest::prelude::*;

use super::*;

type Verdict = (Option<RecordProblem>, bool);

fn small() -> RequestLimits {
    RequestLimits { event_bytes_max: 60, event_depth_max: 3, event_keys_max: 4, ..RequestLimits::default() }
}

fn batch_of(elements: &[&[u8]]) -> Vec<u8> {
    [b"{\"batch\":[", &*elements.join(&b","[..]), b"],\"sentAt\":\"x\"}"].concat()
}

fn verdicts(body: &[u8], kind: Option<EventKind>) -> Result<Vec<Verdict>, &'static str> {
    match scan(body, kind, &small()) {
        Ok(scan) => Ok(scan.events.iter().map(|found| (found.problem, found.has_id)).collect()),
        Err(HttpAnswer::Bad { code, .. }) => Err(code),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn one_bad_event_never_costs_its_neighbours() {
    let mut body = br#"{"batch":[{"messageId":"a"},{"a":NaN},7,{"a":"\ud800"},{"a":"#.to_vec();
    body.extend_from_slice(b"\"\xff\"},{\"a\":[[[1]]]},");
    body.extend_from_slice(br#"{"a":1,"b":2,"c":3,"d":4,"e":5},{"messageId":""},{"x":"0123456789012345678901234567890123456789012345678901234567890"},{"messageId":5},{"a":1} {"b":2},,{"m\u0065ssageId":"b"}],"sentAt":"x"}"#);
    let want = [
        (None, true),
        (Some(RecordProblem::Malformed), true),
        (Some(RecordProblem::NotAnObject), true),
        (Some(RecordProblem::LoneSurrogate), true),
        (Some(RecordProblem::NotUtf8), false),
        (Some(RecordProblem::TooDeep), false),
        (Some(RecordProblem::TooManyKeys), false),
        (None, false),
        (Some(RecordProblem::TooLarge), false),
        (None, true),
        (Some(RecordProblem::Malformed), true),
        (Some(RecordProblem::Malformed), true),
        (None, true),
    ];
    assert_eq!(verdicts(&body, None).unwrap(), want);
}

#[test]
fn a_body_that_is_no_batch_is_refused() {
    for (body, want) in [
        ("", "malformed-json"),
        ("[]", "not-an-object"),
        ("{}", "no-batch"),
        (r#"{"batch":{}}"#, "no-batch"),
        (r#"{"batch":[{}"#, "malformed-json"),
        (r#"{"batch":[{]}"#, "malformed-json"),
        (r#"{"batch":[{}}]}"#, "malformed-json"),
        (r#"{"batch":[]} x"#, "malformed-json"),
        (r#"{"batch":[],}"#, "malformed-json"),
        (r#"{"batch":[]"#, "malformed-json"),
        (r#"{"batch":[],"context":{"a":1}"#, "malformed-json"),
        (r#"{"batch":[],"context":{"a":1]]}"#, "malformed-json"),
        (r#"{"batch":[],"context}"#, "malformed-json"),
    ] {
        assert_eq!(verdicts(body.as_bytes(), None), Err(want), "{body}");
    }
    for body in ["\u{feff} {\"batch\":[]}", r#" {"batch":[],"a":01} "#, r#"{"b\u0061tch":[],"\ud800":{}}"#] {
        assert_eq!(verdicts(body.as_bytes(), None), Ok(Vec::new()), "{body}");
    }
}

#[test]
fn a_problem_beside_the_batch_is_every_events_and_nothing_of_it_is_lost() {
    let cases: [(&[u8], RecordProblem); 13] = [
        (br#""context":{"a":"\ud800"}"#, RecordProblem::SharedLoneSurrogate),
        (br#""context":{"a":tru}"#, RecordProblem::SharedMalformed),
        (br#""context":{"a":1} {"b":2}"#, RecordProblem::SharedMalformed),
        (b"\"context\":{\"a\":\"\xff\"}", RecordProblem::SharedNotUtf8),
        (b"\"sentAt\":\"\xff\"", RecordProblem::SharedNotUtf8),
        (br#""sentAt":"\ud800""#, RecordProblem::SharedLoneSurrogate),
        (br#""integrations":{"a":[[[]]]}"#, RecordProblem::SharedTooDeep),
        (br#""context":{"a":1,"b":2,"c":3,"d":4,"e":5}"#, RecordProblem::SharedTooManyKeys),
        (br#""context":[1]"#, RecordProblem::SharedNotAnObject),
        (br#""context":{},"context":{"a":1}"#, RecordProblem::SharedDuplicateKey),
        (br#""sentAt":"a","sent\u0041t":"b""#, RecordProblem::SharedDuplicateKey),
        (br#""batch":[{"b":2}]"#, RecordProblem::SharedDuplicateKey),
        (br#""batch":5"#, RecordProblem::SharedDuplicateKey),
    ];
    for (beside, problem) in cases {
        let shown = String::from_utf8_lossy(beside);
        for body in [
            [br#"{"batch":[{"a":1}],"integrations":{"kept":1},"#, beside, b"}"].concat(),
            [b"{", beside, br#","batch":[{"a":1}],"integrations":{"kept":1}}"#].concat(),
        ] {
            if problem == RecordProblem::SharedTooDeep {
                let twice = scan(&body, None, &small()).unwrap().shared;
                assert!([Some(problem), Some(RecordProblem::SharedDuplicateKey)].contains(&twice));
                continue;
            }
            let scan = scan(&body, None, &small()).unwrap();
            assert_eq!(scan.shared, Some(problem), "{shown}");
            assert!(!scan.events.is_empty());
            let kept = scan.context(&body);
            let mut wanted: Vec<&[u8]> = vec![b"\"integrations\":{\"kept\":1}"];
            if !beside.starts_with(b"\"batch\":[") && !beside.contains(&b'A') {
                wanted.push(beside);
            }
            for wanted in wanted {
                assert!(kept.windows(wanted.len()).any(|window| window == wanted), "{shown}: {}", kept.escape_ascii());
            }
        }
    }
    for fine in [r#""context":null"#, r#""context":[ ]"#, r#""sentAt":5"#, r#""other":"\ud800""#, r#""writeKey":tru"#] {
        let body = format!(r#"{{"batch":[{{"a":1}}],{fine}}}"#);
        assert_eq!(scan(body.as_bytes(), None, &small()).unwrap().shared, None, "{fine}");
    }
    let twice = br#"{"batch":[{"a":1}],"writeKey":"k","writeKey":"l"}"#;
    let scan = scan(twice, None, &small()).unwrap();
    assert_eq!((scan.shared, scan.context(twice)), (Some(RecordProblem::SharedDuplicateKey), &b"{}"[..]));
}

#[test]
fn write_keys_are_found_in_their_places() {
    let keys =
        |body: &str, kind| scan(body.as_bytes(), kind, &RequestLimits::default()).unwrap().write_keys(body.as_bytes());
    assert_eq!(keys(r#"{"batch":[{"writeKey":"b\u0031"}],"writ\u0065Key":"a"}"#, None), ["a", "b1"]);
    assert_eq!(keys(r#"{"batch":[{"a":tru,"writeKey":"b"}]}"#, None), ["b"]);
    assert_eq!(keys(r#"{"a":"\ud800","writeKey":"b"}"#, Some(EventKind::Track)), ["b"]);
}

/// Whether the bytes are one element of an array by strings, brackets and commas alone.
fn is_one_element(bytes: &[u8]) -> bool {
    let listed = [bytes, b","].concat();
    json::is_bounded(bytes, 0) && json::skip_malformed(&listed, 0) == Some(bytes.len())
}

/// The verdict on an element is the same alone, in a batch and between neighbours, which never notice.
fn same_everywhere(element: &[u8]) {
    let shown = element.escape_ascii();
    let single = verdicts(element, Some(EventKind::Track));
    if !json::is_bounded(element, 0) {
        assert_eq!(single, Err("malformed-json"), "{shown}");
        return;
    }
    let single = single.unwrap_or_else(|code| panic!("{shown}: {code}"));
    // More than one element in an array is one malformed event alone.
    if !is_one_element(element) {
        assert!(matches!(single[..], [(Some(_), true)]), "{shown}");
        return;
    }
    assert_eq!(verdicts(&batch_of(&[element]), None).unwrap(), single, "{shown}");
    let neighbours: [&[u8]; 3] = [br#"{"messageId":"before"}"#, element, br#"{"after":"},]{["}"#];
    let found = verdicts(&batch_of(&neighbours), None).unwrap();
    assert_eq!(found, [(None, true), single[0], (None, false)], "{shown}");
}

#[test]
fn every_case_ends_the_same_way_on_every_route() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/it/cases/elements");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        same_everywhere(std::fs::read(entry.unwrap().path()).unwrap().trim_ascii());
        count += 1;
    }
    assert!(count > 60, "{count} cases");
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\"",
        b"\\",
        b"\"a\"",
        b"\"b\":",
        b"true",
        b"tru",
        b"null",
        b"NaN",
        b"0",
        b"01",
        b"-1.5e3",
        b"\"\\ud800\"",
        b"\"\\ud83d\\ude00\"",
        b"\"\xff\"",
        b"\xe9",
        b"\n",
        b"\"messageId\":",
        b"\"writeKey\":\"k\"",
        b"{}",
        b"[]",
        b"'x'",
        b"\"\\x\"",
        b"\"\x01\"",
        b"//",
        "é".as_bytes(),
    ];
    prop::sample::select(words).prop_map(<[u8]>::to_vec)
}

/// Values, now and then with a fragment of anything in them.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        3 => prop::sample::select(vec!["1", "\"s\"", "true", "null", "\"},{\"", "\"\\\"\""]).prop_map(|text| text.as_bytes().to_vec()),
        1 => fragment(),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| [b"[", &*items.join(&b","[..]), b"]"].concat()),
            prop::collection::vec((fragment(), inner.clone()), 0..4).prop_map(|fields| {
                let fields: Vec<Vec<u8>> = fields.into_iter().map(|(_, value)| [b"\"k\":", &*value].concat()).collect();
                [b"{", &*fields.join(&b","[..]), b"}"].concat()
            }),
            (inner.clone(), fragment()).prop_map(|(value, junk)| [value, junk].concat()),
        ]
    })
}

proptest! {
    #[test]
    fn any_element_ends_the_same_way_on_every_route(element in element()) {
        let element = element.trim_ascii();
        if !element.is_empty() {
            same_everywhere(element);
        }
    }

    #[test]
    fn any_fragments_end_the_same_way_on_every_route(fragments in prop::collection::vec(fragment(), 1..12)) {
        let text = fragments.concat();
        if !text.trim_ascii().is_empty() {
            same_everywhere(text.trim_ascii());
        }
    }
}
