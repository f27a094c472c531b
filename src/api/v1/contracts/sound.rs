//! Whether a domain can judge events.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api_types::reload::WorkspaceProblem;
use tidegate_contract::{Contract, ContractLimits, ContractProblem, Domain};

use crate::api::extract::blocking;
use crate::api::refusal::ApiRefusal;

/// Problems that are told; nobody reads more at once.
const PROBLEMS_MAX: usize = 200;
/// Any name will do: what the files say of sources is left out.
const SOURCE: &str = "any";

/// Compiles a domain, as what runs would.
///
/// # Errors
/// What is wrong with it, by the names of its objects.
pub(super) async fn check(files: Vec<(String, Value)>) -> Result<(), ApiRefusal> {
    let problems = blocking(move || problems(files)).await?;
    let Some(first) = problems.first() else { return Ok(()) };
    let detail = format!("the contract cannot judge events: {first}");
    let shown = problems.iter().take(PROBLEMS_MAX).map(|problem| WorkspaceProblem {
        file: problem.origin.clone(),
        line: 0,
        message: problem.problem.clone(),
        fix: problem.fix.clone(),
    });
    let fix = "correct what `problems` names";
    Err(ApiRefusal::unprocessable("contract", detail, fix).with_problems(shown.collect()))
}

fn problems(files: Vec<(String, Value)>) -> Vec<ContractProblem> {
    let everywhere = |(name, mut spec): (String, Value)| {
        // A component that applies to some sources alone may be referred to all the same.
        if let Value::Object(fields) = &mut spec {
            fields.remove("sources");
        }
        (name, spec)
    };
    let files: BTreeMap<String, Value> = files.into_iter().map(everywhere).collect();
    let compiled =
        Domain::from_files(&files, SOURCE).and_then(|domains| Contract::compile(&domains, ContractLimits::default()));
    compiled.err().unwrap_or_default()
}
