//! Signature Version 4: the headers by which a service knows who sent a request, and that nobody has changed it.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use tidegate_event::time;
use tidegate_net::outbound::{SigningDigest, mac};

use crate::keys::AwsKeys;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What stays as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The one service that does not encode paths twice.
const S3: &str = "s3";

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningPlace<'a> {
    pub region: &'a str,
    /// As signatures call it: `kinesis`, `s3`.
    pub service: &'a str,
}

/// A request before it is signed.
#[derive(Debug, Clone, Copy)]
pub struct RequestToSign<'a> {
    pub method: &'a str,
    /// As it goes over the wire: encoded, without `.` and `..`.
    pub path: &'a str,
    /// Names and values, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// All that are to be signed, `host` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The hash of the body: [`sha256_hex`], or `UNSIGNED-PAYLOAD` where the service takes that.
    pub payload_hash: &'a str,
}

/// The SHA-256 of a body, in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// The headers to add, at this time in microseconds since the Unix epoch: `x-amz-date`, `authorization`, and `x-amz-security-token` for keys
/// that end.
#[must_use]
pub fn sign(
    request: &RequestToSign<'_>,
    keys: &AwsKeys,
    place: SigningPlace<'_>,
    at_us: i64,
) -> Vec<(&'static str, String)> {
    let instant = instant(at_us);
    let day = instant.get(..8).unwrap_or_default();
    let token = keys.session_token.as_ref().map(|token| token.as_str());
    let mut headers = request.headers.to_vec();
    headers.push(("x-amz-date", instant.as_str()));
    headers.extend(token.map(|token| ("x-amz-security-token", token)));
    let (names, canonical) = canonical(request, &headers, place.service);

    let SigningPlace { region, service } = place;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("{ALGORITHM}\n{instant}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let first = format!("AWS4{}", keys.secret_access_key.as_str()).into_bytes();
    let key = [day, region, service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part));
    let signature = HEXLOWER.encode(&hmac(&key, &text));
    let id = &keys.access_key_id;
    let authorization = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");

    let mut added = vec![("authorization", authorization)];
    added.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
    added.push(("x-amz-date", instant));
    added
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    mac(SigningDigest::Sha256, key, text.as_bytes())
}

/// `20150830T123600Z`.
fn instant(at_us: i64) -> String {
    let seconds = time::format(at_us).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect::<String>();
    format!("{seconds}Z")
}

/// The names of the headers, and the request in the one form that both sides hash.
fn canonical(request: &RequestToSign<'_>, headers: &[(&str, &str)], service: &str) -> (String, String) {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        by_name.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    let names = by_name.keys().map(String::as_str).collect::<Vec<_>>().join(";");
    let lines: String = by_name.iter().map(|(name, values)| format!("{name}:{}\n", values.join(","))).collect();

    let path = if service == S3 {
        request.path.to_owned()
    } else {
        request.path.split('/').map(encoded).collect::<Vec<_>>().join("/")
    };
    let mut query: Vec<(String, String)> =
        request.query.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    query.sort_unstable();
    let query = query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let RequestToSign { method, payload_hash, .. } = request;
    let text = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}");
    (names, text)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2015-08-30T12:36:00Z";
    const PLACE: SigningPlace<'_> = SigningPlace { region: "us-east-1", service: "service" };
    const HOST: (&str, &str) = ("Host", "example.amazonaws.com");

    fn keys(token: Option<&str>) -> AwsKeys {
        AwsKeys::new(
            "AKIDEXAMPLE".to_owned(),
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token.map(str::to_owned),
        )
    }

    fn authorization(request: &RequestToSign<'_>, keys: &AwsKeys) -> String {
        let added = sign(request, keys, PLACE, time::parse(AT).unwrap());
        added.into_iter().find(|(name, _)| *name == "authorization").unwrap().1
    }

    /// The signatures are those of the test suite that AWS has published.
    #[test]
    fn requests_are_signed_as_the_published_vectors_say() {
        let empty = sha256_hex(b"");
        let get = RequestToSign { method: "GET", path: "/", query: &[], headers: &[HOST], payload_hash: &empty };
        let post = RequestToSign { method: "POST", ..get };
        let form_hash = sha256_hex(b"Param1=value1");
        let unreserved = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let repeated = [HOST, ("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")];
        let spaced = [HOST, ("My-Header1", " value1 "), ("My-Header2", " \"a   b   c\" ")];
        let typed = [HOST, ("Content-Type", "application/x-www-form-urlencoded")];
        let query = [("Param2", "value2"), ("Param1", "value1")];
        for (name, request, signature) in [
            ("get-vanilla", get, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "get-vanilla-query-order-key-case",
                RequestToSign { query: &query, ..get },
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-header-key-duplicate",
                RequestToSign { headers: &repeated, ..get },
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "get-header-value-trim",
                RequestToSign { headers: &spaced, ..get },
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "get-unreserved",
                RequestToSign { path: unreserved, ..get },
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            ("post-vanilla", post, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "post-x-www-form-urlencoded",
                RequestToSign { headers: &typed, payload_hash: &form_hash, ..post },
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let authorization = authorization(&request, &keys(None));
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{name}: {authorization}");
        }
        let whole = authorization(&get, &keys(None));
        let scope = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert!(whole.starts_with(&format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host;x-amz-date, ")), "{whole}");
    }

    #[test]
    fn the_token_of_keys_that_end_is_signed() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/\
                     qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7\
                     ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let empty = sha256_hex(b"");
        let post = RequestToSign { method: "POST", path: "/", query: &[], headers: &[HOST], payload_hash: &empty };
        let authorization = authorization(&post, &keys(Some(token)));
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        assert!(authorization.ends_with(signature), "{authorization}");
    }

    #[test]
    fn paths_are_encoded_twice_but_for_s3() {
        let request = RequestToSign { method: "GET", path: "/a%20b", query: &[], headers: &[HOST], payload_hash: "x" };
        let path = |service| canonical(&request, request.headers, service).1.lines().nth(1).unwrap().to_owned();
        assert_eq!((&*path("glue"), &*path(S3)), ("/a%2520b", "/a%20b"));
    }

    #[test]
    fn keys_never_print() {
        let shown = format!("{:?}", keys(Some("s3cr3t-token")));
        assert!(shown.contains("AKIDEXAMPLE") && !shown.contains("wJalr") && !shown.contains("s3cr3t"), "{shown}");
    }
}
