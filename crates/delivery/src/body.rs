//! Bodies that say they are JSON, read before anybody else does.
//!
//! A tool that gets a body which is no JSON refuses the whole request, neighbours included, and names nobody.

use tidegate_event::json;
use tidegate_wasm::GuestRequest;

/// Media types that hold a JSON text in each line.
const LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-lines",
];

/// How a placeholder of a secret begins; the host puts the secret in later.
const PLACEHOLDER: &[u8] = b"{{secret.";

/// Why the body is not what its content type says, in a sentence; `None` when it is, or when nobody says that it is JSON.
pub(super) fn problem(request: &GuestRequest) -> Option<String> {
    let header =
        |name: &str| request.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let media_type = header("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
    let in_lines = LINES.contains(&media_type.as_str());
    let is_json = matches!(media_type.as_str(), "application/json" | "text/json") || media_type.ends_with("+json");
    if !(is_json || in_lines) || request.body.is_empty() || header("content-encoding").is_some() {
        return None;
    }
    let place = if in_lines { error_in_lines(&request.body) } else { error(&request.body) }?;
    let from = place.min(request.body.len());
    let there = String::from_utf8_lossy(&request.body[from..request.body.len().min(from + 10)]).into_owned();
    let advice = "JSON has no Infinity and no NaN, and a text in it is UTF-8";
    Some(format!("a body of content type {media_type} is not JSON at byte {place}, where it says {there:?}; {advice}"))
}

/// Where `body` is no JSON.
fn error(body: &[u8]) -> Option<usize> {
    if let Err(error) = std::str::from_utf8(body) {
        return Some(error.valid_up_to());
    }
    let place = match json::scan(body, 0) {
        Ok(seen) => Some(json::space(body, seen.end)).filter(|end| *end < body.len()),
        Err(error) => Some(error.at()),
    }?;
    let is_placeholder = |at: usize| body.get(at..).is_some_and(|rest| rest.starts_with(PLACEHOLDER));
    // The first of its braces may have been read as an object.
    let is_secret = is_placeholder(place) || place.checked_sub(1).is_some_and(is_placeholder);
    (!is_secret).then_some(place)
}

fn error_in_lines(body: &[u8]) -> Option<usize> {
    let mut start = 0;
    for line in body.split(|byte| *byte == b'\n') {
        let is_blank = json::space(line, 0) == line.len();
        if !is_blank && let Some(place) = error(line) {
            return Some(start + place);
        }
        start += line.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_plugin::SigningMethod;

    fn said(headers: &[(&str, &str)], body: &[u8]) -> Option<String> {
        problem(&GuestRequest {
            method: SigningMethod::Post,
            url: String::new(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.to_vec(),
            events: vec![0],
            tag: String::new(),
        })
    }

    #[test]
    fn a_body_that_says_it_is_json_is_json() {
        const JSON: [(&str, &str); 1] = [("Content-Type", "Application/JSON; charset=utf-8")];
        for body in
            [br#"{"a":[1e400,"\u00e9"]}"#.as_slice(), b"", b" [1] \n", br#"{"a":{{secret.key}}}"#, b"{{secret.key}}"]
        {
            assert_eq!(said(&JSON, body), None, "{}", String::from_utf8_lossy(body));
        }
        for (body, place, there) in [
            (br#"{"price":Infinity,"b":1}"#.as_slice(), 9, "Infinity,\\"),
            (br#"[{"a":1},{"a":NaN}]"#, 14, "NaN}]"),
            (br#"{"a":-Infinity}"#, 6, "Infinity}"),
            (br#"{"a":1"#, 6, ""),
            (b"{} {}", 3, "{}"),
            (br#"{"a":"\ud83d"}"#, 6, "\\\\ud83d"),
            (b"{\"a\":\"\xff\"}", 6, "\u{fffd}"),
            (b"a=b", 0, "a=b"),
        ] {
            let said = said(&JSON, body).unwrap();
            assert!(said.contains(&format!("at byte {place}, where it says \"{there}")), "{said}");
        }
        assert_eq!(said(&[("content-type", "application/x-www-form-urlencoded")], b"a=b"), None);
        assert_eq!(said(&[], b"a=b"), None);
        assert_eq!(said(&[JSON[0], ("content-encoding", "gzip")], b"\x1f\x8b"), None);
        assert!(said(&[("content-type", "application/vnd.api+json")], b"x").is_some());
        let lines = [("content-type", "application/x-ndjson")];
        assert_eq!(said(&lines, b"{\"a\":1}\n{\"b\":2}\r\n\n"), None);
        assert!(said(&lines, b"{\"a\":1}\n{\"b\":NaN}\n").unwrap().contains("at byte 13"));
    }
}
