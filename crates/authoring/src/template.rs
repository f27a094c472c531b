//! New projects: real files under `templates/`, compiled in.

use std::path::{Path, PathBuf};

use tidegate_plugin::{Language, ManifestKind};

use super::build::{WIT, bindings_of};
use super::component::EncodeError;

/// Files of every project of a kind. The fields world edits what the transform world replaces, so they share fixtures.
const fn common(kind: ManifestKind) -> &'static [(&'static str, &'static str)] {
    const FUNCTION: [(&str, &str); 3] = [
        ("fixtures/one.in.json", include_str!("../../../templates/common/transform/fixtures/one.in.json")),
        ("fixtures/one.out.json", include_str!("../../../templates/common/transform/fixtures/one.out.json")),
        ("fixtures/settings.json", include_str!("../../../templates/common/transform/fixtures/settings.json")),
    ];
    match kind {
        ManifestKind::Transform | ManifestKind::Fields => &FUNCTION,
        ManifestKind::Destination => &[
            ("fixtures/one.in.json", include_str!("../../../templates/common/destination/fixtures/one.in.json")),
            (
                "fixtures/one.request.json",
                include_str!("../../../templates/common/destination/fixtures/one.request.json"),
            ),
            (
                "fixtures/one.responses.json",
                include_str!("../../../templates/common/destination/fixtures/one.responses.json"),
            ),
        ],
    }
}

const fn manifest(kind: ManifestKind) -> &'static str {
    match kind {
        ManifestKind::Transform => include_str!("../../../templates/common/transform/plugin.yaml"),
        ManifestKind::Fields => include_str!("../../../templates/common/fields/plugin.yaml"),
        ManifestKind::Destination => include_str!("../../../templates/common/destination/plugin.yaml"),
    }
}

/// The author's own file, which the build starts from.
const fn source(language: Language, kind: ManifestKind) -> (&'static str, &'static str) {
    macro_rules! by_kind {
        ($place:literal, $language:literal, $file:literal) => {
            match kind {
                ManifestKind::Transform => {
                    ($place, include_str!(concat!("../../../templates/", $language, "/transform/", $file)))
                }
                ManifestKind::Fields => {
                    ($place, include_str!(concat!("../../../templates/", $language, "/fields/", $file)))
                }
                ManifestKind::Destination => {
                    ($place, include_str!(concat!("../../../templates/", $language, "/destination/", $file)))
                }
            }
        };
    }
    match language {
        Language::Js => by_kind!("src/index.js", "js", "index.js"),
        Language::Ts => by_kind!("src/index.ts", "ts", "index.ts"),
        Language::Rust => by_kind!("src/lib.rs", "rust", "lib.rs"),
        Language::Python => by_kind!("app.py", "python", "app.py"),
        Language::Go => by_kind!("main.go", "go", "main.go"),
        Language::C => by_kind!("plugin.c", "c", "plugin.c"),
    }
}

/// What the tools of a language want beside it.
const fn around(language: Language) -> &'static [(&'static str, &'static str)] {
    const TYPES: &str = include_str!("../../../sdk/js/tidegate.d.ts");
    match language {
        Language::Js => &[
            ("package.json", include_str!("../../../templates/js/package.json")),
            ("jsconfig.json", include_str!("../../../templates/js/jsconfig.json")),
            ("tidegate.d.ts", TYPES),
        ],
        Language::Ts => &[
            ("package.json", include_str!("../../../templates/ts/package.json")),
            ("tsconfig.json", include_str!("../../../templates/ts/tsconfig.json")),
            ("tidegate.d.ts", TYPES),
        ],
        Language::Rust => &[
            ("Cargo.toml", include_str!("../../../templates/rust/Cargo.toml")),
            ("sdk/Cargo.toml", include_str!("../../../sdk/rust/Cargo.toml")),
            ("sdk/src/lib.rs", include_str!("../../../sdk/rust/src/lib.rs")),
            ("sdk/src/collector.rs", include_str!("../../../sdk/rust/src/collector.rs")),
            ("sdk/src/commerce.rs", include_str!("../../../sdk/rust/src/commerce.rs")),
            ("sdk/src/delivery.rs", include_str!("../../../sdk/rust/src/delivery.rs")),
            ("sdk/src/destination.rs", include_str!("../../../sdk/rust/src/destination.rs")),
            ("sdk/src/event.rs", include_str!("../../../sdk/rust/src/event.rs")),
            ("sdk/src/heap.rs", include_str!("../../../sdk/rust/src/heap.rs")),
            ("sdk/src/people.rs", include_str!("../../../sdk/rust/src/people.rs")),
            (".cargo/config.toml", include_str!("../../../functions/.cargo/config.toml")),
        ],
        Language::Python => &[("requirements.txt", include_str!("../../../templates/python/requirements.txt"))],
        Language::Go => &[("go.mod", include_str!("../../../templates/go/go.mod.txt"))],
        Language::C => &[
            ("json.h", include_str!("../../../sdk/c/json.h")),
            ("json.c", include_str!("../../../sdk/c/json.c")),
            ("tidegate.h", include_str!("../../../sdk/c/tidegate.h")),
            ("tidegate.c", include_str!("../../../sdk/c/tidegate.c")),
        ],
    }
}

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error("{name:?} cannot be the name of a plugin; use up to 63 of a-z, 0-9 and -")]
    Name { name: String },
    #[error("{} is there already and is not empty", dir.display())]
    Occupied { dir: PathBuf },
    #[error(transparent)]
    Bindings(#[from] EncodeError),
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// Makes the project `name` in `dir`, which must be empty or absent; answers its files.
///
/// # Errors
/// The name is none, the folder is in use, or the disk refuses.
pub fn create(dir: &Path, name: &str, language: Language, kind: ManifestKind) -> Result<Vec<String>, NewError> {
    check(dir, name)?;
    let (entry, text) = source(language, kind);
    let mut files = vec![
        ("plugin.yaml".to_owned(), manifest(kind).to_owned()),
        (entry.to_owned(), text.to_owned()),
        ("README.md".to_owned(), readme(entry, language, kind)),
        (".gitignore".to_owned(), include_str!("../../../templates/common/gitignore").to_owned()),
        ("wit/plugin.wit".to_owned(), WIT.to_owned()),
    ];
    let more = common(kind).iter().chain(around(language));
    files.extend(more.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    for (path, bytes) in bindings_of(language, kind)? {
        // The object with the component's type is made anew by each build.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push((path, text));
        }
    }
    let mut written = Vec::new();
    for (path, text) in files {
        let text = text.replace("{{name}}", name).replace("{{language}}", language.as_str());
        put(&dir.join(&path), &text)?;
        written.push(path);
    }
    Ok(written)
}

/// The name is one and the folder is free.
pub(super) fn check(dir: &Path, name: &str) -> Result<(), NewError> {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || name.len() > 63 || !name.bytes().all(fits) {
        return Err(NewError::Name { name: name.to_owned() });
    }
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(NewError::Occupied { dir: dir.to_owned() });
    }
    Ok(())
}

pub(super) fn readme(entry: &str, language: Language, kind: ManifestKind) -> String {
    let language = match language {
        Language::Js => "JavaScript",
        Language::Ts => "TypeScript",
        Language::Rust => "Rust",
        Language::Python => "Python",
        Language::Go => "Go",
        Language::C => "C",
    };
    let (command, purpose) = match kind {
        ManifestKind::Transform => ("function", "A Tidegate function: events in, events out."),
        ManifestKind::Fields => {
            ("function", "A Tidegate function of the fast kind: it reads and writes fields in place.")
        }
        ManifestKind::Destination => ("destination", "A Tidegate destination: events in, HTTP requests out."),
    };
    include_str!("../../../templates/common/README.md")
        .replace("{{language}}", language)
        .replace("{{command}}", command)
        .replace("{{purpose}}", purpose)
        .replace(
            "{{built}}",
            if language == "Rust" {
                "target/components/{{name}}.component.wasm"
            } else {
                "build/{{name}}.component.wasm"
            },
        )
        .replace("{{entry}}", entry)
}

pub(super) fn put(path: &Path, text: &str) -> Result<(), NewError> {
    let failed = |cause| NewError::File { path: path.to_owned(), cause };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Project;
    use super::*;

    #[test]
    fn every_template_is_a_project() {
        for (word, language) in Language::ALL {
            for (_, kind) in ManifestKind::ALL {
                if kind == ManifestKind::Fields && matches!(language, Language::Js | Language::Ts) {
                    continue;
                }
                let dir = tempfile::tempdir().unwrap();
                let files = create(dir.path(), "my-plugin", language, kind).unwrap();
                let project = Project::read(dir.path()).unwrap();
                assert_eq!((project.manifest.name.as_str(), project.kind()), ("my-plugin", kind));
                assert_eq!(project.manifest.language, Some(language));
                assert!(project.entry().is_file(), "{word} {files:?}");
                for file in &files {
                    let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
                    assert!(!text.contains("{{name}}") && !text.contains("{{language}}"), "{file}");
                }
                let again = create(dir.path(), "my-plugin", language, kind).unwrap_err();
                assert!(matches!(again, NewError::Occupied { .. }), "{again}");
            }
        }
        let refused = create(Path::new("nowhere"), "My Plugin", Language::Js, ManifestKind::Transform).unwrap_err();
        assert!(matches!(refused, NewError::Name { .. }), "{refused}");
    }
}
