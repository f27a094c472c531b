//! `leases` of `tidegate.yaml`: the database in which servers that share a source of Kinesis say which of them reads which shard.

use std::time::Duration;

use tidegate_catalog::PostgresCatalogSettings;
use tidegate_document::fields::Fields;

use super::outgoing::{self, Outgoing};
use super::surroundings::ObjectInputs;

/// The schema of the tables, unless it is said.
const SCHEMA_DEFAULT: &str = "tidegate";
const TIME_DEFAULT: Duration = Duration::from_secs(20);
const TIME_MIN: Duration = Duration::from_secs(3);
const TIME_MAX: Duration = Duration::from_secs(600);
const NAME_CHARS_MAX: usize = 63;
const ADDRESS_EXAMPLE: &str = "postgres://tidegate@db.example.com/tidegate?sslmode=require";

/// Where leases are kept, and how.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    pub database: PostgresCatalogSettings,
    /// How long a lease counts whose holder says nothing.
    pub lease_time: Duration,
    /// What this server is called where people see who holds what.
    pub name: Option<String>,
}

impl PartialEq for LeaseSettings {
    fn eq(&self, other: &Self) -> bool {
        let parts = |of: &Self| {
            let PostgresCatalogSettings { address, schema, ca_file } = of.database.clone();
            (address, schema, ca_file, of.lease_time, of.name.clone())
        };
        parts(self) == parts(other)
    }
}

/// None where it is not there, or has problems.
pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<LeaseSettings> {
    fields.within("leases", |f| {
        let url = f.required("url", "${LEASES_URL}");
        let schema = f.text("schema").unwrap_or_else(|| SCHEMA_DEFAULT.to_owned());
        let ca_file = outgoing::ca_file(f, inputs).or_else(|| outgoing.ca_file(inputs));
        let lease_time = f.duration("time").unwrap_or(TIME_DEFAULT);
        let name = f.text("name").or_else(|| inputs.ambient("HOSTNAME").filter(|name| !name.is_empty()));
        if !(TIME_MIN..=TIME_MAX).contains(&lease_time) {
            f.problem("time", "`leases.time` is not from 3 s to 10 minutes", "write `time: 20 s`, or leave it out");
        }
        let database = match PostgresCatalogSettings::parse(&url?, schema, ca_file) {
            Ok(database) => database,
            Err(problem) => {
                f.problem("url", format!("`leases.url`: {problem}"), format!("write `url: {ADDRESS_EXAMPLE}`"));
                return None;
            }
        };
        let name = name.map(|name| name.chars().take(NAME_CHARS_MAX).collect());
        Some(LeaseSettings { database, lease_time, name })
    })?
}
