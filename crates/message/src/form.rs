//! `application/x-www-form-urlencoded`, as forms and some webhooks send it.

use tidegate_event::json;
use tidegate_event::value::{JsonObject, List, Value};

use crate::limits::MessageLimits;

/// The field in which GitHub and Slack send a whole JSON object.
const PAYLOAD: &str = "payload";

/// The fields of a form: each a text, or a list of texts where it stands more than once. A form that has nothing but a `payload` which is
/// a JSON object is that object.
///
/// # Errors
/// It is no form, and this is why.
pub(crate) fn read(bytes: &[u8], limits: &MessageLimits) -> Result<Value, String> {
    let mut form = JsonObject::new();
    let mut keys = 0;
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let name = decoded(name).ok_or("it has a field whose name is not UTF-8")?;
        let value = decoded(value.get(1..).unwrap_or_default());
        let value: Value = value.ok_or_else(|| format!("its field {name:?} is not UTF-8"))?.into();
        keys += 1;
        if keys > limits.keys_max {
            return Err(format!("it has more than {} fields", limits.keys_max));
        }
        match form.get_mut(&name) {
            None => {
                form.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => {
                let mut values = List::new();
                values.push(std::mem::take(first));
                values.push(value);
                *first = Value::Array(values);
            }
        }
    }
    let alone = form.get(PAYLOAD).filter(|_| form.len() == 1).and_then(Value::as_str);
    if let Some(Ok(payload)) = alone.map(|text| json::parse(text.as_bytes(), limits.depth_max))
        && payload.is_object()
    {
        return Ok(payload);
    }
    Ok(Value::Object(form))
}

/// Text without its percent encoding; nothing is replaced.
fn decoded(bytes: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8(percent_encoding::percent_decode(&spaced).collect()).ok()
}
