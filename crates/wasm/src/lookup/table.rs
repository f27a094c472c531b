//! Tables of texts: from CSV, from JSON, from the settings.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::csv;

/// One answer is no larger.
const VALUE_BYTES_MAX: usize = 64 << 10;

type LookupEntries = BTreeMap<String, Box<str>>;

pub(super) fn of_entries(entries: &Map<String, Value>) -> LookupEntries {
    entries.iter().map(|(key, value)| (key.clone(), value.to_string().into())).collect()
}

/// A row for each key: `{"column": "text"}` without the key's own column, or the text of the one column `value`.
pub(super) fn of_csv(bytes: &[u8], key: Option<&str>, value: Option<&str>) -> Result<LookupEntries, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the file is not UTF-8; save it as UTF-8".to_owned())?;
    let mut rows = csv::rows(text)?.into_iter();
    let Some((_, head)) = rows.next() else { return Err("the file is empty; its first line names columns".to_owned()) };
    let column = |name: &str| {
        let found = head.iter().position(|column| column == name);
        found.ok_or_else(|| format!("there is no column {name:?}; the first line names {}", head.join(", ")))
    };
    let key = key.map_or(Ok(0), column)?;
    let value = value.map(column).transpose()?;
    let mut entries = LookupEntries::new();
    for (line, row) in rows {
        if row.len() != head.len() {
            return Err(format!("line {line} has {} fields and the first line names {}", row.len(), head.len()));
        }
        let answer = match value {
            Some(value) => Value::String(row[value].clone()),
            None => {
                let others = head.iter().zip(&row).enumerate().filter(|(at, _)| *at != key);
                Value::Object(others.map(|(_, (name, field))| (name.clone(), field.clone().into())).collect())
            }
        };
        insert(&mut entries, row[key].clone(), &answer, &format!("line {line}"))?;
    }
    Ok(entries)
}

/// An object is keys to values as they stand; in an array of objects `key` names the property that is the key.
pub(super) fn of_json(bytes: &[u8], key: Option<&str>, value: Option<&str>) -> Result<LookupEntries, String> {
    let content: Value = serde_json::from_slice(bytes).map_err(|error| format!("this is no JSON: {error}"))?;
    let mut entries = LookupEntries::new();
    let chosen = |row: Value, place: &str| match (value, row) {
        (None, row) => Ok(row),
        (Some(name), Value::Object(mut row)) if row.contains_key(name) => Ok(row.remove(name).unwrap_or_default()),
        (Some(name), _) => Err(format!("{place} has no {name:?}")),
    };
    match content {
        Value::Object(content) => {
            for (key, row) in content {
                let place = format!("the entry {key:?}");
                let answer = chosen(row, &place)?;
                insert(&mut entries, key, &answer, &place)?;
            }
        }
        Value::Array(rows) => {
            let key = key.ok_or("the file is a list; say which property is the key: `key: name`")?;
            for (at, mut row) in rows.into_iter().enumerate() {
                let place = format!("element {at}");
                let found = row.as_object_mut().and_then(|row| row.remove(key));
                let Some(Value::String(found)) = found else { return Err(format!("{place} has no text {key:?}")) };
                insert(&mut entries, found, &chosen(row, &place)?, &place)?;
            }
        }
        _ => return Err("the file holds neither an object nor a list of objects".to_owned()),
    }
    Ok(entries)
}

fn insert(entries: &mut LookupEntries, key: String, value: &Value, place: &str) -> Result<(), String> {
    let value = value.to_string();
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("{place} has {} bytes; an entry may have {VALUE_BYTES_MAX}", value.len()));
    }
    if entries.contains_key(&key) {
        return Err(format!("{place}: the key {key:?} stands twice"));
    }
    entries.insert(key, value.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(entries: Result<LookupEntries, String>) -> Vec<String> {
        entries.unwrap().into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn rows_are_found_by_their_key() {
        let text = b"sku,name,price\nA1,Mug,9.5\nB2,\"Pot, large\",20\n";
        assert_eq!(plain(of_csv(text, None, Some("name"))), [r#"A1="Mug""#, r#"B2="Pot, large""#]);
        assert_eq!(
            plain(of_csv(text, Some("price"), None)),
            [r#"20={"name":"Pot, large","sku":"B2"}"#, r#"9.5={"name":"Mug","sku":"A1"}"#]
        );
        let list = br#"[{"old": "a", "new": "b", "n": 1.10}]"#;
        assert_eq!(plain(of_json(list, Some("old"), None)), [r#"a={"n":1.10,"new":"b"}"#]);
        assert_eq!(plain(of_json(list, Some("old"), Some("new"))), [r#"a="b""#]);
        assert_eq!(plain(of_json(br#"{"a": {"to": "b"}}"#, None, Some("to"))), [r#"a="b""#]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let refusals = [
            (of_csv(b"a,b\n1,2\n1,3\n", None, None), "line 3: the key \"1\" stands twice"),
            (of_csv(b"a,b\n1\n", None, None), "line 2 has 1 fields and the first line names 2"),
            (of_csv(b"a,b\n1,2\n", Some("c"), None), "there is no column \"c\"; the first line names a, b"),
            (of_csv(b"", None, None), "the file is empty"),
            (of_csv(b"\xff", None, None), "not UTF-8"),
            (of_json(b"[{}]", None, None), "`key: name`"),
            (of_json(b"[{\"k\": 1}]", Some("k"), None), "element 0 has no text \"k\""),
            (of_json(b"{\"a\": 1}", None, Some("to")), "the entry \"a\" has no \"to\""),
            (of_json(b"7", None, None), "neither"),
            (of_json(b"{", None, None), "no JSON"),
        ];
        for (refused, part) in refusals {
            let refused = refused.unwrap_err();
            assert!(refused.contains(part), "{refused:?} without {part:?}");
        }
        let huge = serde_json::json!({ "a": "x".repeat(70_000) }).to_string();
        assert!(of_json(huge.as_bytes(), None, None).unwrap_err().contains("may have 65536"));
    }
}
