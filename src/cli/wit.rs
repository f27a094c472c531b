//! `tidegate wit`: the interface of plugins, for tools of any kind.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_authoring::wit;

use super::{CommandDone, CommandFailure, style};

#[derive(Debug, clap::Args)]
#[command(after_help = "A build with tools of your own needs the interface alone:\n  \
    tidegate wit --out wit                      wit/deps/tidegate-plugin-0.1.0/package.wit, as wkg lays it out\n  \
    tidegate wit --package tidegate-plugin.wasm the package in its binary form, for wkg publish and wasm-tools\n  \
    tidegate wit --docs > wit.md                a page about every function\n\
    Then: tidegate function pack COMPONENT --manifest plugin.yaml. docs/toolchains.md has examples.")]
pub(super) struct WitArgs {
    /// Write the text below this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the package in its binary form
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// Print a page about it, in Markdown
    #[arg(long)]
    docs: bool,
}

pub(super) fn run(args: &WitArgs, json: bool) -> CommandDone {
    let mut written = Vec::new();
    if let Some(dir) = &args.out {
        wit::write(dir)?;
        written.push(dir.join(wit::PLACE));
    }
    if let Some(file) = &args.package {
        let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", file.display()));
        std::fs::write(file, wit::package()?).map_err(failed)?;
        written.push(file.clone());
    }
    match (written.as_slice(), args.docs) {
        (_, true) => std::io::stdout().write_all(wit::docs()?.as_bytes())?,
        ([], false) => std::io::stdout().write_all(wit::text().as_bytes())?,
        (files, false) if json => println!("{}", serde_json::json!({ "files": files })),
        (files, false) => files.iter().for_each(|file| println!("{} {}", style::good("wrote"), file.display())),
    }
    Ok(ExitCode::SUCCESS)
}
