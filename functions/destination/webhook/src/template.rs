//! Templates: `{{properties.order_id}}` in a text stands for what the event has there.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What RFC 3986 calls unreserved stays as it is in a URL.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a text goes, which decides how a value is written into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Url,
    Header,
    Text,
}

/// What the event has at a path such as `context.page.url` or `properties.products.0.sku`.
pub fn find<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    let step = |value: &'a Value, name: &str| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    };
    path.trim().split('.').try_fold(event, step).filter(|value| !value.is_null())
}

/// `template` with the event's values in it.
///
/// # Errors
/// The path that the event does not have, when the text is for a URL: half a URL leads somewhere else.
pub fn text(template: &str, event: &Value, place: Place) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    for part in parts(template) {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Path(path) => match (find(event, path), place) {
                (None, Place::Url) => return Err(path.trim().to_owned()),
                (None, _) => {}
                (Some(value), place) => out.push_str(&written(value, place)),
            },
        }
    }
    Ok(out)
}

/// `template` as JSON. A text that is one path and nothing else becomes the event's value with its type, or null.
pub fn json(template: &Value, event: &Value, out: &mut String) {
    match template {
        Value::String(text) => match parts(text)[..] {
            [Part::Path(path)] => out.push_str(&guarded(&find(event, path).unwrap_or(&Value::Null).to_string())),
            ref parts => {
                out.push('"');
                for part in parts {
                    match part {
                        Part::Literal(literal) => out.push_str(inner(&Value::from(*literal).to_string())),
                        Part::Path(path) => {
                            let text = find(event, path).map(plain).unwrap_or_default();
                            out.push_str(inner(&guarded(&Value::from(text).to_string())));
                        }
                    }
                }
                out.push('"');
            }
        },
        Value::Array(items) => list(out, ['[', ']'], items, |out, item| json(item, event, out)),
        Value::Object(fields) => list(out, ['{', '}'], fields, |out, (name, value)| {
            out.push_str(&Value::from(name.as_str()).to_string());
            out.push(':');
            json(value, event, out);
        }),
        value => out.push_str(&value.to_string()),
    }
}

/// JSON in which no text of an event reads as a secret's placeholder: the host replaces placeholders wherever they stand,
/// and events come from anybody.
pub fn guarded(json: &str) -> String {
    json.replace("{secret.", "\\u007bsecret.")
}

enum Part<'a> {
    Literal(&'a str),
    Path(&'a str),
}

/// A placeholder of a secret belongs to the host and stays a literal.
fn parts(template: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest, mut searched) = (Vec::new(), template, 0);
    while let Some(open) = rest[searched..].find("{{").map(|at| searched + at)
        && let Some(close) = rest[open..].find("}}").map(|at| open + at)
    {
        let path = &rest[open + 2..close];
        if path.starts_with("secret.") {
            searched = close + 2;
            continue;
        }
        if open > 0 {
            parts.push(Part::Literal(&rest[..open]));
        }
        parts.push(Part::Path(path));
        (rest, searched) = (&rest[close + 2..], 0);
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    parts
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn written(value: &Value, place: Place) -> String {
    let text = plain(value);
    match place {
        Place::Url => utf8_percent_encode(&text, URL).to_string(),
        Place::Header => text.replace(|c: char| c.is_control(), " ").replace("{secret.", "{ secret."),
        Place::Text => text.replace("{secret.", "{ secret."),
    }
}

/// The inside of a JSON text.
fn inner(quoted: &str) -> &str {
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted)
}

fn list<T>(out: &mut String, ends: [char; 2], items: impl IntoIterator<Item = T>, each: impl Fn(&mut String, T)) {
    out.push(ends[0]);
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(ends[1]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({"type": "track", "userId": "a/b ü", "properties": {"n": 1.5, "list": [{"sku": "M"}], "quote": "\"x\"\r\n"}})
    }

    #[test]
    fn a_path_finds_fields_and_items() {
        assert_eq!(find(&event(), "properties.list.0.sku"), Some(&json!("M")));
        assert_eq!(find(&event(), "properties.list.1.sku"), None);
        assert_eq!(find(&event(), "type.x"), None);
    }

    #[test]
    fn a_value_is_written_as_its_place_wants_it() {
        assert_eq!(
            text("/u/{{userId}}?n={{properties.n}}", &event(), Place::Url),
            Ok("/u/a%2Fb%20%C3%BC?n=1.5".into())
        );
        assert_eq!(text("{{properties.quote}}", &event(), Place::Header), Ok("\"x\"  ".into()));
        assert_eq!(text("[{{absent}}]", &event(), Place::Text), Ok("[]".into()));
        assert_eq!(text("/{{absent}}", &event(), Place::Url), Err("absent".into()));
        assert_eq!(text("{{secret.key}} {{type}} {{", &event(), Place::Header), Ok("{{secret.key}} track {{".into()));
    }

    #[test]
    fn json_keeps_types_and_escapes_texts() {
        let mut out = String::new();
        let template =
            json!({"n": "{{properties.n}}", "t": "q: {{properties.quote}}", "none": "{{absent}}", "a": [true]});
        json(&template, &event(), &mut out);
        let expected = json!({"n": 1.5, "t": "q: \"x\"\r\n", "none": null, "a": [true]});
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn an_event_cannot_ask_for_a_secret() {
        let event = json!({"properties": {"note": "{{{secret.key}}"}});
        for template in
            [json!("{{properties.note}}"), json!("note: {{properties.note}}"), json!({"a": "{{properties}}"})]
        {
            let mut out = String::new();
            json(&template, &event, &mut out);
            assert!(!out.contains("{secret."), "{out}");
            assert!(serde_json::from_str::<Value>(&out).unwrap().to_string().contains("{{{secret.key}}"), "{out}");
        }
        for place in [Place::Url, Place::Header, Place::Text] {
            let out = text("{{properties.note}}", &event, place).unwrap();
            assert!(!out.contains("{secret."), "{out}");
        }
    }
}
