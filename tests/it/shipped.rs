//! The functions that are shipped: each is built and passes its own fixtures, and none is forgotten.

use std::collections::BTreeSet;

use crate::conformance::skipped;
use crate::support::{guests, tidegate};

/// Each with the program that its language cannot be built without.
const SHIPPED: [(&str, &str); 9] = [
    ("consent", "npm"),
    ("geo-ip", "npm"),
    ("redact-pii", "cargo"),
    ("rename", "cargo"),
    ("sampling", "cargo"),
    ("script", "npm"),
    ("split-event", "python3"),
    ("user-agent", "cargo"),
    ("utm-referrer", "cargo"),
];

/// Builds the function and runs its fixtures, as its author would.
fn passes_its_fixtures(name: &str) {
    let (_, tool) = SHIPPED.iter().find(|(shipped, _)| *shipped == name).unwrap();
    if std::process::Command::new(tool).arg("--version").output().is_err() {
        return skipped(&format!("the function {name}"), &format!("{tool} is missing"));
    }
    let mut command = tidegate();
    command.args(["function", "test"]).arg(guests::folder(&format!("transform/{name}")));
    // The outer cargo holds the lock of the usual target folder.
    let output = command.env("CARGO_TARGET_DIR", guests::guests_target_dir()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}\n{stdout}{stderr}");
}

#[test]
fn consent() {
    passes_its_fixtures("consent");
}

#[test]
fn geo_ip() {
    passes_its_fixtures("geo-ip");
}

#[test]
fn redact_pii() {
    passes_its_fixtures("redact-pii");
}

#[test]
fn rename() {
    passes_its_fixtures("rename");
}

#[test]
fn sampling() {
    passes_its_fixtures("sampling");
}

#[test]
fn script() {
    passes_its_fixtures("script");
}

#[test]
fn split_event() {
    passes_its_fixtures("split-event");
}

#[test]
fn user_agent() {
    passes_its_fixtures("user-agent");
}

#[test]
fn utm_referrer() {
    passes_its_fixtures("utm-referrer");
}

#[test]
fn every_folder_is_tested_and_in_the_table_of_the_readme() {
    let entries = std::fs::read_dir(guests::folder("transform")).unwrap();
    let folders: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let shipped: BTreeSet<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, shipped);
    let readme = std::fs::read_to_string(guests::folder("README.md")).unwrap();
    for name in shipped {
        assert!(readme.contains(&format!("| [`{name}`](transform/{name}) |")), "{name} is not in functions/README.md");
        for file in ["plugin.yaml", "README.md", "fixtures"] {
            assert!(guests::folder(&format!("transform/{name}/{file}")).exists(), "{name} has no {file}");
        }
    }
}
