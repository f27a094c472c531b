//! `tidegate check --deep`: reads everything, changes nothing, names each damaged place.

use sha2::{Digest as _, Sha256};

use super::{check_deep, files, served};
use crate::support::{Workspace, run};

fn flip(workspace: &Workspace, name: &str, at: usize, bits: u8) {
    let path = workspace.data().join(name);
    if name.ends_with(".db") {
        // A server that leaves a connection open at its end leaves pages beside the file, which would be read instead.
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= bits;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_whole_directory_passes_beside_a_server_and_without_one() {
    let workspace = served(10);
    let before = files(&workspace.data());
    let (code, answer) = check_deep(&workspace);
    assert_eq!((code, &answer["ok"]), (Some(0), &true.into()), "{answer:#}");
    let mut after = files(&workspace.data());
    // A reader of SQLite may leave its two working files, empty.
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(before, after, "nothing was changed");
    let server = workspace.serve();
    let (code, answer) = check_deep(&workspace);
    assert_eq!(code, Some(0), "{answer:#}");
    server.stop();
    let text = run(&["check", workspace.path().to_str().unwrap(), "--deep"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("state.db") && text.contains("every file is what was stored"), "{text}");
}

#[test]
fn each_damaged_file_is_named_with_what_follows_and_what_to_do() {
    let workspace = served(10);
    // A quarantined event, a ledger row, the token, the id, a component.
    let state = rusqlite::Connection::open(workspace.data().join("state.db")).unwrap();
    state.execute("UPDATE quarantine SET event = x'00' WHERE id = 1", []).unwrap();
    drop(state);
    let warehouse = rusqlite::Connection::open(workspace.data().join("warehouse.db")).unwrap();
    warehouse.execute("UPDATE _tidegate_ledger SET log_offset = log_offset + 1", []).unwrap();
    drop(warehouse);
    std::fs::write(workspace.data().join("admin.json"), "{").unwrap();
    flip(&workspace, "id", 30, 1);
    let sha: String = Sha256::digest(b"something").iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(workspace.data().join(format!("store/versions/{sha}.wasm")), b"something else").unwrap();
    std::fs::write(workspace.data().join(format!("store/artefacts/{sha}.cwasm")), vec![7; 300]).unwrap();
    let (code, answer) = check_deep(&workspace);
    assert_eq!(code, Some(1), "{answer:#}");
    let damage = answer["damage"].as_array().unwrap();
    for (file, words) in [
        ("state.db", "table quarantine"),
        ("warehouse.db", "ledger's row of sync web-to-warehouse"),
        ("admin.json", "damaged"),
        ("id", "damaged"),
        (".wasm", "sha-256 is another"),
    ] {
        let found = damage.iter().find(|found| {
            found["file"].as_str().unwrap().ends_with(file) && found["what"].as_str().unwrap().contains(words)
        });
        let found = found.unwrap_or_else(|| panic!("{file}: {words}\n{answer:#}"));
        assert!(!found["follows"].as_str().unwrap().is_empty() && !found["remedy"].as_str().unwrap().is_empty());
    }
    let text = run(&["check", workspace.path().to_str().unwrap(), "--deep"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(text.lines().filter(|line| line.starts_with("damaged:")).count(), damage.len(), "{text}");
    // The entry is shown for what it is, and is not passed off as the event.
    assert!(workspace.quarantined().contains(&"damaged-entry".to_owned()));
}

#[test]
fn damage_of_the_structure_is_found_in_both_databases() {
    for name in ["state.db", "warehouse.db"] {
        let workspace = served(10);
        flip(&workspace, name, 39, 0x10);
        let (code, answer) = check_deep(&workspace);
        assert_eq!(code, Some(1), "{answer:#}");
        assert!(answer["damage"][0]["file"].as_str().unwrap().ends_with(name), "{answer:#}");
    }
}
