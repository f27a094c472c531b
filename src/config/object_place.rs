//! The fields that say how objects are reached, which a lake and files of events have in common.

use std::path::Path;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectOptions, ObjectPlace};

use super::around::Around;
use super::surroundings::ObjectInputs;

/// Files of credentials that are read once. Those of tokens are read again by whoever uses them, for tokens end.
const KEY_FILES: [&str; 2] = ["service_account_path", "google_application_credentials"];

/// What the store of `place` is told: `names` of the file's fields, then the environment. `what` is in the place (`a lake`).
pub(super) fn options(
    fields: &mut Fields<'_>,
    (place, what): (Option<&ObjectPlace>, &str),
    names: &[&'static str],
    around: &Around<'_>,
) -> ObjectOptions {
    let mut options = ObjectOptions::default();
    // Every field is asked for whatever the place is, so that a wrong one is told by name.
    for field in names.iter().copied() {
        let Some(value) = fields.text(field) else { continue };
        if let Some(place) = place.filter(|place| !place.takes(field)) {
            let message = format!("`{field}` says nothing to {what} in {place}");
            fields.problem(field, message, "take it away");
        } else if !KEY_FILES.contains(&field) || around.inputs.secret_file(fields, field, &value).is_some() {
            options.set(field, value);
        }
    }
    if let Some(place) = place {
        from_environment(place, &mut options, around.inputs);
    }
    for key in KEY_FILES {
        if let Some(path) = options.get(key) {
            around.inputs.depends_on(Path::new(path), file::SECRET_BYTES_MAX);
        }
    }
    options
}

/// How a bucket is reached; a folder is reached without.
pub(super) fn web(
    fields: &mut Fields<'_>,
    around: &Around<'_>,
    (place, what): (Option<&ObjectPlace>, &str),
) -> WebSettings {
    let Some(place @ ObjectPlace::Folder(_)) = place else {
        return around.outgoing.of_destination(fields, around.inputs);
    };
    for field in ["ca_file", "proxy"] {
        if fields.text(field).is_some() {
            let message = format!("`{field}` says nothing to {what} in {place}");
            fields.problem(field, message, "take it away");
        }
    }
    WebSettings::default()
}

/// What the usual variables of the environment say, where the file says nothing. Credentials are never mixed: if the file
/// has any, all of them are from there.
fn from_environment(place: &ObjectPlace, options: &mut ObjectOptions, inputs: &ObjectInputs<'_>) {
    let (plain, secret): (&[_], &[_]) = match place {
        ObjectPlace::Folder(_) => (&[], &[]),
        ObjectPlace::S3 { .. } => (
            &[
                ("AWS_DEFAULT_REGION", "region"),
                ("AWS_REGION", "region"),
                ("AWS_ENDPOINT_URL", "endpoint"),
                ("AWS_ENDPOINT_URL_S3", "endpoint"),
            ],
            &[
                ("AWS_ACCESS_KEY_ID", "access_key_id"),
                ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
                ("AWS_SESSION_TOKEN", "session_token"),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file"),
                ("AWS_ROLE_ARN", "role_arn"),
                ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "container_credentials_relative_uri"),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "container_credentials_full_uri"),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "container_authorization_token_file"),
            ],
        ),
        ObjectPlace::Gcs { .. } => (&[], &[("GOOGLE_APPLICATION_CREDENTIALS", "google_application_credentials")]),
        ObjectPlace::Azure { .. } => (
            &[("AZURE_STORAGE_ACCOUNT_NAME", "account_name")],
            &[
                ("AZURE_STORAGE_ACCOUNT_KEY", "account_key"),
                ("AZURE_STORAGE_SAS_TOKEN", "sas_token"),
                ("AZURE_CLIENT_ID", "client_id"),
                ("AZURE_CLIENT_SECRET", "client_secret"),
                ("AZURE_TENANT_ID", "tenant_id"),
                ("AZURE_FEDERATED_TOKEN_FILE", "federated_token_file"),
            ],
        ),
    };
    let own = ["region", "endpoint", "account_name", "virtual_hosted_style_request"];
    let has_secret = place.options().iter().any(|option| !own.contains(option) && options.get(option).is_some());
    let stated: Vec<String> = options.iter().map(|(key, _)| key.to_owned()).collect();
    for (variable, key) in plain.iter().chain(secret.iter().filter(|_| !has_secret)) {
        let said = stated.iter().any(|own| own == key);
        if let Some(value) = inputs.ambient(variable).filter(|value| !value.is_empty() && !said) {
            options.set(key, value);
        }
    }
}
