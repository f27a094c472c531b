//! Schemas that are files of their own: plain ones, and Iglu's, which say themselves what they are.

use serde_json::Value;
use tidegate_event::EventKind;

use super::parts::{EventDraft, PlanDraft, PlanFile};

/// A JSON Schema: of a whole event, or of a track's properties. Its event is named by `event` with `const` or a single `enum`, by its
/// `title`, or by its file.
pub(super) fn json_schema(file: &PlanFile, draft: &mut PlanDraft) {
    let schema = &file.value;
    let word = said(schema, "type").unwrap_or("track");
    let Some(kind) = EventKind::parse(word) else {
        draft.lose(file, "/properties/type", format!("events of the type {word:?}"));
        return;
    };
    let named = if kind == EventKind::Track { said(schema, "event") } else { said(schema, "name") };
    let title = schema.get("title").and_then(Value::as_str).filter(|title| !title.is_empty());
    let name = match kind {
        EventKind::Track => Some(named.or(title).unwrap_or_else(|| stem(&file.name)).to_owned()),
        EventKind::Page | EventKind::Screen => named.map(str::to_owned),
        EventKind::Identify | EventKind::Group | EventKind::Alias => None,
    };
    draft.add(EventDraft {
        kind,
        name,
        version: vec![1],
        version_text: String::new(),
        description: schema.get("description").and_then(Value::as_str).map(str::to_owned),
        schema,
        at: (file, String::new()),
    });
}

/// An Iglu schema: `"self": {"vendor", "name", "format": "jsonschema", "version": "1-0-0"}` beside the keywords.
pub(super) fn iglu(file: &PlanFile, draft: &mut PlanDraft) {
    let text = |field: &str| file.value.get("self").and_then(|own| own.get(field)).and_then(Value::as_str);
    let (Some(name), Some(version)) = (text("name"), text("version")) else {
        draft.lose(file, "", "it is no self-describing schema: it has no `self` with a name and a version");
        return;
    };
    if text("format").is_some_and(|format| format != "jsonschema") {
        draft.lose(file, "/self/format", "a schema of another format than jsonschema");
        return;
    }
    for keyword in ["$supersedes", "$supersededBy"] {
        if file.value.get(keyword).is_some() {
            draft.lose(file, &format!("/{keyword}"), format!("`{keyword}`: a version is judged by its own schema"));
        }
    }
    let vendor = text("vendor").unwrap_or_default();
    let note =
        format!("the vendor {vendor:?}, and whether it is an event or an entity: it is declared as the track {name:?}");
    draft.lose(file, "/self", note);
    let mut schema = file.value.clone();
    if let Value::Object(map) = &mut schema {
        map.remove("$supersedes");
        map.remove("$supersededBy");
    }
    draft.add(EventDraft {
        kind: EventKind::Track,
        name: Some(name.to_owned()),
        version: version.split('-').filter_map(|part| part.parse().ok()).collect(),
        version_text: version.to_owned(),
        description: file.value.get("description").and_then(Value::as_str).map(str::to_owned),
        schema: &schema,
        at: (file, String::new()),
    });
}

/// The one value that a field of the event may have.
fn said<'s>(schema: &'s Value, field: &str) -> Option<&'s str> {
    let field = schema.get("properties")?.get(field)?;
    let only = || field.get("enum").and_then(Value::as_array).filter(|values| values.len() == 1)?.first();
    field.get("const").or_else(only).and_then(Value::as_str)
}

/// The name of a file without its folders and endings.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".json").unwrap_or(name);
    name.strip_suffix(".schema").unwrap_or(name)
}
