//! A file that names a warehouse and belongs to no workspace: written as those in `destinations/`, with `schema` for every kind.

use std::collections::BTreeSet;
use std::path::Path;

use tidegate_document::fields::{Fields, SecretText};
use tidegate_document::problem::Problem;
use tidegate_document::{file, yaml};

use super::around::Around;
use super::environment::environment;
use super::live_version::LiveVersion;
use super::outgoing::Outgoing;
use super::surroundings::{CatalogInputs, ObjectInputs, Surroundings};
use super::warehouses::warehouse;
use crate::warehouses::WarehouseSettings;

/// What such a file says.
#[derive(Debug, Clone)]
pub struct ConnectionDocument {
    pub settings: WarehouseSettings,
    /// Where the tables are; `None` where the settings say it, or nobody does.
    pub schema: Option<String>,
}

impl ConnectionDocument {
    /// Reads a file. Its paths count from the folder that it is in; `${NAME}` is read from the environment.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let text = file::read_text(path, file::TEXT_BYTES_MAX).map_err(|error| {
            let fix = "name a YAML file that is written as those in destinations/, or a destination of the workspace";
            vec![Problem::of_file(path, 0, format!("the file cannot be read: {error}"), fix)]
        })?;
        let node = yaml::parse(file::without_mark(&text)).map_err(|error| {
            let message = format!("this is not YAML: {}", error.message);
            vec![Problem::of_file(path, error.line, message, "mend the line, or the one before it")]
        })?;
        let (catalog, open_variables) = (CatalogInputs::default(), BTreeSet::new());
        let surroundings =
            Surroundings { dir, data: None, variables: &environment, look_up_live: no_live_version, catalog };
        let inputs = ObjectInputs::new(&surroundings, None, &open_variables);
        let variables = |name: &str| inputs.variable(name);
        let no_secret = |_: &str| SecretText::Absent;
        let (mut problems, outgoing) = (Vec::new(), Outgoing::default());
        let fields = Fields::new(path, &node, &mut problems);
        let mut fields = fields.with_variables(&variables).with_secrets(&no_secret);
        let read = connection(&mut fields, &Around { data: dir, outgoing: &outgoing, inputs: &inputs });
        fields.finish();
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ if problems.is_empty() => {
                let message = "the file names no warehouse";
                Err(vec![Problem::of_file(path, 0, message, "write `kind:` and what a destination of that kind has")])
            }
            _ => Err(problems),
        }
    }
}

fn connection(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<ConnectionDocument> {
    let Some(kind) = fields.required("kind", "postgres") else {
        fields.leave_rest();
        return None;
    };
    // The other kinds have a field of that name themselves.
    let schema = if matches!(&*kind, "sqlite" | "clickhouse") { fields.text("schema") } else { None };
    let settings = warehouse(fields, &kind, around)?;
    Some(ConnectionDocument { settings, schema })
}

/// No workspace, no store.
fn no_live_version(_: &Path, _: &str) -> Result<Option<LiveVersion>, String> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConnectionDocument, Vec<Problem>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("theirs.yaml");
        std::fs::write(&path, text).unwrap();
        ConnectionDocument::read(&path)
    }

    #[test]
    fn every_kind_has_a_schema() {
        let sqlite = read("kind: sqlite\npath: theirs.db\nschema: shop\n").unwrap();
        assert_eq!(sqlite.schema.as_deref(), Some("shop"));
        let postgres = read("kind: postgres\nhost: db.example.com\nuser: u\ndbname: d\nschema: shop\n").unwrap();
        let WarehouseSettings::Postgres(settings) = &postgres.settings else { panic!("{postgres:?}") };
        assert_eq!((postgres.schema.as_deref(), &*settings.schema), (None, "shop"));
        let clickhouse = read("kind: clickhouse\nurl: http://127.0.0.1:8123\nschema: shop\n").unwrap();
        assert_eq!(clickhouse.schema.as_deref(), Some("shop"));
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_fix() {
        for (text, line, word) in [
            ("kind: sqlite\npaht: theirs.db\n", 2, "path"),
            ("kind: postgres\nurl: ${NOBODY_SETS_THIS}\n", 2, "NOBODY_SETS_THIS"),
            ("kind: clickhouse\nurl: http://h:8123\npassword: secret:ch-password\n", 3, "ch-password"),
        ] {
            let problems = read(text).map(drop).unwrap_err();
            let found = problems
                .iter()
                .any(|problem| problem.line == line && (problem.message.contains(word) || problem.fix.contains(word)));
            assert!(found, "{text}: {problems:?}");
        }
    }
}
