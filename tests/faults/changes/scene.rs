//! The folder of the story: what its files say now. Whoever changes a field of it writes all files anew.

use serde_json::{Value, json};

use super::contract_variant::ContractVariant;
use crate::support::far::Far;
use crate::support::{Workspace, guests};

/// The key of the source `app` that is there at first.
pub const APP_KEY: &str = "app-key-0-0123456789";
/// The file of the contract of the source `web`, below `events/`.
pub const CONTRACT_OF_WEB: &str = "domains/shop/fault.yaml";
/// That of the source `app`, which the API makes.
pub const CONTRACT_OF_APP: &str = "domains/app/fault.yaml";

/// A source with a sync of its own, or a sync of `web`, that comes and goes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassingSync {
    pub name: String,
    /// It has a source of its own, with this key.
    pub key: Option<String>,
}

/// What the files say.
pub struct Scene {
    pub workspace: Workspace,
    pub contract: ContractVariant,
    /// What the function of the source `web` writes into its events; none: it is not there.
    pub stamp: Option<&'static str>,
    /// Events a second that `web` may send.
    pub rate: u64,
    /// Keys of `app`, by name.
    pub app_keys: Vec<(String, String)>,
    /// The lookup's table has so many entries.
    pub lookup_entries: u64,
    pub events_max: u64,
    pub second_is_broken: bool,
    /// The destination plugin is told of a port at which nobody listens.
    pub crm_is_lost: bool,
    pub crm_per_request: u64,
    pub passing: Option<PassingSync>,
    /// Where the plugin delivers.
    origin: String,
    /// `destinations/postgres.yaml`, where there is such a server.
    postgres: Option<String>,
}

impl Scene {
    pub fn new(far: &Far, postgres: Option<String>) -> Self {
        let scene = Self {
            workspace: Workspace::new(),
            contract: ContractVariant::default(),
            stamp: Some("a"),
            rate: 50_000,
            app_keys: vec![("first".to_owned(), APP_KEY.to_owned())],
            lookup_entries: 1,
            events_max: 2_000,
            second_is_broken: false,
            crm_is_lost: false,
            crm_per_request: 50,
            passing: None,
            origin: far.origin(),
            postgres,
        };
        scene.components();
        scene.workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 16 MiB}\nquarantine: {bytes: 8 GiB}\n");
        scene.write();
        scene
    }

    /// Files that are no YAML.
    fn components(&self) {
        let write = |name: &str, bytes: Vec<u8>| {
            std::fs::write(self.workspace.path().join(name), bytes).expect("a file");
        };
        for (name, guest) in [("stamp.wasm", "hostile/stamp"), ("rename.wasm", "transform/rename")] {
            write(name, std::fs::read(guests::component(guest)).expect("a component"));
        }
        let manifest = json!({
            "name": "courier", "kind": "destination",
            "settings": {"type": "object", "required": ["endpoint"], "properties": {
                "endpoint": {"type": "string"}, "per_request": {"type": "integer"},
                "key": {"type": "string", "secret": true}}},
            "hosts": ["{{settings.endpoint}}"],
            "batch": {"events_max": 200, "age_max": "20 ms"},
            "traffic": {"timeout": "2 s"},
            "retry": {"age_max": "5 h", "pause_min": "10 ms", "pause_max": "500 ms"},
        });
        write("courier.wasm", guests::destination("hostile/destination", &manifest));
    }

    /// Writes every file, and takes away those of what is gone. JSON is YAML.
    pub fn write(&self) {
        for (folder, names) in [("sources", ["web", "app"].as_slice()), ("syncs", SYNCS.as_slice())] {
            let folder = self.workspace.path().join(folder);
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let is_passing = self.passing.as_ref().is_some_and(|passing| passing.name == stem);
                if !is_passing && !names.contains(&stem.as_str()) {
                    std::fs::remove_file(path).expect("it is removed");
                }
            }
        }
        let entries: String = (0..self.lookup_entries).map(|n| format!("Other {n},Else {n}\n")).collect();
        self.workspace.write("names.csv", &format!("old,new\n{entries}"));
        for (file, document) in self.documents() {
            self.workspace.write(&file, &format!("{document:#}\n"));
        }
        if let Some(postgres) = &self.postgres {
            self.workspace.write("destinations/postgres.yaml", postgres);
        }
    }

    fn documents(&self) -> Vec<(String, Value)> {
        let second = if self.second_is_broken { "DATA/nowhere/second.db" } else { "DATA/second.db" };
        let functions: &[&str] = if self.stamp.is_some() { &["mark"] } else { &[] };
        let keys = self.app_keys.iter().map(|(name, key)| (name.clone(), json!(key)));
        let keys: serde_json::Map<String, Value> = keys.collect();
        let batch = json!({"events_max": self.events_max});
        let mut files = vec![
            (
                "sources/web.yaml",
                json!({"kind": "http", "write_key": self.workspace.write_key, "rate": format!("{}/s", self.rate),
                    "rate_bytes": "200 MB/s", "functions": functions}),
            ),
            (
                "sources/app.yaml",
                json!({"kind": "http", "write_keys": keys, "functions": ["rename"], "rate": "50000/s"}),
            ),
            (
                "functions/rename.yaml",
                json!({"component": "rename.wasm", "lookups": {"renames": "names"}, "settings": {"lookup": true}}),
            ),
            (
                "functions/mark.yaml",
                json!({"component": "stamp.wasm", "settings": {"stamp": self.stamp.unwrap_or("a")}}),
            ),
            ("lookups/names.yaml", json!({"kind": "table", "path": "names.csv", "key": "old", "value": "new"})),
            ("destinations/warehouse.yaml", json!({"kind": "sqlite", "path": "DATA/warehouse.db"})),
            ("destinations/second.yaml", json!({"kind": "sqlite", "path": second})),
            ("destinations/crm.yaml", self.crm()),
            ("syncs/web-to-warehouse.yaml", json!({"source": "web", "destination": "warehouse", "batch": batch})),
            ("syncs/web-second.yaml", json!({"source": "web", "destination": "second"})),
            ("syncs/app-second.yaml", json!({"source": "app", "destination": "second", "schema": "app"})),
            ("syncs/app-to-crm.yaml", json!({"source": "app", "destination": "crm", "start": "beginning"})),
            ("events/domains/shop/domain.yaml", json!({"name": "Shop", "sources": ["web"]})),
            ("events/domains/shop/fault.yaml", self.contract.document()),
        ];
        if self.postgres.is_some() {
            files.push(("syncs/web-postgres.yaml", json!({"source": "web", "destination": "postgres"})));
        }
        let files = files.into_iter().map(|(file, document)| (file.to_owned(), document));
        files.chain(self.of_passing()).collect()
    }

    fn crm(&self) -> Value {
        // Port 9 of this machine takes no connections.
        let endpoint = if self.crm_is_lost { "http://127.0.0.1:9" } else { self.origin.as_str() };
        json!({
            "kind": "plugin", "component": "courier.wasm", "allow_hosts": [endpoint], "allow_private_hosts": ["127.0.0.1"],
            "settings": {"endpoint": endpoint, "per_request": self.crm_per_request, "key": "k"},
        })
    }

    /// The files of what comes and goes.
    fn of_passing(&self) -> Vec<(String, Value)> {
        let Some(PassingSync { name, key }) = &self.passing else { return Vec::new() };
        let schema = name.replace('-', "_");
        let sync = |source: &str, start: &str| {
            let sync = json!({"source": source, "destination": "warehouse", "schema": schema, "start": start});
            (format!("syncs/{name}.yaml"), sync)
        };
        match key {
            Some(key) => {
                let source = json!({"kind": "http", "write_key": key});
                vec![(format!("sources/{name}.yaml"), source), sync(name, "beginning")]
            }
            None => vec![sync("web", "now")],
        }
    }
}

/// Syncs that are there all along.
const SYNCS: [&str; 5] = ["web-to-warehouse", "web-second", "app-second", "app-to-crm", "web-postgres"];
