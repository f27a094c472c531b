//! Go: the standard compiler for wasip1 with bindings of our making, and a stand-in for the system below it.

use std::process::Command;

use super::super::component::{self, EncodeError};
use super::super::tool::Ran;
use super::{BuildError, Site, adapter, bindings, read, write};
use crate::plugin::Kind;

const GO: &str = "install Go 1.24 or later (https://go.dev/dl)";

pub(super) fn build(site: &mut Site<'_>) -> Result<Vec<u8>, BuildError> {
    let dir = site.project.dir.clone();
    let module_file = dir.join("go.mod");
    let text = String::from_utf8_lossy(&read(&module_file)?).into_owned();
    let module = text.lines().find_map(|line| line.strip_prefix("module ")).unwrap_or("plugin").trim().to_owned();
    for (name, bytes) in packages(site.project.kind(), &module)? {
        let path = dir.join("tidegate").join(name);
        if read(&path).ok().as_deref() != Some(&bytes[..]) {
            write(&path, &bytes)?;
        }
    }
    (site.progress)("Compiling");
    let core_path = site.scratch.join("core.wasm");
    let mut go = Command::new("go");
    go.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-checklinkname=0", "-o"]).arg(&core_path).arg(".");
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod");
    site.compile(&mut go, "go", GO, errors)?;
    (site.progress)("Encoding the component");
    let mut core = read(&core_path)?;
    bindings::embed_type(&mut core, site.project.kind())?;
    Ok(component::encode(&core, Some(&adapter::preview1()?))?)
}

/// What lies below the folder `tidegate` of a Go project whose module is `module`: the generated bindings, the little
/// that they need at run time, the functions that they call, and what an author uses.
pub(super) fn packages(kind: Kind, module: &str) -> Result<bindings::Generated, EncodeError> {
    let package = format!("{module}/tidegate/bindings");
    let mut files: bindings::Generated = Vec::new();
    for (path, bytes) in bindings::go(kind, &package)? {
        // The support of the bindings comes with them, so that nothing has to be downloaded.
        let text = String::from_utf8_lossy(&bytes).replace("go.bytecodealliance.org/pkg/", &format!("{package}/"));
        files.push((format!("bindings/{path}"), text.into_bytes()));
    }
    let mut put = |path: &str, text: &str| {
        files.push((path.to_owned(), text.replace("{{module}}", module).into_bytes()));
    };
    put("bindings/wit/types/types.go", include_str!("../guest/go/types.go"));
    put("bindings/wit/runtime/runtime.go", include_str!("../guest/go/runtime.go"));
    put("bindings/export_tidegate_plugin_lifecycle/hook.go", include_str!("../guest/go/lifecycle_hook.go"));
    put("tidegate.go", include_str!("../guest/go/common.go"));
    match kind {
        Kind::Transform => {
            put("bindings/export_tidegate_plugin_transformer/hook.go", include_str!("../guest/go/transform_hook.go"));
            put("transform.go", include_str!("../guest/go/transform.go"));
        }
        Kind::Fields => {
            put(
                "bindings/export_tidegate_plugin_field_transformer/hook.go",
                include_str!("../guest/go/fields_hook.go"),
            );
            put("fields.go", include_str!("../guest/go/fields.go"));
        }
        Kind::Destination => {
            put("bindings/export_tidegate_plugin_destination/hook.go", include_str!("../guest/go/destination_hook.go"));
            put("destination.go", include_str!("../guest/go/destination.go"));
        }
    }
    Ok(files)
}

/// The compiler's lines; what it says of the download of packages is no error.
fn errors(ran: &Ran) -> String {
    let lines: Vec<&str> =
        ran.stderr.iter().map(String::as_str).filter(|line| !line.starts_with("go: downloading")).take(20).collect();
    lines.join("\n")
}
