//! `destination add`: a shipped plugin into a workspace, with the file that configures it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;
use tidegate_document::file;
use tidegate_plugin::{Manifest, ManifestKind, Package};
use tidegate_registry as store;

use super::{BuildTools, CommandDone, CommandFailure, build};
use crate::cli::style;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks for NAME.component.wasm in `plugins` beside the program and in ../share/tidegate/plugins: a package carries \
    them, `make plugins` builds them. From the source alone: --from functions/destination/NAME builds it with its language's \
    tools.\n\nShipped: amplitude braze customerio elasticsearch event-forwarder ga4 hubspot iterable klaviyo meta-capi mixpanel \
    posthog segment slack webhook"
)]
pub(in crate::cli) struct AddArgs {
    /// The plugin: braze, ga4, webhook ...
    #[arg(value_name = "NAME")]
    name: String,
    /// The workspace's folder
    #[arg(value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// A component, a folder that holds NAME.component.wasm, or a project to build
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    #[command(flatten)]
    tools: BuildTools,
}

pub(super) fn run(args: &AddArgs, json: bool) -> CommandDone {
    let AddArgs { name, workspace, .. } = args;
    let yaml = workspace.join(format!("destinations/{name}.yaml"));
    if !workspace.join("tidegate.yaml").is_file() {
        let message =
            format!("{} is no workspace; name its folder, or make one: tidegate init DIR", workspace.display());
        return Err(CommandFailure::Failed(message));
    }
    if yaml.exists() {
        return Err(CommandFailure::Failed(format!("{} is there already; nothing was changed", yaml.display())));
    }
    let path = found(args)?;
    let failed = |path: &Path, error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", path.display()));
    let bytes = file::read(&path, file::COMPONENT_BYTES_MAX).map_err(|error| failed(&path, error))?;
    let manifest = Package::read(&bytes)?.manifest;
    if manifest.kind != ManifestKind::Destination {
        let kind = manifest.kind.as_str();
        return Err(CommandFailure::Failed(format!("{} is no destination (`kind: {kind}`)", path.display())));
    }
    let place = format!("components/{name}.component.wasm");
    for (path, bytes) in
        [(workspace.join(&place), bytes.as_slice()), (yaml.clone(), text(&manifest, name, &place).as_bytes())]
    {
        let folder = path.parent().unwrap_or(workspace);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(|error| failed(&path, error))?;
    }
    if json {
        println!("{}", serde_json::json!({"component": workspace.join(&place), "destination": yaml}));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} {} from {}", style::good("added"), yaml.display(), path.display());
    println!(
        "\nNext:\n  fill in {0}\n  write syncs/web-to-{name}.yaml with `source: web` and `destination: {name}`\n  tidegate check {1}",
        yaml.display(),
        workspace.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The component that is meant.
fn found(args: &AddArgs) -> Result<PathBuf, CommandFailure> {
    let file = format!("{}.component.wasm", args.name);
    if let Some(from) = &args.from {
        return match from {
            from if from.is_file() => Ok(from.clone()),
            from if from.join(&file).is_file() => Ok(from.join(&file)),
            from => Ok(build::built(from, None, &args.tools)?.path),
        };
    }
    store::shipped_component(&file).ok_or_else(|| {
        let places = store::shipped_places();
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let name = &args.name;
        CommandFailure::Failed(format!(
            "there is no {file} in {}\n  fix: `make plugins` builds the shipped ones there; or build this one from its source: \
             --from functions/destination/{name}",
            places.join(" or ")
        ))
    })
}

/// The file of the destination: what is needed, and what may be said.
fn text(manifest: &Manifest, name: &str, component: &str) -> String {
    let secrets: Vec<&str> = manifest.secrets().collect();
    let required: Vec<&str> = manifest
        .settings
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut text = format!("# {}\nkind: plugin\ncomponent: {component}\n\nsettings:\n", manifest.description);
    let settings = manifest.settings.get("properties").and_then(Value::as_object);
    for (setting, schema) in settings.into_iter().flatten() {
        let variable = format!("{name}_{setting}").to_ascii_uppercase().replace('-', "_");
        let value = if secrets.contains(&setting.as_str()) { format!("${{{variable}}}") } else { String::new() };
        let mark = if required.contains(&setting.as_str()) { "" } else { "# " };
        let about = schema["description"].as_str().unwrap_or_default();
        let about = match (mark.is_empty(), about) {
            (true, "") => "needed".to_owned(),
            (true, about) => format!("needed: {about}"),
            (false, about) => about.to_owned(),
        };
        let line = format!("  {mark}{setting}: {value}");
        // A # is a comment behind a space alone.
        let _ = writeln!(text, "{}", format!("{:<39} # {about}", line.trim_end()).trim_end_matches([' ', '#']));
    }
    if required.is_empty() {
        text = text.replace("\nsettings:\n", "\nsettings: {}\n");
    }
    if manifest.hosts.iter().any(|rule| rule.origin.contains("{{settings.")) {
        text.push_str("\n# Its address is a setting, and whoever runs the server grants it here.\nallow_hosts: []\n");
    }
    text
}
