//! `tidegate export`: the catalog of a running server as a folder, which says the same.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_api_types::object::{ObjectQuery, ShownObject};
use tidegate_api_types::stream::STREAM_KINDS;
use tidegate_catalog::ObjectKind;

use super::object::CatalogArgs;
use super::{CommandDone, CommandFailure, runtime, style};
use crate::config::{FILES_FIELD, folder_file, is_masked};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Write keys and values of secrets are on the server alone: where one stood in a file, its fingerprint stands in\nthe new one. Put a ${NAME} or the value there before you run the folder. The settings of tidegate.yaml are not in the catalog."
)]
pub(super) struct ExportArgs {
    /// A new folder, or an empty one
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    catalog: CatalogArgs,
}

/// Kinds that are in files.
const KINDS: [ObjectKind; 9] = [
    ObjectKind::Source,
    ObjectKind::Function,
    ObjectKind::Lookup,
    ObjectKind::Destination,
    ObjectKind::Sync,
    ObjectKind::Alert,
    ObjectKind::Domain,
    ObjectKind::Component,
    ObjectKind::Event,
];
const MAIN: &str = "# Settings of the server: `tidegate init` writes a file that shows them all.\n";

/// One file to be written.
struct ExportedFile {
    path: String,
    text: String,
}

pub(super) fn run(args: &ExportArgs, json: bool) -> CommandDone {
    if std::fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty, and nothing is written over; name a new folder", args.dir.display());
        return Err(CommandFailure::Failed(message));
    }
    let (client, waiting) = (args.catalog.client()?, runtime()?);
    let (mut files, mut missing, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent: BTreeMap<String, String> = BTreeMap::new();
    for kind in KINDS {
        for mut object in waiting.block_on(client.objects(kind.name(), &ObjectQuery::default()))? {
            for (path, sha256) in take_files(&mut object.spec) {
                let fits = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
                let is_other = sent.get(&path).is_some_and(|known| *known != sha256);
                if !fits || is_other || is_yaml(&path) {
                    left_out.push(format!("file {path} of {} {}", object.kind, object.name));
                } else {
                    sent.insert(path, sha256);
                }
            }
            match file(kind, &object) {
                Some(file) => {
                    missing.extend(missing_in(kind, &file.path, &object.spec));
                    files.push(file);
                }
                None => left_out.push(format!("{} {}", object.kind, object.name)),
            }
        }
    }
    write(&args.dir, "tidegate.yaml", MAIN.as_bytes())?;
    for file in &files {
        write(&args.dir, &file.path, file.text.as_bytes())?;
    }
    for (path, sha256) in &sent {
        write(&args.dir, path, &waiting.block_on(client.blob(sha256))?)?;
    }
    if json {
        let paths: Vec<&str> =
            files.iter().map(|file| file.path.as_str()).chain(sent.keys().map(String::as_str)).collect();
        println!("{}", json!({ "files": paths, "missing": missing, "left_out": left_out }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} objects are in {}", style::count(files.len() as u64), args.dir.display());
    for path in sent.keys() {
        println!("  with the file {}", style::plain(path, 200));
    }
    for line in &missing {
        println!("  to be filled in: {}", style::plain(line, 200));
    }
    for name in &left_out {
        println!("  left out, it cannot be in a file of that name: {}", style::plain(name, 200));
    }
    Ok(ExitCode::SUCCESS)
}

/// The file of an object; none where its name cannot be one.
fn file(kind: ObjectKind, object: &ShownObject) -> Option<ExportedFile> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
    };
    let is_contract = matches!(kind, ObjectKind::Domain | ObjectKind::Component | ObjectKind::Event);
    let parts: Vec<&str> = object.name.split('/').collect();
    let fits = parts.iter().all(|part| is_plain(part)) && (parts.len() == 1) != is_contract;
    let path = folder_file(kind, &object.name).filter(|_| fits)?;
    // JSON is YAML.
    let text = serde_json::to_string_pretty(&object.spec).ok()? + "\n";
    Some(ExportedFile { path, text })
}

/// Takes the field out that says which files were sent with an object: each path with its hash.
fn take_files(spec: &mut Value) -> Vec<(String, String)> {
    let files = spec.as_object_mut().and_then(|fields| fields.remove(FILES_FIELD));
    let Some(Value::Object(files)) = files else { return Vec::new() };
    files.into_iter().filter_map(|(path, sha256)| Some((path, sha256.as_str()?.to_owned()))).collect()
}

fn is_yaml(path: &str) -> bool {
    [".yaml", ".yml"].iter().any(|ending| path.ends_with(ending))
}

/// What the server has and the file has not.
fn missing_in(kind: ObjectKind, path: &str, spec: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    // What is signed needs no key, and to a stream nobody sends.
    let is_signed = spec.get("preset").or_else(|| spec.get("hmac")).is_some();
    let is_stream = spec.get("kind").and_then(Value::as_str).is_some_and(|kind| STREAM_KINDS.contains(&kind));
    let has_key = spec.get("write_key").or_else(|| spec.get("write_keys")).is_some();
    if kind == ObjectKind::Source && !has_key && !is_signed && !is_stream {
        missing.push(format!("{path}: `write_key`"));
    }
    fingerprints(spec, &mut Vec::new(), &mut |place| missing.push(format!("{path}: `{place}`")));
    missing
}

fn fingerprints<'v>(value: &'v Value, place: &mut Vec<&'v str>, found: &mut dyn FnMut(String)) {
    match value {
        Value::String(text) if is_masked(text) => found(place.join(".")),
        Value::Array(items) => items.iter().for_each(|item| fingerprints(item, place, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                place.push(name);
                fingerprints(value, place, found);
                place.pop();
            }
        }
        _ => {}
    }
}

/// Files may hold what only their owner should read.
fn write(dir: &Path, path: &str, content: &[u8]) -> Result<(), CommandFailure> {
    let path = dir.join(path);
    let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(content)).map_err(failed)
}
