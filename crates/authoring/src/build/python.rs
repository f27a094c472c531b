//! Python: componentize-py puts CPython, the author's modules and ours into a component without imports of
//! WASI, and we link its parts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tidegate_plugin::{Manifest, ManifestKind};

use super::super::tool::{COMPONENTIZE_PY, PYTHON, ToolRan};
use super::{BuildError, Site, bindings, link, read, write};

/// What plugins import as `tidegate`.
const SDK: [(&str, &str); 8] = [
    ("tidegate/__init__.py", include_str!("../../../../sdk/python/tidegate/__init__.py")),
    ("tidegate/commerce.py", include_str!("../../../../sdk/python/tidegate/commerce.py")),
    ("tidegate/delivery.py", include_str!("../../../../sdk/python/tidegate/delivery.py")),
    ("tidegate/errors.py", include_str!("../../../../sdk/python/tidegate/errors.py")),
    ("tidegate/event.py", include_str!("../../../../sdk/python/tidegate/event.py")),
    ("tidegate/host.py", include_str!("../../../../sdk/python/tidegate/host.py")),
    ("tidegate/people.py", include_str!("../../../../sdk/python/tidegate/people.py")),
    ("tidegate/runtime.py", include_str!("../../../../sdk/python/tidegate/runtime.py")),
];

/// A module of this name would hide ours.
const ENTRY: &str = "tidegate_entry";

pub(super) fn build(site: &mut Site<'_>) -> Result<Vec<u8>, BuildError> {
    let python = site.workbench.python(site.progress)?;
    let scratch = site.scratch.join("python");
    let entry = site.project.entry();
    let module = entry.file_stem().and_then(|stem| stem.to_str()).unwrap_or("app").to_owned();
    let _ = std::fs::remove_dir_all(&scratch);
    for (path, bytes) in sdk() {
        write(&scratch.join(path), &bytes)?;
    }
    write(&scratch.join(format!("{ENTRY}.py")), entry_text(&site.project.manifest, &module).as_bytes())?;

    (site.progress)("Compiling");
    let mut compile = Command::new(&python);
    compile.args(["-c", "import sys; compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[2], 'exec')"]);
    compile.arg(&entry).arg(entry.strip_prefix(&site.project.dir).unwrap_or(&entry));
    site.compile(&mut compile, "python3", PYTHON, syntax_error)?;

    // What lies beside the modules leaves traces in the interpreter's memory: it sees copies of them alone.
    let own = site.scratch.join("python-own");
    copied(entry.parent().unwrap_or(&site.project.dir), &own, &["build", "vendor", "wit", "typings"])?;
    let (vendor, vendored) = (site.project.dir.join("vendor"), site.scratch.join("python-vendor"));
    if vendor.is_dir() {
        copied(&vendor, &vendored, &[])?;
    } else {
        let _ = std::fs::remove_dir_all(&vendored);
    }
    // CPython is kept with its memory, which the moment leaves traces in. The same modules give the same component because
    // it is made once.
    let made = Made::of(site, &[&scratch, &own, &vendored])?;
    if let Some(component) = made.component() {
        (site.progress)("These modules were encoded before");
        return Ok(link::linked(&component, site.project.manifest.world())?);
    }
    (site.progress)("Encoding the component with the Python interpreter (10 to 40 seconds, longer on a busy machine)");
    let began = Instant::now();
    let component = site.scratch.join("component.wasm");
    let mut componentize = Command::new(&python);
    componentize.args(["-c", "import sys; from componentize_py import script; sys.exit(script())"]);
    componentize.arg("--quiet").arg("-d").arg(site.scratch.join("wit")).args(["-w", site.project.manifest.world()]);
    componentize.args(["componentize", "--stub-wasi"]).arg("-p").arg(&scratch).arg("-p").arg(&own);
    if vendored.is_dir() {
        componentize.arg("-p").arg(&vendored);
    }
    componentize.arg(ENTRY).arg("-o").arg(&component);
    // Packages of whoever runs this are not the plugin's.
    componentize.env_remove("VIRTUAL_ENV").env_remove("PYTHONPATH");
    // The stack of the tool would hide the traceback of the plugin.
    componentize.env("RUST_BACKTRACE", "0");
    site.compile(&mut componentize, "componentize-py", PYTHON, start_errors)?;
    (site.progress)(&format!("Encoded in {:.0} s", began.elapsed().as_secs_f64()));
    let component = read(&component)?;
    made.keep(&component)?;
    Ok(link::linked(&component, site.project.manifest.world())?)
}

/// What was made of the same modules before, and is kept beside the tools.
struct Made {
    dir: PathBuf,
    path: PathBuf,
}

/// Components that are kept, the newest.
const MADE_MAX: usize = 8;

impl Made {
    /// Of everything that the interpreter would see in `folders`.
    fn of(site: &Site<'_>, folders: &[&Path]) -> Result<Self, BuildError> {
        let mut digest = Sha256::new();
        for text in [COMPONENTIZE_PY, site.project.manifest.world(), super::WIT] {
            digest.update(text);
        }
        for folder in folders {
            digest.update("\nfolder");
            seen(folder, folder, &mut digest)?;
        }
        let name = HEXLOWER.encode(&digest.finalize());
        let dir = site.workbench.tools.join("python-made");
        Ok(Self { path: dir.join(format!("{name}.wasm")), dir })
    }

    fn component(&self) -> Option<Vec<u8>> {
        read(&self.path).ok()
    }

    fn keep(&self, component: &[u8]) -> Result<(), BuildError> {
        write(&self.path, component)?;
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let age = |entry: std::fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
        let mut files: Vec<_> = files.filter_map(age).collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(MADE_MAX) {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

/// Adds the names and contents of a folder, in order.
fn seen(root: &Path, folder: &Path, digest: &mut Sha256) -> Result<(), BuildError> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            seen(root, &path, digest)?;
            continue;
        }
        let bytes = read(&path)?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        digest.update(format!("\n{} {name}\n{} ", name.len(), bytes.len()));
        digest.update(bytes);
    }
    Ok(())
}

/// Copies a folder without what is hidden, compiled or one of `but`, in the order of names; nothing else stays in `to`.
fn copied(from: &Path, to: &Path, but: &[&str]) -> Result<(), BuildError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| BuildError::File { path, cause }
    };
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).map_err(failed(to))?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from).map_err(failed(from))? {
        names.push(entry.map_err(failed(from))?.file_name());
    }
    names.sort();
    for name in names {
        let word = name.to_string_lossy();
        if word.starts_with('.') || word == "__pycache__" || but.contains(&&*word) {
            continue;
        }
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copied(&source, &target, &[])?;
        } else if source.is_file() {
            std::fs::copy(&source, &target).map_err(failed(&source))?;
        }
    }
    Ok(())
}

/// The files of the package `tidegate`.
pub(super) fn sdk() -> bindings::Generated {
    SDK.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn entry_text(manifest: &Manifest, module: &str) -> String {
    let (exports, given, class) = match manifest.kind {
        ManifestKind::Transform => (
            "from wit_world.exports import transformer\nfrom wit_world.imports import host, lookup, types\n",
            "host=host, lookup=lookup, Err=Err",
            "class Transformer:\n    def transform(self, batch):\n        \
             return runtime.transform(plugin, batch, types, transformer)\n",
        ),
        ManifestKind::Fields => (
            "from wit_world.imports import fields, host, lookup, types\n",
            "host=host, lookup=lookup, fields=fields, Err=Err",
            "class FieldTransformer:\n    def transform(self, events):\n        \
             runtime.edit(plugin, events, types)\n",
        ),
        ManifestKind::Destination => (
            "from wit_world.exports import destination\nfrom wit_world.imports import host, secrets, types\n",
            "host=host, secrets=secrets, Err=Err",
            "class Destination:\n    def prepare(self, batch):\n        \
             return runtime.prepare(plugin, batch, types, destination)\n\n    \
             def classify(self, tag, events, response):\n        \
             return runtime.classify(plugin, tag, events, response, types, destination)\n",
        ),
    };
    // Its types are those of `destination`.
    let forget = if manifest.forget {
        "\n\nclass Forget:\n    def prepare(self, people):\n        \
         return runtime.prepare_forget(plugin, people, types, destination)\n\n    \
         def classify(self, tag, people, response):\n        \
         return runtime.classify_forget(plugin, tag, people, response, types, destination)\n"
    } else {
        ""
    };
    format!(
        "import {module} as plugin\nfrom tidegate import runtime\nfrom componentize_py_types import Err\n{exports}\n\
         runtime.give({given})\n\n\nclass Lifecycle:\n    def configure(self, setup):\n        \
         runtime.configure(plugin, setup, types)\n\n\n{class}{forget}"
    )
}

/// The last lines of a traceback: file and line, the text, the error.
fn syntax_error(ran: &ToolRan) -> String {
    let lines: Vec<&String> = ran.stderr.iter().collect();
    let from = lines.iter().rposition(|line| line.trim_start().starts_with("File ")).unwrap_or(0);
    lines[from..].iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// What went wrong when the module was first imported, which happens while the component is made.
fn start_errors(ran: &ToolRan) -> String {
    let text = ran.last_lines(30);
    // The tool's own advice follows the traceback.
    let from = text.find("Traceback").unwrap_or(0);
    let mut said: String = text[from..].lines().take(20).collect::<Vec<_>>().join("\n");
    if said.contains("No module named") {
        said.push_str("\nPut packages of pure Python into vendor/: pip install --target vendor NAME");
    }
    said
}
