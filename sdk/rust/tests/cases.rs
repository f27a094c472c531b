//! The cases that all languages share.

use serde_json::{Map, Value, json};
use tidegate_sdk::commerce::{self, Money};
use tidegate_sdk::delivery::{Entry, classify_by_status, join};
use tidegate_sdk::people::{Personal, hashed, phone};
use tidegate_sdk::{Plan, Response, Verdict, event};

/// The cases of a file: name, in, out.
fn cases(file: &str) -> Vec<(String, Value, Value)> {
    // From the package's folder, where cargo runs tests: a binary of another clone in a shared build cache finds them too.
    let path = format!("../cases/{file}");
    let text = std::fs::read_to_string(path).expect("the file is there");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("the file is JSON");
    assert!(!cases.is_empty());
    cases.into_iter().map(|case| (case["name"].to_string(), case["in"].clone(), case["out"].clone())).collect()
}

/// A value with its numbers as binary ones: those are compared.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(format!("{:?}", number.as_f64())),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        value => value.clone(),
    }
}

#[track_caller]
fn same(name: &str, got: &Value, want: &Value) {
    assert_eq!(plain(got), plain(want), "{name}");
}

fn object(value: &Value) -> &Map<String, Value> {
    event::as_object(Some(value))
}

#[test]
fn ids() {
    for (name, given, out) in cases("ids.json") {
        let given = object(&given);
        for (reader, want) in object(&out) {
            let got = match reader.as_str() {
                "user_id" => event::user_id(given),
                "anonymous_id" => event::anonymous_id(given),
                "group_id" => event::group_id(given),
                "message_id" => event::message_id(given),
                "previous_id" => event::previous_id(given),
                "user" => event::user(given),
                other => panic!("{other}"),
            };
            same(&name, &json!(got), want);
        }
    }
}

#[test]
fn nobody() {
    for (name, given, out) in cases("nobody.json") {
        same(&name, &json!(event::somebody(Some(&given))), &out);
    }
}

#[test]
fn times() {
    for (name, given, out) in cases("times.json") {
        let at = event::instant(Some(&given));
        let got = at.map(|at| json!({"ms": at.ms, "seconds": at.seconds, "text": at.text}));
        same(&name, &json!(got), &out);
    }
}

#[test]
fn traits() {
    for (name, given, out) in cases("traits.json") {
        let given = object(&given);
        for (member, want) in object(&out) {
            match member.as_str() {
                "traits" => same(&name, &Value::Object(event::traits(given)), want),
                "properties" => same(&name, &json!(event::properties(given)), want),
                "name" => same(&name, &json!(event::name(given)), want),
                "context" => {
                    for (path, want) in object(want) {
                        same(&name, &json!(event::context(given, path)), want);
                    }
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn money() {
    for (name, given, out) in cases("money.json") {
        let properties = object(&given["properties"]);
        let (value, names) = (Some(&given["value"]), given["names"].as_array().cloned().unwrap_or_default());
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        let amount = |money: Option<Money>| {
            json!(money.map(|money| json!({"amount": money.amount, "currency": money.currency})))
        };
        let got = match given["call"].as_str() {
            Some("number") => json!(commerce::number(value)),
            Some("currency") => json!(commerce::currency(value)),
            Some("money") => amount(commerce::money(properties, &names)),
            Some("revenue") => amount(commerce::revenue(properties)),
            Some("items_total") => amount(commerce::items_total(properties)),
            other => panic!("{other:?}"),
        };
        same(&name, &got, &out);
    }
}

#[test]
fn items() {
    for (name, given, out) in cases("items.json") {
        let found = commerce::items(object(&given));
        let item = |item: &commerce::Item<'_>| {
            let members = json!({
                "product_id": item.product_id, "sku": item.sku, "name": item.name, "brand": item.brand,
                "category": item.category, "variant": item.variant, "price": item.price, "quantity": item.quantity,
                "coupon": item.coupon, "position": item.position, "url": item.url, "image_url": item.image_url,
                "currency": item.currency,
            });
            object(&members)
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<Value>()
        };
        let items: Vec<Value> = found.items.iter().map(item).collect();
        same(&name, &json!({"items": items, "left_out": found.left_out}), &out);
    }
}

#[test]
fn phones() {
    for (name, given, out) in cases("phones.json") {
        same(&name, &json!(phone(Some(&given))), &out);
    }
}

#[test]
fn hashes() {
    for (name, given, out) in cases("hashes.json") {
        let kind = match given["kind"].as_str() {
            Some("email") => Personal::Email,
            Some("phone") => Personal::Phone,
            Some("name") => Personal::Name,
            Some("city") => Personal::City,
            Some("state") => Personal::State,
            Some("zip") => Personal::Zip,
            Some("country") => Personal::Country,
            Some("gender") => Personal::Gender,
            Some("dob") => Personal::DateOfBirth,
            Some("id") => Personal::Id,
            other => panic!("{other:?}"),
        };
        same(&name, &json!(hashed(Some(&given["value"]), kind)), &out);
    }
}

#[test]
fn chunks() {
    for (name, given, out) in cases("chunks.json") {
        let size = |name: &str| usize::try_from(given[name].as_u64().expect("a number")).expect("small");
        let records = given["records"].as_array().expect("an array");
        let entries = (0..).zip(records).map(|(place, record)| Entry { events: vec![place], text: record.to_string() });
        let mut plan = Plan::default();
        let chunks = plan.chunks(entries.collect(), size("count_max"), size("bytes_max"));
        let chunks: Vec<Vec<u32>> = chunks.into_iter().map(|chunk| join(chunk, ",").1).collect();
        assert!(plan.failed.iter().all(|(_, failure)| failure.code == "too-large"), "{name}");
        let too_large: Vec<u32> = plan.failed.iter().map(|(event, _)| *event).collect();
        same(&name, &json!({"chunks": chunks, "too_large": too_large}), &out);
    }
}

#[test]
fn verdicts() {
    for (name, given, out) in cases("verdicts.json") {
        let headers = object(&given["headers"]).iter();
        let response = Response {
            status: u16::try_from(given["status"].as_u64().expect("a number")).expect("a status"),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            body: given["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
            attempt: 1,
            now_ms: given["now_ms"].as_u64().unwrap_or_default(),
        };
        let got = match classify_by_status(&response) {
            Verdict::Delivered => json!("delivered"),
            Verdict::Reauthenticate => json!("reauthenticate"),
            Verdict::Retry(after_ms) => json!({"retry": after_ms}),
            Verdict::Rejected(failure) => json!({"rejected": failure.code}),
            Verdict::Bisect(failure) => json!({"bisect": failure.code}),
            other => panic!("{name}: {other:?}"),
        };
        same(&name, &got, &out);
    }
}

#[test]
fn a_403_of_a_proxy_is_tried_later() {
    let verdict = |body: &str| {
        let headers = vec![("retry-after".to_owned(), "5".to_owned())];
        classify_by_status(&Response { status: 403, headers, body: body.as_bytes().to_vec(), ..Response::default() })
    };
    for body in ["<html>403 Forbidden</html>", "", r#""no""#, "null"] {
        assert_eq!(verdict(body), Verdict::Retry(Some(5000)), "{body}");
    }
    assert!(matches!(verdict(r#"{"error":"no"}"#), Verdict::Bisect(failure) if failure.code == "http-403"));
}
