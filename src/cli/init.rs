//! `tidegate init`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{CommandDone, style};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The folder to make the workspace in
    dir: PathBuf,
    /// Also an environment `staging` beside it: objects, a write key and data of its own on the same server
    #[arg(long)]
    environments: bool,
}

pub(super) fn run(args: &InitArgs, json: bool) -> CommandDone {
    let written = config::init(&args.dir, args.environments)?;
    if json {
        let files: Vec<_> = written.files.iter().map(|file| file.display().to_string()).collect();
        println!(
            "{}",
            serde_json::json!({
                "files": files, "write_key": written.write_key, "environments": written.environments,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    for file in &written.files {
        println!("wrote {}", file.display());
    }
    println!();
    println!("The write key of source web is {}", style::bold(&written.write_key));
    for (name, key) in &written.environments {
        println!("That of its environment {name} is {}", style::bold(key));
    }
    println!("Run it:     tidegate serve {}", args.dir.display());
    println!("Try it:     tidegate send --workspace {} --generate 1000", args.dir.display());
    Ok(ExitCode::SUCCESS)
}
