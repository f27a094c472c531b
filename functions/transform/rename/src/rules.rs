//! What is called otherwise.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Old to new names of events.
    #[serde(default)]
    pub events: HashMap<String, String>,
    /// Old to new places of fields; they are moved in the order of the old ones.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// Whether names of events are also looked up.
    #[serde(default)]
    pub lookup: bool,
}

/// An entry of the table: a new name, or that and fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "an entry is a new name, or an object with `event` and `fields`")]
pub enum Entry {
    Name(String),
    Both(Both),
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Both {
    #[serde(default)]
    pub event: Option<String>,
    #[serde(default)]
    pub fields: Map<String, Value>,
}

impl Settings {
    /// Settings from JSON, or a sentence about what is wrong with them.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        moves(&settings.fields)?;
        Ok(settings)
    }
}

impl Both {
    /// An entry of the table from JSON, or a sentence about what is wrong with it.
    pub fn parse(json: &str) -> Result<Self, String> {
        let both = match serde_json::from_str(json).map_err(|error| error.to_string())? {
            Entry::Name(name) => Self { event: Some(name), fields: Map::new() },
            Entry::Both(both) => both,
        };
        moves(&both.fields)?;
        Ok(both)
    }
}

/// From where to where, as JSON pointers. A pointer that is none would trap, so it is refused here.
pub fn moves(fields: &Map<String, Value>) -> Result<Vec<(&str, &str)>, String> {
    let pointer = |text: &str| text.len() > 1 && text.starts_with('/');
    let one = |(from, to): (&'_ String, &'_ Value)| match to.as_str() {
        Some(to) if pointer(from) && pointer(to) => Ok(()),
        _ => Err(format!(
            "`fields` has {from:?}: {to}; write pointers, as in \"/properties/sku\": \"/properties/product_id\""
        )),
    };
    fields.iter().try_for_each(one)?;
    Ok(fields.iter().filter_map(|(from, to)| Some((from.as_str(), to.as_str()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_name_or_more() {
        assert_eq!(Both::parse("\"Signed Up\"").unwrap().event.as_deref(), Some("Signed Up"));
        let both = Both::parse(r#"{"event":"Order Completed","fields":{"/a":"/b/c"}}"#).unwrap();
        assert_eq!(moves(&both.fields), Ok(vec![("/a", "/b/c")]));
        assert!(Both::parse("7").unwrap_err().contains("an entry is"));
    }

    #[test]
    fn wrong_settings_are_explained() {
        for json in [r#"{"fields":{"sku":"/a"}}"#, r#"{"fields":{"/sku":"a"}}"#, r#"{"fields":{"/sku":7}}"#] {
            assert!(Settings::parse(json).unwrap_err().contains("write pointers"), "{json}");
        }
        assert!(Settings::parse(r#"{"event":{}}"#).unwrap_err().contains("event"));
    }
}
