//! JavaScript and TypeScript: esbuild makes one file of the author's and ours, componentize-qjs puts it and QuickJS into
//! a component without imports of WASI, and we link its parts.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_plugin::{Language, Manifest, ManifestKind};

use super::super::tool::{NODE, ToolRan};
use super::{BuildError, Site, link, read, stack_lines, write};

/// What plugins import as "tidegate": `sdk/js`.
const SDK: [(&str, &str); 7] = [
    ("tidegate.js", include_str!("../../../../sdk/js/tidegate.js")),
    ("commerce.js", include_str!("../../../../sdk/js/commerce.js")),
    ("delivery.js", include_str!("../../../../sdk/js/delivery.js")),
    ("errors.js", include_str!("../../../../sdk/js/errors.js")),
    ("event.js", include_str!("../../../../sdk/js/event.js")),
    ("people.js", include_str!("../../../../sdk/js/people.js")),
    ("runtime.js", include_str!("../../../../sdk/js/runtime.js")),
];

pub(super) fn build(site: &mut Site<'_>) -> Result<Vec<u8>, BuildError> {
    let modules = site.workbench.npm(site.progress)?;
    let scratch = site.scratch.clone();
    if site.project.manifest.language == Some(Language::Ts) {
        type_check(site)?;
    }
    (site.progress)("Bundling");
    let entry = scratch.join("entry.js");
    let sdk = scratch.join("sdk");
    for (name, text) in SDK {
        write(&sdk.join(name), text.as_bytes())?;
    }
    write(&entry, entry_text(&site.project.manifest, &site.project.entry().display().to_string()).as_bytes())?;
    let bundle = scratch.join("bundle.js");
    let mut esbuild = Command::new("node");
    esbuild.arg(modules.join("esbuild/bin/esbuild")).arg(&entry);
    esbuild.args(["--bundle", "--format=esm", "--target=es2023", "--sourcemap=external", "--charset=utf8"]);
    // There is no event loop: `async` becomes promises of ours, which run when they are asked for.
    for syntax in ["async-await", "async-generator", "for-await", "top-level-await"] {
        esbuild.arg(format!("--supported:{syntax}=false"));
    }
    esbuild.args(["--external:tidegate:*", "--log-level=warning", "--color=false", "--sources-content=false"]);
    esbuild.arg(format!("--alias:tidegate={}", sdk.join("tidegate.js").display()));
    for (name, path) in libraries(&site.project.dir.join("src/libraries")) {
        esbuild.arg(format!("--alias:{name}={}", path.display()));
    }
    esbuild.arg(format!("--outfile={}", bundle.display()));
    site.compile(&mut esbuild, "node", NODE, bundler_errors)?;
    // The map of lines stands behind the code, so that it moves no line.
    let map = stack_lines::of(&read(&scratch.join("bundle.js.map"))?, &scratch, &site.project.dir);
    let mut code = read(&bundle)?;
    code.extend_from_slice(format!("\nglobalThis.__tidegate_lines = {map};\n").as_bytes());
    write(&bundle, &code)?;

    (site.progress)("Encoding the component");
    let component = scratch.join("component.wasm");
    let mut qjs = Command::new("node");
    qjs.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
    qjs.args(["--sync", "--stub-wasi", "--world", site.project.manifest.world()]);
    qjs.arg("--wit").arg(scratch.join("wit")).arg("--js").arg(&bundle).arg("-o").arg(&component);
    site.steady(&mut qjs);
    site.compile(&mut qjs, "node", NODE, start_errors)?;
    Ok(link::linked(&read(&component)?, site.project.manifest.world())?)
}

/// Files of the project that are imported by a bare name: `src/libraries/getProfit.js` as `getProfit`.
fn libraries(dir: &Path) -> Vec<(String, PathBuf)> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.strip_prefix(dir).ok().and_then(Path::to_str).and_then(|name| name.strip_suffix(".js"));
            match name {
                Some(name) if path.is_file() => found.push((name.to_owned(), path)),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Connects the author's module with the world.
fn entry_text(manifest: &Manifest, module: &str) -> String {
    let kind = manifest.kind;
    let (world, service, export) = match kind {
        ManifestKind::Transform => ("transformWorld", "lookup", "transformer"),
        ManifestKind::Fields => ("fieldsWorld", "fields", "fieldTransformer"),
        ManifestKind::Destination => ("destinationWorld", "secrets", "destination"),
    };
    let lookup =
        if kind == ManifestKind::Fields { "import lookup from \"tidegate:plugin/lookup@0.1.0\";\n" } else { "" };
    let granted = if kind == ManifestKind::Fields {
        "{ host, fields, lookup }".to_owned()
    } else {
        format!("{{ host, {service} }}")
    };
    let forget = if manifest.forget { "export const forget = forgetWorld(plugin);\n" } else { "" };
    let world_of_forget = if manifest.forget { ", forgetWorld" } else { "" };
    format!(
        "import {{ {world}{world_of_forget} }} from \"tidegate\";\nimport * as plugin from {module:?};\n\
         import host from \"tidegate:plugin/host@0.1.0\";\nimport {service} from \"tidegate:plugin/{service}@0.1.0\";\n{lookup}\
         const world = {world}(plugin, {granted});\nexport const lifecycle = world.lifecycle;\n\
         export const {export} = world.{export};\n{forget}"
    )
}

/// Types are checked when the project has a compiler for it: `npm install` brings the one of package.json.
fn type_check(site: &mut Site<'_>) -> Result<(), BuildError> {
    let compiler = site.project.dir.join("node_modules/.bin/tsc");
    if !compiler.is_file() {
        return Ok(());
    }
    (site.progress)("Checking types");
    let mut tsc = Command::new(compiler);
    tsc.args(["--noEmit", "--pretty", "false"]);
    site.compile(&mut tsc, "tsc", NODE, |ran| ran.last_lines(20))?;
    Ok(())
}

/// The first error with its place; esbuild prints it as a block.
fn bundler_errors(ran: &ToolRan) -> String {
    // What follows is node's own stack; what speaks of platforms is advice for other programs.
    let block =
        ran.stderr.iter().skip_while(|line| !line.contains("[ERROR]")).take_while(|line| !line.starts_with("node:"));
    let advice = ["--platform", "mark the path", "as external", "leave the unresolved path"];
    let mut lines: Vec<&str> = block
        .map(|line| line.trim_end())
        .filter(|line| !advice.iter().any(|advice| line.contains(advice)))
        .take(24)
        .collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    let mut text = lines.join("\n").replace("\u{2718} [ERROR] ", "").replace("X [ERROR] ", "");
    if text.contains("Could not resolve") {
        text.push_str(
            "\nA plugin has no file system, network or Node.js modules. Libraries of pure JavaScript work after `npm install`.",
        );
    }
    if text.is_empty() { ran.last_lines(12) } else { text.trim().to_owned() }
}

/// What went wrong when the module was first evaluated, which happens while the component is made.
fn start_errors(ran: &ToolRan) -> String {
    // The tool wraps what the module said in a chain of its own, and gives lines of the bundle, which nobody wrote.
    let evaluated =
        ran.stderr.iter().chain(std::iter::once(&ran.stdout)).find_map(|line| line.split_once("module evaluation: "));
    let said =
        evaluated.map_or_else(|| ran.last_lines(12), |(_, said)| said.lines().next().unwrap_or_default().to_owned());
    format!(
        "{}\nThe top level of the module runs once, when it is built: no event, setting or host function is there yet.",
        said.trim().trim_start_matches("Error: ")
    )
}
