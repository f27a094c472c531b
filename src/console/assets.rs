//! What pages load: one stylesheet, a few modules, an icon. Their address has a hash of all of them in it, so that a browser may keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use sha2::{Digest as _, Sha256};

/// Digits of the hash in an address.
const HASH_DIGITS: usize = 16;

/// Something that pages load.
struct ConsoleAsset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const ASSETS: [ConsoleAsset; 6] = [
    ConsoleAsset {
        name: "console.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("assets/console.css"),
    },
    ConsoleAsset { name: "console.js", media_type: SCRIPT, text: include_str!("assets/console.js") },
    ConsoleAsset { name: "functions.js", media_type: SCRIPT, text: include_str!("assets/functions.js") },
    ConsoleAsset { name: "live.js", media_type: SCRIPT, text: include_str!("assets/live.js") },
    ConsoleAsset { name: "palette.js", media_type: SCRIPT, text: include_str!("assets/palette.js") },
    ConsoleAsset { name: "icon.svg", media_type: "image/svg+xml", text: include_str!("assets/icon.svg") },
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Of all of them together: modules name one another by their names alone.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut all = Sha256::new();
    for ConsoleAsset { name, text, .. } in ASSETS {
        all.update(name);
        all.update(text);
    }
    HEXLOWER.encode(&all.finalize()).chars().take(HASH_DIGITS).collect()
});

/// Where a browser finds one.
pub(super) fn address(name: &str) -> String {
    format!("/assets/{}/{name}", *HASH)
}

/// One of them, to be kept for good. Under another hash there is nothing: it would be kept in the place of what is there then.
pub(super) async fn show(Path((hash, name)): Path<(String, String)>) -> Response {
    let found = ASSETS.into_iter().find(|asset| asset.name == name && hash == *HASH);
    let Some(ConsoleAsset { media_type, text, .. }) = found else { return StatusCode::NOT_FOUND.into_response() };
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type)), (header::CACHE_CONTROL, kept)];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_load_only_what_is_there() {
        for ConsoleAsset { name, text, .. } in ASSETS {
            let named = text.split(" from './").skip(1).filter_map(|rest| rest.split_once('\''));
            for (other, _) in named {
                assert!(ASSETS.iter().any(|asset| asset.name == other), "{name} loads {other}");
            }
        }
        assert_eq!(address("console.css").len(), "/assets//console.css".len() + HASH_DIGITS);
    }
}
