//! `schema_registry` and `schemas` of a source: by what its messages are read that do not say themselves what their bytes are.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_message::{
    MessageFormat, MessageSchema, REFERENCES_MAX, SCHEMA_BYTES_MAX, SCHEMAS_BYTES_MAX, SchemaPlace,
};
use tidegate_schema_registry::{RegistryLogin, SchemaRegistrySettings};

use crate::config::outgoing::Outgoing;
use crate::config::surroundings::ObjectInputs;

const REGISTRY: &str = "schema_registry";
const SCHEMAS: &str = "schemas";
const FILE_EXAMPLE: &str = "schemas/order.avsc";

/// Where a source has its schemas.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadSchemas {
    /// For the mapping.
    pub(super) place: SchemaPlace,
    /// The registry, where they are in one.
    pub(super) registry: Option<SchemaRegistrySettings>,
}

/// None where something is wrong, or a secret is not at hand.
pub(super) fn schemas(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
    format: MessageFormat,
) -> Option<ReadSchemas> {
    let (has_registry, has_file) = (f.has(REGISTRY), f.has(SCHEMAS));
    let registry = f.within(REGISTRY, |f| registry(f, inputs, outgoing)).flatten();
    let given = f.within(SCHEMAS, |f| given(f, inputs)).flatten();
    match (has_registry, has_file) {
        (true, true) => {
            let message = "`schema_registry` and `schemas` both say where the schemas are";
            f.problem(SCHEMAS, message, "take one of them away");
            None
        }
        (true, false) if !format.may_name_schema() => {
            let message = format!("messages of `format: {}` name no schema of a registry", word(format));
            f.problem(REGISTRY, message, "take `schema_registry` away, or `format`");
            None
        }
        (true, false) => Some(ReadSchemas { place: SchemaPlace::Registry, registry: Some(registry?) }),
        (false, true) => {
            let schema = given?;
            let is_open = matches!(format, MessageFormat::Detected | MessageFormat::CloudEvents);
            if !is_open && format.schema_kind() != Some(schema.kind()) {
                let message = format!("the file is a schema of {}, and `format` says {}", schema.kind(), word(format));
                f.problem(SCHEMAS, message, "take `format` away, or name another file");
                return None;
            }
            Some(ReadSchemas { place: SchemaPlace::Given(Arc::new(schema)), registry: None })
        }
        (false, false) if matches!(format, MessageFormat::Avro | MessageFormat::Protobuf) => {
            let message = format!("nothing says by which schema messages of `format: {}` are read", word(format));
            let fix = format!("add `{REGISTRY}: {{url: ..}}`, or `{SCHEMAS}: {{file: {FILE_EXAMPLE}}}`");
            f.problem("format", message, fix);
            None
        }
        (false, false) => Some(ReadSchemas::default()),
    }
}

fn word(format: MessageFormat) -> &'static str {
    MessageFormat::WORDS.iter().find(|(_, known)| *known == format).map_or("detected", |(word, _)| word)
}

/// `schema_registry`: where it is, and how it lets us in. None where something is wrong, or a secret is not at hand.
pub(in crate::config) fn registry(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
) -> Option<SchemaRegistrySettings> {
    let written = f.required("url", "https://registry.example.com");
    let (user, password, token) = (f.text("user"), f.text("password"), f.text("token"));
    let web = outgoing.of_destination(f, inputs);
    let written = written?;
    let Some(url) = SchemaRegistrySettings::address(&written) else {
        let message = "`schema_registry.url` is no address of a schema registry";
        f.problem(
            "url",
            message,
            "write `url: https://host:8081`; what lets us in is `user` and `password`, or `token`",
        );
        return None;
    };
    if f.has("token") && (f.has("user") || f.has("password")) {
        let message = "`schema_registry` has a token, and a user or a password as well";
        f.problem("token", message, "keep `token`, or `user` and `password`");
        return None;
    }
    if f.has("user") != f.has("password") {
        let (there, missing) = if f.has("user") { ("user", "password") } else { ("password", "user") };
        let message = format!("`schema_registry` has `{there}` without `{missing}`");
        f.problem(there, message, format!("add `{missing}`"));
        return None;
    }
    // A secret that is named and not at hand leaves nothing to be let in with.
    let login = if f.has("token") {
        RegistryLogin::Bearer(token?)
    } else if f.has("user") {
        RegistryLogin::Basic { user: user?, password: password? }
    } else {
        RegistryLogin::Open
    };
    Some(SchemaRegistrySettings { url, login, web })
}

/// The schema of a file.
fn given(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<MessageSchema> {
    let written = f.required("file", FILE_EXAMPLE);
    let message = f.text("message");
    let written = written?;
    let bytes = read(f, inputs, &written)?;
    let ending = Path::new(&written).extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let made = match ending.as_deref() {
        Some("avsc") => {
            if message.is_some() {
                f.problem("message", "a schema of Avro has no `message` to choose", "take `message` away");
                return None;
            }
            text(bytes).and_then(|text| MessageSchema::of_avro(&text))
        }
        _ => {
            let message = message.or_else(|| f.required("message", "shop.Order"))?;
            if ending.as_deref() == Some("proto") {
                text(bytes)
                    .and_then(|text| with_imports(inputs, &written, text))
                    .and_then(|(main, files)| MessageSchema::of_protobuf(&main, files, &message))
            } else {
                MessageSchema::of_descriptor_set(&bytes, &message)
            }
        }
    };
    match made {
        Ok(schema) => Some(schema),
        Err(reason) => {
            let message = format!("the schema in {} cannot be used: {reason}", shortened(&written, QUOTED_CHARS_MAX));
            let fix =
                "name an .avsc of Avro, a .proto, or what `protoc --include_imports -o FILE` or `buf build` wrote";
            f.problem("file", message, fix);
            None
        }
    }
}

/// The text of a file.
pub(in crate::config) fn text(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())?;
    Ok(file::without_mark(&text).to_owned())
}

/// What is in the file that `file` names. None where it cannot be read, which is noted.
pub(in crate::config) fn read(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, written: &str) -> Option<Vec<u8>> {
    let path = inputs.place(f, "file", written)?;
    let bytes = file::stays_within(inputs.dir(), &path).and_then(|()| inputs.read(&path, SCHEMAS_BYTES_MAX as u64));
    match bytes {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let message = format!("the file {} cannot be read: {error}", path.display());
            f.problem("file", message, "write a path from the workspace's folder, or put the file there");
            None
        }
    }
}

/// The name of a `.proto`, and its text and those of what it imports by their names. Imports are looked for beside it and in the folders
/// around it, up to that of the workspace.
fn with_imports(
    inputs: &ObjectInputs<'_>,
    written: &str,
    text: String,
) -> Result<(String, BTreeMap<String, String>), String> {
    let name = Path::new(written).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Nothing that it imports is called so.
    let main = format!("source/{name}");
    let mut open = MessageSchema::imports_of_protobuf(&main, &text)?;
    let mut files = BTreeMap::from([(main.clone(), text)]);
    while let Some(name) = open.pop() {
        if files.contains_key(&name) {
            continue;
        }
        if inputs.is_of_catalog() {
            let fix = "name what `protoc --include_imports -o FILE` wrote instead, which holds its imports";
            return Err(format!("it imports {name:?}, which was not sent with it; {fix}"));
        }
        if files.len() > REFERENCES_MAX {
            return Err(format!("it imports more than {REFERENCES_MAX} files"));
        }
        let found = imported(inputs, written, &name)?;
        open.extend(MessageSchema::imports_of_protobuf(&name, &found)?);
        files.insert(name, found);
    }
    Ok((main, files))
}

fn imported(inputs: &ObjectInputs<'_>, written: &str, name: &str) -> Result<String, String> {
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("it imports {name:?}, which is no path from a folder on"));
    }
    for folder in Path::new(written).ancestors().skip(1) {
        let path = inputs.dir().join(folder).join(name);
        let bytes = file::stays_within(inputs.dir(), &path).and_then(|()| inputs.read(&path, SCHEMA_BYTES_MAX as u64));
        match bytes {
            Ok(bytes) => return text(bytes).map_err(|reason| format!("{name}: {reason}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        }
    }
    Err(format!("it imports {name:?}, which is neither beside it nor in a folder around it"))
}
