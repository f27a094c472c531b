//! `kind: postgres`.

use std::path::Path;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_warehouse_postgres as postgres;

use super::limits;
use crate::config::around::Around;
use crate::config::surroundings::ObjectInputs;

/// Fields that are parameters of the connection, by libpq's names. Paths among them count from the workspace.
const POSTGRES_FIELDS: [&str; 14] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "channel_binding",
    "target_session_attrs",
    "connect_timeout",
    "application_name",
];
const POSTGRES_FILES: [&str; 4] = ["sslrootcert", "sslcert", "sslkey", "passfile"];

pub(super) fn server(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<postgres::PostgresSettings> {
    let limits = limits(fields, &postgres::CAPABILITIES);
    let url = fields.text("url");
    let (mut parameters, mut files) = (Vec::new(), Vec::new());
    for name in POSTGRES_FIELDS {
        let Some(mut value) = fields.text(name) else { continue };
        if POSTGRES_FILES.contains(&name) && value != "system" && !value.is_empty() {
            let path = if name == "sslrootcert" {
                around.inputs.certificates(fields, name, &value)
            } else {
                around.inputs.secret_file(fields, name, &value)
            };
            let Some(path) = path else { continue };
            value = path.to_string_lossy().into_owned();
            files.push(path);
        }
        parameters.push((name, value));
    }
    let schema = fields.text("schema");
    // What is wrong with a URL that is there was said; everything else follows from it.
    if url.is_none() && fields.has("url") {
        fields.leave_rest();
        return None;
    }
    let timeouts = [fields.duration("lock_timeout"), fields.duration("statement_timeout")];
    let mut address = match postgres::Address::parse(url.as_deref(), parameters, &environment(around.inputs)) {
        Ok(address) => address,
        Err(problem) => {
            fields.problem(
                "url",
                problem,
                "write `url: postgres://<user>:<password>@<host>/<database>`, or host, user, dbname",
            );
            return None;
        }
    };
    let is_named = |path: &Path| files.iter().any(|named| named == path);
    if around.inputs.is_of_catalog() && !around.inputs.is_filled("url") && !address.files().all(is_named) {
        let fix = "keep the password with PUT /api/v1/secrets/NAME and write `password: secret:NAME`; `sslrootcert` as a field of its own";
        fields.problem("url", "`url` names a file of the server, which objects of the catalog may not", fix);
    }
    // Where sslrootcert names nobody, the workspace's authorities count with the machine's.
    address.ca_file = around.outgoing.ca_file(around.inputs);
    for path in address.files() {
        around.inputs.depends_on(path, file::SECRET_BYTES_MAX);
    }
    let mut settings = postgres::PostgresSettings { limits, ..postgres::PostgresSettings::new(address) };
    if let Some(schema) = schema {
        settings.schema = schema;
    }
    let [lock, statement] = timeouts;
    settings.lock_timeout = lock.unwrap_or(settings.lock_timeout);
    settings.statement_timeout = statement.unwrap_or(settings.statement_timeout);
    Some(settings)
}

/// What libpq would find in the environment.
fn environment(inputs: &ObjectInputs<'_>) -> postgres::Environment {
    let set = |name: &str| inputs.ambient(name).filter(|value| !value.is_empty());
    let defaults = postgres::VARIABLES
        .iter()
        .filter_map(|(variable, parameter)| Some(((*parameter).to_owned(), set(variable)?)))
        .collect();
    postgres::Environment { defaults, home: set("HOME").map(Into::into) }
}
