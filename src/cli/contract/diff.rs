//! `tidegate contract diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_contract::{ContrastOutcome, ContrastReport, differences};

use super::NOTHING_SEEN;
use super::folder::ContractFolder;
use super::recorded::{RecordedArgs, RecordedCount, no_events, nothing_recorded};
use crate::cli::{CommandDone, CommandFailure, style};
use crate::config::Outline;

/// That no events were found, and that nobody has said where they are.
const NO_TRAFFIC: &str = "no recorded events were looked at: neither folder is a workspace with a data directory; name a workspace with --workspace, a file with --from, or say --files-only";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  git worktree add ../before main\n  tidegate contract diff ../before/shop shop --source web          with the events in the log of shop\n  tidegate contract diff old new --source web --from events.jsonl\n  tidegate contract diff old new --files-only                      the files alone\n\nExit code 0 when no event would be newly blocked, 1 when one would, so that a merge can wait for it; 2 when there were no events to look at.\nThe events are those of --from, or of the log of --workspace, or of the first of NEW and OLD that is a workspace with a log. Values of\nevents are shown with --values alone."
)]
pub(in crate::cli) struct ContractDiffArgs {
    /// The contracts as they are: a workspace, or a folder with `domains` in it
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The contracts as they would be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The workspace whose log is read [default: the first of NEW and OLD that is one and has a log]
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    workspace: Option<PathBuf>,
    #[command(flatten)]
    recorded: RecordedArgs,
    /// Compare the files alone: no events are looked at, and none are missed
    #[arg(long, conflicts_with_all = ["workspace", "source", "since", "from", "values"])]
    files_only: bool,
    /// Show values of the events
    #[arg(long)]
    values: bool,
}

pub(super) fn run(args: &ContractDiffArgs, json: bool) -> CommandDone {
    let (old, new) = (ContractFolder::read(&args.old)?, ContractFolder::read(&args.new)?);
    let lines = differences(&old.files, &new.files);
    let mut report = ContrastReport::default();
    let mut read: Option<(String, RecordedCount)> = None;
    if let Some(outline) = args.traffic()? {
        let source = args.recorded.source(&outline.sources)?;
        let (before, after) = (old.contract(&source)?, new.contract(&source)?);
        let count = args.recorded.each(&outline.data, &source, &mut |event| {
            let contracts = (before.as_ref(), after.as_ref());
            report.compare(contracts, event.kind, &event.body, event.message_id());
        })?;
        if count.events == 0 && args.names_events() {
            return Err(no_events(&source, count));
        }
        read = Some((source, count));
    }
    let newly_blocked = report.outcomes.get(&ContrastOutcome::NewlyBlocked).copied().unwrap_or(0);
    if json {
        println!("{}", as_json(args, &lines, &report, read.as_ref()));
    } else {
        print(args, &lines, &report, read.as_ref());
    }
    // Without events nothing is newly blocked, and that says nothing of the change.
    let unseen = match &read {
        Some((source, count)) if count.events == 0 => Some(nothing_recorded(source, *count)),
        None if !args.files_only => Some(NO_TRAFFIC.to_owned()),
        _ => None,
    };
    if let Some(unseen) = unseen {
        eprintln!("{} {unseen}", style::error("error:"));
        return Ok(ExitCode::from(NOTHING_SEEN));
    }
    Ok(if newly_blocked > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl ContractDiffArgs {
    /// Whether it is said which events are meant.
    const fn names_events(&self) -> bool {
        self.workspace.is_some() || self.recorded.source.is_some() || self.recorded.from.is_some()
    }

    /// The workspace with the events; none where only the files are compared.
    fn traffic(&self) -> Result<Option<Outline>, CommandFailure> {
        if self.files_only {
            return Ok(None);
        }
        let is_workspace = |dir: &&PathBuf| dir.join("tidegate.yaml").is_file();
        let outline = |dir: &PathBuf| Outline::read(dir, None).map_err(CommandFailure::Problems);
        let mut found = self.workspace.as_ref().map(outline).transpose()?;
        if self.workspace.is_none() {
            // The first that has a log: what is tried out is often a copy without one.
            for dir in [&self.new, &self.old].into_iter().filter(is_workspace) {
                let other = outline(dir)?;
                if found.as_ref().is_none_or(|found| !found.data.exists() && other.data.exists()) {
                    found = Some(other);
                }
            }
        }
        match (found, &self.recorded.from) {
            (Some(outline), _) => Ok((self.names_events() || outline.data.exists()).then_some(outline)),
            // A folder of contracts alone: the source must be named, and the data directory is not read.
            (None, Some(_)) => Ok(Outline::read(&self.new, Some(&self.new)).ok()),
            (None, None) => Ok(None),
        }
    }
}

fn heading(outcome: ContrastOutcome) -> &'static str {
    match outcome {
        ContrastOutcome::NewlyBlocked => "newly blocked",
        ContrastOutcome::NewlyLetThrough => "newly let through",
        ContrastOutcome::NewlyFound => "newly found, and not newly blocked",
        ContrastOutcome::NoLongerFound => "no longer found",
    }
}

fn print(args: &ContractDiffArgs, lines: &[String], report: &ContrastReport, read: Option<&(String, RecordedCount)>) {
    println!("{}", style::bold(&format!("{} differences in the files", lines.len())));
    for line in lines {
        println!("  {}", style::plain(line, 500));
    }
    let Some((source, count)) = read else {
        return;
    };
    println!("{}", style::bold(&format!("{} events of the source {source}", style::count(count.events))));
    if count.unreadable > 0 {
        println!("  {} records are no events and were passed over", style::count(count.unreadable));
    }
    for outcome in ContrastOutcome::ALL {
        let total = report.outcomes.get(&outcome).copied().unwrap_or(0);
        println!("  {:>10} {}", style::count(total), heading(outcome));
        for (key, counted) in report.counts.iter().filter(|(key, _)| key.outcome == outcome) {
            let finding = if key.finding.is_empty() { "by its policy" } else { key.finding.as_str() };
            println!(
                "  {:>10}   {}: {}",
                style::count(counted.events),
                style::plain(&key.event, 200),
                style::plain(finding, 300)
            );
            println!("               such as {}", style::plain(&counted.samples.join(", "), 300));
            for value in counted.values.iter().filter(|_| args.values) {
                println!("               {}", style::plain(value, 300));
            }
        }
    }
    if report.uncounted > 0 {
        println!("  {} more differences are of further kinds", style::count(report.uncounted));
    }
}

fn as_json(
    args: &ContractDiffArgs,
    lines: &[String],
    report: &ContrastReport,
    read: Option<&(String, RecordedCount)>,
) -> Value {
    let counts: Vec<Value> = report
        .counts
        .iter()
        .map(|(key, counted)| {
            let mut shown = json!({
                "outcome": key.outcome.word(), "event": key.event, "finding": key.finding, "events": counted.events,
                "samples": counted.samples,
            });
            if args.values {
                shown["values"] = json!(counted.values);
            }
            shown
        })
        .collect();
    let totals: serde_json::Map<String, Value> = ContrastOutcome::ALL
        .into_iter()
        .map(|outcome| {
            let total = report.outcomes.get(&outcome).copied().unwrap_or(0);
            (outcome.word().to_owned(), json!(total))
        })
        .collect();
    json!({
        "files": lines, "source": read.map(|(source, _)| source), "events": read.map(|(_, count)| count.events),
        "unreadable": read.map(|(_, count)| count.unreadable), "totals": totals, "differences": counts,
        "uncounted": report.uncounted,
    })
}
