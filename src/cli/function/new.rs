//! `new`: a project that builds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidegate_authoring as project;
use tidegate_plugin::{Language, ManifestKind};

use super::CommandDone;
use crate::cli::style;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FunctionArgs {
    /// Up to 63 of a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    name: String,
    /// The language that you know
    #[arg(long, value_parser = language)]
    lang: Language,
    /// transform: a whole event in, events out. fields: reads and writes single fields in place, ten times as fast
    #[arg(long, value_parser = function_kind, default_value = "transform")]
    kind: ManifestKind,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DestinationArgs {
    /// Up to 63 of a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The language that you know
    #[arg(long, value_parser = language)]
    pub(super) lang: Language,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

fn language(word: &str) -> Result<Language, String> {
    let known = Language::ALL.iter().find(|(name, _)| *name == word).map(|(_, language)| *language);
    known.ok_or_else(|| "write one of js, ts, rust, python, go, c".to_owned())
}

fn function_kind(word: &str) -> Result<ManifestKind, String> {
    match word {
        "transform" => Ok(ManifestKind::Transform),
        "fields" => Ok(ManifestKind::Fields),
        "destination" => Err("that is `tidegate destination new`".to_owned()),
        _ => Err("write transform or fields".to_owned()),
    }
}

pub(super) fn function(args: &FunctionArgs, json: bool) -> CommandDone {
    make(&args.name, args.dir.as_deref(), args.lang, args.kind, json)
}

pub(super) fn make(name: &str, dir: Option<&Path>, language: Language, kind: ManifestKind, json: bool) -> CommandDone {
    let dir = dir.unwrap_or(Path::new(name));
    let files = project::create(dir, name, language, kind)?;
    if json {
        println!("{}", serde_json::json!({"dir": dir.display().to_string(), "files": files}));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} {} ({} files)", style::good("made"), dir.display(), files.len());
    let command = if kind == ManifestKind::Destination { "destination" } else { "function" };
    println!("\nNext:\n  tidegate {command} test {0}\n  tidegate {command} dev {0}", dir.display());
    Ok(ExitCode::SUCCESS)
}
