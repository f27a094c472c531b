//! A wrong address, one that is not for its reader, and one that takes no form: a page in a browser, JSON for programs.

use super::{NONE, SCRIPT, ServedConsole, assert_guarded, out_of_place};
use crate::support::browser::CookieJar;
use crate::support::http::Reply;

/// What a browser says when somebody opens an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

fn opened(browser: &mut CookieJar, method: &str, path: &str) -> Reply {
    browser.send(method, path, &[("accept", BROWSER)], &NONE)
}

/// A whole page with the pages of the bar, that leads to the overview.
fn in_the_layout(reply: &Reply, path: &str) -> String {
    let html = reply.text();
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{path}: {html}");
    assert_guarded(path, reply);
    assert_eq!(out_of_place(&html), None, "{path}: {html}");
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("aria-label=\"Pages\""), "{path}: {html}");
    assert!(html.contains("Sign out") && html.contains("<a href=\"/\">To the overview</a>"), "{path}: {html}");
    html
}

#[test]
fn a_wrong_address_is_a_page_that_says_what_is_not_there_and_where_to_go() {
    let served = ServedConsole::open();
    let mut root = served.signed_in("root");
    for (path, said, way) in [
        ("/nonsense", "there is no page /nonsense", None),
        ("/live/else", "there is no page /live/else", Some("<a href=\"/live\">To Live</a>")),
        ("/functions/nobody", "nobody", Some("<a href=\"/functions\">To Functions</a>")),
        ("/sources/nothing", "there is no", Some("<a href=\"/sources\">To Sources</a>")),
        ("/audit/%3Cscript%3E", "there is no page /audit/%3Cscript%3E", Some("<a href=\"/audit\">To Audit</a>")),
        ("/nonsense?workspace=nowhere", "there is no page /nonsense", None),
    ] {
        let reply = opened(&mut root, "GET", path);
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        let html = in_the_layout(&reply, path);
        assert!(html.contains(said) && way.is_none_or(|way| html.contains(way)), "{path}: {html}");
        assert!(!html.contains("workspace=nowhere") && !html.contains(SCRIPT), "{path}: {html}");
    }
    assert_eq!(opened(&mut root, "GET", "/?workspace=nowhere").status, 404);
    // Whoever has not signed in learns as much, and no more.
    let mut nobody = CookieJar::new(&served.server);
    let reply = opened(&mut nobody, "GET", "/nonsense");
    let html = reply.text();
    assert_eq!((reply.status, out_of_place(&html)), (404, None), "{html}");
    assert!(html.contains("there is no such page") && !html.contains("aria-label=\"Pages\""), "{html}");
    assert_eq!(opened(&mut nobody, "GET", "/functions/nobody").status, 303);
    served.server.stop();
}

#[test]
fn what_is_not_for_a_reader_and_what_takes_no_form_are_pages_too() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    for path in ["/functions", "/audit"] {
        let reply = opened(&mut vera, "GET", path);
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        let html = in_the_layout(&reply, path);
        assert!(!html.contains("this token") && !html.contains(&format!("<a href=\"{path}\"")), "{path}: {html}");
    }
    assert!(opened(&mut vera, "GET", "/functions").text().contains("ask an admin for a role that may"));
    for (method, path) in [("GET", "/sign-out"), ("GET", "/quarantine/retry"), ("POST", "/live"), ("DELETE", "/syncs")]
    {
        let reply = opened(&mut root, method, path);
        assert_eq!(reply.status, 405, "{path}: {}", reply.text());
        assert!(reply.header("allow").is_some(), "{path}");
        assert!(in_the_layout(&reply, path).contains("takes no form"), "{path}");
    }
    served.server.stop();
}

#[test]
fn what_programs_ask_for_stays_json_whatever_they_accept() {
    let served = ServedConsole::open();
    let mut root = served.signed_in("root");
    for path in ["/api/v1/nothing", "/admin/nothing", "/v1/track", "/metrics/nothing"] {
        assert_eq!(opened(&mut root, "GET", path).code(), "404 not-found", "{path}");
    }
    assert_eq!(opened(&mut root, "GET", "/admin/functions/nobody").code(), "404 no-such-name");
    for accept in ["*/*", "application/json"] {
        let reply = root.send("GET", "/nonsense", &[("accept", accept)], &NONE);
        assert_eq!(reply.code(), "404 not-found", "{accept}");
    }
    served.server.stop();
}
