//! One of two folders of the same thirty names, or nearly, in which nothing else is the same.

use std::path::Path;

use serde_json::{Value, json};

/// A folder, by its letter.
pub struct FolderSide {
    letter: char,
}

const SOURCES: usize = 8;

impl FolderSide {
    /// Of each folder.
    pub const OBJECTS: usize = 30;

    pub const fn new(letter: char) -> Self {
        Self { letter }
    }

    /// The name of the folder.
    pub fn folder(&self) -> String {
        format!("side-{}", self.letter)
    }

    /// A key for each source, by the name of the secret that it is.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let name = |number: usize| format!("side-{}-{number}", self.letter);
        (0..SOURCES).map(|number| (name(number), format!("{}-key-0123456789", name(number)))).collect()
    }

    pub fn write_keys(&self) -> Vec<String> {
        self.secrets().into_iter().map(|(_, key)| key).collect()
    }

    /// Every file, by its path.
    fn documents(&self) -> Vec<(String, Value)> {
        let letter = self.letter;
        let mut files = Vec::new();
        let mut add = |file: String, document: Value| files.push((file, document));
        for (number, (secret, _)) in self.secrets().into_iter().enumerate() {
            let rate = if letter == 'a' { 1_000 + number } else { 2_000 + number };
            add(
                format!("sources/source-{number}.yaml"),
                json!({"kind": "http", "write_key": format!("secret:{secret}"), "rate": format!("{rate}/s")}),
            );
            let sync = json!({
                "source": format!("source-{number}"), "destination": format!("place-{}", number % 4),
                "schema": format!("of_{letter}_{number}"), "start": "now",
            });
            add(format!("syncs/sync-{letter}-{number}.yaml"), sync);
        }
        for number in 0..4 {
            add(
                format!("destinations/place-{number}.yaml"),
                json!({"kind": "sqlite", "path": format!("DATA/{letter}-{number}.db")}),
            );
        }
        for number in 0..7 {
            let name = if number == 0 { format!("of-{letter}") } else { format!("table-{number}") };
            let entries = json!({"one": format!("{letter}{number}"), format!("of {letter}"): number});
            add(format!("lookups/{name}.yaml"), json!({"kind": "table", "entries": entries}));
        }
        add("events/domains/shop/domain.yaml".to_owned(), json!({"name": format!("Shop {letter}")}));
        let properties = json!({letter.to_string(): {"type": "string"}});
        add(
            "events/domains/shop/sold.yaml".to_owned(),
            json!({"type": "track", "name": "Sold", "onUndeclaredFields": "ALLOW_EVENT",
                "schema": {"type": "object", "properties": {"properties": {"type": "object", "properties": properties}}}}),
        );
        add(
            "events/domains/shop/components/price.yaml".to_owned(),
            json!({"name": format!("Price {letter}"), "schema": {"type": "object", "properties": properties_of(letter)}}),
        );
        files
    }

    /// Makes a new folder that says this.
    pub fn write(&self, folder: &Path) {
        for (file, document) in self.documents() {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(folder)).expect("a folder");
            std::fs::write(path, format!("{document:#}\n")).expect("a file");
        }
        let main = "# What each default is, `tidegate init` shows.\n";
        std::fs::write(folder.join("tidegate.yaml"), main).expect("a file");
    }

    /// Whether an exported folder says this, what the server's own folder says, and nothing else.
    pub fn is_exported(&self, folder: &Path) -> bool {
        let documents = self.documents();
        let is_same = |(file, document): &(String, Value)| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            serde_json::from_str(&text).ok().as_ref() == Some(document)
        };
        documents.iter().all(is_same) && files(folder) == documents.len() + OF_SERVER
    }
}

/// `tidegate.yaml`, and the source, destination and sync of `tidegate init`.
const OF_SERVER: usize = 4;

fn properties_of(letter: char) -> Value {
    json!({letter.to_string(): {"type": "number"}})
}

/// How many files there are below a folder.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}
