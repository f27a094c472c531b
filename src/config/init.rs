//! A new workspace: commented files that show every option, its default and why.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use tidegate_process::clock;

const MAIN: &str = include_str!("init/tidegate.yaml");
const SOURCE: &str = include_str!("init/source.yaml");
const DESTINATION: &str = include_str!("init/destination.yaml");
const PLUGIN: &str = include_str!("init/plugin.yaml.example");
const SYNC: &str = include_str!("init/sync.yaml");
const FUNCTION: &str = include_str!("init/function.yaml.example");
const DOMAIN: &str = include_str!("init/domain.yaml.example");
const EVENT: &str = include_str!("init/event.yaml.example");

/// Files that hold write keys, or are the place for secrets: only their owner reads them.
const OWN_EYES: [&str; 3] = ["tidegate.yaml", "sources/", "destinations/"];

/// What [`init`] made.
#[derive(Debug)]
pub struct WrittenWorkspace {
    pub files: Vec<PathBuf>,
    /// The new source's key; shown once, kept in its file.
    pub write_key: String,
}

fn named(error: &std::io::Error, path: &Path) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
}

/// Writes a workspace into `dir`, which may exist but must hold no `tidegate.yaml`.
///
/// # Errors
/// A file cannot be written, or one of them is there already (nothing is written over).
pub fn init(dir: &Path) -> std::io::Result<WrittenWorkspace> {
    let write_key = HEXLOWER.encode(&clock::random::<16>());
    let next = HEXLOWER.encode(&clock::random::<16>());
    let source = SOURCE.replace("WRITE_KEY", &write_key).replace("ANOTHER_KEY", &next);
    let files = [
        ("tidegate.yaml", MAIN),
        ("sources/web.yaml", &source),
        ("destinations/warehouse.yaml", DESTINATION),
        ("destinations/plugin.yaml.example", PLUGIN),
        ("syncs/web-to-warehouse.yaml", SYNC),
        ("functions/example.yaml.example", FUNCTION),
        ("events/domains/shop/domain.yaml.example", DOMAIN),
        ("events/domains/shop/order-completed.yaml.example", EVENT),
        (".gitignore", "/data\n"),
    ];
    let mut written = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| named(&error, parent))?;
        }
        let mut options = std::fs::OpenOptions::new();
        if OWN_EYES.iter().any(|own| name.starts_with(own)) {
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
    Ok(WrittenWorkspace { files: written, write_key })
}
