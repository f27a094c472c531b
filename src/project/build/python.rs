//! Python: componentize-py puts CPython, the author's modules and ours into a component without imports of
//! WASI, and we link its parts.

use std::process::Command;
use std::time::Instant;

use super::super::tool::{PYTHON, Ran};
use super::{BuildError, Site, bindings, link, read, write};
use crate::plugin::Kind;

/// What plugins import as `tidegate`.
const SDK: [(&str, &str); 8] = [
    ("tidegate/__init__.py", include_str!("../../../sdk/python/tidegate/__init__.py")),
    ("tidegate/commerce.py", include_str!("../../../sdk/python/tidegate/commerce.py")),
    ("tidegate/delivery.py", include_str!("../../../sdk/python/tidegate/delivery.py")),
    ("tidegate/errors.py", include_str!("../../../sdk/python/tidegate/errors.py")),
    ("tidegate/event.py", include_str!("../../../sdk/python/tidegate/event.py")),
    ("tidegate/host.py", include_str!("../../../sdk/python/tidegate/host.py")),
    ("tidegate/people.py", include_str!("../../../sdk/python/tidegate/people.py")),
    ("tidegate/runtime.py", include_str!("../../../sdk/python/tidegate/runtime.py")),
];

/// A module of this name would hide ours.
const ENTRY: &str = "tidegate_entry";

pub(super) fn build(site: &mut Site<'_>) -> Result<Vec<u8>, BuildError> {
    let python = site.workbench.python(site.progress)?;
    let scratch = site.scratch.join("python");
    let entry = site.project.entry();
    let module = entry.file_stem().and_then(|stem| stem.to_str()).unwrap_or("app").to_owned();
    for (path, bytes) in sdk() {
        write(&scratch.join(path), &bytes)?;
    }
    write(&scratch.join(format!("{ENTRY}.py")), entry_text(site.project.kind(), &module).as_bytes())?;

    (site.progress)("Compiling");
    let mut compile = Command::new(&python);
    compile.args(["-c", "import sys; compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[2], 'exec')"]);
    compile.arg(&entry).arg(entry.strip_prefix(&site.project.dir).unwrap_or(&entry));
    site.compile(&mut compile, "python3", PYTHON, syntax_error)?;

    (site.progress)("Encoding the component with the Python interpreter (10 to 40 seconds)");
    let began = Instant::now();
    let component = site.scratch.join("component.wasm");
    let mut componentize = Command::new(&python);
    componentize.args(["-c", "import sys; from componentize_py import script; sys.exit(script())"]);
    componentize.arg("--quiet").arg("-d").arg(site.scratch.join("wit")).args(["-w", site.project.kind().world()]);
    componentize.args(["componentize", "--stub-wasi"]);
    componentize.arg("-p").arg(&scratch).arg("-p").arg(entry.parent().unwrap_or(&site.project.dir));
    let vendored = site.project.dir.join("vendor");
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
    Ok(link::linked(&read(&component)?, site.project.kind())?)
}

/// The files of the package `tidegate`.
pub(super) fn sdk() -> bindings::Generated {
    SDK.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn entry_text(kind: Kind, module: &str) -> String {
    let (exports, given, class) = match kind {
        Kind::Transform => (
            "from wit_world.exports import transformer\nfrom wit_world.imports import host, lookup, types\n",
            "host=host, lookup=lookup, Err=Err",
            "class Transformer:\n    def transform(self, batch):\n        \
             return runtime.transform(plugin, batch, types, transformer)\n",
        ),
        Kind::Fields => (
            "from wit_world.imports import fields, host, lookup, types\n",
            "host=host, lookup=lookup, fields=fields, Err=Err",
            "class FieldTransformer:\n    def transform(self, events):\n        \
             runtime.edit(plugin, events, types)\n",
        ),
        Kind::Destination => (
            "from wit_world.exports import destination\nfrom wit_world.imports import host, secrets, types\n",
            "host=host, secrets=secrets, Err=Err",
            "class Destination:\n    def prepare(self, batch):\n        \
             return runtime.prepare(plugin, batch, types, destination)\n\n    \
             def classify(self, tag, events, response):\n        \
             return runtime.classify(plugin, tag, events, response, types, destination)\n",
        ),
    };
    format!(
        "import {module} as plugin\nfrom tidegate import runtime\nfrom componentize_py_types import Err\n{exports}\n\
         runtime.give({given})\n\n\nclass Lifecycle:\n    def configure(self, setup):\n        \
         runtime.configure(plugin, setup, types)\n\n\n{class}"
    )
}

/// The last lines of a traceback: file and line, the text, the error.
fn syntax_error(ran: &Ran) -> String {
    let lines: Vec<&String> = ran.stderr.iter().collect();
    let from = lines.iter().rposition(|line| line.trim_start().starts_with("File ")).unwrap_or(0);
    lines[from..].iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// What went wrong when the module was first imported, which happens while the component is made.
fn start_errors(ran: &Ran) -> String {
    let text = ran.last_lines(30);
    // The tool's own advice follows the traceback.
    let from = text.find("Traceback").unwrap_or(0);
    let mut said: String = text[from..].lines().take(20).collect::<Vec<_>>().join("\n");
    if said.contains("No module named") {
        said.push_str("\nPut packages of pure Python into vendor/: pip install --target vendor NAME");
    }
    said
}
