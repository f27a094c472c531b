//! Guests of the fields world, hostile and honest, and destination plugins that attack with their plans.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_event::digits::Numbers;
use tidegate_event::value::JsonObject;
use tidegate_plugin::ManifestKind;
use tidegate_wasm::{
    AnsweredRequest, Call, CallFailure, CallLimits, CallLog, CallStage, Called, DeliveryVerdict, GuestResponse, Mark,
    Module, Services, StopReason,
};

use crate::support::guests;

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn call<'a>(limits: &'a Arc<CallLimits>, settings_json: &'a str, services: &'a Services) -> Call<'a> {
    Call {
        limits,
        settings_json,
        revision: 1,
        now_ms: 1_700_000_000_123,
        seed: 42,
        deadline: None,
        services,
        numbers: Numbers::Doubles,
    }
}

/// Enough CPU time for a guest on a slow machine.
fn patient() -> CallLimits {
    CallLimits { cpu_base: Duration::from_millis(500), cpu_max: Duration::from_secs(1), ..CallLimits::default() }
}

type Events = Vec<JsonObject>;

fn edit(guest: &str, settings: &str, events: Events) -> (Events, Called<Vec<Mark>>) {
    let module = guests::module_of(guest, ManifestKind::Fields);
    let bytes = events.iter().map(|event| event.to_string().len()).sum();
    let (services, limits) = (Services::default(), patient().into());
    block_on(module.edit(call(&limits, settings, &services), events, bytes, &mut CallLog::default()))
}

fn object(value: Value) -> JsonObject {
    let Value::Object(object) = value else { panic!("no object") };
    object.into()
}

fn event(n: usize, attack: Option<&str>) -> JsonObject {
    let mut event = json!({"type": "track", "properties": {"n": n, "list": [1, {"x": 2}]}});
    if let Some(attack) = attack {
        event["properties"]["attack"] = attack.into();
    }
    object(event)
}

/// Ten events, the attack in the middle.
fn attacked(attack: &str) -> Events {
    (0..10).map(|n| event(n, (n == 5).then_some(attack))).collect()
}

#[test]
fn an_attack_ends_the_call_and_every_edit_is_undone() {
    for (attack, stop_reason, part) in [
        ("get-outside", StopReason::Trap, "there is no event 10: the batch has 10"),
        ("set-outside", StopReason::Trap, "there is no event 4294967295"),
        ("remove-outside", StopReason::Trap, "there is no event 10"),
        ("drop-outside", StopReason::Trap, "there is no event 10"),
        ("fail-outside", StopReason::Trap, "there is no event 10"),
        ("move-outside", StopReason::Trap, "there is no event 10"),
        ("no-pointer", StopReason::Trap, "\"properties\" is no JSON pointer"),
        ("empty-pointer", StopReason::Trap, "\"\" is no JSON pointer"),
        ("deep-pointer", StopReason::Trap, "is no JSON pointer"),
        ("many-paths", StopReason::Trap, "holds 10000 paths"),
        ("large-paths", StopReason::Trap, "paths of more than 1048576 bytes"),
        ("paths-in-edits", StopReason::OutputLimit, "wrote more"),
        ("write-flood", StopReason::OutputLimit, "wrote more"),
        ("edit-flood", StopReason::OutputLimit, "wrote more"),
        ("name-flood", StopReason::OutputLimit, "wrote more"),
        ("move-flood", StopReason::OutputLimit, "wrote more"),
        ("json-flood", StopReason::OutputLimit, "wrote more"),
        ("loop", StopReason::CpuBudget, "CPU budget"),
        ("trap", StopReason::Trap, "commit"),
    ] {
        let before = attacked(attack);
        let (after, called) = edit("hostile/field-attacks", "{}", before.clone());
        let Err(CallFailure::Stopped { stop_reason: found, stage, message }) = &called.answer else {
            panic!("{attack}: {:?}", called.answer);
        };
        assert_eq!((*found, *stage), (stop_reason, CallStage::Transform), "{attack}: {message}");
        assert!(message.contains(part), "{attack}: {message}");
        assert_eq!(after, before, "{attack}");
    }
}

#[test]
fn a_batch_that_is_given_up_is_as_it_was() {
    for attack in ["fatal", "retry"] {
        let before = attacked(attack);
        let (after, called) = edit("hostile/field-attacks", "{}", before.clone());
        assert!(matches!(called.answer, Err(CallFailure::Fatal(_) | CallFailure::Retryable(..))), "{attack}");
        assert_eq!(after, before, "{attack}");
    }
    let before = vec![event(0, None)];
    let (after, called) = edit("hostile/field-attacks", "path-in-configure", before.clone());
    assert!(
        matches!(&called.answer, Err(CallFailure::Stopped { stage: CallStage::Configure, .. })),
        "{:?}",
        called.answer
    );
    assert_eq!(after, before);
}

#[test]
fn what_the_host_refuses_changes_that_event_alone() {
    for (attack, part) in [
        ("deep-json", "deep"),
        ("move-deeper", "deeply"),
        ("no-json", ""),
        ("in-the-way", "text stands at /type, which has no \"deeper\""),
    ] {
        let (after, called) = edit("hostile/field-attacks", "{}", attacked(attack));
        assert_eq!(called.answer.unwrap(), vec![Mark::Edited; 10], "{attack}");
        for (n, event) in after.iter().enumerate() {
            let said = event["properties"].get("said").map(|said| said.as_str().unwrap());
            assert_eq!(event["properties"]["touched"], true, "{attack}");
            assert_eq!(said.is_some(), n == 5, "{attack}: {said:?}");
            assert!(said.is_none_or(|said| said.contains(part) && said != "nothing"), "{attack}: {said:?}");
            assert_eq!(event["type"], "track", "{attack}");
        }
    }
    let (_, called) = edit("hostile/field-attacks", "{}", attacked("paths-let-go"));
    assert!(called.answer.is_ok(), "{:?}", called.answer);
}

#[test]
fn an_event_that_is_failed_is_as_it_was_and_its_neighbours_are_edited() {
    let before = attacked("fail");
    let (after, called) = edit("hostile/field-attacks", "{}", before.clone());
    let marks = called.answer.unwrap();
    let Mark::Failed(code, message) = &marks[5] else { panic!("{:?}", marks[5]) };
    assert!(code.len() == 64 && message.len() <= 1_024 && message.starts_with("\\u{1b}[2J"), "{code} {message}");
    assert_eq!(after[5], before[5]);
    let edited = |n: &usize| marks[*n] == Mark::Edited && after[*n]["properties"]["touched"] == true;
    assert!((0..10).filter(|n| *n != 5).all(|n| edited(&n)));
    let (_, called) = edit("hostile/field-attacks", "{}", attacked("drop"));
    let Mark::Dropped(reason) = &called.answer.unwrap()[5] else { panic!("not dropped") };
    assert!(reason.len() <= 64 && !reason.contains('\u{1b}'), "{reason}");
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z é\"\\\\]{0,6}".prop_map(Value::from),
    ]
}

/// Events about the fields that the two functions edit, in every shape.
fn any_event() -> impl Strategy<Value = JsonObject> {
    let part = prop_oneof![
        leaf(),
        prop::collection::btree_map("(a|b|name|email)", leaf(), 0..4).prop_map(|map| json!(map)),
        prop::collection::vec(leaf(), 0..3).prop_map(Value::from),
    ];
    prop::collection::btree_map("(a|b|event|properties|traits)", part, 0..5)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key, value.into())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The same edits in the fields world and over JSON text: renaming, written twice.
    #[test]
    fn a_fields_function_gives_the_events_of_its_json_twin(events in prop::collection::vec(any_event(), 1..8)) {
        let settings = json!({
            "events": {"a": "b"}, "fields": {"/properties/a": "/properties/c", "/traits/name": "/traits/full/name", "/a": "/z"},
        }).to_string();
        let (edited, called) = edit("transform/rename", &settings, events.clone());
        prop_assert!(called.answer.is_ok(), "{:?}", called.answer);
        let twins: Vec<_> = events.into_iter().map(renamed).collect();
        prop_assert_eq!(edited, twins);
    }
}

/// What the function `rename` does under the settings of the property, in plain words.
fn renamed(mut event: JsonObject) -> JsonObject {
    if event.get("event") == Some(&"a".into()) {
        event.insert("event", "b".into());
    }
    if !event.contains_key("z")
        && let Some(value) = event.remove("a")
    {
        event.insert("z", value);
    }
    if let Some(tidegate_event::value::Value::Object(properties)) = event.get_mut("properties")
        && !properties.contains_key("c")
        && let Some(value) = properties.remove("a")
    {
        properties.insert("c", value);
    }
    if let Some(tidegate_event::value::Value::Object(traits)) = event.get_mut("traits")
        && let Some(value) = traits.remove("name")
    {
        traits.insert("full", tidegate_event::json!({ "name": value }));
    }
    event
}

fn destination() -> Module {
    guests::module_of("hostile/plan-attacks", ManifestKind::Destination)
}

#[test]
fn a_plan_that_is_too_large_is_stopped_before_it_is_copied() {
    for (attack, expected) in [
        ("million-requests", StopReason::OutputLimit),
        ("huge-body", StopReason::OutputLimit),
        ("many-headers", StopReason::OutputLimit),
        ("many-indexes", StopReason::OutputLimit),
        ("huge-tag", StopReason::OutputLimit),
        ("many-skipped", StopReason::OutputLimit),
        ("loop", StopReason::CpuBudget),
        ("trap", StopReason::Trap),
    ] {
        let (services, limits) = (Services::default(), patient().into());
        let batch = [event(0, Some(attack)).to_string()];
        let called = block_on(destination().prepare(call(&limits, "{}", &services), &batch, &mut CallLog::default()));
        let Err(CallFailure::Stopped { stop_reason, message, .. }) = &called.answer else {
            panic!("{attack}: {:?}", called.answer.map(|plan| plan.requests.len()));
        };
        // A guest may also fill its memory before it can hand anything over.
        let contained = *stop_reason == expected
            || (expected == StopReason::OutputLimit && *stop_reason == StopReason::MemoryLimit);
        assert!(contained, "{attack}: {stop_reason:?} {message}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a thread that does nothing is what is tested")]
fn a_plan_is_asked_for_again_when_the_machine_stood_still() {
    let limits = CallLimits { wall_max: Duration::from_secs(2), ..CallLimits::default() }.into();
    let (services, batch) = (Services::default(), [event(0, Some("loop")).to_string()]);
    let (destination, mut call_log) = (destination(), CallLog::default());
    // The guest gives way at its first tick, and nothing runs until its wall limit is over.
    let pause = async { std::thread::sleep(Duration::from_millis(2_100)) };
    let (called, ()) = block_on(async {
        tokio::join!(destination.prepare(call(&limits, "{}", &services), &batch, &mut call_log), pause)
    });
    let stop_reason = called.answer.map(|_| ()).unwrap_err();
    assert!(matches!(stop_reason, CallFailure::Stopped { stop_reason: StopReason::CpuBudget, .. }), "{stop_reason:?}");
}

#[test]
fn a_signature_under_a_key_that_is_not_there_is_an_error_for_the_guest() {
    let (services, limits) = (Services::default(), patient().into());
    let batch = [event(0, Some("sign-unknown")).to_string()];
    let called = block_on(destination().prepare(call(&limits, "{}", &services), &batch, &mut CallLog::default()));
    assert_eq!(called.answer.unwrap().requests[0].tag, "Err(\"this plugin has no secrets\")");
}

#[test]
fn a_verdict_is_bounded_and_handed_up_unread() {
    let (services, limits) = (Services::default(), patient().into());
    let ask = |tag: &str| {
        let (response, mut call_log) =
            (GuestResponse { status: 200, attempt: 1, ..GuestResponse::default() }, CallLog::default());
        let answered = AnsweredRequest { tag, events: &[0, 1], response: &response };
        block_on(destination().classify(call(&limits, "{}", &services), answered, &mut call_log)).answer
    };
    assert_eq!(ask(""), Ok(DeliveryVerdict::Partial(vec![(0, false), (1, false)])));
    assert_eq!(ask("outside"), Ok(DeliveryVerdict::Partial(vec![(u32::MAX, false)])));
    assert_eq!(ask("forever"), Ok(DeliveryVerdict::Retry(Some(Duration::from_millis(u32::MAX.into())))));
    let Ok(DeliveryVerdict::Rejected(guest_error)) = ask("long-words") else { panic!("not rejected") };
    assert!(guest_error.code.len() <= 64 && guest_error.code.starts_with("\\u{1b}"), "{guest_error:?}");
    for (tag, expected) in
        [("loop", StopReason::CpuBudget), ("trap", StopReason::Trap), ("many-indexes", StopReason::OutputLimit)]
    {
        assert!(
            matches!(ask(tag), Err(CallFailure::Stopped { stop_reason, .. }) if stop_reason == expected),
            "{tag}: {:?}",
            ask(tag)
        );
    }
}
