//! JavaScript that was written for another product becomes a project: the file stays as it is, and a wrapper beside it
//! speaks to Tidegate. What of it cannot run here is named now, with its line, by a parser of JavaScript.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::build::WIT;
use super::template::{self, NewError, put};
use super::tool::{NODE, ToolError, Workbench, run};
use crate::plugin::{Kind, Language};

/// Whose functions can be brought along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Hightouch,
    Rudderstack,
    Segment,
}

impl Product {
    pub const ALL: [(&str, Self); 3] =
        [("hightouch", Self::Hightouch), ("rudderstack", Self::Rudderstack), ("segment", Self::Segment)];

    /// Functions that the product calls; a file must have one of them.
    const fn entries(self) -> &'static [&'static str] {
        match self {
            Self::Hightouch => &["transformEvents", "transformEvent"],
            Self::Rudderstack => &["transformEvent", "transformBatch"],
            Self::Segment => &["onTrack", "onIdentify", "onPage", "onScreen", "onGroup", "onAlias"],
        }
    }

    /// Names that the product puts into the file's world, and the wrapper too.
    const fn provided(self) -> &'static [&'static str] {
        match self {
            Self::Hightouch => &[],
            Self::Rudderstack => &["log"],
            Self::Segment => {
                &["DropEvent", "EventNotSupported", "InvalidEventPayload", "ValidationError", "RetryError"]
            }
        }
    }

    const fn wrapper(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Hightouch => (include_str!("guest/foreign/hightouch.js"), None),
            Self::Rudderstack => (
                include_str!("guest/foreign/rudderstack.js"),
                Some(include_str!("guest/foreign/rudderstack-provided.js")),
            ),
            Self::Segment => {
                (include_str!("guest/foreign/segment.js"), Some(include_str!("guest/foreign/segment-provided.js")))
            }
        }
    }
}

/// Part of a file that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    pub line: u64,
    pub what: String,
    pub why: String,
}

/// A project that was made from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Functions of the file that will be called.
    pub entries: Vec<String>,
    pub files: Vec<String>,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{}:{line}: {message}", file.display())]
    Syntax { file: PathBuf, line: u64, message: String },
    #[error("{}", .found.iter().map(|one| format!("{}:{}: {} cannot run here: {}", file.display(), one.line, one.what, one.why)).collect::<Vec<_>>().join("\n"))]
    Unsupported { file: PathBuf, found: Vec<Unsupported> },
    #[error("{} has none of the functions {}", file.display(), expected.join(", "))]
    NoEntry { file: PathBuf, expected: Vec<&'static str> },
    #[error(transparent)]
    New(#[from] NewError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("{} could not be read as JavaScript: {reason}", file.display())]
    Reader { file: PathBuf, reason: String },
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// The largest function that is taken.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Makes the project `name` in `dir` from `file`.
///
/// # Errors
/// Everything that cannot run here, each with its line.
pub fn import(
    product: Product,
    file: &Path,
    dir: &Path,
    name: &str,
    workbench: &Workbench,
    progress: &mut dyn FnMut(&str),
) -> Result<Imported, ImportError> {
    template::check(dir, name)?;
    let failed = |cause| ImportError::File { path: file.to_owned(), cause };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other("larger than any function")));
    }
    let original = crate::file::read_text(file, crate::file::TEXT_BYTES_MAX).map_err(failed)?;
    let found = read(product, file, workbench, progress)?;
    let listed = |name: &str| -> Vec<String> {
        found[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (functions, exported) = (listed("functions"), listed("exported"));
    let mut entries: Vec<String> = product.entries().iter().map(|entry| (*entry).to_owned()).collect();
    entries.retain(|entry| functions.contains(entry) || exported.contains(entry));
    if entries.is_empty() {
        return Err(ImportError::NoEntry { file: file.to_owned(), expected: product.entries().to_vec() });
    }
    let hidden: Vec<&str> =
        entries.iter().map(String::as_str).filter(|entry| !exported.iter().any(|e| e == entry)).collect();
    // Behind the last line, so that every line keeps its number.
    let original = if hidden.is_empty() {
        original
    } else {
        format!("{original}\n// Added: the functions that the wrapper calls.\nexport {{ {} }};\n", hidden.join(", "))
    };
    let files = write(product, dir, name, &original)?;
    Ok(Imported { entries, files })
}

fn write(product: Product, dir: &Path, name: &str, original: &str) -> Result<Vec<String>, NewError> {
    let (wrapper, provided) = product.wrapper();
    let settings = match product {
        Product::Hightouch => "  additionalProperties: false\n  properties: {}\n",
        Product::Rudderstack => concat!(
            "  additionalProperties: false\n  properties:\n    source_id: {type: string}\n    source_name: {type: string}\n",
            "    source_type: {type: string}\n    destination_id: {type: string}\n    destination_type: {type: string}\n"
        ),
        Product::Segment => "  additionalProperties: true\n",
    };
    let product_name = Product::ALL.iter().find(|(_, known)| *known == product).map_or("", |(name, _)| name);
    let manifest = format!(
        "name: {name}\nkind: transform\napi: 0.1.0\nlanguage: js\ndescription: A function written for {product_name}.\n\
         settings:\n  type: object\n{settings}"
    );
    let fixture = "[\n  {\"type\": \"track\", \"messageId\": \"m-1\", \"event\": \"Order Completed\", \"userId\": \"u-1\", \
                   \"properties\": {\"email\": \"ada@example.com\", \"revenue\": 19.9}},\n  {\"type\": \"identify\", \
                   \"messageId\": \"m-2\", \"userId\": \"u-1\", \"traits\": {\"email\": \"ada@example.com\"}}\n]\n";
    let readme = template::readme("src/original.js", Language::Js, Kind::Transform).replace("{{name}}", name);
    let mut files = vec![
        ("plugin.yaml", manifest.as_str()),
        ("src/index.js", wrapper),
        ("src/original.js", original),
        ("fixtures/one.in.json", fixture),
        ("wit/plugin.wit", WIT),
        (".gitignore", include_str!("../../templates/common/gitignore")),
        ("tidegate.d.ts", include_str!("../../sdk/js/tidegate.d.ts")),
        ("README.md", readme.as_str()),
    ];
    files.extend(provided.map(|text| ("src/provided.js", text)));
    for (path, text) in &files {
        put(&dir.join(path), text)?;
    }
    Ok(files.into_iter().map(|(path, _)| path.to_owned()).collect())
}

/// What the parser says of the file, after everything that stands in the way was refused.
fn read(
    product: Product,
    file: &Path,
    workbench: &Workbench,
    progress: &mut dyn FnMut(&str),
) -> Result<Value, ImportError> {
    let modules = workbench.npm(progress)?;
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", include_str!("guest/foreign/read.mjs"), "--"]);
    node.arg(&modules).arg(file).args(product.provided());
    let ran = run(&mut node, progress).map_err(|_| ToolError::Missing { tool: "node", fix: NODE })?;
    let unreadable = |reason| ImportError::Reader { file: file.to_owned(), reason };
    let found: Value = serde_json::from_str(&ran.stdout).map_err(|_| unreadable(ran.last_lines(8)))?;
    if let Some(error) = found["error"].as_object() {
        let line = error["line"].as_u64().unwrap_or(1);
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        return Err(ImportError::Syntax { file: file.to_owned(), line, message });
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let unsupported: Vec<Unsupported> = found["unsupported"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| Unsupported {
            line: one["line"].as_u64().unwrap_or(1),
            what: text(&one["what"]),
            why: text(&one["why"]),
        })
        .collect();
    if unsupported.is_empty() {
        Ok(found)
    } else {
        Err(ImportError::Unsupported { file: file.to_owned(), found: unsupported })
    }
}
