//! `tidegate contract drift`.

use std::process::ExitCode;

use serde_json::json;
use tidegate_contract::DriftWatch;

use super::folder::ContractFolder;
use super::recorded::{RecordedArgs, no_events};
use crate::cli::{CommandDone, CommandFailure, EnvironmentArgs, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate contract drift shop --source web\n  tidegate contract drift shop --source web --since 1d --json\n\nEach line says what a field is instead, in which share of the events of its name, and since which version of the app (by\ncontext.app.version and context.os.name) or of the SDK (context.library) it is so. The contracts are those of the folder. No values are shown.\n\nExit code 2 when there were no events to look at, or no contract."
)]
pub(in crate::cli) struct DriftArgs {
    #[command(flatten)]
    workspace: EnvironmentArgs,
    #[command(flatten)]
    recorded: RecordedArgs,
}

pub(super) fn run(args: &DriftArgs, json: bool) -> CommandDone {
    let outline = args.workspace.outline()?;
    let source = args.recorded.source(&outline.sources)?;
    let Some(contract) = ContractFolder::read(&outline.dir)?.contract(&source)? else {
        let message = format!(
            "no contract applies to the source {source:?}; `tidegate contract infer` proposes one from what was recorded"
        );
        return Err(CommandFailure::Failed(message));
    };
    let mut watch = DriftWatch::default();
    let count =
        args.recorded.each(&outline.data, &source, &mut |event| watch.observe(&contract, event.kind, &event.body))?;
    if count.events == 0 {
        return Err(no_events(&source, count));
    }
    let (lines, uncounted) = watch.lines();
    if json {
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({
                    "event": line.event, "place": line.place, "keyword": line.keyword, "sentence": line.sentence,
                    "events": line.events, "seen": line.seen, "since": line.since,
                })
            })
            .collect();
        let whole = json!({
            "source": source, "read": count.events, "unreadable": count.unreadable, "drift": shown,
            "uncounted": uncounted,
        });
        println!("{whole}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} events of the source {source}", style::count(count.events));
    if lines.is_empty() {
        println!("Everything is as the contracts say.");
    }
    let mut before = "";
    for line in &lines {
        if before != line.event {
            println!("{}", style::bold(&style::plain(&line.event, 200)));
            before = &line.event;
        }
        println!("  {}", style::plain(&line.sentence, 500));
    }
    if uncounted > 0 {
        println!("{} more are not listed: there are too many kinds of them", style::count(uncounted));
    }
    if count.unreadable > 0 {
        eprintln!("note: {} records are no events and were passed over", style::count(count.unreadable));
    }
    Ok(ExitCode::SUCCESS)
}
