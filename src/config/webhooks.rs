//! `kind: webhook` of a source: how its messages are signed, told from others and mapped.

use std::time::Duration;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_message::{MessageFormat, MessagePlace};
use tidegate_source::webhook::{
    HmacAlgorithm, HmacSignature, SignatureEncoding, SignatureScheme, SigningSecrets, WebhookChallenge, WebhookPreset,
    WebhookSettings, WebhookSignature, plain,
};

use super::mapping;

const TOLERANCE_DEFAULT: Duration = Duration::from_secs(300);
/// A shorter secret could be guessed.
const SECRET_BYTES_MIN: usize = 8;
const SECRET_EXAMPLE: &str = "${SIGNING_SECRET}";

/// What a source says of its webhooks.
pub(super) struct ReadWebhook {
    /// None where something is wrong, or a secret is not at hand: nothing may then be taken in.
    pub(super) settings: Option<WebhookSettings>,
    /// Whether its messages are signed, so that it needs no write key.
    pub(super) is_signed: bool,
}

pub(super) fn webhook(f: &mut Fields<'_>) -> ReadWebhook {
    let preset = f.word("preset", &WebhookPreset::WORDS);
    let mut settings = preset.map_or_else(plain, WebhookPreset::settings);
    let is_signed = f.has("preset") || f.has("hmac");
    let signature = signature(f, preset, is_signed);
    settings.key_header = header_name(f, "key_header");
    let kept = f.texts("headers");
    settings.kept_headers.extend(kept.into_iter().map(|name| name.to_ascii_lowercase()));
    delivery_id(f, &mut settings);
    settings.mapping.format = f.word("format", &MessageFormat::WORDS_WITHOUT_SCHEMA).unwrap_or_default();
    settings.mapping.pass_events = f.flag("pass_events").unwrap_or(false);
    settings.mapping.rules = mapping::mappings(f);
    settings.challenge = f.within("challenge", challenge).flatten();
    let is_whole = !is_signed || signature.is_some();
    settings.signature = signature;
    ReadWebhook { settings: is_whole.then_some(settings), is_signed }
}

fn signature(f: &mut Fields<'_>, preset: Option<WebhookPreset>, is_signed: bool) -> Option<WebhookSignature> {
    let own = f.within("hmac", hmac).flatten();
    if f.has("preset") && f.has("hmac") {
        f.problem("hmac", "`preset` says already how messages are signed", "take one of `preset` and `hmac` away");
    }
    let tolerance = f.duration("tolerance");
    let secret = if is_signed { f.required("secret", SECRET_EXAMPLE) } else { f.text("secret") };
    let previous = f.text("previous_secret");
    for (name, text) in [("secret", &secret), ("previous_secret", &previous)] {
        if text.as_ref().is_some_and(|text| text.len() < SECRET_BYTES_MIN) {
            let message = format!("`{name}` is shorter than {SECRET_BYTES_MIN} characters and could be guessed");
            f.problem(name, message, "write a random one, e.g. from `openssl rand -hex 32`, here and at the provider");
        } else if f.has(name) && !is_signed {
            let message = format!("`{name}` is there, and nothing says what is signed with it");
            f.problem(name, message, "add `preset: github`, another preset, or `hmac: {header: X-Signature}`");
        }
    }
    // A secret that is named and not at hand leaves nothing to check with.
    if f.has("previous_secret") && previous.is_none() {
        return None;
    }
    let texts = [Some(secret?), previous].into_iter().flatten();
    let secrets = match preset {
        Some(WebhookPreset::Standard) => SigningSecrets::of_standard(texts),
        _ => Some(SigningSecrets::of(texts)),
    };
    if secrets.is_none() {
        let message = "`secret` or `previous_secret` is no secret of Standard Webhooks";
        f.problem("secret", message, "write it as the provider shows it: `whsec_` and Base64");
    }
    let (scheme, within) = match preset {
        Some(preset) => (preset.scheme(), None),
        None => own.map(|(scheme, tolerance)| (SignatureScheme::Hmac(scheme), tolerance))?,
    };
    let tolerance = within.or(tolerance).unwrap_or(TOLERANCE_DEFAULT);
    Some(WebhookSignature { scheme, secrets: secrets?, tolerance })
}

fn hmac(f: &mut Fields<'_>) -> Option<(HmacSignature, Option<Duration>)> {
    const ALGORITHMS: [(&str, HmacAlgorithm); 3] =
        [("sha256", HmacAlgorithm::Sha256), ("sha1", HmacAlgorithm::Sha1), ("sha512", HmacAlgorithm::Sha512)];
    const ENCODINGS: [(&str, SignatureEncoding); 2] =
        [("hex", SignatureEncoding::Hex), ("base64", SignatureEncoding::Base64)];
    let is_named = f.required("header", "X-Signature").is_some();
    let header = if is_named { header_name(f, "header") } else { None };
    let algorithm = f.word("algorithm", &ALGORITHMS).unwrap_or_default();
    let encoding = f.word("encoding", &ENCODINGS).unwrap_or_default();
    let prefix = f.text("prefix").unwrap_or_default();
    let timestamp_header = header_name(f, "timestamp_header");
    let tolerance = f.duration("tolerance");
    Some((HmacSignature { header: header?, algorithm, encoding, prefix, timestamp_header }, tolerance))
}

/// The name of a header, in lower case.
fn header_name(f: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let text = f.text(name)?;
    match MessagePlace::parse(&format!("header:{text}")) {
        Ok(MessagePlace::Header(header)) => Some(header),
        _ => {
            let said = shortened(&text, QUOTED_CHARS_MAX);
            let message = format!("`{}` is {said:?}, which names no header", f.at(name));
            f.problem(name, message, format!("write `{name}: X-Signature`, or whatever it is called there"));
            None
        }
    }
}

/// Where the id of a delivery stands, instead of where the preset looks.
fn delivery_id(f: &mut Fields<'_>, settings: &mut WebhookSettings) {
    const BODY: &str = "body";
    let written = f.texts_and_lines("delivery_id");
    if written.is_empty() {
        return;
    }
    settings.mapping.delivery_id.clear();
    for (text, line) in written {
        match MessagePlace::parse(&text) {
            _ if text == BODY => settings.is_told_by_body = true,
            Ok(MessagePlace::Constant(_)) | Err(_) => {
                let said = shortened(&text, QUOTED_CHARS_MAX);
                let message = format!("`delivery_id` has {said:?}, which is no place of a message");
                let fix = "write header:NAME, a JSON pointer such as /id, or body for a hash of all of it";
                f.problem_at("delivery_id", line, message, fix);
            }
            Ok(place) => settings.mapping.delivery_id.push(place),
        }
    }
}

fn challenge(f: &mut Fields<'_>) -> Option<WebhookChallenge> {
    let echo = f.required("echo", "hub.challenge");
    let verify = f.text("verify");
    let secret = if f.has("verify") { f.required("secret", SECRET_EXAMPLE) } else { f.text("secret") };
    if f.has("secret") && !f.has("verify") {
        let message = "`challenge.secret` is there, and nothing says which parameter must have it";
        f.problem("secret", message, "add `verify: hub.verify_token`");
    }
    let token = match verify {
        Some(parameter) => Some((parameter, secret?)),
        None => None,
    };
    Some(WebhookChallenge { echo: echo?, token })
}
