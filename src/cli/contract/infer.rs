//! `tidegate contract infer`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use tidegate_contract::{InferLimits, InferSettings, Inference, Proposal};

use super::folder::{print_files, write_new};
use super::recorded::{RecordedArgs, RecordedCount, no_events};
use crate::cli::{CommandDone, EnvironmentArgs, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate contract infer shop --source web                        look at it\n  tidegate contract infer shop --source web --since 7d --out shop/events/domains/web\n  tidegate contract infer --source web --from events.jsonl --policy block\n\nThe log is read as it is, whether a server runs or not. What is proposed takes all the events that it was inferred from\n(unless --required-share is below 1). Values of fields that look personal (an email, a phone, a name, an address, an ip, a token) are written\nnowhere; of others up to three stand as comments. With --policy observe, the default, the contract blocks nothing: whatever is\nnot as it was is a row of event_violations. Read it, then say block.\n\nExit code 2 when there were no events to look at, or it could not be done otherwise."
)]
pub(in crate::cli) struct InferArgs {
    #[command(flatten)]
    workspace: EnvironmentArgs,
    #[command(flatten)]
    recorded: RecordedArgs,
    /// Write the domain into this folder, which must be new or empty [default: print it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The name of the domain [default: that of the source]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What the contract does with violations: observe notes them, block keeps the events back
    #[arg(long, value_name = "POLICY", default_value = "observe", value_parser = ["observe", "block"])]
    policy: String,
    /// Require fields that this share of the objects have, from 0 to 1; below 1 some of these events are violations
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    required_share: f64,
    /// Objects, before a field of theirs is required; texts, before a format is asked for
    #[arg(long, value_name = "N", default_value_t = 10)]
    samples: u64,
    /// Texts, before few different ones are a list of values
    #[arg(long, value_name = "N", default_value_t = 50)]
    enum_samples: u64,
    /// Different texts of such a list at most; 0 makes none
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u8).range(0..=20))]
    enum_values: u8,
    /// Write no values of events into comments
    #[arg(long)]
    no_examples: bool,
}

pub(super) fn run(args: &InferArgs, json: bool) -> CommandDone {
    let (source, data) = match (&args.recorded.from, &args.recorded.source) {
        // Events of a file need no workspace.
        (Some(_), Some(source)) => (source.clone(), PathBuf::new()),
        _ => {
            let outline = args.workspace.outline()?;
            (args.recorded.source(&outline.sources)?, outline.data)
        }
    };
    let mut inference = Inference::new(InferLimits::default());
    let count = args.recorded.each(&data, &source, &mut |event| inference.observe(event.kind, &event.body))?;
    if count.events == 0 {
        return Err(no_events(&source, count));
    }
    let settings = InferSettings {
        required_share: args.required_share,
        required_samples: args.samples,
        format_samples: args.samples,
        enum_samples: args.enum_samples,
        enum_values_max: usize::from(args.enum_values),
        blocks: args.policy == "block",
        examples: !args.no_examples,
    };
    let name = args.name.clone().unwrap_or_else(|| source.clone());
    let proposal = inference.propose(&name, &settings);
    let files = proposal.files(std::slice::from_ref(&source));
    if let Some(dir) = &args.out {
        write_new(dir, &files)?;
    }
    if json {
        print_json(&proposal, count);
        return Ok(ExitCode::SUCCESS);
    }
    match &args.out {
        Some(dir) => {
            for file in files.keys() {
                println!("wrote {}", dir.join(file).display());
            }
            println!();
            for event in &proposal.events {
                let name = event.rule.name.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default();
                println!("{:>10} {}{}", style::count(event.seen), event.rule.kind, style::plain(&name, 100));
            }
            println!("Read it, then: tidegate check, and tidegate reload where a server runs.");
        }
        None => print_files(&name, &files),
    }
    for note in &proposal.notes {
        eprintln!("note: {}", style::plain(note, 500));
    }
    if count.unreadable > 0 {
        eprintln!("note: {} records are no events and were passed over", style::count(count.unreadable));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(proposal: &Proposal, count: RecordedCount) {
    let events: Vec<_> = proposal
        .events
        .iter()
        .map(|event| {
            json!({
                "type": event.rule.kind.as_str(), "name": event.rule.name, "version": event.rule.version,
                "file": event.rule.origin, "seen": event.seen, "schema": event.rule.schema,
            })
        })
        .collect();
    let shown = json!({
        "domain": proposal.domain.name, "events": events, "notes": proposal.notes,
        "read": count.events, "unreadable": count.unreadable,
    });
    println!("{shown}");
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 1, such as 0.99".to_owned())
}
