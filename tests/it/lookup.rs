//! Tables that a workspace grants: databases of addresses, whole and damaged, and what a server says at its start.

use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate_plugin as plugin;
use tidegate_wasm::lookup::{LookupSettings, LookupTable};

use crate::support::{Workspace, guests, mmdb, run};

fn london() -> Value {
    json!({
        "city": {"names": {"en": "London", "de": "London"}},
        "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}, "is_in_european_union": false},
        "location": {"latitude": 51.5085, "longitude": -0.1257, "time_zone": "Europe/London"},
        "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}],
    })
}

fn opened(bytes: &[u8], fields: &[&str]) -> Result<LookupTable, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let fields = fields.iter().map(|field| field.parse().unwrap()).collect();
    let settings = LookupSettings::Addresses { path: file.path().to_owned(), bytes_max: 1 << 20, fields };
    LookupTable::open(&settings).map_err(|error| error.to_string())
}

fn answer(table: &LookupTable, key: &str) -> Option<Value> {
    table.get(key).unwrap().map(|text| serde_json::from_str(&text).unwrap())
}

#[test]
fn an_address_has_the_record_of_its_network() {
    let networks = [("203.0.113.0/24", london()), ("2001:db8::/32", json!({"country": {"iso_code": "DE"}}))];
    let table = opened(&mmdb::database(&networks), &[]).unwrap();
    for address in ["203.0.113.7", " 203.0.113.255 ", "::ffff:203.0.113.1"] {
        assert_eq!(answer(&table, address), Some(london()), "{address}");
    }
    assert_eq!(answer(&table, "2001:db8:1::9"), Some(json!({"country": {"iso_code": "DE"}})));
    for other in ["203.0.114.1", "2001:db9::1", "", "not an address", "203.0.113.7/24", "1.2.3"] {
        assert_eq!(answer(&table, other), None, "{other}");
    }
}

#[test]
fn a_record_is_cut_down_to_the_fields_that_are_named() {
    let fields =
        ["/country/iso_code", "/subdivisions/0/names/en", "/location/latitude", "/city/geoname_id", "/country/x/y"];
    let table = opened(&mmdb::database(&[("203.0.113.0/24", london())]), &fields).unwrap();
    let expected = json!({
        "country": {"iso_code": "GB"}, "subdivisions": [{"names": {"en": "England"}}], "location": {"latitude": 51.5085},
    });
    assert_eq!(answer(&table, "203.0.113.7"), Some(expected));
    assert_eq!(answer(&table, "203.0.114.7"), None);
}

#[test]
fn a_record_that_is_too_large_is_an_error_and_its_neighbours_are_not() {
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let wide: Value =
        (0..100).map(|n| (format!("k{n}"), Value::from("x".repeat(1_000)))).collect::<serde_json::Map<_, _>>().into();
    let networks = [("10.0.0.0/8", deep), ("11.0.0.0/8", wide), ("12.0.0.0/8", json!({"fine": true}))];
    let table = opened(&mmdb::database(&networks), &[]).unwrap();
    assert!(table.get("10.1.1.1").unwrap_err().contains("nested too deeply"));
    assert!(table.get("11.1.1.1").unwrap_err().contains("too large"));
    assert_eq!(answer(&table, "12.1.1.1"), Some(json!({"fine": true})));
}

#[test]
fn a_damaged_database_is_refused_or_answers_errors() {
    let whole = mmdb::database(&[("203.0.113.0/24", london()), ("2001:db8::/32", london())]);
    assert!(opened(b"", &[]).is_err());
    assert!(opened(b"not a database", &[]).err().unwrap().contains("no MaxMind database"));
    let metadata = whole.windows(14).position(|window| window == b"\xab\xcd\xefMaxMind.com").unwrap();
    let cut = [&whole[..60], &whole[metadata..]].concat();
    let refused = opened(&cut, &[]).err().unwrap();
    assert!(refused.contains("cut off") || refused.contains("damaged"), "{refused}");
    // Any byte may be wrong: the table opens or not, answers or not, and the process goes on.
    let keys = ["203.0.113.7", "2001:db8::1", "1.1.1.1"];
    let (mut refused, mut wrong) = (0, 0);
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            match opened(&damaged, &["/country/iso_code"][..usize::from(flip == 1)]) {
                Err(_) => refused += 1,
                Ok(table) => wrong += keys.iter().filter(|key| table.get(key).is_err()).count(),
            }
        }
    }
    assert!(refused > 0 && wrong > 0, "{refused} refused, {wrong} wrong");
}

/// A workspace whose source runs one function, `grants`, with these lines in its file.
fn workspace(component: PathBuf, lines: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("functions/grants.yaml", &format!("component: {}\n{lines}", component.display()));
    workspace
}

fn check(workspace: &Workspace) -> String {
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    assert!(!output.status.success());
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_workspace_with_wrong_lookups_is_refused_with_file_line_and_fix() {
    let workspace = workspace(guests::component("transform/utm-referrer"), "lookups:\n  geo: nowhere\n");
    workspace.write("lookups/a.yaml", "kind: redis\n");
    workspace.write("lookups/b.yaml", "kind: mmdb\npath: absent.mmdb\nfields: [country]\n");
    workspace.write("lookups/c.yaml", "kind: table\nentries: [1]\n");
    workspace.write("lookups/d.yaml", "kind: table\nkey: a\n");
    let said = check(&workspace);
    for part in [
        "grants.yaml:3: there is no lookup \"nowhere\", which `lookups.geo` asks for",
        "make lookups/nowhere.yaml",
        "a.yaml:1: a lookup of kind \"redis\" is not known",
        "absent.mmdb does not exist",
        "b.yaml:3: \"country\" is no JSON pointer",
        "c.yaml:2: `entries` is not a map",
        "`path` is missing",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

/// A function whose manifest asks for these tables.
fn asking(workspace: &Workspace, lookups: &[&str]) -> PathBuf {
    let component = std::fs::read(guests::component("transform/utm-referrer")).unwrap();
    let manifest = json!({"name": "asks", "kind": "transform", "lookups": lookups});
    let path = workspace.path().join("asks.wasm");
    std::fs::write(&path, plugin::embed(&component, &manifest, &[])).unwrap();
    path
}

/// What a server says that does not start.
fn refusal(workspace: &Workspace) -> String {
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(workspace.serve())));
    // It says so as JSON, in which quotes are escaped.
    started.expect_err("the server started").downcast::<String>().unwrap().replace("\\\"", "\"")
}

#[test]
fn what_a_manifest_asks_for_and_nobody_grants_is_said_at_the_start() {
    let workspace = Workspace::new();
    let component = asking(&workspace, &["geo", "names"]);
    workspace.write("lookups/places.yaml", "kind: mmdb\npath: places.mmdb\n");
    workspace.write("lookups/people.yaml", "kind: table\nentries: {ada: Ada}\n");
    workspace.write("places.mmdb", "not yet");
    let granted_tables = |lines: &str| {
        workspace.write("functions/asks.yaml", &format!("component: {}\nlookups: {lines}\n", component.display()));
    };
    granted_tables("{geo: none}");
    let said = refusal(&workspace);
    assert!(
        said.contains("asks for a table that it calls \"names\"") && said.contains("lookups: {names: NAME}"),
        "{said}"
    );
    granted_tables("{geo: none, names: people, more: people}");
    let said = refusal(&workspace);
    assert!(said.contains("grants it a table as \"more\", which its manifest does not ask for"), "{said}");
    granted_tables("{geo: places, names: people}");
    let said = refusal(&workspace);
    assert!(said.contains("lookup places: ") && said.contains("no MaxMind database"), "{said}");
    std::fs::write(workspace.path().join("places.mmdb"), mmdb::database(&[("203.0.113.0/24", london())])).unwrap();
    workspace.serve().stop();
}

#[test]
fn a_running_server_looks_up_what_is_granted() {
    let workspace = Workspace::new();
    let component = guests::component("transform/rename");
    let text =
        "lookups: {renames: names}\nsettings: {lookup: true, fields: {/properties/sku: /properties/product_id}}\n";
    workspace.write("functions/rename.yaml", &format!("component: {}\n{text}", component.display()));
    workspace.write("lookups/names.yaml", "kind: table\npath: names.csv\nkey: old\nvalue: new\n");
    workspace.write("names.csv", "new,old\n\"Signed Up, at last\",signup\n");
    workspace.append("sources/web.yaml", "\nfunctions: [rename]\n");
    let server = workspace.serve();
    let track = |name: &str, id: &str| json!({"type": "track", "event": name, "messageId": id, "userId": "u", "properties": {"sku": "MUG-1"}});
    assert_eq!(server.batch(&[track("signup", "m-1"), track("Product Viewed", "m-2")]).status, 200);
    server.stop();
    assert_eq!(workspace.quarantined(), Vec::<String>::new());
    let rows = workspace.warehouse().rows("SELECT event, event_text FROM tracks ORDER BY id");
    assert_eq!(rows, ["signed_up_at_last|Signed Up, at last", "product_viewed|Product Viewed"]);
    let rows = workspace.warehouse().rows("SELECT product_id FROM product_viewed");
    assert_eq!(rows, ["MUG-1"]);
}
