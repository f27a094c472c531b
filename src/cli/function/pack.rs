//! `pack`: manifest and fixtures into what another tool compiled.

use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_authoring::{self as project, Papers};

use super::{CommandDone, build};

#[derive(Debug, clap::Args)]
#[command(after_help = "Compiled where you like, e.g. with plain cargo:\n  \
    cargo build --release --target wasm32-wasip2\n  \
    tidegate function pack target/wasm32-wasip2/release/mine.wasm --manifest plugin.yaml\n  \
    tidegate function push mine.component.wasm --to web\n\n\
    A core module is made a component, and what a standard library wants of WASI is replaced by stand-ins: output goes to \
    the log, clock and randomness are those of the batch, there are no files. docs/toolchains.md has examples.")]
pub(in crate::cli) struct PackArgs {
    /// The component, or a core module for wasm32-wasip1, wasm32-wasip2 or wasm32-unknown-unknown
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    #[command(flatten)]
    papers: RequiredPapers,
    /// Where to put it [default: NAME.component.wasm beside COMPONENT]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RequiredPapers {
    /// plugin.yaml: name, kind, settings and the rest; `language` says what you like
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// The folder with fixtures [default: fixtures/ beside the manifest]
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
}

/// The same where they need not be given.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PapersArgs {
    /// Pack it with this plugin.yaml first: for a component that another tool compiled
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// With --manifest: the folder with fixtures [default: fixtures/ beside the manifest]
    #[arg(long, value_name = "DIR", requires = "manifest")]
    fixtures: Option<PathBuf>,
}

impl PapersArgs {
    pub(in crate::cli) fn papers(&self) -> Option<Papers<'_>> {
        self.manifest.as_deref().map(|manifest| Papers { manifest, fixtures: self.fixtures.as_deref() })
    }
}

pub(super) fn run(args: &PackArgs, json: bool) -> CommandDone {
    let RequiredPapers { manifest, fixtures } = &args.papers;
    let papers = Papers { manifest, fixtures: fixtures.as_deref() };
    let built = project::pack(&args.component, papers, args.out.as_deref())?;
    if json {
        println!("{}", build::json_of(&built));
    } else {
        build::say("packed", &built);
    }
    Ok(ExitCode::SUCCESS)
}
