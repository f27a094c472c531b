//! `kind: snowflake`.

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_warehouse_snowflake as snowflake;

use super::limits;
use crate::config::around::Around;
use crate::config::surroundings::ObjectInputs;

pub(super) fn account(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<snowflake::SnowflakeSettings> {
    let limits = limits(fields, &snowflake::CAPABILITIES);
    let account = fields.required("account", "myorg-account");
    let user = fields.required("user", "TIDEGATE");
    let database = fields.required("database", "ANALYTICS");
    let (role, warehouse) = (fields.text("role"), fields.required("warehouse", "LOADING"));
    let (schema, endpoint) = (fields.text("schema"), fields.text("endpoint"));
    let web = around.outgoing.of_destination(fields, around.inputs);
    let modes = [("staged", snowflake::LoadMode::Staged), ("streaming", snowflake::LoadMode::Streaming)];
    let load = fields.word("load", &modes).unwrap_or(snowflake::LoadMode::Staged);
    let statement_time_max = fields.duration("statement_time_max");
    let Some(auth) = fields.within("auth", |fields| auth(fields, around.inputs)) else {
        if !fields.has("auth") {
            fields.problem("auth", "`auth` is missing", "add `auth:` and below it `private_key_file: rsa_key.p8`");
        }
        return None;
    };
    let mut settings = snowflake::SnowflakeSettings::new(&account?, &user?, &database?, auth?);
    (settings.role, settings.warehouse, settings.endpoint) = (role, warehouse, endpoint);
    (settings.load, settings.limits) = (load, limits);
    settings.web = web;
    settings.schema = schema.unwrap_or(settings.schema);
    settings.statement_time_max = statement_time_max.unwrap_or(settings.statement_time_max);
    Some(settings)
}

/// Exactly one of the ways to prove who one is.
fn auth(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<snowflake::Auth> {
    use snowflake::{Auth, Secret};
    let file = match fields.text("private_key_file") {
        Some(written) => {
            let path = inputs.secret_file(fields, "private_key_file", &written)?;
            inputs.depends_on(&path, file::SECRET_BYTES_MAX);
            Some(Auth::KeyFile(path))
        }
        None => None,
    };
    let key = fields.text("private_key").map(|key| Auth::Key(Secret::new(key)));
    let oauth = fields.text("oauth_token").map(|token| Auth::OAuth(Secret::new(token)));
    let token = fields.text("token").map(|token| Auth::Token(Secret::new(token)));
    let password = fields.text("password").map(|password| Auth::Password(Secret::new(password)));
    let mut ways: Vec<Auth> = [file, key, oauth, token, password].into_iter().flatten().collect();
    if ways.len() == 1 {
        return ways.pop();
    }
    let message = format!("`auth` names {} ways to log in, not one", ways.len());
    let fix = "write one of private_key_file, private_key, oauth_token, token, password";
    fields.problem("", message, fix);
    None
}
