//! A lake in a folder, read by DuckDB and by pyarrow.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_lake::manifest::Root;
use tidegate_warehouse_lake::{LakeSettings, ObjectPlace};

use tidegate_warehouse_suite::{Act, Cells, OpenedWarehouse, Rig, TableSeen, TablesSeen, canonical};

pub mod reader;

/// A lake in a folder of its own.
pub struct Lake {
    pub folder: tempfile::TempDir,
}

impl Lake {
    pub fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    pub fn lake_settings(&self) -> LakeSettings {
        LakeSettings::new(ObjectPlace::Folder(self.folder.path().to_owned()))
    }

    pub fn root(&self) -> Root {
        let text = std::fs::read(self.folder.path().join("_tidegate/latest.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Every file below the folder, relative to it.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }
}

/// What an engine sees of a lake.
pub fn seen_by(engine: &str, lake: &str, schema: &str) -> TablesSeen {
    let answer = reader::ask(&json!({ "do": "seen", "engine": engine, "lake": lake, "schema": schema }));
    let tables = answer["tables"].as_object().unwrap();
    let table = |table: &Value| {
        let columns = table["columns"].as_object().unwrap().iter();
        let columns: BTreeMap<String, Type> = columns.map(|(name, kind)| (name.clone(), kind_of(kind))).collect();
        let mut seen = TableSeen { columns, ..TableSeen::default() };
        for row in table["rows"].as_array().unwrap() {
            let cells: Cells = row
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, text)| (name.clone(), canonical(seen.columns[name], text.as_str().unwrap())))
                .collect();
            seen.insert(cells);
        }
        seen
    };
    tables.iter().map(|(name, seen)| (name.clone(), table(seen))).collect()
}

pub fn kind_of(word: &Value) -> Type {
    Type::ALL.into_iter().find(|kind| word == kind.as_str()).unwrap_or_else(|| panic!("{word} is no type"))
}

/// Opens a sync's part with these settings.
///
/// # Errors
/// The settings cannot be used; another try would fail again.
pub fn open(settings: &LakeSettings, part: &SyncPart) -> OpenedWarehouse {
    Ok(Box::new(settings.clone().check(part)?.open()))
}

impl Rig for Lake {
    const KEEPS_FIRST: bool = false;

    fn new() -> Result<Self, String> {
        reader::ready()?;
        Ok(Self { folder: tempfile::tempdir().map_err(|error| error.to_string())? })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&LakeSettings { limits, ..self.lake_settings() }, part)
    }

    fn yaml(&self) -> String {
        format!("kind: lake\nurl: {}\n", self.path())
    }

    /// A file where the folder was.
    fn away(&self) -> Option<Box<dyn FnOnce() + '_>> {
        let (folder, aside) = (self.folder.path(), self.folder.path().with_extension("away"));
        std::fs::rename(folder, &aside).unwrap();
        std::fs::write(folder, "not a folder").unwrap();
        Some(Box::new(move || {
            std::fs::remove_file(folder).unwrap();
            std::fs::rename(aside, folder).unwrap();
        }))
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        let schema = schema.unwrap_or("events");
        let seen = seen_by("duckdb", self.path(), schema);
        assert_eq!(seen, seen_by("pyarrow", self.path(), schema), "two engines see the same");
        seen
    }

    fn read(&self, name: &str, columns: &[&str]) -> Option<Vec<String>> {
        let request = json!({ "do": "read", "lake": self.path(), "name": name, "columns": columns });
        let answer = reader::ask(&request);
        Some(answer["rows"].as_array().unwrap().iter().map(|row| row.as_str().unwrap().to_owned()).collect())
    }

    /// Nobody alters files in place, and whoever runs the tests as root may write anywhere.
    fn act(&self, _: &Act) -> bool {
        false
    }
}
