//! JavaScript that was written for another product becomes a project: the file stays as it is, and a wrapper beside it
//! speaks to Tidegate. What of it cannot run here is named now, with its line, by a parser of JavaScript.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_plugin::{Language, ManifestKind};

use super::build::WIT;
use super::template::{self, NewError, put};
use super::tool::{NODE, ToolError, Workbench, run};

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
            Self::Rudderstack => &["transformEvent", "transformBatch", "transform"],
            Self::Segment => &["onTrack", "onIdentify", "onPage", "onScreen", "onGroup", "onAlias"],
        }
    }

    /// Functions that the product calls and the wrapper does not: there are no such events here, and no batches.
    const fn uncalled(self) -> &'static [&'static str] {
        match self {
            Self::Hightouch | Self::Rudderstack => &[],
            Self::Segment => &["onDelete", "onBatch"],
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

/// What a transformation of RudderStack finds in its metadata: said by the event, or by settings in snake case.
const OF_EVENT: [&str; 4] = ["messageId", "eventName", "eventType", "receivedAt"];
const OF_SETTINGS: [&str; 16] = [
    "sourceId",
    "sourceName",
    "sourceType",
    "sourceCategory",
    "sourceDefinitionId",
    "originalSourceId",
    "destinationId",
    "destinationName",
    "destinationType",
    "destinationDefinitionId",
    "workspaceId",
    "namespace",
    "trackingPlanId",
    "trackingPlanVersion",
    "transformationId",
    "transformationVersionId",
];

/// The functions of a transformation of RudderStack, of which the wrapper calls the first that there is.
const CALLED: [&str; 3] = ["transformBatch", "transformEvent", "transform"];

/// A function of another product.
#[derive(Debug, Clone)]
pub struct Foreign<'a> {
    pub product: Product,
    pub file: &'a Path,
    /// Names that the file imports, and the files that they stand for.
    pub libraries: &'a [(String, PathBuf)],
}

/// Part of a file that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    pub file: PathBuf,
    pub line: u64,
    pub what: String,
    pub why: String,
}

/// A project that was made from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Functions of the file that will be called.
    pub entries: Vec<String>,
    /// Functions of the file that its product calls and that are never called here.
    pub uncalled: Vec<String>,
    pub files: Vec<String>,
    /// Settings that it needs: what it asks of its metadata and no event says.
    pub settings: Vec<String>,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{}:{line}: {message}", file.display())]
    Syntax { file: PathBuf, line: u64, message: String },
    #[error("{}", .found.iter().map(|one| format!("{}:{}: {} cannot run here: {}", one.file.display(), one.line, one.what, one.why)).collect::<Vec<_>>().join("\n"))]
    Unsupported { found: Vec<Unsupported> },
    #[error("libraries are those of RudderStack; take --library away")]
    NoLibraries,
    #[error("--library {name} is given twice; an import has one file")]
    LibraryTwice { name: String },
    #[error("--library {name} is given, and no file imports {name:?}")]
    LibraryUnused { name: String },
    #[error("{name:?} cannot be the name of a library; write --library NAME=FILE with the name that the file imports")]
    LibraryName { name: String },
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

/// Makes the project `name` in `dir` from a function of another product.
///
/// # Errors
/// Everything that cannot run here, each with its file and line.
pub fn import(
    foreign: &Foreign<'_>,
    dir: &Path,
    name: &str,
    workbench: &Workbench,
    progress: &mut dyn FnMut(&str),
) -> Result<Imported, ImportError> {
    let Foreign { product, file, libraries } = *foreign;
    template::check(dir, name)?;
    if product != Product::Rudderstack && !libraries.is_empty() {
        return Err(ImportError::NoLibraries);
    }
    if let Some((name, _)) = libraries.iter().find(|(name, _)| !is_library_name(name)) {
        return Err(ImportError::LibraryName { name: name.clone() });
    }
    let is_twice = |at: usize| libraries[..at].iter().any(|(other, _)| *other == libraries[at].0);
    if let Some(at) = (1..libraries.len()).find(|at| is_twice(*at)) {
        return Err(ImportError::LibraryTwice { name: libraries[at].0.clone() });
    }
    let original = text_of(file)?;
    let mut reader = ImportReader { foreign, modules: workbench.npm(progress)?, unsupported: Vec::new() };
    let found = reader.read(file, true)?;
    let mut texts = Vec::new();
    let mut imports = listed(&found, "imports");
    for (library, path) in libraries {
        imports.extend(listed(&reader.read(path, false)?, "imports"));
        texts.push((format!("src/libraries/{library}.js"), text_of(path)?));
    }
    if !reader.unsupported.is_empty() {
        return Err(ImportError::Unsupported { found: reader.unsupported });
    }
    if let Some((name, _)) = libraries.iter().find(|(name, _)| !imports.contains(name)) {
        return Err(ImportError::LibraryUnused { name: name.clone() });
    }
    let (functions, exported) = (listed(&found, "functions"), listed(&found, "exported"));
    let mut entries: Vec<String> = product.entries().iter().map(|entry| (*entry).to_owned()).collect();
    entries.retain(|entry| functions.contains(entry) || exported.contains(entry));
    if product == Product::Rudderstack && entries.len() > 1 {
        // Beside the others a function of this name is the author's own.
        entries.retain(|entry| entry != "transform");
    }
    if entries.is_empty() {
        return Err(ImportError::NoEntry { file: file.to_owned(), expected: product.entries().to_vec() });
    }
    let is_there = |name: &&&str| functions.iter().chain(&exported).any(|known| known == **name);
    let uncalled = product.uncalled().iter().filter(is_there).map(|name| (*name).to_owned()).collect();
    let hidden: Vec<&str> =
        entries.iter().map(String::as_str).filter(|entry| !exported.iter().any(|e| e == entry)).collect();
    // Behind the last line, so that every line keeps its number.
    let original = if hidden.is_empty() {
        original
    } else {
        format!("{original}\n// Added: the functions that the wrapper calls.\nexport {{ {} }};\n", hidden.join(", "))
    };
    texts.push(("src/original.js".to_owned(), original));
    let asked = listed(&found, "metadata");
    let settings: Vec<String> =
        OF_SETTINGS.iter().filter(|key| asked.iter().any(|asked| asked == *key)).map(|key| snake(key)).collect();
    let files = write(product, dir, name, texts, &settings)?;
    Ok(Imported { entries, uncalled, files, settings })
}

fn text_of(file: &Path) -> Result<String, ImportError> {
    let failed = |cause| ImportError::File { path: file.to_owned(), cause };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other("larger than any function")));
    }
    tidegate_document::file::read_text(file, tidegate_document::file::TEXT_BYTES_MAX).map_err(failed)
}

/// `getProfit`, `@rs/hash/v1`: a path below `src/libraries`, and never one out of it.
fn is_library_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"@_-.".contains(&b))
    };
    name != "tidegate" && name.split('/').all(part)
}

fn listed(found: &Value, name: &str) -> Vec<String> {
    found[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `sourceId` as a setting spells it: `source_id`.
fn snake(key: &str) -> String {
    key.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}

/// The schema of the settings: what a transformation needs of its metadata is required, so that it is never empty unnoticed.
fn schema(product: Product, settings: &[String]) -> String {
    if product == Product::Segment {
        return "  additionalProperties: true\n".to_owned();
    }
    let mut text = "  additionalProperties: false\n".to_owned();
    if settings.is_empty() {
        return text + "  properties: {}\n";
    }
    text.push_str(&format!("  required: [{}]\n  properties:\n", settings.join(", ")));
    for name in settings {
        text.push_str(&format!("    {name}: {{type: string}}\n"));
    }
    text
}

fn write(
    product: Product,
    dir: &Path,
    name: &str,
    texts: Vec<(String, String)>,
    settings: &[String],
) -> Result<Vec<String>, NewError> {
    let (wrapper, provided) = product.wrapper();
    let product_name = Product::ALL.iter().find(|(_, known)| *known == product).map_or("", |(name, _)| name);
    let manifest = format!(
        "name: {name}\nkind: transform\napi: 0.1.0\nlanguage: js\ndescription: A function written for {product_name}.\n\
         settings:\n  type: object\n{}",
        schema(product, settings)
    );
    let fixture = "[\n  {\"type\": \"track\", \"messageId\": \"m-1\", \"event\": \"Order Completed\", \"userId\": \"u-1\", \
                   \"properties\": {\"email\": \"ada@example.com\", \"revenue\": 19.9}},\n  {\"type\": \"identify\", \
                   \"messageId\": \"m-2\", \"userId\": \"u-1\", \"traits\": {\"email\": \"ada@example.com\"}}\n]\n";
    let readme = template::readme("src/original.js", Language::Js, ManifestKind::Transform).replace("{{name}}", name);
    let fixed = [
        ("plugin.yaml", manifest.as_str()),
        ("src/index.js", wrapper),
        ("fixtures/one.in.json", fixture),
        ("wit/plugin.wit", WIT),
        (".gitignore", include_str!("../../../templates/common/gitignore")),
        ("tidegate.d.ts", include_str!("../../../sdk/js/tidegate.d.ts")),
        ("README.md", readme.as_str()),
    ];
    let mut files: Vec<(String, String)> =
        fixed.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    files.extend(provided.map(|text| ("src/provided.js".to_owned(), text.to_owned())));
    if !settings.is_empty() {
        let example: serde_json::Map<String, Value> =
            settings.iter().map(|name| (name.clone(), format!("example-{name}").into())).collect();
        files.push(("fixtures/settings.json".to_owned(), format!("{:#}\n", Value::Object(example))));
    }
    files.extend(texts);
    for (path, text) in &files {
        put(&dir.join(path), text)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Reads JavaScript with a parser of it.
struct ImportReader<'a> {
    foreign: &'a Foreign<'a>,
    modules: PathBuf,
    /// What cannot run, of all files.
    unsupported: Vec<Unsupported>,
}

impl ImportReader<'_> {
    /// What the parser says of a file; of the function's own file also what it asks of its metadata.
    fn read(&mut self, file: &Path, is_entry: bool) -> Result<Value, ImportError> {
        let product = self.foreign.product;
        let mut what = json!({"provided": product.provided()});
        if product == Product::Rudderstack {
            what["libraries"] = self.foreign.libraries.iter().map(|(name, _)| name.as_str()).collect();
            what["keys"] = OF_EVENT.iter().chain(&OF_SETTINGS).copied().collect();
            if is_entry {
                what["metadata"] = CALLED.iter().copied().collect();
            }
        }
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", include_str!("guest/foreign/read.mjs"), "--"]);
        node.arg(&self.modules).arg(file).arg(what.to_string());
        let ran = run(&mut node, &mut |_| {}).map_err(|_| ToolError::Missing { tool: "node", fix: NODE })?;
        let unreadable = |reason| ImportError::Reader { file: file.to_owned(), reason };
        let found: Value = serde_json::from_str(&ran.stdout).map_err(|_| unreadable(ran.last_lines(8)))?;
        if let Some(error) = found["error"].as_object() {
            let line = error["line"].as_u64().unwrap_or(1);
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            return Err(ImportError::Syntax { file: file.to_owned(), line, message });
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for one in found["unsupported"].as_array().into_iter().flatten() {
            let (line, file) = (one["line"].as_u64().unwrap_or(1), file.to_owned());
            self.unsupported.push(Unsupported { file, line, what: text(&one["what"]), why: text(&one["why"]) });
        }
        Ok(found)
    }
}
