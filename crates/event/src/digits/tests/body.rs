//! Bodies of requests that are made of events.

use super::*;

/// What the host sends when a guest that sees doubles writes `body` of `events`.
fn sent(body: &str, events: &[Value]) -> String {
    let events: Vec<&Value> = events.iter().collect();
    restore_in_body(body, &events, &[], Numbers::Doubles).unwrap_or_else(|| body.to_owned())
}

#[test]
fn a_number_comes_back_under_its_name_and_all_other_bytes_stay() {
    let event = parsed(
        r#"{"messageId":"m","properties":{"id":9007199254740993,"short":0.1000000000000000055,"huge":1e400,"price":19.90,
           "list":[1,12345678901234567890]},"traits":{"id":7}}"#,
    );
    let body = |id: &str, short: &str, huge: &str, number: &str| {
        format!(
            "{{ \"z\": [{{\"moved\":{id},\"id\":{id},\t\"short\":{short}, \"a\\u0062c\":0.1,\"other\":[{short}],\"huge\":{huge}}}],\n \
             \"price\":19.9,\"list\":[{number}],\"\u{e9}\":\"\u{1f600}\\\"{id}\"}} "
        )
    };
    let seen = body("9007199254740992", "0.1", "Infinity", "12345678901234567000");
    // A short number is known by its name alone.
    let whole = body("9007199254740993", "0.1000000000000000055", "1e400", "12345678901234567890")
        .replace("\"other\":[0.1000000000000000055]", "\"other\":[0.1]");
    assert_eq!(sent(&seen, std::slice::from_ref(&event)), whole);
}

#[test]
fn an_id_that_became_a_text_gets_its_digits() {
    let event =
        parsed(r#"{"userId":9007199254740993,"properties":{"a":12345678901234567890,"b":"1234567890123456768"}}"#);
    let seen = r#"{"user":"9007199254740992","a":"12345678901234567168","same":"12345678901234567000","b":"1234567890123456768"}"#;
    let whole = r#"{"user":"9007199254740993","a":"12345678901234567890","same":"12345678901234567890","b":"1234567890123456768"}"#;
    assert_eq!(sent(seen, std::slice::from_ref(&event)), whole);
    let text = |id: &str| format!(r#"{{"a":"{id}, -{id} of /u/{id}?x","b":"x{id} 0.{id} {id}.5 \\u0041{id} {id}é"}}"#);
    let whole = text("9007199254740992").replacen("9007199254740992", "9007199254740993", 3);
    assert_eq!(sent(&text("9007199254740992"), &[json!({"n": 9007199254740993_u64})]), whole);
    let event = json!({"n": -9007199254740993_i64});
    assert_eq!(sent(r#"{"t":"-9007199254740992"}"#, &[event]), r#"{"t":"-9007199254740993"}"#);
    // A text of the event has these digits itself.
    let event = parsed(r#"{"userId":"9007199254740992","n":9007199254740993}"#);
    assert_eq!(sent(r#"{"user":"9007199254740992"}"#, &[event]), r#"{"user":"9007199254740992"}"#);
}

#[test]
fn ids_that_look_alike_get_the_digits_of_their_own_event_or_stay() {
    let events =
        [9007199254740993_u64, 9007199254740992, 9007199254740991].map(|id| json!({"id": id, "n": {"id": id}}));
    let seen = r#"{"key":"k","events":[{"i":9007199254740992},{"i":9007199254740992},{"i":9007199254740991}]}"#;
    let whole = r#"{"key":"k","events":[{"i":9007199254740993},{"i":9007199254740992},{"i":9007199254740991}]}"#;
    assert_eq!(sent(seen, &events), whole);
    // Where nobody can tell whose they are.
    for seen in [r#"{"events":[{"id":9007199254740992},{"id":9007199254740992}]}"#, "[9007199254740992,1,2]"] {
        assert_eq!(sent(seen, &events), seen);
    }
    // What it was made of is told by texts of its own, wherever it stands.
    let events = [9007199254740993_u64, 9007199254740992].map(|id| json!({"messageId": format!("m-{id}"), "n": id}));
    let item = |text: u64, id: u64| format!(r#"{{"key":"m-{text}","id":{id}}}"#);
    let (first, second) = (9007199254740993, 9007199254740992);
    let seen = format!(r#"{{"some":[{}],"others":[{}]}}"#, item(second, second), item(first, second));
    assert_eq!(
        sent(&seen, &events),
        format!(r#"{{"some":[{}],"others":[{}]}}"#, item(second, second), item(first, first))
    );
    // What one event alone has comes back wherever it is.
    let events = [json!({"id": 1}), json!({"id": 9007199254740993_u64}), json!({})];
    assert_eq!(sent(r#"{"ids":[9007199254740992]}"#, &events), r#"{"ids":[9007199254740993]}"#);
}

#[test]
fn an_infinite_number_of_nobody_stays_for_the_one_who_refuses_it() {
    let event = parsed(r#"{"a":-1e400,"id":9007199254740993}"#);
    let seen = r#"{"a":Infinity,"id":9007199254740992}"#;
    assert_eq!(sent(seen, std::slice::from_ref(&event)), seen);
    assert_eq!(sent(&seen.replace('I', "-I"), &[event]), r#"{"a":-1e400,"id":9007199254740993}"#);
}

#[test]
fn what_is_no_json_stays() {
    let event = json!({"id": 9007199254740993_u64});
    for body in
        ["", "id=9007199254740992", "{", r#"{"id":9007199254740992"#, r#"{"a":{{secret.key}},"id":9007199254740992}"#]
    {
        assert_eq!(sent(body, std::slice::from_ref(&event)), body);
    }
}

#[test]
fn numbers_of_settings_come_back_too() {
    let settings = json!({"account": 9007199254740993_u64});
    let body = r#"{"account":9007199254740992}"#;
    let whole = restore_in_body(body, &[&json!({})], &[settings], Numbers::Doubles);
    assert_eq!(whole.as_deref(), Some(r#"{"account":9007199254740993}"#));
}

#[test]
fn a_lossy_number_is_seen_in_the_text() {
    for (text, is_lossy) in [
        (r#"{"a":"9007199254740993 1e400","b":[1,2.5,-3]}"#, false),
        (r#"{"a\"":9007199254740993}"#, true),
        ("[1e400]", true),
        ("[1e10,-0,123456789012345]", false),
        ("0.1000000000000000055", true),
    ] {
        assert_eq!(is_lossy_for(text, Numbers::Doubles), is_lossy, "{text}");
        assert!(!is_lossy_for(text, Numbers::Exact));
    }
    assert!(!is_lossy_for("[9007199254740993]", Numbers::ExactIntegers));
}

proptest! {
    #[test]
    fn events_that_are_passed_on_in_a_list_keep_every_digit(events in prop::collection::vec(any_event(), 1..4)) {
        let seen: Vec<Value> = events.iter().map(as_doubles).collect();
        let list = |items: Vec<Value>| -> Value { Value::Object([("batch", items.into())].into_iter().collect()) };
        let body = sent(&list(seen).to_string(), &events);
        // What says too little to be told from others may stay as the guest wrote it.
        let is_told = |event: &Value| has_lossy(event, Numbers::Doubles) && walk::is_worth_finding(event);
        if events.iter().all(is_told) {
            prop_assert_eq!(parsed(&body), list(events));
        }
    }

    #[test]
    fn a_body_is_never_another_to_the_guest(events in prop::collection::vec(any_event(), 1..4), body in any_value()) {
        let seen = as_doubles(&body);
        let body = sent(&seen.to_string(), &events);
        if !body.contains("Infinity") {
            prop_assert_eq!(as_doubles(&parsed(&body)), seen);
        }
    }

    #[test]
    fn the_text_says_what_the_value_says(value in any_value()) {
        for numbers in [Numbers::Doubles, Numbers::ExactIntegers, Numbers::Unknown] {
            prop_assert_eq!(is_lossy_for(&value.to_string(), numbers), has_lossy(&value, numbers));
        }
    }
}
