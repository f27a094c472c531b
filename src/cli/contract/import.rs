//! `tidegate contract import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_contract::{Contract, ContractLimits, ImportedPlan, PlanFile, PlanKind, import_plan};
use tidegate_document::file;
use tidegate_document::problem::Problem;

use super::folder::{FILES_MAX, gather, print_files, write_new};
use crate::cli::{CommandDone, CommandFailure, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  curl -s -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/tracking-plans/$ID/rules?pagination.count=200 > plan.json\n  tidegate contract import segment plan.json --source web --out shop/events/domains/web\n  tidegate contract import rudderstack plan.json --out shop/events/domains/web\n  tidegate contract import avo export.json --out shop/events/domains/web\n  tidegate contract import iglu schemas/com.acme --out shop/events/domains/acme\n  tidegate contract import json-schema schemas --out shop/events/domains/web\n\nWhat a plan says and a contract cannot say is listed by file and place, on standard error; read the list before you use the contracts."
)]
pub(in crate::cli) struct PlanImportArgs {
    /// Whose plan it is: segment, rudderstack, avo, json-schema, iglu
    #[arg(value_name = "KIND", value_parser = kind)]
    kind: PlanKind,
    /// The plan: a JSON file, or a folder of them
    #[arg(value_name = "FILE|FOLDER")]
    from: PathBuf,
    /// Write the domain into this folder, which must be new or empty [default: print it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A source that the domain applies to; may be given several times [default: all sources]
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// The name of the domain [default: that of the plan]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(args: &PlanImportArgs, json: bool) -> CommandDone {
    let plan = import_plan(args.kind, &read(&args.from)?);
    let name = args.name.clone().or_else(|| plan.name.clone()).unwrap_or_else(|| args.kind.word().to_owned());
    if plan.events.is_empty() {
        report_losses(&plan);
        let message = format!("{} declares no event, as a plan of {} would", args.from.display(), args.kind.word());
        return Err(CommandFailure::Failed(message));
    }
    if let Err(problems) = Contract::compile(&[plan.domain(&name)], ContractLimits::default()) {
        report_losses(&plan);
        let problem =
            |found: tidegate_contract::ContractProblem| Problem::of_file(found.origin, 0, found.problem, found.fix);
        return Err(CommandFailure::Problems(problems.into_iter().map(problem).collect()));
    }
    let sources = (!args.source.is_empty()).then_some(args.source.as_slice());
    let files = plan.files(&name, sources);
    if let Some(dir) = &args.out {
        write_new(dir, &files)?;
    }
    if json {
        let losses: Vec<Value> = plan
            .losses
            .iter()
            .map(|loss| json!({"file": loss.file, "pointer": loss.pointer, "lost": loss.lost}))
            .collect();
        let names: Vec<&String> = files.keys().collect();
        println!("{}", json!({"domain": name, "events": plan.events.len(), "files": names, "losses": losses}));
        return Ok(ExitCode::SUCCESS);
    }
    match &args.out {
        Some(dir) => {
            println!("{} events are in {}", style::count(plan.events.len() as u64), dir.display());
        }
        None => print_files(&name, &files),
    }
    report_losses(&plan);
    Ok(ExitCode::SUCCESS)
}

fn report_losses(plan: &ImportedPlan) {
    if !plan.losses.is_empty() {
        eprintln!("{} things are not carried over:", plan.losses.len());
    }
    for loss in &plan.losses {
        let place = if loss.pointer.is_empty() { loss.file.clone() } else { format!("{} {}", loss.file, loss.pointer) };
        eprintln!("  {}: {}", style::plain(&place, 300), style::plain(&loss.lost, 500));
    }
}

/// The JSON files of a plan.
fn read(from: &Path) -> Result<Vec<PlanFile>, CommandFailure> {
    let mut paths = Vec::new();
    if from.is_dir() {
        gather(from, 8, &mut paths);
        if paths.len() >= FILES_MAX {
            let message = format!("{} has {FILES_MAX} files or more; import parts of it", from.display());
            return Err(CommandFailure::Failed(message));
        }
        // Iglu's files have no ending: their names are versions.
        let is_version = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains('-') && name.chars().all(|c| c.is_ascii_digit() || c == '-')
        };
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json") || is_version(path));
    } else {
        paths.push(from.to_owned());
    }
    let mut files = Vec::new();
    for path in paths {
        let failed = |what: String| CommandFailure::Failed(format!("{}: {what}", path.display()));
        let text = file::read_text(&path, file::TEXT_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
        let value: Value = serde_json::from_str(file::without_mark(&text))
            .map_err(|error| failed(format!("this is not JSON: {error}")))?;
        let name = path.strip_prefix(from).ok().filter(|name| !name.as_os_str().is_empty());
        let name = name.unwrap_or(&path).display().to_string();
        files.push(PlanFile { name, value });
    }
    Ok(files)
}

fn kind(word: &str) -> Result<PlanKind, String> {
    let found = PlanKind::ALL.into_iter().find(|kind| kind.word() == word);
    found.ok_or_else(|| {
        let words: Vec<&str> = PlanKind::ALL.iter().map(|kind| kind.word()).collect();
        format!("say one of {}", words.join(", "))
    })
}
