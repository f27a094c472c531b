//! Case folders of the contract room: `cases/contract/<case>/` is a contract repository as it lies in Git, with
//! `in.json` (events sent to the source `web`) and `expected.json` (what becomes of each) beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its cases fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use tidegate_contract::{Action, Contract, ContractLimits, Domain, Verdict};
use tidegate_event::EventKind;
use tidegate_event::value::JsonObject;

const SOURCE: &str = "web";

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/contract");
    let mut folders: Vec<PathBuf> = entries(&root);
    folders.sort();
    assert!(!folders.is_empty(), "no cases in {}", root.display());
    let mut failed = Vec::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        println!("{name}");
        if let Err(difference) = run(folder) {
            failed.push(format!("{name}: {difference}"));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), folders.len(), failed.join("\n"));
}

fn run(folder: &Path) -> Result<(), String> {
    let sent = read_list(&folder.join("in.json"))?;
    let expected = read_list(&folder.join("expected.json"))?;
    let mut files = BTreeMap::new();
    read_yaml(folder, folder, &mut files)?;
    let domains = Domain::from_files(&files, SOURCE).map_err(|problems| format!("{problems:#?}"))?;
    let contract =
        Contract::compile(&domains, ContractLimits::default()).map_err(|problems| format!("{problems:#?}"))?;
    if sent.len() != expected.len() {
        return Err(format!("{} events, {} expectations", sent.len(), expected.len()));
    }
    for (at, (sent, expected)) in sent.into_iter().zip(expected).enumerate() {
        let before = sent.as_object().ok_or("an event is not an object")?.clone();
        let kind = sent["type"].as_str().and_then(EventKind::parse).ok_or("an event has no type")?;
        let mut body = JsonObject::from(before.clone());
        let verdict = contract.judge(kind, &mut body);
        if let Some(violation) = &verdict.violation {
            assert_eq!(violation.payload, sent.to_string());
            assert_eq!(violation.event_type, kind);
        }
        let body = Map::from(&body);
        if !verdict.omitted && body != before {
            return Err(format!("event {at} was changed silently: {}", Value::Object(body)));
        }
        let found = shown(&verdict, body);
        if found != expected {
            return Err(format!("event {at}\n   found {found}\nexpected {expected}"));
        }
    }
    Ok(())
}

fn shown(verdict: &Verdict, body: Map<String, Value>) -> Value {
    let violation = verdict.violation.as_ref().map(|it| {
        json!({
            "event_name": it.event_name,
            "schema_version": it.schema_version,
            "has_undeclared_schema": it.has_undeclared_schema,
            "has_undeclared_fields": it.has_undeclared_fields,
            "has_schema_violated": it.has_schema_violated,
            "violations": it.violations,
        })
    });
    let action = if verdict.action == Action::Allow { "allow" } else { "block" };
    let mut shown = json!({"action": action, "omitted": verdict.omitted.then_some(body), "violation": violation});
    if !verdict.undeclared.is_empty() {
        shown["undeclared"] = json!(verdict.undeclared);
    }
    shown
}

fn read_list(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn read_yaml(root: &Path, folder: &Path, files: &mut BTreeMap<String, Value>) -> Result<(), String> {
    for path in entries(folder) {
        if path.is_dir() {
            read_yaml(root, &path, files)?;
            continue;
        }
        let steps = path.strip_prefix(root).unwrap().iter().map(|step| step.to_string_lossy());
        let name = steps.collect::<Vec<_>>().join("/");
        if Domain::reads(&name) {
            let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            let mut documents = Yaml::load_from_str(&text).map_err(|error| format!("{name}: {error}"))?;
            let document = documents.pop().ok_or_else(|| format!("{name}: it is empty"))?;
            files.insert(name, json_of(document));
        }
    }
    Ok(())
}

fn json_of(yaml: Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(it)) => it.into(),
        Yaml::Value(Scalar::Integer(it)) => it.into(),
        Yaml::Value(Scalar::FloatingPoint(it)) => it.into_inner().into(),
        Yaml::Value(Scalar::String(it)) => it.into(),
        Yaml::Sequence(list) => list.into_iter().map(json_of).collect(),
        Yaml::Mapping(map) => {
            let key = |key: Yaml<'_>| key.as_str().unwrap_or_else(|| panic!("a key is no text: {key:?}")).to_owned();
            Value::Object(map.into_iter().map(|(name, value)| (key(name), json_of(value))).collect())
        }
        other => panic!("not part of a contract: {other:?}"),
    }
}
