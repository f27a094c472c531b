//! How a cluster of Kafka is reached, as sources and destinations say it alike: `brokers`, `tls`, `sasl`.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_document::node::{DocumentNode, Tree};
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_net::{WebSettings, trust};
use tidegate_stream_kafka::{KafkaConnection, KafkaIdentity, KafkaSasl, KafkaTls, PasswordMechanism, TokenEndpoint};

use super::outgoing::Outgoing;
use super::surroundings::ObjectInputs;

/// Of a cluster, to begin with. The rest is learned from those.
const BROKERS_MAX: usize = 100;
const PASSWORD_EXAMPLE: &str = "${KAFKA_PASSWORD}";

/// `sasl.mechanism`.
#[derive(Debug, Clone, Copy)]
enum SaslWord {
    Password(PasswordMechanism),
    Token,
}

const MECHANISMS: [(&str, SaslWord); 4] = [
    ("plain", SaslWord::Password(PasswordMechanism::Plain)),
    ("scram-sha-256", SaslWord::Password(PasswordMechanism::ScramSha256)),
    ("scram-sha-512", SaslWord::Password(PasswordMechanism::ScramSha512)),
    ("oauthbearer", SaslWord::Token),
];

/// None where something is wrong, or a secret is not at hand.
pub(super) fn connection(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
) -> Option<KafkaConnection> {
    let brokers = brokers(f);
    let tls = tls(f, inputs, outgoing);
    let ca_file = tls.as_ref().and_then(|tls| tls.as_ref()?.ca_file.clone()).or_else(|| outgoing.ca_file(inputs));
    let read_sasl = |f: &mut Fields<'_>| sasl(f, inputs, ca_file, outgoing);
    let sasl = if f.has("sasl") { f.within("sasl", read_sasl).flatten().map(Some) } else { Some(None) };
    Some(KafkaConnection { brokers: brokers?, tls: tls?, sasl: sasl? })
}

fn brokers(f: &mut Fields<'_>) -> Option<Vec<String>> {
    const FIX: &str = "write `brokers: [kafka-1.example.com:9092]`, the host and the port of one broker or more";
    let written = f.texts_and_lines("brokers");
    if written.is_empty() {
        let is_empty_list = |node: &DocumentNode| matches!(&node.value, Tree::List(items) if items.is_empty());
        // What is no list of texts was told already.
        if f.node("brokers").is_none_or(is_empty_list) {
            f.problem("brokers", "nothing says how the cluster is reached", FIX);
        }
        return None;
    }
    if written.len() > BROKERS_MAX {
        let message = format!("`brokers` has {} entries, more than {BROKERS_MAX}", written.len());
        f.problem("brokers", message, "name a few: the others are learned from those");
        return None;
    }
    let mut brokers = Vec::with_capacity(written.len());
    let mut is_right = true;
    for (text, line) in written {
        if is_broker(&text) {
            brokers.push(text);
        } else {
            let message = format!("`brokers` has {:?}, which is no host and port", shortened(&text, QUOTED_CHARS_MAX));
            f.problem_at("brokers", line, message, FIX);
            is_right = false;
        }
    }
    is_right.then_some(brokers)
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty()
        && (is_bracketed || !host.contains(':'))
        && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | '@'));
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// None where something is wrong; `Some(None)` without TLS.
fn tls(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<Option<KafkaTls>> {
    let Some(node) = f.node("tls") else { return Some(None) };
    if matches!(node.value, Tree::Bool(_)) {
        let trusted = || KafkaTls { ca_file: outgoing.ca_file(inputs), identity: None };
        return f.flag("tls").map(|is_on| is_on.then(trusted));
    }
    f.within("tls", |f| tls_map(f, inputs, outgoing)).flatten().map(Some)
}

fn tls_map(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<KafkaTls> {
    let ca_file = match f.text("ca") {
        Some(written) => Some(ca_file(f, inputs, &written)?),
        None if f.has("ca") => return None,
        None => outgoing.ca_file(inputs),
    };
    let certificate = f.text("certificate");
    let key = f.text("key");
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let certificate_file = inputs.certificates(f, "certificate", &certificate);
            let key_file = inputs.secret_file(f, "key", &key);
            let (certificate_file, key_file) = (certificate_file?, key_file?);
            let is_read = readable(f, inputs, ("certificate", &certificate_file));
            let is_read = readable(f, inputs, ("key", &key_file)) && is_read;
            if !is_read {
                return None;
            }
            Some(KafkaIdentity { certificate_file, key_file })
        }
        (None, None) if f.has("certificate") || f.has("key") => return None,
        (None, None) => None,
        (certificate, _) => {
            let (there, missing) = if certificate.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            if !f.has(missing) {
                let message = format!("`{}` is there without `{missing}`", f.at(there));
                f.problem(there, message, format!("add `{missing}`, a PEM file, or take `{there}` away"));
            }
            return None;
        }
    };
    Some(KafkaTls { ca_file, identity })
}

fn ca_file(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, written: &str) -> Option<PathBuf> {
    let path = inputs.certificates(f, "ca", written)?;
    inputs.depends_on(&path, file::SECRET_BYTES_MAX);
    if let Err(error) = trust::roots(Some(&path)) {
        let fix = "name a PEM file of certificates, by a path from the workspace's folder";
        f.problem("ca", error.to_string(), fix);
        return None;
    }
    Some(path)
}

fn readable(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, (name, path): (&str, &PathBuf)) -> bool {
    let Err(error) = inputs.read(path, file::SECRET_BYTES_MAX) else { return true };
    let message = format!("`{}` names {}, which cannot be read: {error}", f.at(name), path.display());
    f.problem(name, message, "name a PEM file, by a path from the workspace's folder");
    false
}

fn sasl(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    ca_file: Option<PathBuf>,
    outgoing: &Outgoing,
) -> Option<KafkaSasl> {
    if !f.has("mechanism") {
        let message = format!("`{}` is missing", f.at("mechanism"));
        f.problem("mechanism", message, "write scram-sha-512, scram-sha-256, plain or oauthbearer");
        f.leave_rest();
        return None;
    }
    let Some(mechanism) = f.word("mechanism", &MECHANISMS) else {
        f.leave_rest();
        return None;
    };
    match mechanism {
        SaslWord::Password(mechanism) => {
            let user = f.required("user", "tidegate");
            let password = f.required("password", PASSWORD_EXAMPLE);
            Some(KafkaSasl::Password { mechanism, user: user?, password: password?.into() })
        }
        SaslWord::Token => token(f, inputs, ca_file, outgoing),
    }
}

fn token(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    ca_file: Option<PathBuf>,
    outgoing: &Outgoing,
) -> Option<KafkaSasl> {
    if f.has("token") && f.has("token_url") {
        f.problem("token", "`token` and `token_url` are both there", "take one of them away");
        f.leave_rest();
        return None;
    }
    if f.has("token") {
        let token = f.text("token");
        return token.map(|token| KafkaSasl::Token(token.into()));
    }
    let url = f.required("token_url", "https://login.example.com/oauth2/token");
    let client_id = f.required("client_id", "tidegate");
    let client_secret = f.required("client_secret", "${KAFKA_CLIENT_SECRET}");
    let scope = f.text("scope");
    let proxies = outgoing.proxies(f, inputs);
    let (url, client_id, client_secret) = (url?, client_id?, client_secret?);
    if !url.starts_with("https://") && !url.starts_with("http://") {
        let message = format!("`{}` is {:?}, which is no URL", f.at("token_url"), shortened(&url, QUOTED_CHARS_MAX));
        f.problem("token_url", message, "write the whole address, beginning with https://");
        return None;
    }
    if has_login(&url) {
        let message = format!("`{}` has a user or a password in it", f.at("token_url"));
        f.problem("token_url", message, "write them as `client_id` and `client_secret`: addresses are shown");
        return None;
    }
    let mut endpoint = TokenEndpoint::new(url, client_id, client_secret);
    endpoint.scope = scope;
    endpoint.web = WebSettings { ca_file, proxies };
    Some(KafkaSasl::TokenEndpoint(Arc::new(endpoint)))
}

/// Whether a URL has a user before its host.
fn has_login(url: &str) -> bool {
    let behind_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    behind_scheme.split(['/', '?', '#', '\\']).next().is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::{has_login, is_broker};

    #[test]
    fn an_address_with_a_password_in_it_is_known() {
        assert!(has_login("https://me:secret@login.example.com/token"));
        for url in ["https://login.example.com/token?scope=a@b", "https://login.example.com/@me", "http://[::1]:80/t"] {
            assert!(!has_login(url), "{url}");
        }
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        for text in ["kafka:9092", "10.0.0.1:9092", "[2001:db8::1]:9093"] {
            assert!(is_broker(text), "{text}");
        }
        for text in
            ["kafka", ":9092", "kafka:", "kafka:0", "kafka:99999", "kafka://kafka:9092", "a:1,b:2", "2001:db8::1:9093"]
        {
            assert!(!is_broker(text), "{text}");
        }
    }
}
