//! Go: the standard compiler for wasip1 with bindings of our making, and a stand-in for the system below it.
//!
//! A project's `go.mod` points the module `tidegate` at a folder with the SDK, which has no WebAssembly in it, so that `go
//! test` runs natively. A build points it at a copy with what connects the SDK to the host.

use std::path::Path;
use std::process::Command;

use tidegate_plugin::ManifestKind;

use super::super::component::{self, EncodeError};
use super::super::tool::ToolRan;
use super::{BuildError, Site, adapter, bindings, read, write};

const GO: &str = "install Go 1.24 or later (https://go.dev/dl)";

/// Where the generated packages lie in the module of the SDK.
const BINDINGS: &str = "tidegate/bindings";

/// What an author imports as `tidegate`.
const SDK: [(&str, &str); 7] = [
    ("go.mod", include_str!("../../../../sdk/go/go.mod")),
    ("plugin.go", include_str!("../../../../sdk/go/plugin.go")),
    ("event.go", include_str!("../../../../sdk/go/event.go")),
    ("commerce.go", include_str!("../../../../sdk/go/commerce.go")),
    ("fields.go", include_str!("../../../../sdk/go/fields.go")),
    ("people.go", include_str!("../../../../sdk/go/people.go")),
    ("delivery.go", include_str!("../../../../sdk/go/delivery.go")),
];

pub(super) fn build(site: &mut Site<'_>) -> Result<Vec<u8>, BuildError> {
    let dir = site.project.dir.clone();
    let text = String::from_utf8_lossy(&read(&dir.join("go.mod"))?).into_owned();
    let Some(sdk_path) = sdk_path(&text) else {
        let lines = "require tidegate v0.0.0\nreplace tidegate => ./tidegate";
        return Err(BuildError::Compile { errors: format!("go.mod does not say where the SDK is; add\n{lines}") });
    };
    // A folder of the project has the SDK of this program; one elsewhere is its owner's.
    if sdk_path.starts_with("./") {
        write_all(&dir.join(sdk_path), sdk())?;
    }
    let copy = site.scratch.join("sdk");
    // Nothing of another kind or version may stay.
    let _ = std::fs::remove_dir_all(&copy);
    write_all(&copy, sdk())?;
    write_all(&copy, guest(site.project.kind())?)?;
    let module_path = site.scratch.join("go.mod");
    // From the project on, so that where it lies leaves no trace in the component.
    let from_project = copy.strip_prefix(&dir).map_or_else(|_| copy.clone(), |below| Path::new(".").join(below));
    write(&module_path, text.replace(sdk_path, &from_project.to_string_lossy()).as_bytes())?;
    if let Ok(sums) = read(&dir.join("go.sum")) {
        write(&site.scratch.join("go.sum"), &sums)?;
    }
    (site.progress)("Compiling");
    let core_path = site.scratch.join("core.wasm");
    let mut go = Command::new("go");
    go.args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-checklinkname=0", "-modfile"])
        .arg(&module_path);
    go.arg("-o").arg(&core_path).arg(".");
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod");
    site.compile(&mut go, "go", GO, errors)?;
    (site.progress)("Encoding the component");
    let mut core = read(&core_path)?;
    bindings::embed_type(&mut core, site.project.kind().world())?;
    Ok(component::encode(&core, Some(&adapter::preview1()?))?)
}

/// The folder at which `go.mod` points the module `tidegate`.
fn sdk_path(go_mod: &str) -> Option<&str> {
    let lines = go_mod.lines().map(|line| line.trim().trim_start_matches("replace").trim_start());
    lines.filter_map(|line| line.strip_prefix("tidegate ")).find_map(|line| Some(line.split_once("=>")?.1.trim()))
}

fn write_all(dir: &Path, files: bindings::Generated) -> Result<(), BuildError> {
    files.into_iter().try_for_each(|(name, bytes)| write(&dir.join(name), &bytes))
}

/// The files of the module `tidegate`, which a project keeps.
pub(super) fn sdk() -> bindings::Generated {
    SDK.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

/// What connects the SDK to the host: the generated bindings, the little that they need at run time, the functions that
/// they call, and what fills those in.
fn guest(kind: ManifestKind) -> Result<bindings::Generated, EncodeError> {
    let mut files: bindings::Generated = Vec::new();
    for (path, bytes) in bindings::go(kind, BINDINGS)? {
        // The support of the bindings comes with them, so that nothing has to be downloaded.
        let text = String::from_utf8_lossy(&bytes).replace("go.bytecodealliance.org/pkg/", &format!("{BINDINGS}/"));
        files.push((format!("bindings/{path}"), text.into_bytes()));
    }
    let mut put = |path: &str, text: &str| files.push((path.to_owned(), text.as_bytes().to_vec()));
    put("bindings/wit/types/types.go", include_str!("../../../../sdk/go/guest/bindings/types.go"));
    put("bindings/wit/runtime/runtime.go", include_str!("../../../../sdk/go/guest/bindings/runtime.go"));
    let lifecycle = include_str!("../../../../sdk/go/guest/bindings/lifecycle_hook.go");
    put("bindings/export_tidegate_plugin_lifecycle/hook.go", lifecycle);
    put("guest_common.go", include_str!("../../../../sdk/go/guest/common.go"));
    let (exported, hook, name, text) = match kind {
        ManifestKind::Transform => (
            "transformer",
            include_str!("../../../../sdk/go/guest/bindings/transform_hook.go"),
            "guest_transform.go",
            include_str!("../../../../sdk/go/guest/transform.go"),
        ),
        ManifestKind::Fields => (
            "field_transformer",
            include_str!("../../../../sdk/go/guest/bindings/fields_hook.go"),
            "guest_fields.go",
            include_str!("../../../../sdk/go/guest/fields.go"),
        ),
        ManifestKind::Destination => (
            "destination",
            include_str!("../../../../sdk/go/guest/bindings/destination_hook.go"),
            "guest_destination.go",
            include_str!("../../../../sdk/go/guest/destination.go"),
        ),
    };
    put(&format!("bindings/export_tidegate_plugin_{exported}/hook.go"), hook);
    put(name, text);
    if kind != ManifestKind::Destination {
        put("guest_lookup.go", include_str!("../../../../sdk/go/guest/lookup.go"));
    }
    Ok(files)
}

/// The compiler's lines; what it says of the download of packages is no error.
fn errors(ran: &ToolRan) -> String {
    let lines: Vec<&str> =
        ran.stderr.iter().map(String::as_str).filter(|line| !line.starts_with("go: downloading")).take(20).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_sdk_is_found() {
        for (text, expected) in [
            ("module a\n\nrequire tidegate v0.0.0\n\nreplace tidegate => ./tidegate\n", Some("./tidegate")),
            ("module a\nreplace (\n\ttidegate v0.0.0 => ../sdk/go\n)\n", Some("../sdk/go")),
            ("module a\nrequire tidegate v0.0.0\n", None),
        ] {
            assert_eq!(sdk_path(text), expected, "{text}");
        }
    }
}
