use std::time::Duration;

use hmac::{Hmac, Mac};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::Sha256;

use super::*;

const BODY: &[u8] = br#"{"id":"evt_1","n":1.10}"#;
const NOW_US: i64 = 1_800_000_000_000_000;
const NOW: &str = "1800000000";

fn mac(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

fn headers(of: &[(&str, &str)]) -> HeaderMap {
    let one =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    of.iter().map(one).collect()
}

fn signature(scheme: SignatureScheme, secrets: &[&str]) -> WebhookSignature {
    let secrets = SigningSecrets::of(secrets.iter().map(|secret| (*secret).to_owned()));
    WebhookSignature { scheme, secrets, tolerance: Duration::from_secs(300) }
}

/// What is said of the right headers, of another body, and six minutes later.
fn tried(signature: &WebhookSignature, of: &[(&str, &str)]) -> [Result<(), SignatureProblem>; 3] {
    let headers = headers(of);
    signature.is_present(&headers).unwrap();
    let later = NOW_US + 360_000_000;
    [(BODY, NOW_US), (&b"{}"[..], NOW_US), (BODY, later)].map(|(body, now_us)| signature.check(&headers, body, now_us))
}

#[test]
fn each_preset_takes_what_is_signed_with_its_secret_and_lately() {
    let late = Err(SignatureProblem::TooOld(360));
    let wrong = Err(SignatureProblem::Wrong);
    let github = signature(WebhookPreset::GitHub.scheme(), &["secret-of-github"]);
    let tag = format!("sha256={}", hex(&mac(b"secret-of-github", &[BODY])));
    assert_eq!(tried(&github, &[("x-hub-signature-256", &tag)]), [Ok(()), wrong.clone(), Ok(())]);
    let shopify = signature(WebhookPreset::Shopify.scheme(), &["secret-of-shopify"]);
    let tag = base64(&mac(b"secret-of-shopify", &[BODY]));
    assert_eq!(tried(&shopify, &[("x-shopify-hmac-sha256", &tag)]), [Ok(()), wrong.clone(), Ok(())]);
    let stripe = signature(SignatureScheme::Stripe, &["whsec_as_it_is"]);
    let tag = hex(&mac(b"whsec_as_it_is", &[NOW.as_bytes(), b".", BODY]));
    let value = format!("t={NOW},v1={},v1={tag},v0=00", "00".repeat(32));
    assert_eq!(tried(&stripe, &[("stripe-signature", &value)]), [Ok(()), wrong.clone(), late.clone()]);
    let slack = signature(SignatureScheme::Slack, &["secret-of-slack"]);
    let tag = format!("v0={}", hex(&mac(b"secret-of-slack", &[b"v0:", NOW.as_bytes(), b":", BODY])));
    let sent = [("x-slack-signature", tag.as_str()), ("x-slack-request-timestamp", NOW)];
    assert_eq!(tried(&slack, &sent), [Ok(()), wrong.clone(), late.clone()]);
    let secrets = SigningSecrets::of_standard([format!("whsec_{}", base64(b"secret-of-standard"))]).unwrap();
    let standard = WebhookSignature { secrets, ..signature(SignatureScheme::Standard, &[]) };
    let tag = base64(&mac(b"secret-of-standard", &[b"msg_1.", NOW.as_bytes(), b".", BODY]));
    let value = format!("v1,AAAA v1,{tag} v1a,xx");
    for family in ["webhook", "svix"] {
        let names = ["id", "timestamp", "signature"].map(|name| format!("{family}-{name}"));
        let sent = [(names[0].as_str(), "msg_1"), (names[1].as_str(), NOW), (names[2].as_str(), value.as_str())];
        assert_eq!(tried(&standard, &sent), [Ok(()), wrong.clone(), late.clone()], "{family}");
    }
}

#[test]
fn a_signature_of_ones_own_has_any_header_algorithm_and_encoding() {
    let scheme = HmacSignature {
        header: "x-sig".to_owned(),
        algorithm: HmacAlgorithm::Sha1,
        encoding: SignatureEncoding::Base64,
        prefix: "sha1=".to_owned(),
        timestamp_header: Some("x-time".to_owned()),
    };
    let own = signature(SignatureScheme::Hmac(scheme), &["secret-of-mine"]);
    let mut mac = Hmac::<Sha1>::new_from_slice(b"secret-of-mine").unwrap();
    mac.update(b"1800000000123.");
    mac.update(BODY);
    let tag = format!("sha1={}", base64(&mac.finalize().into_bytes()));
    let sent = [("x-sig", tag.as_str()), ("x-time", "1800000000123")];
    assert_eq!(tried(&own, &sent), [Ok(()), Err(SignatureProblem::Wrong), Err(SignatureProblem::TooOld(360))]);
}

#[test]
fn either_secret_is_right_while_it_is_changed_and_a_third_is_not() {
    let both = signature(WebhookPreset::GitHub.scheme(), &["new-secret", "old-secret"]);
    for (secret, is_right) in [("new-secret", true), ("old-secret", true), ("other-secret", false), ("", false)] {
        let tag = format!("sha256={}", hex(&mac(secret.as_bytes(), &[BODY])));
        let checked = both.check(&headers(&[("x-hub-signature-256", &tag)]), BODY, NOW_US);
        assert_eq!(checked.is_ok(), is_right, "{secret}");
    }
    assert!(!format!("{both:?}").contains("secret\""), "{both:?}");
}

#[test]
fn what_is_no_signature_is_told_by_its_header() {
    let stripe = signature(SignatureScheme::Stripe, &["secret-of-stripe"]);
    assert_eq!(stripe.is_present(&headers(&[])), Err(SignatureProblem::Missing("stripe-signature".to_owned())));
    for value in ["", "t=1", "v1=00", "t=x,v1=00", "t=1800000000,v1=0", "t=1800000000,v1=zz", "t=-1,v1=00"] {
        let checked = stripe.check(&headers(&[("stripe-signature", value)]), BODY, NOW_US);
        assert_eq!(checked, Err(SignatureProblem::Malformed("stripe-signature".to_owned())), "{value:?}");
    }
    let short = stripe.check(&headers(&[("stripe-signature", "t=1800000000,v1=00")]), BODY, NOW_US);
    assert_eq!(short, Err(SignatureProblem::Wrong), "a part of a signature is none");
    for secret in ["whsec_!", "whsec_", "whsec_AAAA"] {
        assert!(SigningSecrets::of_standard([secret.to_owned()]).is_none(), "{secret}");
    }
}

#[test]
fn a_question_is_answered_to_whoever_knows_the_token() {
    let asks = WebhookChallenge {
        echo: "hub.challenge".to_owned(),
        token: Some(("hub.verify_token".to_owned(), "a-token".to_owned())),
    };
    let right = "hub.mode=subscribe&hub.verify_token=a-token&hub.challenge=12%2B3";
    assert_eq!(asks.answer(right), ChallengeAnswer::Echo("12+3".to_owned()));
    assert_eq!(asks.answer("hub.verify_token=b-token&hub.challenge=1"), ChallengeAnswer::WrongToken);
    assert_eq!(asks.answer("hub.challenge=1"), ChallengeAnswer::WrongToken);
    assert_eq!(asks.answer("hub.verify_token=a-token"), ChallengeAnswer::Nothing);
    let long = format!("hub.verify_token=a-token&hub.challenge={}", "1".repeat(CHALLENGE_BYTES_MAX + 1));
    assert_eq!(asks.answer(&long), ChallengeAnswer::Nothing);
    assert!(!format!("{asks:?}").contains("a-token"));
    let slack = WebhookPreset::Slack.settings();
    let question = br#"{"token":"t","challenge":"3eZb","type":"url_verification"}"#;
    assert_eq!(slack.url_verification(question).as_deref(), Some("3eZb"));
    assert_eq!(slack.url_verification(br#"{"challenge":"3eZb","type":"event_callback"}"#), None);
    assert_eq!(WebhookPreset::GitHub.settings().url_verification(question), None);
}
