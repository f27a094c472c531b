//! C: zig (with its C library for wasip1) or clang, bindings of our making, and a stand-in for the system below it.

use std::process::Command;

use super::super::component;
use super::super::tool::{PYTHON, ToolRan};
use super::{BuildError, Site, adapter, bindings, read, write};

pub(super) fn build(site: &mut Site<'_>) -> Result<Vec<u8>, BuildError> {
    let zig = site.workbench.zig(site.progress)?;
    let generated = site.scratch.join("bindings");
    for (name, bytes) in bindings::c(site.project.kind())? {
        write(&generated.join(name), &bytes)?;
    }
    (site.progress)("Compiling");
    let core_path = site.scratch.join("core.wasm");
    let dir = site.project.dir.clone();
    let entry = site.project.entry();
    let mut zig = {
        let mut command = Command::new(zig);
        command.args(["-m", "ziglang", "cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-std=c11"]);
        command
    };
    zig.args(["-Wall", "-fno-color-diagnostics", "-Wl,--strip-debug", "-Wl,-z,stack-size=524288", "-I"])
        .arg(&generated)
        .arg("-I")
        .arg(&dir);
    zig.arg(entry.strip_prefix(&dir).unwrap_or(&entry));
    // Further sources beside the entry belong to the plugin.
    let mut more: Vec<_> = std::fs::read_dir(&dir)
        .map_err(|cause| BuildError::File { path: dir.clone(), cause })?
        .filter_map(|found| Some(found.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c") && *path != entry)
        .collect();
    more.sort();
    zig.args(more.iter().filter_map(|path| path.file_name()));
    zig.arg(generated.join("plugin.c")).arg(generated.join("plugin_component_type.o")).arg("-o").arg(&core_path);
    site.compile(&mut zig, "zig", PYTHON, errors)?;
    (site.progress)("Encoding the component");
    Ok(component::encode(&read(&core_path)?, Some(&adapter::preview1()?))?)
}

/// From the first error on.
fn errors(ran: &ToolRan) -> String {
    let from_error = ran.stderr.iter().skip_while(|line| !line.contains("error:")).take(20);
    let lines: Vec<&str> = from_error.map(String::as_str).collect();
    if lines.is_empty() { ran.last_lines(12) } else { lines.join("\n") }
}
