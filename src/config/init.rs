//! A new workspace: commented files that show every option, its default and why.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use tidegate_process::clock;

const MAIN: &str = include_str!("init/tidegate.yaml");
const SOURCE: &str = include_str!("init/source.yaml");
const WEBHOOK: &str = include_str!("init/webhook.yaml.example");
const KAFKA: &str = include_str!("init/kafka.yaml.example");
const DESTINATION: &str = include_str!("init/destination.yaml");
const PLUGIN: &str = include_str!("init/plugin.yaml.example");
const SYNC: &str = include_str!("init/sync.yaml");
const FUNCTION: &str = include_str!("init/function.yaml.example");
const DOMAIN: &str = include_str!("init/domain.yaml.example");
const EVENT: &str = include_str!("init/event.yaml.example");
const ALERT: &str = include_str!("init/alert.yaml.example");

/// Files that hold write keys, or are the place for secrets: only their owner reads them.
const OWN_EYES: [&str; 4] = ["tidegate.yaml", "sources/", "destinations/", "alerts/"];

/// What [`init`] made.
#[derive(Debug)]
pub struct WrittenWorkspace {
    pub files: Vec<PathBuf>,
    /// The new source's key; shown once, kept in its file.
    pub write_key: String,
    /// Of each further environment, the key of its source.
    pub environments: BTreeMap<String, String>,
}

/// The environment that is written beside the server's own folder.
const STAGING: &str = "staging";
/// How `tidegate.yaml` says that it is there.
const STAGING_SAID: [&str; 2] = ["# environments:\n#   staging: {}", "environments:\n  staging: {}"];

fn named(error: &std::io::Error, path: &Path) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
}

/// The file of a source with a new key, and that key.
fn source() -> (String, String) {
    let [key, next] = [(); 2].map(|()| HEXLOWER.encode(&clock::random::<16>()));
    (SOURCE.replace("WRITE_KEY", &key).replace("ANOTHER_KEY", &next), key)
}

/// Writes a workspace into `dir`, which may exist but must hold no `tidegate.yaml`; with an environment `staging` beside it, where that is wanted.
///
/// # Errors
/// A file cannot be written, or one of them is there already (nothing is written over).
pub fn init(dir: &Path, with_environments: bool) -> std::io::Result<WrittenWorkspace> {
    let [commented, said] = STAGING_SAID;
    let main = if with_environments { MAIN.replace(commented, said) } else { MAIN.to_owned() };
    let ((own, write_key), (of_staging, staging_key)) = (source(), source());
    let mut files = vec![
        ("tidegate.yaml", main.as_str()),
        ("sources/web.yaml", own.as_str()),
        ("sources/webhook.yaml.example", WEBHOOK),
        ("sources/kafka.yaml.example", KAFKA),
        ("destinations/warehouse.yaml", DESTINATION),
        ("destinations/plugin.yaml.example", PLUGIN),
        ("syncs/web-to-warehouse.yaml", SYNC),
        ("functions/example.yaml.example", FUNCTION),
        ("events/domains/shop/domain.yaml.example", DOMAIN),
        ("events/domains/shop/order-completed.yaml.example", EVENT),
        ("alerts/sync-failing.yaml.example", ALERT),
        (".gitignore", "/data\n"),
    ];
    let mut environments = BTreeMap::new();
    if with_environments {
        files.extend([
            ("environments/staging/sources/web.yaml", of_staging.as_str()),
            ("environments/staging/destinations/warehouse.yaml", DESTINATION),
            ("environments/staging/syncs/web-to-warehouse.yaml", SYNC),
        ]);
        environments.insert(STAGING.to_owned(), staging_key);
    }
    let mut written = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| named(&error, parent))?;
        }
        let mut options = std::fs::OpenOptions::new();
        let of_folder = name.strip_prefix("environments/staging/").unwrap_or(name);
        if OWN_EYES.iter().any(|own| of_folder.starts_with(own)) {
            options.mode(0o600);
        }
        let mut file = match options.write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if name == ".gitignore" && error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let message = format!(
                    "{} is there already, and nothing is written over; name a new folder, or run `tidegate check {}`",
                    path.display(),
                    dir.display()
                );
                return Err(std::io::Error::new(error.kind(), message));
            }
            Err(error) => return Err(named(&error, &path)),
        };
        file.write_all(text.as_bytes()).map_err(|error| named(&error, &path))?;
        written.push(path);
    }
    Ok(WrittenWorkspace { files: written, write_key, environments })
}
