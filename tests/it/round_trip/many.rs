//! Ten thousand objects over HTTP: applied, listed page by page, filtered, planned.

use serde_json::{Value, json};

use super::{AppliedServer, FolderFiles, table, write};

const OBJECTS: usize = 10_000;

fn folder() -> FolderFiles {
    (0..OBJECTS).map(|n| (format!("lookups/table-{n:05}.yaml"), table(&n.to_string()))).collect()
}

/// The names on each page.
fn pages(applied: &AppliedServer, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = applied.admin.get(&format!("/api/v1/objects/lookup?{query}{cursor}"));
        let objects = page["objects"].as_array().unwrap();
        pages.push(objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
        assert!(pages.len() <= OBJECTS, "the pages have no end");
    }
}

#[test]
fn ten_thousand_objects_are_applied_listed_and_planned() {
    let applied = AppliedServer::empty();
    let mut files = folder();
    let answer = applied.applied(&files, &json!({}));
    assert_eq!(answer["created"].as_u64(), Some(OBJECTS as u64));
    let wanted: Vec<String> = (0..OBJECTS).map(|n| format!("table-{n:05}")).collect();
    let all = pages(&applied, "limit=1000");
    assert_eq!((all.len(), all.iter().all(|page| page.len() == 1_000)), (10, true));
    assert_eq!(all.concat(), wanted);
    let filtered = pages(&applied, "limit=30&prefix=table-00");
    assert_eq!((filtered.len(), filtered.concat()), (34, wanted[..1_000].to_vec()));
    assert_eq!(pages(&applied, "managed_by=nobody").concat(), Vec::<String>::new());

    let again = applied.applied(&files, &json!({"prune": true}));
    assert_eq!(again["changes"], json!([]));
    let written = applied.elsewhere("written");
    write(&written, &files);
    assert_eq!(applied.planned(&written, &["--prune"]), (Some(0), 0));
    files.insert("lookups/table-00042.yaml".to_owned(), table("another one"));
    files.remove("lookups/table-09999.yaml");
    let answer = applied.applied(&files, &json!({"prune": true}));
    let changes: Vec<(&Value, &Value)> =
        answer["changes"].as_array().unwrap().iter().map(|change| (&change["name"], &change["change"])).collect();
    let (changed, removed) = ((json!("table-00042"), json!("changed")), (json!("table-09999"), json!("removed")));
    assert_eq!(changes, [(&changed.0, &changed.1), (&removed.0, &removed.1)]);
    assert_eq!(applied.planned(&written, &["--prune"]), (Some(2), 2));
    applied.server.stop();
}
