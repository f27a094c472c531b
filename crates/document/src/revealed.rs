//! JSON in which texts name secrets: as it is written, and with the values in their places.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// How a text begins that names a secret.
pub const SECRET_PREFIX: &str = "secret:";

/// A value of JSON in which a text that is `secret:NAME` as a whole names a secret. Only what is written is ever printed or kept.
#[derive(Clone, PartialEq)]
pub struct RevealedJson {
    written: Value,
    given: Value,
    hidden: Vec<String>,
}

impl RevealedJson {
    /// A value that stands in no document. `read` has the values of secrets, by their names.
    ///
    /// # Errors
    /// The name of a secret that `read` does not have.
    pub fn read(written: Value, read: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut hidden = Vec::new();
        let given = revealed(&written, read, &mut hidden)?;
        Ok(Self { written, given, hidden })
    }

    /// What was read by somebody else: as it is written, as it is given, and the values of the secrets in it.
    pub(super) const fn of(written: Value, given: Value, hidden: Vec<String>) -> Self {
        Self { written, given, hidden }
    }

    /// As it is written, with the names of secrets.
    #[must_use]
    pub const fn written(&self) -> &Value {
        &self.written
    }

    /// With the values of secrets. Who calls it sees that they go nowhere but where they are needed.
    #[must_use]
    pub const fn given(&self) -> &Value {
        &self.given
    }

    /// The values of the secrets in it.
    #[must_use]
    pub fn hidden(&self) -> &[String] {
        &self.hidden
    }

    /// The names of the secrets that a value asks for.
    #[must_use]
    pub fn names_in(written: &Value) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        collect_names(written, &mut names);
        names
    }
}

impl From<Value> for RevealedJson {
    /// A value in which nothing is read: a text that names a secret is that text.
    fn from(written: Value) -> Self {
        Self { given: written.clone(), written, hidden: Vec::new() }
    }
}

impl fmt::Debug for RevealedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

fn revealed(written: &Value, read: &dyn Fn(&str) -> Option<String>, hidden: &mut Vec<String>) -> Result<Value, String> {
    Ok(match written {
        Value::String(text) => match text.strip_prefix(SECRET_PREFIX) {
            Some(name) => {
                let value = read(name).ok_or_else(|| name.to_owned())?;
                hidden.push(value.clone());
                value.into()
            }
            None => written.clone(),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| revealed(item, read, hidden)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let mut given = serde_json::Map::new();
            for (name, value) in fields {
                given.insert(name.clone(), revealed(value, read, hidden)?);
            }
            Value::Object(given)
        }
        _ => written.clone(),
    })
}

fn collect_names(written: &Value, names: &mut BTreeSet<String>) {
    match written {
        Value::String(text) => names.extend(text.strip_prefix(SECRET_PREFIX).map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Object(fields) => fields.values().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_read_wherever_its_name_is_a_whole_text_and_is_not_printed() {
        let written = json!({"key": "secret:crm", "list": [{"again": "secret:crm"}, "no secret:crm", 1.50]});
        let read = |name: &str| (name == "crm").then(|| "hunter2".to_owned());
        let revealed = RevealedJson::read(written.clone(), &read).unwrap();
        assert_eq!(revealed.written(), &written);
        let given = json!({"key": "hunter2", "list": [{"again": "hunter2"}, "no secret:crm", 1.50]});
        assert_eq!((revealed.given(), revealed.hidden()), (&given, &["hunter2".to_owned(), "hunter2".to_owned()][..]));
        assert!(!format!("{revealed:?}").contains("hunter2"));
        assert_eq!(RevealedJson::names_in(&written).into_iter().collect::<Vec<_>>(), ["crm"]);
        assert_eq!(RevealedJson::read(json!(["secret:other"]), &read), Err("other".to_owned()));
        assert_eq!(RevealedJson::from(written.clone()).given(), &written);
    }
}
