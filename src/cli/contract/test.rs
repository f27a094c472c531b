//! `tidegate contract test`: cases beside the contracts, each an event and what becomes of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_contract::{Action, Contract};
use tidegate_document::file;

use super::folder::{ContractFolder, gather};
use crate::app::sample::sampled_event;
use crate::cli::{CommandDone, CommandFailure, style};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Cases are JSON files below events/tests/SOURCE, each one case or a list of cases:\n\n  {\"name\": \"a price is a number\",\n   \"event\": {\"type\": \"track\", \"event\": \"Product Viewed\", \"userId\": \"u\", \"properties\": {\"price\": \"12\"}},\n   \"expect\": {\"action\": \"block\", \"violations\": [\"/properties/price: \"]}}\n\nThe action is allow, omit (undeclared fields are taken out) or block. Each violation of the event must begin with one of `violations`,\nand each of these with one of the event's. Exit code 1 when a case fails, 2 when there is no case to run."
)]
pub(in crate::cli) struct ContractTestArgs {
    /// A workspace, or a folder with `domains` and `tests` in it
    #[arg(default_value = ".", value_name = "FOLDER")]
    dir: PathBuf,
    /// Only cases of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// One case as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    #[serde(default)]
    name: Option<String>,
    event: Value,
    expect: ExpectedVerdict,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedVerdict {
    action: ExpectedAction,
    #[serde(default)]
    violations: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ExpectedAction {
    Allow,
    Omit,
    Block,
}

impl ExpectedAction {
    const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Omit => "omit",
            Self::Block => "block",
        }
    }
}

/// What came of a case.
struct RanCase {
    file: String,
    name: String,
    /// What is different; nothing where it is as expected.
    differences: Vec<String>,
}

pub(super) fn run(args: &ContractTestArgs, json: bool) -> CommandDone {
    let folder = ContractFolder::read(&args.dir)?;
    let tests = folder.tests();
    let mut ran = Vec::new();
    for source in sources(&tests, args.source.as_deref()) {
        let contract = folder.contract(&source)?;
        let mut files = Vec::new();
        gather(&tests.join(&source), 4, &mut files);
        for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
            ran_cases(path, &tests, (source.as_str(), contract.as_ref()), &mut ran)?;
        }
    }
    if ran.is_empty() {
        let message = format!(
            "there are no cases in {}; `tidegate contract test --help` shows one",
            tests.join(args.source.as_deref().unwrap_or("SOURCE")).display()
        );
        return Err(CommandFailure::Failed(message));
    }
    let failed = ran.iter().filter(|case| !case.differences.is_empty()).count();
    if json {
        let shown = |case: &RanCase| {
            let ok = case.differences.is_empty();
            json!({"file": case.file, "name": case.name, "ok": ok, "differences": case.differences})
        };
        println!("{}", json!({"ok": failed == 0, "cases": ran.iter().map(shown).collect::<Vec<_>>()}));
    } else {
        for case in &ran {
            let word = if case.differences.is_empty() { style::good("ok    ") } else { "FAILED".to_owned() };
            println!("{word} {}: {}", style::plain(&case.file, 200), style::plain(&case.name, 200));
            for difference in &case.differences {
                println!("         {}", style::plain(difference, 1_000));
            }
        }
        println!("{} cases, {failed} failed", ran.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The sources that have cases, or the one that is asked for.
fn sources(tests: &Path, asked: Option<&str>) -> Vec<String> {
    if let Some(asked) = asked {
        return vec![asked.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(tests) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn ran_cases(
    path: &Path,
    tests: &Path,
    (source, contract): (&str, Option<&Contract>),
    ran: &mut Vec<RanCase>,
) -> Result<(), CommandFailure> {
    let failed = |what: String| CommandFailure::Failed(format!("{}: {what}", path.display()));
    let text = file::read_text(path, file::TEXT_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
    let value: Value = serde_json::from_str(file::without_mark(&text))
        .map_err(|error| failed(format!("this is not JSON: {error}")))?;
    let cases = if let Value::Array(cases) = value { cases } else { vec![value] };
    let source: Arc<str> = source.into();
    for (number, case) in (1_u64..).zip(cases) {
        let case: WrittenCase = serde_json::from_value(case)
            .map_err(|error| failed(format!("case {number} is not written as a case is: {error}")))?;
        let name = case.name.clone().unwrap_or_else(|| format!("case {number}"));
        let file = path.strip_prefix(tests).unwrap_or(path).display().to_string();
        let differences = match sampled_event(&case.event.to_string(), &source, number) {
            Ok(event) => {
                let mut body = event.body;
                let verdict = contract.map(|contract| contract.judge(event.kind, &mut body));
                let action = match &verdict {
                    Some(verdict) if verdict.action == Action::Block => ExpectedAction::Block,
                    Some(verdict) if verdict.omitted => ExpectedAction::Omit,
                    _ => ExpectedAction::Allow,
                };
                let violation = verdict.and_then(|verdict| verdict.violation);
                let found = violation.map_or_else(Vec::new, |violation| violation.violations);
                compare(&case.expect, action, &found)
            }
            Err(refusal) => vec![format!("it is no event: {} ({})", refusal.message, refusal.code)],
        };
        ran.push(RanCase { file, name, differences });
    }
    Ok(())
}

fn compare(expected: &ExpectedVerdict, action: ExpectedAction, found: &[String]) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.action != action {
        differences.push(format!("action: expected {}, found {}", expected.action.word(), action.word()));
    }
    for wanted in &expected.violations {
        if !found.iter().any(|found| found.starts_with(wanted.as_str())) {
            differences.push(format!("expected and not found: {wanted}"));
        }
    }
    for found in found {
        if !expected.violations.iter().any(|wanted| found.starts_with(wanted.as_str())) {
            differences.push(format!("found and not expected: {found}"));
        }
    }
    differences
}
