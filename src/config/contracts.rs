//! `events/`: one contract for each source that a domain applies to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_contract::{Contract, Domain, lint};
use tidegate_document::problem::Problem;

use super::documents::WorkspaceDocuments;

/// Problems of one file of a contract that are told; nobody reads more at once.
const PROBLEMS_MAX: usize = 200;

/// What the files below `events/` came to.
#[derive(Default)]
pub(super) struct CompiledContracts {
    /// By source; one without any domain has none.
    pub(super) by_source: BTreeMap<String, Arc<Contract>>,
    /// What they were made from, by their paths below `events/`.
    pub(super) files: BTreeMap<String, serde_json::Value>,
    /// How many events they declare.
    pub(super) events: usize,
    /// What they say and hardly mean.
    pub(super) notes: Vec<Problem>,
}

impl CompiledContracts {
    /// Compiles one contract for each source that a domain of `documents` applies to.
    pub(super) fn of<'a>(
        dir: &Path,
        documents: &WorkspaceDocuments,
        sources: impl Iterator<Item = &'a String>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let of_kind = documents.of_kind(ObjectRefKind::ContractFile);
        let files = of_kind.map(|(key, document)| (key.to_owned(), document.node.to_json())).collect();
        let mut compiled = Self { files, ..Self::default() };
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        let origins = Origins { dir, documents };
        let mut note = |theirs: Vec<tidegate_contract::ContractProblem>| {
            for problem in theirs {
                let count = found.entry(problem.origin.clone()).or_default();
                *count += 1;
                if *count > PROBLEMS_MAX {
                    continue;
                }
                problems.push(origins.problem(problem));
            }
        };
        if compiled.files.is_empty() {
            return compiled;
        }
        let sources: Vec<&str> = sources.map(String::as_str).collect();
        let of_files = lint::notes_of_files(&compiled.files, &sources);
        compiled.notes.extend(of_files.into_iter().take(PROBLEMS_MAX).map(|note| origins.problem(note)));
        for source in sources {
            let domains = match Domain::from_files(&compiled.files, source) {
                Ok(domains) if domains.is_empty() => continue,
                Ok(domains) => domains,
                Err(problems) => {
                    note(problems);
                    continue;
                }
            };
            compiled.events += domains.iter().map(|domain| domain.events.len()).sum::<usize>();
            compiled
                .notes
                .extend(lint::notes(&domains).into_iter().take(PROBLEMS_MAX).map(|note| origins.problem(note)));
            match Contract::compile(&domains, tidegate_contract::ContractLimits::default()) {
                Ok(contract) => drop(compiled.by_source.insert(source.to_owned(), Arc::new(contract))),
                Err(problems) => note(problems),
            }
        }
        for (origin, count) in found.into_iter().filter(|(_, count)| *count > PROBLEMS_MAX) {
            let message = format!("{} more problems", count - PROBLEMS_MAX);
            let fix = "mend those above; these may be of the same kind".to_owned();
            problems.push(Problem::of_file(origins.file(&origin), 0, message, fix));
        }
        compiled
    }
}

/// The files of contracts, for the lines of their problems.
struct Origins<'a> {
    dir: &'a Path,
    documents: &'a WorkspaceDocuments,
}

impl Origins<'_> {
    /// A problem with the line of its place, where that is in the file.
    fn problem(&self, problem: tidegate_contract::ContractProblem) -> Problem {
        let object = ObjectRef::new(ObjectRefKind::ContractFile, problem.origin.as_str());
        let document = self.documents.objects.get(&object).filter(|_| !problem.place.is_empty());
        let line = document.and_then(|document| document.node.line_at(&problem.place)).unwrap_or(0);
        Problem::of_file(self.file(&problem.origin), line, problem.problem, problem.fix)
    }

    fn file(&self, origin: &str) -> PathBuf {
        self.documents.file_of(self.dir, ObjectRefKind::ContractFile, origin)
    }
}
