//! Tables that a workspace grants to plugins: a MaxMind database of addresses, a file of names.
//!
//! Nouns: a **table** (keys to JSON values; read whole when it is opened, never changed), its **settings** (which file,
//! which part of it), a **grant** (the tables of one plugin, by the names that the plugin gives them).
//!
//! What holds:
//! * A table takes no more memory than its settings say, and an answer no more than 64 KiB and 4,096 values, whatever
//!   the file holds. A damaged file is refused, or its entry is an error; it never ends the process.
//! * The same key has the same answer for as long as a table is there: a file that changes is another table.
//! * A plugin sees the tables of its grant and no others.
//!
//! This room does not know events or functions: a key is a text.

mod address;
mod csv;
mod record;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Map;
use sha2::{Digest as _, Sha256};
use tidegate_document::pointer;
use tidegate_document::revealed::RevealedJson;

use crate as wasm;
use address::Addresses;

/// A table's file is no larger than this unless its settings say so. GeoIP2 City has about 130 MB.
pub const BYTES_MAX_DEFAULT: usize = 256 << 20;

/// What a table is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupSettings {
    /// A MaxMind database; a key is an IP address.
    Addresses {
        path: PathBuf,
        bytes_max: usize,
        /// What is kept of a record; all of it when empty.
        fields: Vec<Field>,
    },
    /// A CSV or JSON file.
    File {
        path: PathBuf,
        bytes_max: usize,
        /// The column or property that is the key; of a CSV file the first column unless it is named.
        key: Option<String>,
        /// The one column or property that is the answer; a whole row when it is not named.
        value: Option<String>,
    },
    /// Entries written down in the settings themselves, a map. Texts in them may name secrets.
    Entries(RevealedJson),
}

/// A path into a record: the steps of a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(Vec<String>);

impl std::str::FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let steps = text.strip_prefix('/').ok_or_else(|| format!("{text:?} is no JSON pointer"))?;
        let steps: Vec<String> = pointer::steps(steps).collect();
        if steps.iter().any(String::is_empty) || steps.len() > record::DEPTH_MAX {
            return Err(format!("{text:?} names no field"));
        }
        Ok(Self(steps))
    }
}

/// Why a table could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("{}: {cause}; is the path right?", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{}: the file has {bytes} bytes and at most {bytes_max} are allowed; raise `bytes_max` if the memory is there", path.display())]
    TooLarge { path: PathBuf, bytes: u64, bytes_max: usize },
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
}

/// One table, read whole.
pub struct LookupTable {
    held: HeldTable,
    /// Of what it was read from, and of how. It is kept with events, so secrets are in it by their names alone.
    sha256: [u8; 32],
    /// Values of secrets in it.
    hidden: Vec<String>,
}

enum HeldTable {
    Addresses(Addresses),
    /// Values as the JSON text that is handed out.
    Entries(BTreeMap<String, Box<str>>),
}

impl LookupTable {
    /// Reads what `settings` name.
    ///
    /// # Errors
    /// The file is missing, too large or not what it should be.
    pub fn open(settings: &LookupSettings) -> Result<Self, LookupError> {
        let (mut sum, mut hidden) = (Sha256::new(), Vec::new());
        let held = match settings {
            LookupSettings::Addresses { path, bytes_max, fields } => {
                let bytes = read(path, *bytes_max)?;
                sum.update(format!("addresses {fields:?} "));
                sum.update(&bytes);
                let addresses = Addresses::open(bytes, fields.clone());
                HeldTable::Addresses(addresses.map_err(|reason| LookupError::Content { path: path.clone(), reason })?)
            }
            LookupSettings::File { path, bytes_max, key, value } => {
                let bytes = read(path, *bytes_max)?;
                let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
                sum.update(format!("file {is_csv} {key:?} {value:?} "));
                sum.update(&bytes);
                let entries = if is_csv {
                    table::of_csv(&bytes, key.as_deref(), value.as_deref())
                } else {
                    table::of_json(&bytes, key.as_deref(), value.as_deref())
                };
                HeldTable::Entries(entries.map_err(|reason| LookupError::Content { path: path.clone(), reason })?)
            }
            LookupSettings::Entries(entries) => {
                sum.update(format!("entries {}", entries.written()));
                hidden.extend_from_slice(entries.hidden());
                HeldTable::Entries(table::of_entries(entries.given().as_object().unwrap_or(&Map::new())))
            }
        };
        Ok(Self { held, sha256: sum.finalize().into(), hidden })
    }

    /// The entry for `key` as JSON text.
    ///
    /// # Errors
    /// The entry cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<String>, String> {
        match &self.held {
            HeldTable::Addresses(addresses) => addresses.get(key),
            HeldTable::Entries(entries) => Ok(entries.get(key).map(|value| value.clone().into_string())),
        }
    }
}

/// The tables that one plugin may use.
#[derive(Default)]
pub struct GrantedTables {
    tables: BTreeMap<String, Arc<LookupTable>>,
}

impl GrantedTables {
    /// Grants `table` under the name that the plugin knows it by.
    #[must_use]
    pub fn with(mut self, name: &str, table: Arc<LookupTable>) -> Self {
        self.tables.insert(name.to_owned(), table);
        self
    }

    /// As a service of the plugin.
    #[must_use]
    pub fn into_services(self) -> wasm::Services {
        wasm::Services { lookup: Some(Arc::new(self)), signer: None }
    }
}

impl wasm::Lookup for GrantedTables {
    fn get(&self, table: &str, key: &str) -> Result<Option<String>, String> {
        match self.tables.get(table) {
            Some(table) => table.get(key),
            None => Err(format!(
                "the table {:?} is not granted to this plugin; the manifest names it under `lookups`, and the workspace grants it",
                wasm::legible(table, 80)
            )),
        }
    }

    fn content(&self) -> Option<String> {
        let mut sum = Sha256::new();
        for (name, table) in &self.tables {
            // No name holds a line feed, and the hash behind it is of one length.
            sum.update(name);
            sum.update(b"\n");
            sum.update(table.sha256);
        }
        (!self.tables.is_empty()).then(|| format!("{:x}", sum.finalize()))
    }

    fn hidden(&self) -> Vec<String> {
        self.tables.values().flat_map(|table| &table.hidden).cloned().collect()
    }
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, LookupError> {
    let failed = |cause| LookupError::Read { path: path.to_owned(), cause };
    let file = tidegate_document::file::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let too_large = |bytes| LookupError::TooLarge { path: path.to_owned(), bytes, bytes_max };
    if usize::try_from(bytes).map_or(true, |bytes| bytes > bytes_max) {
        return Err(too_large(bytes));
    }
    // What is no plain file may have more to give than its length says.
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, bytes_max as u64 + 1), &mut content).map_err(failed)?;
    if content.len() > bytes_max { Err(too_large(content.len() as u64)) } else { Ok(content) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lookup;

    #[test]
    fn a_plugin_sees_what_is_granted_and_nothing_else() {
        let entries = serde_json::json!({"Signup": "Signed Up", "n": {"x": 1.50}});
        let table = Arc::new(LookupTable::open(&LookupSettings::Entries(entries.into())).unwrap());
        let granted = GrantedTables::default().with("renames", table);
        assert_eq!(granted.get("renames", "Signup"), Ok(Some("\"Signed Up\"".to_owned())));
        assert_eq!(granted.get("renames", "n"), Ok(Some("{\"x\":1.5}".to_owned())));
        assert_eq!(granted.get("renames", "Login"), Ok(None));
        assert!(granted.get("geo", "Signup").unwrap_err().contains("\"geo\" is not granted"));
    }

    #[test]
    fn tables_are_told_apart_by_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names.json");
        let content = |text: &str, name: &str, value: Option<&str>| {
            std::fs::write(&path, text).unwrap();
            let value = value.map(str::to_owned);
            let settings = LookupSettings::File { path: path.clone(), bytes_max: 1000, key: None, value };
            let table = Arc::new(LookupTable::open(&settings).unwrap());
            GrantedTables::default().with(name, table).content().unwrap()
        };
        let text = r#"{"a": {"x": 1, "y": 2}}"#;
        let first = content(text, "names", None);
        assert_eq!(content(text, "names", None), first);
        assert_ne!(content(r#"{"a": {"x": 1, "y": 3}}"#, "names", None), first);
        assert_ne!(content(text, "other", None), first);
        assert_ne!(content(text, "names", Some("x")), first);
        assert_eq!(GrantedTables::default().content(), None);
    }

    #[test]
    fn a_secret_among_entries_is_handed_out_and_is_in_the_hash_by_its_name_alone() {
        let granted = |value: &str| {
            let entries = serde_json::json!({"key": "secret:crm"});
            let entries = RevealedJson::read(entries, &|_: &str| Some(value.to_owned())).unwrap();
            GrantedTables::default()
                .with("keys", Arc::new(LookupTable::open(&LookupSettings::Entries(entries)).unwrap()))
        };
        let (one, two) = (granted("hunter2"), granted("hunter3"));
        assert_eq!(one.get("keys", "key"), Ok(Some("\"hunter2\"".to_owned())));
        assert_eq!((one.content(), one.hidden()), (two.content(), vec!["hunter2".to_owned()]));
    }

    #[test]
    fn a_file_too_large_or_absent_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names.json");
        let settings = |bytes_max| LookupSettings::File { path: path.clone(), bytes_max, key: None, value: None };
        assert!(matches!(LookupTable::open(&settings(10)), Err(LookupError::Read { .. })));
        std::fs::write(&path, r#"{"a": "b", "c": "d"}"#).unwrap();
        let refused = LookupTable::open(&settings(10)).err().unwrap().to_string();
        assert!(refused.contains("20 bytes and at most 10"), "{refused}");
        assert_eq!(LookupTable::open(&settings(20)).unwrap().get("c"), Ok(Some("\"d\"".to_owned())));
        let device = LookupSettings::File { path: "/dev/zero".into(), bytes_max: 1000, key: None, value: None };
        assert!(matches!(LookupTable::open(&device), Err(LookupError::Read { .. })));
    }

    #[test]
    fn a_field_is_a_pointer() {
        assert_eq!("/city/names/en".parse::<Field>().unwrap().0, ["city", "names", "en"]);
        assert_eq!("/a~1b".parse::<Field>().unwrap().0, ["a/b"]);
        for wrong in ["", "/", "city", "/a//b"] {
            assert!(wrong.parse::<Field>().is_err(), "{wrong}");
        }
    }
}
