//! Messages as requests of channels over HTTP.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use tidegate_event::time;
use tidegate_net::outbound::{Method, OutboundRequest, SigningDigest, mac};

use crate::channel::ChannelKind;
use crate::message::{AlertChange, AlertMessage, advice};
use crate::rule::AlertSeverity;

/// What bodies are signed with, where a webhook has a secret: `sha256=` and the HMAC of the body.
const SIGNATURE: &str = "x-tidegate-signature";
/// Of a summary at PagerDuty.
const SUMMARY_CHARS_MAX: usize = 1_000;
/// Of a key by which PagerDuty knows what fires.
const KEY_BYTES_MAX: usize = 255;
/// An alert at Alertmanager ends by itself when nobody has said for so long that it still fires, microseconds.
const STILL_FIRES_US: i64 = 300_000_000;

/// The requests of a message, in groups: those of one group are sent in their order, and groups beside one another. E-mail has none.
pub(crate) fn requests(kind: &ChannelKind, message: &AlertMessage, now_us: i64) -> Vec<Vec<OutboundRequest>> {
    match kind {
        ChannelKind::Slack { url } => vec![vec![post(url, &[], &json!({ "text": escaped(&message.text()) }))]],
        ChannelKind::PagerDuty { url, routing_key } => {
            let mut groups: Vec<(String, Vec<OutboundRequest>)> = Vec::new();
            for change in &message.changes {
                let (key, request) = (key(message, change), post(url, &[], &pager_event(message, change, routing_key)));
                match groups.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, requests)) => requests.push(request),
                    None => groups.push((key, vec![request])),
                }
            }
            groups.into_iter().map(|(_, requests)| requests).collect()
        }
        ChannelKind::Webhook { url, headers, signing_secret } => {
            let mut request = post(url, headers, &webhook(message));
            if let Some(secret) = signing_secret {
                let signature = HEXLOWER.encode(&mac(SigningDigest::Sha256, secret.as_bytes(), &request.body));
                request.headers.push((SIGNATURE.to_owned(), format!("sha256={signature}")));
            }
            vec![vec![request]]
        }
        ChannelKind::Alertmanager { url, headers } => {
            let place = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            let alerts = message.changes.iter().map(|change| {
                let mut alert = alert_of(message, change);
                alert.insert("labels".to_owned(), json!(plain_names(labels(message, change))));
                alert.insert("endsAt".to_owned(), ends_at(change, Some(now_us)).into());
                Value::Object(alert)
            });
            let alerts: Vec<Value> = alerts.collect();
            vec![vec![post(&place, headers, &Value::Array(alerts))]]
        }
        ChannelKind::Email(_) => Vec::new(),
    }
}

fn post(url: &str, headers: &[(String, String)], body: &Value) -> OutboundRequest {
    let mut all = headers.to_vec();
    all.push(("content-type".to_owned(), "application/json".to_owned()));
    OutboundRequest { method: Method::POST, url: url.to_owned(), headers: all, body: body.to_string().into() }
}

/// Text as Slack takes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn labels(message: &AlertMessage, change: &AlertChange) -> BTreeMap<String, String> {
    let rule = &message.rule;
    let mut labels = rule.labels.clone();
    let own = [
        ("alertname", rule.name.as_str()),
        ("condition", rule.condition.word()),
        ("severity", rule.severity.as_str()),
        ("environment", message.environment.as_str()),
        ("object", change.object.as_str()),
    ];
    labels.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    if message.is_test {
        labels.insert("test".to_owned(), "true".to_owned());
    }
    labels
}

/// Labels under names that Alertmanager takes. Of names that become the same one, a name that was such already keeps it; the others are
/// numbered in their order.
fn plain_names(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (mut plain, odd): (BTreeMap<String, String>, BTreeMap<String, String>) =
        labels.into_iter().partition(|(name, _)| plain_name(name) == *name);
    for (name, value) in odd {
        let name = plain_name(&name);
        let (mut free, mut number) = (name.clone(), 1);
        while plain.contains_key(&free) {
            number += 1;
            free = format!("{name}_{number}");
        }
        plain.insert(free, value);
    }
    plain
}

/// A name of letters, digits and `_`, without a digit in front.
fn plain_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() { format!("_{plain}") } else { plain }
}

fn annotations(message: &AlertMessage, change: &AlertChange) -> Map<String, Value> {
    let rule = &message.rule;
    let mut annotations = Map::new();
    annotations.insert("summary".to_owned(), format!("{}: {}", change.object, change.text).into());
    annotations.insert("what_to_do".to_owned(), advice(&rule.condition).into());
    for (name, said) in [("runbook_url", &rule.runbook), ("owner", &rule.owner)] {
        if let Some(said) = said {
            annotations.insert(name.to_owned(), said.as_str().into());
        }
    }
    annotations
}

fn alert_of(message: &AlertMessage, change: &AlertChange) -> Map<String, Value> {
    let mut alert = Map::new();
    alert.insert("labels".to_owned(), json!(labels(message, change)));
    alert.insert("annotations".to_owned(), Value::Object(annotations(message, change)));
    alert.insert("startsAt".to_owned(), time::format(change.began_us).into());
    alert
}

/// When it ended; of what fires when it ends unless somebody says otherwise, or what stands for never.
fn ends_at(change: &AlertChange, now_us: Option<i64>) -> String {
    match (change.is_firing, now_us) {
        (false, _) => time::format(change.at_us),
        (true, Some(now_us)) => time::format(now_us.saturating_add(STILL_FIRES_US)),
        (true, None) => "0001-01-01T00:00:00Z".to_owned(),
    }
}

fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

fn webhook(message: &AlertMessage) -> Value {
    let alerts = message.changes.iter().map(|change| {
        let mut alert = alert_of(message, change);
        alert.insert("status".to_owned(), status(change.is_firing).into());
        alert.insert("endsAt".to_owned(), ends_at(change, None).into());
        alert.insert("generatorURL".to_owned(), Value::String(String::new()));
        alert.insert("fingerprint".to_owned(), key(message, change).into());
        Value::Object(alert)
    });
    let alerts: Vec<Value> = alerts.collect();
    let name = &message.rule.name;
    json!({
        "version": "4", "id": message.id, "test": message.is_test, "status": status(message.is_firing()),
        "groupKey": format!("{}/{name}", message.environment), "truncatedAlerts": 0, "receiver": "tidegate",
        "groupLabels": { "alertname": name }, "commonLabels": { "alertname": name }, "commonAnnotations": {},
        "externalURL": "", "title": message.title(), "text": message.text(), "alerts": alerts,
    })
}

/// What an object is known by at the far side, the same whenever it fires.
fn key(message: &AlertMessage, change: &AlertChange) -> String {
    let mut key = format!("tidegate/{}/{}/{}", message.environment, message.rule.name, change.object);
    if key.len() > KEY_BYTES_MAX {
        let mark = HEXLOWER.encode(&mac(SigningDigest::Sha256, b"tidegate", key.as_bytes()));
        let mut end = KEY_BYTES_MAX - mark.len();
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        key.truncate(end);
        key.push_str(&mark);
    }
    key
}

fn pager_event(message: &AlertMessage, change: &AlertChange, routing_key: &str) -> Value {
    let rule = &message.rule;
    // A test opens nothing that somebody would have to close.
    let action = if change.is_firing && !message.is_test { "trigger" } else { "resolve" };
    let severity = match rule.severity {
        AlertSeverity::Critical => "critical",
        AlertSeverity::Error => "error",
        AlertSeverity::Warning => "warning",
        AlertSeverity::Info => "info",
    };
    let summary: String =
        format!("{}: {}: {}", rule.name, change.object, change.text).chars().take(SUMMARY_CHARS_MAX).collect();
    let mut details = annotations(message, change);
    details.insert("labels".to_owned(), json!(labels(message, change)));
    json!({
        "routing_key": routing_key, "event_action": action, "dedup_key": key(message, change),
        "payload": {
            "summary": summary, "source": format!("tidegate/{}", message.environment), "severity": severity,
            "timestamp": time::format(change.began_us), "component": change.object, "group": rule.name,
            "class": rule.condition.word(), "custom_details": details,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{AlertCondition, AlertRule};

    fn message() -> AlertMessage {
        let rule = AlertRule {
            labels: BTreeMap::from([("team".to_owned(), "data".to_owned())]),
            ..AlertRule::new("late", AlertCondition::SyncFailing { sync: None })
        };
        let change = AlertChange {
            object: "sync crm".to_owned(),
            is_firing: true,
            at_us: 2_000_000,
            began_us: 1_000_000,
            text: "it fails: <away>".to_owned(),
        };
        let recovered = AlertChange { object: "sync b".to_owned(), is_firing: false, ..change.clone() };
        let changes = vec![change, recovered];
        AlertMessage { id: "7".to_owned(), environment: "default".to_owned(), rule, changes, is_test: false }
    }

    fn sent(kind: &ChannelKind) -> Vec<Value> {
        let requests = requests(kind, &message(), 3_000_000);
        requests.iter().flatten().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    #[test]
    fn each_channel_gets_the_shape_that_it_knows() {
        let url = "https://far.example/x".to_owned();
        let slack = sent(&ChannelKind::Slack { url: url.clone() });
        assert!(
            slack[0]["text"].as_str().unwrap().contains("sync crm since 1970-01-01T00:00:01Z: it fails: &lt;away&gt;")
        );
        let pager = sent(&ChannelKind::PagerDuty { url: url.clone(), routing_key: "key".to_owned() });
        let actions: Vec<&str> = pager.iter().map(|event| event["event_action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["trigger", "resolve"]);
        assert_eq!(
            (&pager[0]["dedup_key"], &pager[0]["payload"]["severity"]),
            (&json!("tidegate/default/late/sync crm"), &json!("critical"))
        );
        let webhook = sent(&ChannelKind::Webhook { url: url.clone(), headers: Vec::new(), signing_secret: None });
        assert_eq!((&webhook[0]["status"], &webhook[0]["alerts"][1]["status"]), (&json!("firing"), &json!("resolved")));
        assert_eq!(webhook[0]["alerts"][0]["labels"]["team"], "data");
        let prometheus = sent(&ChannelKind::Alertmanager { url, headers: Vec::new() });
        assert_eq!(prometheus[0][0]["endsAt"], time::format(3_000_000 + STILL_FIRES_US));
        assert_eq!(prometheus[0][1]["endsAt"], time::format(2_000_000));
    }

    #[test]
    fn a_webhook_with_a_secret_is_signed_over_its_body() {
        let kind = ChannelKind::Webhook {
            url: "https://far.example/x".to_owned(),
            headers: vec![("x-team".to_owned(), "data".to_owned())],
            signing_secret: Some("word".to_owned()),
        };
        let request = &requests(&kind, &message(), 1)[0][0];
        let signature = HEXLOWER.encode(&mac(SigningDigest::Sha256, b"word", &request.body));
        assert_eq!(request.headers.last(), Some(&(SIGNATURE.to_owned(), format!("sha256={signature}"))));
    }

    #[test]
    fn alertmanager_gets_labels_under_names_that_it_takes_each_under_one_of_its_own() {
        let mut message = message();
        let written =
            [("team-name", "a"), ("team.name", "b"), ("team_name", "c"), ("2nd", "d"), ("", "e"), ("\u{e9}", "f")];
        message.rule.labels = written.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let kind = ChannelKind::Alertmanager { url: "https://far.example".to_owned(), headers: Vec::new() };
        let sent: Value = serde_json::from_slice(&requests(&kind, &message, 1)[0][0].body).unwrap();
        let labels = &sent[0]["labels"];
        let own = ["alertname", "condition", "severity", "environment", "object"];
        let rest: BTreeMap<&str, &str> =
            labels.as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        let rest: Vec<(&str, &str)> = rest.into_iter().filter(|(name, _)| !own.contains(name)).collect();
        let wanted =
            [("_", "e"), ("_2nd", "d"), ("__2", "f"), ("team_name", "c"), ("team_name_2", "a"), ("team_name_3", "b")];
        assert_eq!(rest, wanted);
        let hook =
            ChannelKind::Webhook { url: "https://far.example".to_owned(), headers: Vec::new(), signing_secret: None };
        let sent: Value = serde_json::from_slice(&requests(&hook, &message, 1)[0][0].body).unwrap();
        assert_eq!(sent["alerts"][0]["labels"]["team-name"], "a");
    }

    #[test]
    fn events_of_one_incident_stay_in_their_order_and_others_do_not_wait_for_them() {
        let mut message = message();
        let (first, other) = (message.changes[0].clone(), message.changes[1].clone());
        let ended = AlertChange { is_firing: false, ..first.clone() };
        message.changes = vec![first, other, ended];
        let kind = ChannelKind::PagerDuty { url: "https://far.example/x".to_owned(), routing_key: "key".to_owned() };
        let groups = requests(&kind, &message, 1);
        let action = |request: &OutboundRequest| {
            let event: Value = serde_json::from_slice(&request.body).unwrap();
            format!("{} {}", event["event_action"].as_str().unwrap(), event["payload"]["component"].as_str().unwrap())
        };
        let actions: Vec<Vec<String>> = groups.iter().map(|group| group.iter().map(action).collect()).collect();
        assert_eq!(actions, [vec!["trigger sync crm", "resolve sync crm"], vec!["resolve sync b"]]);
    }

    #[test]
    fn a_long_key_is_cut_and_stays_different() {
        let (message, mut one) = (message(), message().changes[0].clone());
        one.object = "é".repeat(400);
        let other = AlertChange { object: format!("{}x", one.object), ..one.clone() };
        let keys = [key(&message, &one), key(&message, &other)];
        assert!(keys.iter().all(|key| key.len() <= KEY_BYTES_MAX) && keys[0] != keys[1]);
    }
}
