//! What is wrong with the settings of a webhook source is told with its file, its line and what to do.

use serde_json::Value;

use super::{KEY, with_source};
use crate::support::{Workspace, run};

#[track_caller]
fn told(text: &str) -> Vec<Value> {
    let workspace = Workspace::new();
    with_source(&workspace, "hooks", text);
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text} {answer:#}");
    answer["problems"].as_array().unwrap().clone()
}

#[test]
fn what_is_wrong_with_a_webhook_source_is_told_with_its_line() {
    let key = format!("write_key: {KEY}\n");
    for (text, line, words, fix) in [
        ("rate: 5/s\n".to_owned(), 1, "`write_key` is missing", "add `write_key:"),
        ("preset: gitlab\nsecret: 0123456789\n".to_owned(), 2, "`preset` is \"gitlab\"", "`preset: github`"),
        ("preset: stripe\n".to_owned(), 1, "`secret` is missing", "add `secret: ${SIGNING_SECRET}`"),
        ("preset: stripe\nsecret: short\n".to_owned(), 3, "could be guessed", "openssl"),
        ("preset: stripe\nsecret: ${NOBODY_SETS_THIS}\n".to_owned(), 3, "NOBODY_SETS_THIS", "set NOBODY"),
        ("preset: standard\nsecret: whsec_%%%%%%\n".to_owned(), 3, "no secret of Standard Webhooks", "Base64"),
        (format!("{key}secret: 0123456789\n"), 3, "nothing says what is signed", "`preset: github`"),
        ("hmac: {algorithm: sha256}\nsecret: 0123456789\n".to_owned(), 2, "`hmac.header` is missing", "`header:"),
        ("hmac: {header: X-Sig, algorithm: md5}\nsecret: 0123456789\n".to_owned(), 2, "\"md5\"", "`algorithm: sha256`"),
        ("hmac: {header: a b}\nsecret: 0123456789\n".to_owned(), 2, "names no header", "X-Signature"),
        ("preset: github\nhmac: {header: X-Sig}\nsecret: 0123456789\n".to_owned(), 3, "says already", "take one of"),
        (format!("{key}delivery_id: abc\n"), 3, "no place of a message", "header:NAME"),
        (format!("{key}format: xml\n"), 3, "`format` is \"xml\"", "`format: json`"),
        (format!("{key}mapping:\n  event: /a~b\n"), 4, "neither ~0 nor ~1", "JSON pointer"),
        (format!("{key}mapping:\n  - event: /a\n  - type: order\n"), 5, "none of the six kinds", "identify"),
        (format!("{key}mapping:\n  evnt: /a\n"), 4, "`evnt` is not known", "`event`"),
        (format!("{key}mapping:\n  match: {{type: a}}\n"), 4, "no place of a message", "match:"),
        (format!("{key}mapping:\n  event: {{constnt: a}}\n"), 4, "neither a constant nor a join", "{constant"),
        (format!("{key}challenge: {{verify: hub.verify_token}}\n"), 3, "is missing", "add `"),
        (format!("{key}challenge: {{echo: a, secret: b}}\n"), 3, "nothing says which", "add `verify:"),
        (format!("{key}tolerence: 5 min\n"), 3, "`tolerence` is not known", "`tolerance`"),
    ] {
        let problems = told(&text);
        let said = |field: &str| problems[0][field].as_str().unwrap();
        assert!(said("file").ends_with("sources/hooks.yaml") && problems[0]["line"] == line, "{text} {problems:#?}");
        assert!(said("message").contains(words) && said("fix").contains(fix), "{text} {problems:#?}");
        let secrets = [KEY, "0123456789"];
        assert!(!secrets.iter().any(|secret| said("message").contains(secret)), "{problems:#?}");
    }
}
