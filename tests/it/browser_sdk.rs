//! The browser SDK and its cookie service: what is served, to whom, and what a hostile browser makes of it. `driven` has a real one.

mod driven;

use std::io::Read as _;

use base64::Engine as _;
use sha2::{Digest as _, Sha384};

use crate::support::{Reply, Server, Workspace, request, run};

const NEWEST: &str = "/sdk/v1/tidegate.js";
const ORIGIN: (&str, &str) = ("origin", "https://www.example.com");
/// A page asks within two seconds at every load, so it may be no more than that.
const GZIP_BYTES_MAX: usize = 6_144;

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reply {
    request(&server.address, "GET", path, headers, b"")
}

fn inflated(reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(reply.body.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_script_is_served_to_any_page_small_and_once() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let plain = get(&server, NEWEST, &[ORIGIN]);
    assert_eq!(plain.status, 200, "{}", plain.text());
    for (name, value) in [
        ("content-type", "text/javascript; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("cache-control", "public, max-age=3600, stale-while-revalidate=86400"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(plain.header(name), Some(value), "{name}");
    }
    assert_eq!((plain.header("content-encoding"), plain.header("access-control-allow-credentials")), (None, None));
    assert!(plain.text().contains("window.tidegate"), "{}", plain.text());
    let gzip = get(&server, NEWEST, &[("accept-encoding", "br, gzip")]);
    assert_eq!((gzip.status, gzip.header("content-encoding")), (200, Some("gzip")));
    assert!(gzip.body.len() < GZIP_BYTES_MAX, "{} bytes", gzip.body.len());
    assert_eq!(inflated(&gzip), plain.body);
    let tag = gzip.header("etag").unwrap();
    let again = get(&server, NEWEST, &[("accept-encoding", "gzip"), ("if-none-match", tag)]);
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag)));
    assert_eq!(get(&server, NEWEST, &[("if-none-match", "\"another\"")]).status, 200);
    let head = request(&server.address, "HEAD", NEWEST, &[], b"");
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)));
    assert_eq!(request(&server.address, "POST", NEWEST, &[], b"").code(), "405 wrong-method");
    assert_eq!(get(&server, "/sdk/v1/other.js", &[]).code(), "404 not-found");
    server.stop();
}

#[test]
fn a_script_under_its_hash_is_kept_for_good_and_an_older_hash_still_works() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let newest = get(&server, NEWEST, &[]);
    let about = get(&server, "/sdk/v1/tidegate.json", &[ORIGIN]);
    assert_eq!((about.status, about.header("access-control-allow-origin")), (200, Some("*")));
    let about = about.json();
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha384::digest(&newest.body));
    assert_eq!(about["integrity"], format!("sha384-{digest}"));
    assert_eq!(about["bytes"], newest.body.len());
    let hashed = get(&server, about["path"].as_str().unwrap(), &[]);
    assert_eq!((hashed.status, &hashed.body), (200, &newest.body));
    assert_eq!(hashed.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let older = get(&server, "/sdk/v1/tidegate.0123456789abcdef.js", &[]);
    assert_eq!((older.status, older.header("cache-control"), &older.body), (200, Some("no-cache"), &newest.body));
    server.stop();
}

fn cookies_of(reply: &Reply) -> Vec<&str> {
    reply.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect()
}

fn post(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reply {
    request(&server.address, "POST", path, headers, br#"{"sentAt":"2026-01-01T00:00:00Z"}"#)
}

/// A server whose cookie service is for one origin and one domain.
fn served_with_cookies() -> (Workspace, Server) {
    let workspace = Workspace::new();
    let text = "\nbrowser_cookies:\n  origins: [https://www.example.com]\n  domain: example.com\n  age_max: 30 d\n";
    workspace.append("tidegate.yaml", text);
    let server = workspace.serve();
    (workspace, server)
}

#[test]
fn a_page_renews_and_clears_the_cookies_of_its_ids() {
    let (_workspace, server) = served_with_cookies();
    let end = "Path=/; SameSite=Lax; Domain=example.com; Secure";
    let renewed =
        post(&server, "/ht/renew", &[ORIGIN, ("cookie", "other=1; htjs_anonymous_id=anon%201; htjs_user_id=ann")]);
    assert_eq!((renewed.status, renewed.text().as_str()), (200, r#"{"success":true}"#));
    assert_eq!(renewed.header("cache-control"), Some("no-store"));
    assert_eq!(renewed.header("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(renewed.header("access-control-allow-credentials"), Some("true"));
    let wanted = [
        format!("htjs_anonymous_id_srvr=anon%201; Max-Age=2592000; HttpOnly; {end}"),
        format!("htjs_user_id_srvr=ann; Max-Age=2592000; HttpOnly; {end}"),
    ];
    assert_eq!(cookies_of(&renewed), wanted);
    // The browser has deleted those of the script.
    let back = post(&server, "/ht/renew", &[ORIGIN, ("cookie", "htjs_anonymous_id_srvr=anon%201")]);
    let wanted = [
        format!("htjs_anonymous_id_srvr=anon%201; Max-Age=2592000; HttpOnly; {end}"),
        format!("htjs_anonymous_id=anon%201; Max-Age=2592000; {end}"),
    ];
    assert_eq!(cookies_of(&back), wanted);
    let cleared = post(&server, "/ht/clear", &[ORIGIN, ("cookie", "htjs_anonymous_id_srvr=anon")]);
    let wanted =
        ["htjs_anonymous_id_srvr", "htjs_user_id_srvr"].map(|name| format!("{name}=; Max-Age=0; HttpOnly; {end}"));
    assert_eq!((cleared.status, cookies_of(&cleared)), (200, wanted.iter().map(String::as_str).collect::<Vec<_>>()));
    // Those of another SDK are of another path.
    let own = post(&server, "/sdk/v1/cookies/renew", &[ORIGIN, ("cookie", "htjs_user_id=ann; tg_user_id=bob")]);
    assert_eq!(cookies_of(&own), [format!("tg_user_id_srvr=bob; Max-Age=2592000; HttpOnly; {end}")]);
    assert_eq!(cookies_of(&post(&server, "/sdk/v1/cookies/renew", &[ORIGIN])), [""; 0]);
    server.stop();
}

#[test]
fn pages_of_other_sites_change_no_cookie_and_read_no_answer() {
    let (_workspace, server) = served_with_cookies();
    let cookie = ("cookie", "htjs_anonymous_id=anon; tg_anonymous_id=anon");
    let host = format!("http://{}", server.address);
    for path in ["/ht/renew", "/ht/clear", "/sdk/v1/cookies/renew", "/sdk/v1/cookies/clear"] {
        for headers in [
            vec![cookie],
            vec![cookie, ("origin", "null")],
            vec![cookie, ("origin", "https://evil.example")],
            vec![cookie, ("origin", "https://example.com")],
            vec![cookie, ("origin", "https://www.example.com.evil.example")],
            vec![cookie, ("origin", host.as_str()), ("sec-fetch-site", "cross-site")],
        ] {
            let reply = post(&server, path, &headers);
            assert_eq!(reply.code(), "403 origin-not-allowed", "{path} {headers:?}");
            assert_eq!(cookies_of(&reply), [""; 0], "{path} {headers:?}");
            assert_eq!(reply.header("access-control-allow-origin"), None, "{path} {headers:?}");
        }
        let preflight = |origin: &str| {
            let headers = [("origin", origin), ("access-control-request-headers", "content-type")];
            request(&server.address, "OPTIONS", path, &headers, b"")
        };
        assert_eq!(preflight("https://evil.example").header("access-control-allow-origin"), None);
        let allowed = preflight(ORIGIN.1);
        assert_eq!(allowed.header("access-control-allow-origin"), Some(ORIGIN.1));
        assert_eq!(allowed.header("access-control-allow-headers"), Some("content-type"));
        assert_eq!(get(&server, path, &[ORIGIN, cookie]).code(), "405 wrong-method");
        // A page of the server's own origin.
        for own in [vec![cookie, ("origin", host.as_str())], vec![cookie, ("sec-fetch-site", "same-origin")]] {
            assert_eq!(post(&server, path, &own).status, 200, "{path} {own:?}");
        }
    }
    // Anybody may still send events.
    let event = format!(r#"{{"writeKey": "{}", "event": "E", "userId": "u"}}"#, server.key);
    let sent = request(&server.address, "POST", "/v1/track", &[("origin", "https://evil.example")], event.as_bytes());
    assert_eq!((sent.status, sent.header("access-control-expose-headers")), (200, Some("Retry-After")));
    server.stop();
}

#[test]
fn a_hostile_value_of_a_cookie_is_copied_nowhere() {
    let (_workspace, server) = served_with_cookies();
    let long = format!("tg_user_id={}", "x".repeat(513));
    let many = "tg_user_id=; ".repeat(300);
    for value in [
        "tg_user_id=a b",
        "tg_user_id=\"quoted\"",
        "tg_user_id=a,b",
        "tg_user_id=a\\b",
        "tg_user_id=\u{e4}",
        "tg_user_id=\ttab\t; tg_user_id_srvr=\"x\"",
        "tg_user_id",
        ";;;=;=",
        "tg_user_id_srvr_srvr=1; xtg_user_id=1",
        long.as_str(),
        many.as_str(),
    ] {
        let reply = post(&server, "/sdk/v1/cookies/renew", &[ORIGIN, ("cookie", value)]);
        assert_eq!((reply.status, cookies_of(&reply)), (200, Vec::<&str>::new()), "{value}");
    }
    let fits = format!("tg_user_id=\u{e4}; tg_user_id={}", "x".repeat(512));
    let reply = post(&server, "/sdk/v1/cookies/renew", &[ORIGIN, ("cookie", fits.as_str())]);
    assert_eq!(cookies_of(&reply).len(), 1);
    server.stop();
}

#[test]
fn an_origin_that_no_browser_says_is_refused_with_its_line() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nbrowser_cookies:\n  origins: [\"*\"]\n  domain: com\n");
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("browser_cookies.origins") && said.contains("browser_cookies.domain"), "{said}");
    assert!(said.contains("https://www.example.com"), "{said}");
}
