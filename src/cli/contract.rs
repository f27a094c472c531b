//! `tidegate contract`: what people do with contracts at a terminal. All of it reads; the only files written are those of `--out`. What was counted of
//! violations a running server is asked for, all else is of folders and recorded events.

mod diff;
mod drift;
mod folder;
mod import;
mod infer;
mod recorded;
mod test;
mod violations;

use std::process::ExitCode;

use super::{CommandDone, CommandFailure, style};

/// Nothing could be looked at; 1 says that something was found.
const NOTHING_SEEN: u8 = 2;

/// Commands about contracts.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "First steps:\n  \
    tidegate contract infer shop --source web --out shop/events/domains/web   from what came so far\n  \
    tidegate check shop                                                       is it right?\n  \
    tidegate contract drift shop                                              what does not fit it, since when?\n  \
    tidegate contract violations --since 7d                                   how often, by field and release?\n  \
    tidegate contract diff shop shop-new                                      what would a change block?\n  \
    tidegate contract test shop                                               the cases in events/tests")]
pub(super) enum ContractCommand {
    /// Propose contracts from recorded events: types, formats, lists of values, required fields
    Infer(infer::InferArgs),
    /// Say which recorded events a change of contracts newly blocks or newly lets through
    Diff(diff::ContractDiffArgs),
    /// Run test cases that lie beside the contracts
    Test(test::ContractTestArgs),
    /// Say which fields of the recorded events are not what the contracts say, and since which version
    Drift(drift::DriftArgs),
    /// How often a running server saw its contracts broken: by the hour or the day, by event, field and release of the client
    Violations(Box<violations::ContractViolationsArgs>),
    /// Make contracts from a tracking plan or from schemas of another product
    Import(import::PlanImportArgs),
}

pub(super) fn run(command: &ContractCommand, json: bool) -> CommandDone {
    match command {
        ContractCommand::Infer(args) => seen(infer::run(args, json), json),
        ContractCommand::Diff(args) => seen(diff::run(args, json), json),
        ContractCommand::Test(args) => seen(test::run(args, json), json),
        ContractCommand::Drift(args) => seen(drift::run(args, json), json),
        ContractCommand::Violations(args) => violations::run(args, json),
        ContractCommand::Import(args) => import::run(args, json),
    }
}

/// What was seen; of what failed before anything was, the code says so.
fn seen(done: CommandDone, json: bool) -> CommandDone {
    let Err(CommandFailure::Failed(message)) = done else { return done };
    if json {
        println!("{}", serde_json::json!({ "error": message }));
    }
    eprintln!("{} {message}", style::error("error:"));
    Ok(ExitCode::from(NOTHING_SEEN))
}
