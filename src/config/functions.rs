//! `functions/<name>.yaml`: a component with its settings, its limits and the tables that it borrows.

use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_document::fields::Fields;
use tidegate_document::revealed::RevealedJson;
use tidegate_wasm::CallLimits;

use super::component::ComponentFile;
use super::surroundings::ObjectInputs;

/// `functions/<name>.yaml`.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    pub component: ComponentFile,
    pub settings: RevealedJson,
    pub memory_bytes_max: Option<usize>,
    pub cpu_batch_max: Option<Duration>,
    /// Tables that it may look up.
    pub lookups: Vec<Borrowed>,
}

/// What a function borrows: a name of its manifest, and the table that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Borrowed {
    /// The name in the plugin's manifest.
    pub name: String,
    /// `None` when the workspace says that it grants nothing under this name.
    pub table: Option<String>,
    pub line: usize,
}

/// The word that says that nothing is granted.
pub(super) const NOTHING: &str = "none";

pub(super) fn function(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<FunctionConfig> {
    let component = fields.required("component", "functions/name.component.wasm");
    let nothing = || RevealedJson::from(Value::Object(Map::new()));
    let settings = fields.revealed_json("settings").unwrap_or_else(nothing);
    let memory_bytes_max = fields.bytes_up_to("memory_bytes_max", CallLimits::default().memory_bytes_ceiling as u64);
    let cpu_batch_max = fields.duration("cpu_batch_max");
    let lookups = borrowed(fields);
    let path = inputs.place(fields, "component", &component?)?;
    let component = ComponentFile::read(inputs, &path).unwrap_or_else(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!("the component {} does not exist", path.display()),
            _ => format!("the component {} cannot be read: {error}", path.display()),
        };
        let fix = "build it with `tidegate function build <its folder>` and point `component` at the .wasm file";
        fields.problem("component", message, fix);
        ComponentFile::unread(path)
    });
    Some(FunctionConfig { component, settings, memory_bytes_max, cpu_batch_max, lookups })
}

/// `lookups:` of a function: `geo: <a file in lookups/, without .yaml>`.
fn borrowed(fields: &mut Fields<'_>) -> Vec<Borrowed> {
    let pairs = fields.pairs("lookups").into_iter();
    pairs
        .map(|(name, table, line)| Borrowed { name, table: Some(table).filter(|table| table != NOTHING), line })
        .collect()
}
