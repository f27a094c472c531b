//! The document of the API, and whether the API is as it says.

use serde_json::json;

use super::served;
use crate::api::fuzzed;

/// What most tries name, so that there is something to answer.
fn configuration() -> String {
    let dictionaries = [
        ("path.kind", "kind", json!(["source", "sync", "destination", "lookup", "role", "user", "group", "secret"])),
        ("path.name", "name", json!(["web", "web-to-warehouse", "warehouse", "geo", "admin", "first", "crm"])),
        ("query.workspace", "workspace", json!(["default"])),
    ];
    let values = dictionaries.iter().map(|(_, name, values)| format!("{name} = {{ values = {values} }}\n"));
    let places = dictionaries
        .iter()
        .map(|(place, name, _)| format!("\"{place}\" = {{ dictionary = \"{name}\", probability = 0.8 }}\n"));
    format!("[dictionaries]\n{}\n[parameters]\n{}", values.collect::<String>(), places.collect::<String>())
}

#[test]
fn a_fuzzer_that_reads_the_document_gets_no_answer_of_the_catalog_that_it_does_not_describe() {
    let (_workspace, server, admin) = served();
    admin.made("lookup", "geo", json!({"kind": "table"}));
    assert_eq!(admin.ask("PUT", "/api/v1/secrets/crm", &json!({"value": "x"})).status, 200);
    // Lines of JSON are no JSON.
    let paths = ["--exclude-path-regex", "/export$", "--include-path-regex", "^/api/v1"];
    let Some(found) = fuzzed(&server, &admin.token, &configuration(), &paths) else { return };
    assert!(found.said.contains("Tested: 24"), "{}", found.said);
    assert!(found.done.len() >= 10, "too little was there to be answered: {:?}\n{}", found.done, found.said);
    let whole = admin.ask("POST", "/api/v1/audit/verify", &json!({})).json();
    assert_eq!(whole["whole"], true, "{whole}");
    server.stop();
}
