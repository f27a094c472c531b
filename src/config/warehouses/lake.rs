//! `kind: lake`.

use std::path::Path;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_net::WebSettings;
use tidegate_warehouse_lake::{self as lake, LakePlace, Partition};

use super::limits;
use crate::config::around::Around;
use crate::config::surroundings::ObjectInputs;

/// Files of credentials that are read once. Those of tokens are read again by whoever uses them, for tokens end.
const KEY_FILES: [&str; 2] = ["service_account_path", "google_application_credentials"];

pub(super) fn folder(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<lake::LakeSettings> {
    let place = place(fields, around);
    let limits = limits(fields, &lake::CAPABILITIES);
    let mut options = lake::Options::default();
    // Every field is asked for whatever the place is, so that a wrong one is told by name.
    let mut known: Vec<&'static str> = vec!["endpoint"];
    for other in ["s3://b", "gs://b", "az://b"] {
        known.extend(LakePlace::parse(other).iter().flat_map(|place| place.options()));
    }
    for field in known {
        let Some(value) = fields.text(field) else { continue };
        if let Some(place) = place.as_ref().filter(|place| !place.takes(field)) {
            let message = format!("`{field}` says nothing to a lake in {place}");
            fields.problem(field, message, "take it away");
        } else if !KEY_FILES.contains(&field) || around.inputs.secret_file(fields, field, &value).is_some() {
            options.set(field, value);
        }
    }
    if let Some(place) = &place {
        from_environment(place, &mut options, around.inputs);
    }
    for key in KEY_FILES {
        if let Some(path) = options.get(key) {
            around.inputs.depends_on(Path::new(path), file::SECRET_BYTES_MAX);
        }
    }
    let web = web(fields, around, place.as_ref());
    let partitions = ["day", "hour", "none"].map(|word| (word, Partition::parse(word)));
    let partition = fields.word("partition", &partitions).flatten().unwrap_or(Partition::Day);
    let schema = fields.text("schema");
    let file_bytes = fields.bytes("file_bytes");
    let merge_files_min = fields.number("merge_files_min", 0);
    let (keep, orphan_age) = (fields.duration("keep"), fields.duration("orphan_age"));
    if let Some(age) = orphan_age.filter(|age| age.as_secs() < 3_600) {
        let message = format!("`orphan_age` is {} s, and files of a batch under way could be deleted", age.as_secs());
        fields.problem("orphan_age", message, "write `orphan_age: 1 h` or more");
    }
    let default = lake::LakeSettings::new(place?);
    Some(lake::LakeSettings {
        options,
        web,
        limits,
        partition,
        schema: schema.unwrap_or_else(|| default.schema.clone()),
        file_bytes: file_bytes.unwrap_or(default.file_bytes),
        merge_files_min: merge_files_min.unwrap_or(default.merge_files_min),
        keep: keep.unwrap_or(default.keep),
        orphan_age: orphan_age.unwrap_or(default.orphan_age),
        ..default
    })
}

/// How a bucket is reached; a folder is reached without.
fn web(fields: &mut Fields<'_>, around: &Around<'_>, place: Option<&LakePlace>) -> WebSettings {
    let Some(place @ LakePlace::Folder(_)) = place else {
        return around.outgoing.of_destination(fields, around.inputs);
    };
    for field in ["ca_file", "proxy"] {
        if fields.text(field).is_some() {
            let message = format!("`{field}` says nothing to a lake in {place}");
            fields.problem(field, message, "take it away");
        }
    }
    WebSettings::default()
}

/// `url`, which may be a folder relative to the workspace or to its data; the data's own folder when it is absent.
fn place(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<LakePlace> {
    let Some(url) = fields.text("url") else { return Some(LakePlace::Folder(around.data.join("lake"))) };
    if !url.contains("://") {
        return around.inputs.storage(fields, ("url", &url), around.data).map(LakePlace::Folder);
    }
    match LakePlace::parse(&url) {
        Ok(LakePlace::Folder(folder)) => {
            around.inputs.storage(fields, ("url", &url), around.data).map(|_| LakePlace::Folder(folder))
        }
        Ok(place) => Some(place),
        Err(message) => {
            let fix =
                "write `url: file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`";
            fields.problem("url", message, fix);
            None
        }
    }
}

/// What the usual variables of the environment say, where the file says nothing. Credentials are never mixed: if the file
/// has any, all of them are from there.
fn from_environment(place: &LakePlace, options: &mut lake::Options, inputs: &ObjectInputs<'_>) {
    let (plain, secret): (&[_], &[_]) = match place {
        LakePlace::Folder(_) => (&[], &[]),
        LakePlace::S3 { .. } => (
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
        LakePlace::Gcs { .. } => (&[], &[("GOOGLE_APPLICATION_CREDENTIALS", "google_application_credentials")]),
        LakePlace::Azure { .. } => (
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
