//! `tidegate function` and `tidegate destination`: what an author of plugins does at a terminal.

mod add;
mod bench;
mod build;
mod check;
mod dev;
mod import;
mod new;
mod pack;
mod test;

use std::path::PathBuf;

pub(super) use build::built;
pub(super) use pack::PapersArgs;

use super::{CommandDone, CommandFailure, versions};
use crate::config;
use tidegate_authoring::Workbench;
use tidegate_plugin::ManifestKind;

/// Commands about functions.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "First steps:\n  \
    tidegate function new lower-case --lang js   a folder that builds\n  \
    tidegate function test lower-case            build it, run its fixtures\n  \
    tidegate function build lower-case           one file with everything in it\n  \
    tidegate function push lower-case --to web --settings FILE   onto a running server")]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub(super) enum FunctionCommand {
    /// Make a project that builds: source, manifest, fixtures, pinned tools
    New(new::FunctionArgs),
    /// Make a project from a function written for another product, which stays as it is
    Import(import::ImportArgs),
    #[command(flatten)]
    Author(Author),
    #[command(flatten)]
    Versions(versions::VersionsCommand),
}

/// Commands about destination plugins.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "First steps:\n  \
    tidegate destination new acme --lang js   a folder that builds\n  \
    tidegate destination test acme            build it, run its fixtures and recorded responses\n  \
    tidegate destination build acme           one file with everything in it\n  \
    tidegate destination push acme --settings FILE   onto a running server; destinations/acme.yaml grants what it may reach")]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub(super) enum DestinationCommand {
    /// Make a project that builds: source, manifest, fixtures, pinned tools
    New(new::DestinationArgs),
    /// Put a shipped destination into a workspace: component and configuration
    Add(add::AddArgs),
    #[command(flatten)]
    Author(Author),
    #[command(flatten)]
    Versions(versions::DestinationVersionsCommand),
}

/// What is the same for functions and destinations.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Author {
    /// Build a project into one file: code, manifest and fixtures
    Build(build::BuildArgs),
    /// Put manifest and fixtures into a component (or core module) that another tool compiled
    Pack(pack::PackArgs),
    /// Run a project's fixtures on the engine and within the limits of production
    Test(test::TestArgs),
    /// Events a second and times of batches, beside a plugin that does nothing
    Bench(bench::BenchArgs),
    /// Build and test again whenever a file changes
    Dev(dev::DevArgs),
    /// Say whether a component may run here, why not, and what it says about itself
    Check(check::CheckPluginArgs),
}

pub(super) fn run(command: &FunctionCommand, json: bool) -> CommandDone {
    match command {
        FunctionCommand::New(args) => new::function(args, json),
        FunctionCommand::Import(args) => import::run(args, json),
        FunctionCommand::Author(command) => author(command, json),
        FunctionCommand::Versions(command) => versions::run(command, json),
    }
}

pub(super) fn run_destination(command: &DestinationCommand, json: bool) -> CommandDone {
    match command {
        DestinationCommand::New(args) => {
            new::make(&args.name, args.dir.as_deref(), args.lang, ManifestKind::Destination, json)
        }
        DestinationCommand::Add(args) => add::run(args, json),
        DestinationCommand::Author(command) => author(command, json),
        DestinationCommand::Versions(command) => versions::run_destination(command, json),
    }
}

fn author(command: &Author, json: bool) -> CommandDone {
    match command {
        Author::Build(args) => build::run(args, json),
        Author::Pack(args) => pack::run(args, json),
        Author::Test(args) => test::run(args, json),
        Author::Bench(args) => bench::run(args, json),
        Author::Dev(args) => dev::run(args),
        Author::Check(args) => check::run(args, json),
    }
}

/// Where tools of other languages are kept.
#[derive(Debug, clap::Args)]
pub(super) struct BuildTools {
    /// Where the tools of other languages are installed [default: ~/.cache/tidegate/tools]
    #[arg(long, value_name = "DIR", env = "TIDEGATE_TOOLS", hide_env_values = true)]
    tools: Option<PathBuf>,
}

impl BuildTools {
    fn workbench(&self) -> Result<Workbench, CommandFailure> {
        let usual = || config::home().map(|home| home.join(".cache/tidegate/tools"));
        match self.tools.clone().or_else(usual) {
            Some(tools) => Ok(Workbench { tools, target_dir: None }),
            None => Err(CommandFailure::Failed("there is no home directory; name a folder with --tools".to_owned())),
        }
    }
}
