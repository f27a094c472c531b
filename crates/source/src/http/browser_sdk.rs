//! The browser SDK: one script, served as it stands in the repository, compressed once.
//!
//! It has a name that stays, for pages that want what is newest, and one with its hash in it, for pages that name what they load: what is
//! there never changes, and may be kept for good.

use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256, Sha384};

use super::answer::{HttpAnswer, PreparedAnswer};
use super::fixed;

const TEXT: &str = include_str!("../../browser/tidegate.js");
/// Digits of the hash in a name.
const HASH_DIGITS: usize = 16;
const KIND: &str = "text/javascript; charset=utf-8";
const FOR_AN_HOUR: &str = "public, max-age=3600, stale-while-revalidate=86400";
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// What is asked of the SDK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SdkFile {
    /// The script.
    Newest,
    /// The script with this hash.
    Hashed(String),
    /// Where the script is for good, and its hash for `integrity`.
    About,
}

/// The script in the forms that it is served in.
struct SdkScript {
    hash: String,
    entity_tag: HeaderValue,
    gzip: Option<Bytes>,
    about: Bytes,
}

static SCRIPT: LazyLock<SdkScript> = LazyLock::new(|| {
    let hash: String = HEXLOWER.encode(&Sha256::digest(TEXT)).chars().take(HASH_DIGITS).collect();
    let gzip = gzipped(TEXT.as_bytes()).ok().map(Bytes::from);
    let about = serde_json::json!({
        "path": format!("/sdk/v1/tidegate.{hash}.js"),
        "integrity": format!("sha384-{}", STANDARD.encode(Sha384::digest(TEXT))),
        "bytes": TEXT.len(),
        "gzip_bytes": gzip.as_ref().map(Bytes::len),
    });
    // Of the same script in another encoding it is the same, so it is a weak one.
    let entity_tag = HeaderValue::from_str(&format!("W/\"{hash}\"")).unwrap_or(fixed("W/\"\""));
    SdkScript { hash, entity_tag, gzip, about: about.to_string().into() }
});

fn gzipped(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The file that has this name below `/sdk/v1/`.
pub(super) fn find(name: &str) -> Option<SdkFile> {
    match name {
        "tidegate.js" => Some(SdkFile::Newest),
        "tidegate.json" => Some(SdkFile::About),
        _ => {
            let hash = name.strip_prefix("tidegate.")?.strip_suffix(".js")?;
            let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash.then(|| SdkFile::Hashed(hash.to_owned()))
        }
    }
}

/// Answers whoever loads a file of the SDK.
pub(super) fn answer(file: &SdkFile, asked: &HeaderMap) -> HttpAnswer {
    let script = &*SCRIPT;
    let mut headers = HeaderMap::new();
    // Pages of any origin load it, by whatever rules they have.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    headers.insert("cross-origin-resource-policy", fixed("cross-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    let kept = match file {
        SdkFile::Newest => FOR_AN_HOUR,
        SdkFile::Hashed(hash) if *hash == script.hash => FOR_GOOD,
        // A page that names the script of an earlier server goes on with this one, unless it asks for `integrity`.
        SdkFile::Hashed(_) | SdkFile::About => "no-cache",
    };
    headers.insert(header::CACHE_CONTROL, fixed(kept));
    if *file == SdkFile::About {
        let body = script.about.clone();
        return prepared(StatusCode::OK, "application/json; charset=utf-8", headers, body);
    }
    headers.insert(header::ETAG, script.entity_tag.clone());
    headers.insert(header::VARY, fixed("Accept-Encoding"));
    if has(asked, &script.hash) {
        return prepared(StatusCode::NOT_MODIFIED, KIND, headers, Bytes::new());
    }
    let body = match &script.gzip {
        Some(gzip) if takes_gzip(asked) => {
            headers.insert(header::CONTENT_ENCODING, fixed("gzip"));
            gzip.clone()
        }
        _ => Bytes::from_static(TEXT.as_bytes()),
    };
    prepared(StatusCode::OK, KIND, headers, body)
}

fn prepared(status: StatusCode, kind: &'static str, headers: HeaderMap, body: Bytes) -> HttpAnswer {
    HttpAnswer::Prepared(Box::new(PreparedAnswer { status, kind, headers, body }))
}

/// Whether whoever asks has the script with this hash.
fn has(asked: &HeaderMap, hash: &str) -> bool {
    list(asked, header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == hash)
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    list(asked, header::ACCEPT_ENCODING).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        is_gzip && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// The elements of a header that is a list.
fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn gzip_is_sent_to_whoever_takes_it() {
        for (value, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&asked(header::ACCEPT_ENCODING, value)), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_script_that_is_there_is_not_sent_again() {
        for (value, is_there) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\", W/\"abc\"", true),
            ("*", true),
            ("\"ab\"", false),
            ("", false),
        ] {
            assert_eq!(has(&asked(header::IF_NONE_MATCH, value), "abc"), is_there, "{value}");
        }
    }

    #[test]
    fn the_script_is_small() {
        let script = &*SCRIPT;
        let bytes = script.gzip.as_ref().unwrap().len();
        assert!(bytes < 6_144, "{bytes} bytes with gzip; a page waits for all of them");
        assert_eq!(find(&format!("tidegate.{}.js", script.hash)), Some(SdkFile::Hashed(script.hash.clone())));
        for name in ["tidegate.js.map", "tidegate..js", "tidegate.0123456789abcdeg.js", "tidegate", ""] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
