//! `lookups/<name>.yaml`: tables that the workspace grants to functions.

use std::path::PathBuf;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_document::nearest::nearest;
use tidegate_wasm::lookup::{BYTES_MAX_DEFAULT, Field, LookupSettings};

use super::surroundings::ObjectInputs;

/// `lookups/<name>.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupConfig {
    pub settings: LookupSettings,
    /// Uploaded functions that may borrow the table, under its own name, each with its line.
    pub grant_to: Vec<(String, usize)>,
}

/// Where a table comes from, for messages and examples.
pub(super) const KINDS: &str = "`kind: mmdb` (a MaxMind database) or `kind: table` (a CSV or JSON file, or entries)";

pub(super) fn lookup(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<LookupConfig> {
    let grant_to = fields.texts_and_lines("grant_to");
    Some(LookupConfig { settings: settings(fields, inputs)?, grant_to })
}

fn settings(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<LookupSettings> {
    let Some(kind) = fields.required("kind", "mmdb") else {
        fields.leave_rest();
        return None;
    };
    match kind.as_str() {
        "mmdb" => {
            let path = path(fields, inputs, "GeoLite2-City.mmdb");
            let bytes_max = fields.bytes("bytes_max").unwrap_or(BYTES_MAX_DEFAULT);
            let mut kept = Vec::new();
            for (text, line) in fields.texts_and_lines("fields") {
                match text.parse::<Field>() {
                    Ok(field) => kept.push(field),
                    Err(message) => {
                        fields.problem_at(
                            "fields",
                            line,
                            message,
                            "name fields by JSON pointer, e.g. /country/iso_code",
                        );
                    }
                }
            }
            let path = path?;
            inputs.depends_on(&path, bytes_max as u64);
            Some(LookupSettings::Addresses { path, bytes_max, fields: kept })
        }
        "table" => {
            let entries = fields.revealed_json("entries");
            if let Some(entries) = entries {
                if fields.text("path").is_some() {
                    fields.problem("entries", "a table has `path` or `entries`, not both", "take one of them away");
                }
                if !entries.written().is_object() {
                    fields.problem("entries", "`entries` is not a map", "write `entries: {key: value}`");
                    return None;
                }
                return Some(LookupSettings::Entries(entries));
            }
            let path = path(fields, inputs, "names.csv");
            let bytes_max = fields.bytes("bytes_max").unwrap_or(BYTES_MAX_DEFAULT);
            let (key, value) = (fields.text("key"), fields.text("value"));
            let path = path?;
            inputs.depends_on(&path, bytes_max as u64);
            Some(LookupSettings::File { path, bytes_max, key, value })
        }
        kind => {
            let message = format!("a lookup of kind {kind:?} is not known");
            let fix = match nearest(kind, &["mmdb", "table"]) {
                Some(kind) => format!("did you mean `kind: {kind}`?"),
                None => format!("write {KINDS}"),
            };
            fields.problem("kind", message, fix);
            fields.leave_rest();
            None
        }
    }
}

fn path(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, example: &str) -> Option<PathBuf> {
    let written = fields.required("path", example)?;
    let path = inputs.place(fields, "path", &written)?;
    let message = match file::stays_within(inputs.dir(), &path).and_then(|()| file::open(&path)) {
        Ok(_) => return Some(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("the file {} does not exist", path.display())
        }
        Err(error) => format!("the file {} cannot be read: {error}", path.display()),
    };
    fields.problem("path", message, "write a path from the workspace's folder, or put the file there");
    None
}
