//! `check`: a component, looked at from outside.

use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_authoring::{self as project, InspectedPlugin};
use tidegate_document::file;

use super::{CommandDone, CommandFailure};
use crate::cli::style;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CheckPluginArgs {
    /// A component, as `build` makes it
    #[arg(value_name = "FILE")]
    component: PathBuf,
}

pub(super) fn run(args: &CheckPluginArgs, json: bool) -> CommandDone {
    let path = &args.component;
    if path.is_dir() {
        let advice = "`tidegate function build` makes a component of it, and says where it is";
        return Err(CommandFailure::Failed(format!("{} is a folder; {advice}", path.display())));
    }
    let bytes = file::read(path, file::COMPONENT_BYTES_MAX)
        .map_err(|error| CommandFailure::Failed(format!("{}: {error}", path.display())))?;
    let found = project::inspect(&bytes)?;
    if json {
        let manifest = found.package.as_ref().map(|package| {
            serde_json::json!({"name": package.manifest.name, "kind": package.manifest.kind.as_str(),
                "fixtures": package.fixtures.len()})
        });
        println!(
            "{}",
            serde_json::json!({"ok": true, "bytes": found.bytes, "world": found.world, "imports": found.imports,
                "exports": found.exports, "manifest": manifest})
        );
    } else {
        println!("{} {} may run", style::good("ok"), path.display());
        print(&found);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &InspectedPlugin) {
    let line = |name: &str, text: &str| println!("  {name:<9} {}", style::plain(text, 200));
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    line("size", &format!("{} KiB", found.bytes.div_ceil(1024)));
    line("world", found.world);
    line("imports", &names(&found.imports));
    line("exports", &names(&found.exports));
    match &found.package {
        None => line("manifest", "none; to push it: tidegate function pack FILE --manifest plugin.yaml"),
        Some(package) => {
            let manifest = &package.manifest;
            line("plugin", &format!("{} ({}): {}", manifest.name, manifest.kind.as_str(), manifest.description));
            let secrets: Vec<&str> = manifest.secrets().collect();
            let settings = manifest.settings.get("properties").and_then(serde_json::Value::as_object);
            let settings: Vec<String> = settings
                .into_iter()
                .flat_map(|settings| settings.keys())
                .map(|name| if secrets.contains(&name.as_str()) { format!("{name} (secret)") } else { name.clone() })
                .collect();
            line("settings", &names(&settings));
            let host = |rule: &tidegate_plugin::HostRule| {
                let methods: Vec<&str> = rule.methods.iter().map(|method| method.as_str()).collect();
                format!("{} {}", methods.join(" "), rule.origin)
            };
            if !manifest.hosts.is_empty() {
                line("hosts", &manifest.hosts.iter().map(host).collect::<Vec<_>>().join(", "));
            }
            line("fixtures", &names(&package.fixtures.iter().map(|fixture| fixture.name.clone()).collect::<Vec<_>>()));
        }
    }
    let limits = &found.limits;
    line(
        "limits",
        &format!(
            "{} MiB of memory · {} ms of CPU for a batch of 100, at most {} ms · {} events a batch",
            limits.memory_bytes_max >> 20,
            limits.cpu_budget(100).as_millis(),
            limits.cpu_max.as_millis(),
            limits.batch_events_max,
        ),
    );
}
