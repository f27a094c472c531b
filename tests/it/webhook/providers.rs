//! Providers as their documentation has them, and real SDKs of some, which sign as they do.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_process::clock;

use super::{send, with_source};
use crate::support::Workspace;

/// A provider, and what is expected of its payload.
pub(super) struct Provider {
    pub(super) preset: &'static str,
    pub(super) secret: &'static str,
    /// The name of its event.
    pub(super) event: &'static str,
    pub(super) user: &'static str,
    pub(super) delivery: &'static str,
    /// Whether the time is signed too.
    pub(super) signs_time: bool,
}

const fn of(
    (preset, secret): (&'static str, &'static str),
    (event, user): (&'static str, &'static str),
    (delivery, signs_time): (&'static str, bool),
) -> Provider {
    Provider { preset, secret, event, user, delivery, signs_time }
}

pub(super) const PROVIDERS: [Provider; 5] = [
    of(("github", "secret-of-github"), ("issues.opened", "21031067"), ("72d3162e-cc78-11e3-81ab-4c9367dc0958", false)),
    of(("stripe", "whsec_of_stripe"), ("invoice.paid", "cus_9s6XKzkNRiz8i3"), ("evt_1NG8Du2eZvKYlo2CUI79vXWy", true)),
    of(
        ("shopify", "secret-of-shopify"),
        ("orders/create", "115310627314723954"),
        ("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", false),
    ),
    of(("slack", "secret-of-slack"), ("reaction_added", "U123ABC456"), ("Ev9UQ52YNA", true)),
    of(("standard", "whsec_c2VjcmV0LW9mLXN0YW5kYXJk"), ("contact.created", ""), ("msg_p5jXN8AQM9LWM0D4loKW", true)),
];

pub(super) fn provider(preset: &str) -> &'static Provider {
    static ALL: [Provider; 5] = PROVIDERS;
    ALL.iter().find(|known| known.preset == preset).unwrap()
}

/// Now, in seconds since 1970.
pub(super) fn now_seconds() -> i64 {
    clock::now_us() / 1_000_000
}

/// HMAC-SHA-256 (RFC 2104), made here so that nothing of the program signs for its own test. Secrets have up to 64 bytes.
fn hmac(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..secret.len()].copy_from_slice(secret);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = parts.iter().fold(Sha256::new().chain_update(pad(0x36)), |hash, part| hash.chain_update(part));
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner.finalize()).finalize().to_vec()
}

impl Provider {
    pub(super) fn payload(&self) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/webhook");
        std::fs::read(folder.join(format!("{}.json", self.preset))).unwrap()
    }

    /// A secret of the same kind that is another one.
    pub(super) fn other_secret(&self) -> &'static str {
        if self.preset == "standard" { "whsec_b3RoZXItb2Ytc3RhbmRhcmQ=" } else { "another-secret-0123" }
    }

    /// The headers of a body that is signed so many seconds after 1970.
    pub(super) fn signed(&self, secret: &str, body: &[u8], seconds: i64) -> Vec<(String, String)> {
        self.signed_as(self.delivery, secret, (body, seconds))
    }

    /// The same of another delivery, where headers say which one it is.
    pub(super) fn signed_as(
        &self,
        delivery: &str,
        secret: &str,
        (body, seconds): (&[u8], i64),
    ) -> Vec<(String, String)> {
        let (time, secret_bytes) = (seconds.to_string(), secret.as_bytes());
        let hex = |parts: &[&[u8]]| HEXLOWER.encode(&hmac(secret_bytes, parts));
        let headers = match self.preset {
            "github" => vec![
                ("x-github-event", "issues".to_owned()),
                ("x-github-delivery", delivery.to_owned()),
                ("x-hub-signature-256", format!("sha256={}", hex(&[body]))),
            ],
            "stripe" => vec![("stripe-signature", format!("t={time},v1={}", hex(&[time.as_bytes(), b".", body])))],
            "shopify" => vec![
                ("x-shopify-topic", "orders/create".to_owned()),
                ("x-shopify-webhook-id", delivery.to_owned()),
                ("x-shopify-hmac-sha256", BASE64.encode(&hmac(secret_bytes, &[body]))),
            ],
            "slack" => {
                let tag = format!("v0={}", hex(&[b"v0:", time.as_bytes(), b":", body]));
                vec![("x-slack-signature", tag), ("x-slack-request-timestamp", time)]
            }
            "standard" => {
                let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap();
                let tag = BASE64.encode(&hmac(&key, &[delivery.as_bytes(), b".", time.as_bytes(), b".", body]));
                vec![
                    ("webhook-id", delivery.to_owned()),
                    ("webhook-timestamp", time),
                    ("webhook-signature", format!("v1,{tag}")),
                ]
            }
            other => panic!("nobody knows how {other} signs"),
        };
        let json = ("content-type", "application/json".to_owned());
        headers.into_iter().chain([json]).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Headers that a provider's own SDK makes.
fn signed_by_sdk(known: &Provider, body: &[u8]) -> Vec<(String, String)> {
    let cache = std::env::var_os("TIDEGATE_SDK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/sdk"),
        PathBuf::from,
    );
    let mut child = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/webhooks/sign.cjs"))
        .env("NODE_PATH", cache.join("webhooks/node_modules"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let asked = json!({"provider": known.preset, "secret": known.secret, "body": text, "id": known.delivery});
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", known.preset);
    let signed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let own = known.signed(known.secret, body, 0);
    let signed: Vec<(String, String)> = signed
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let is_others = |name: &str| !signed.iter().any(|(known, _)| known == name);
    let others: Vec<(String, String)> = own.into_iter().filter(|(name, _)| is_others(name)).collect();
    [signed, others].concat()
}

#[test]
fn what_the_providers_own_sdks_sign_is_believed() {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/setup");
    let output = Command::new(setup).args(["--list", "webhooks"]).output().unwrap();
    if !String::from_utf8_lossy(&output.stdout).contains("webhook-signers") {
        println!("skipped: webhook-signers: not installed; `tests/sdk/setup webhooks` says why");
        return;
    }
    let workspace = Workspace::new();
    let signers = ["github", "stripe", "standard"].map(provider);
    for known in signers {
        let text = format!("preset: {}\nsecret: {}\n", known.preset, known.secret);
        with_source(&workspace, known.preset, &text);
    }
    let server = workspace.serve();
    for known in signers {
        let body = known.payload();
        let signed = signed_by_sdk(known, &body);
        let path = format!("/v1/webhook/{}", known.preset);
        let reply = send(&server, &path, &signed, &body);
        assert_eq!(reply.status, 200, "{}: {}", known.preset, reply.text());
        let changed = [b" ", &body[..]].concat();
        assert_eq!(send(&server, &path, &signed, &changed).code(), "401 wrong-signature", "{}", known.preset);
    }
    server.stop();
    for known in signers {
        let rows = workspace.warehouse().rows(&format!("SELECT id, event_text FROM {}__tracks", known.preset));
        assert_eq!(rows, [format!("{}|{}", known.delivery, known.event)]);
    }
}
