//! `mapping` of a source: which place of a message gives which field of an event.

use std::path::Path;

use serde_json::{Map, Value};
use tidegate_document::fields::Fields;
use tidegate_document::node::Tree;
use tidegate_document::problem::{Problem, QUOTED_CHARS_MAX, shortened};
use tidegate_event::EventKind;
use tidegate_message::{EventMapping, MappedField, MessagePlace, WrongPlace};

/// More mappings of one source are a slip of the pen.
const MAPPINGS_MAX: usize = 200;
/// How to write a place.
const PLACES: &str = "write a JSON pointer such as /data/id, header:NAME, meta:NAME, {constant: VALUE} or {join: [PLACE, PLACE], with: \".\"}";

/// One mapping, or a list of them, of which the first counts whose `match` fits.
pub(super) fn mappings(fields: &mut Fields<'_>) -> Vec<EventMapping> {
    let Some(node) = fields.node("mapping") else { return Vec::new() };
    let (items, is_list) = match &node.value {
        Tree::List(items) => (items.as_slice(), true),
        _ => (std::slice::from_ref(node), false),
    };
    if items.len() > MAPPINGS_MAX {
        let message = format!("`mapping` has {} entries, more than {MAPPINGS_MAX}", items.len());
        fields.problem("mapping", message, "leave some of it to a function of the source");
        return Vec::new();
    }
    let mut rules = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut problems = Vec::new();
        let mut inner = Fields::new(Path::new(""), item, &mut problems);
        rules.push(rule(&mut inner));
        inner.finish();
        let place = if is_list { format!("mapping.{at}") } else { "mapping".to_owned() };
        for Problem { line, place: within, message, fix, .. } in problems {
            let place = if within.is_empty() { place.clone() } else { format!("{place}.{within}") };
            fields.problem_at(&place, line, message, fix);
        }
    }
    rules
}

fn rule(f: &mut Fields<'_>) -> EventMapping {
    let mut rule = EventMapping::default();
    for (written, text, line) in f.pairs("match") {
        match MessagePlace::parse(&written) {
            Ok(MessagePlace::Constant(_)) | Err(_) => {
                let said = shortened(&written, QUOTED_CHARS_MAX);
                let fix = "write it as `match: {/type: order.paid}` or `match: {\"header:X-Topic\": orders}`";
                f.problem_at("match", line, format!("`match` has {said:?}, which is no place of a message"), fix);
            }
            Ok(place) => rule.matches.push((place, text)),
        }
    }
    for field in MappedField::ALL {
        let name = field.as_str();
        let Some(written) = f.json(name) else { continue };
        match places(&written) {
            Ok(places) => {
                rule.fields.insert(field, places);
            }
            Err(wrong) => f.problem(name, format!("`{name}` {wrong}"), PLACES),
        }
    }
    let types = rule.fields.get(&MappedField::Type).map_or(&[][..], Vec::as_slice);
    let is_wrong = |place: &&MessagePlace| match place {
        MessagePlace::Constant(value) => value.as_str().and_then(EventKind::parse).is_none(),
        _ => false,
    };
    if let Some(wrong) = types.iter().find(is_wrong) {
        let said = shortened(&wrong.to_string(), QUOTED_CHARS_MAX);
        let fix = "write identify, track, page, screen, group or alias, or a place such as /kind";
        f.problem("type", format!("`type` is {said}, which is none of the six kinds"), fix);
    }
    rule
}

/// A place, or a list of places.
fn places(written: &Value) -> Result<Vec<MessagePlace>, String> {
    match written {
        Value::Array(items) if items.is_empty() => Err("is an empty list".to_owned()),
        Value::Array(items) => items.iter().map(place).collect(),
        one => Ok(vec![place(one)?]),
    }
}

fn place(written: &Value) -> Result<MessagePlace, String> {
    match written {
        Value::String(text) => parsed(text),
        Value::Number(_) | Value::Bool(_) => Ok(MessagePlace::Constant(written.clone().into())),
        Value::Object(fields) => composed(fields),
        Value::Null | Value::Array(_) => Err("has a list or nothing where a place is expected".to_owned()),
    }
}

fn parsed(text: &str) -> Result<MessagePlace, String> {
    let said = || shortened(text, QUOTED_CHARS_MAX);
    MessagePlace::parse(text).map_err(|wrong| match wrong {
        WrongPlace::Escape => format!("is {:?}, a JSON pointer in which ~ is neither ~0 nor ~1", said()),
        WrongPlace::HeaderName => format!("is {:?}, which names no header", said()),
    })
}

/// `{constant: VALUE}`, or `{join: [PLACE, PLACE], with: TEXT}`.
fn composed(fields: &Map<String, Value>) -> Result<MessagePlace, String> {
    if let (Some(constant), 1) = (fields.get("constant"), fields.len()) {
        return Ok(MessagePlace::Constant(constant.clone().into()));
    }
    let is_known = fields.keys().all(|name| matches!(name.as_str(), "join" | "with"));
    let (Some(Value::Array(joined)), true) = (fields.get("join"), is_known) else {
        return Err("has a map that is neither a constant nor a join".to_owned());
    };
    let text = |written: &Value| match written {
        Value::String(text) => parsed(text),
        _ => Err("joins something else than places that are texts".to_owned()),
    };
    let places = joined.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let between = match fields.get("with") {
        None => ".".to_owned(),
        Some(Value::String(between)) => between.clone(),
        Some(_) => return Err("has a `with` that is no text".to_owned()),
    };
    Ok(MessagePlace::Joined { places, between })
}
