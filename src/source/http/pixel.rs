//! The pixel: an event in a query string, for places where no script runs.
//!
//! Each parameter is a field, dots lead inwards (`properties.plan=pro`), values are text.

use serde_json::{Map, Value};

/// Fields taken from one query string; the rest is ignored.
const FIELDS_MAX: usize = 256;
const DEPTH_MAX: usize = 8;

/// The event as JSON text.
pub(super) fn event(query: &str) -> String {
    let mut event = Map::new();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')).take(FIELDS_MAX) {
        let (name, value) = (decode(name), decode(value));
        if name == "writeKey" || name.is_empty() || name.matches('.').count() > DEPTH_MAX {
            continue;
        }
        if let Err((name, value)) = put(&mut event, &name, value) {
            // `a=1&a.b=2`: the second keeps its own name at the top rather than vanish.
            event.entry(name).or_insert(Value::String(value));
        }
    }
    Value::Object(event).to_string()
}

/// Sets the field that `path` leads to, unless it is set; gives both back when a scalar stands in the way.
fn put(object: &mut Map<String, Value>, path: &str, value: String) -> Result<(), (String, String)> {
    let Some((step, rest)) = path.split_once('.') else {
        object.entry(path).or_insert(Value::String(value));
        return Ok(());
    };
    match object.entry(step).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => put(inner, rest, value).map_err(|(_, value)| (path.to_owned(), value)),
        _ => Err((path.to_owned(), value)),
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn dots_lead_inwards() {
        assert_eq!(
            super::event(
                "writeKey=k&event=Email+Opened&properties.plan=a%26b&properties.plan=2&properties=x&a=1&a.b=2"
            ),
            r#"{"a":"1","a.b":"2","event":"Email Opened","properties":{"plan":"a&b"}}"#
        );
    }
}
