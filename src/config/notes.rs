//! What is allowed in a workspace and hardly meant: said by `check`, and in nobody's way.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_contract::lint::ENVELOPE;
use tidegate_document::nearest::nearest;
use tidegate_document::problem::Problem;
use tidegate_process::clock;
use tidegate_stream::FixedTopics;

use super::Workspace;
use super::destinations::DestinationKind;
use super::folder::{entries, is_yaml};

/// Folders of contracts; those in the root of the workspace, and not in `events`, are not read.
const OF_CONTRACTS: [&str; 2] = ["contracts", "domains"];

impl Workspace {
    /// Notes, in the order of their files. `is_uploaded` says whether a version of a function is live in the server's store.
    #[must_use]
    pub fn notes(&self, is_uploaded: impl Fn(&str) -> bool) -> Vec<Problem> {
        let mut notes = Vec::new();
        let mut note = |file: &str, message: String, fix: String| {
            notes.push(Problem::of_file(self.dir.join(file), 0, message, fix));
        };
        for folder in unread(&self.dir) {
            let message = "this folder has YAML files, and nothing of it is read".to_owned();
            let fix = match OF_CONTRACTS.contains(&&*folder) {
                true => format!("contracts lie in events/{folder}"),
                false => format!("the folders of a workspace are {}, events", folders().join(", ")),
            };
            note(&folder, message, fix);
        }
        for (folder, name) in passed_over(&self.dir) {
            let message = format!("this is not read: what {folder} holds are files that end in .yaml or .yml");
            note(&format!("{folder}/{name}"), message, format!("write it as {folder}/<name>.yaml, or move it away"));
        }
        if self.sources.is_empty() {
            let message = "there is no source, so no SDK can send anything".to_owned();
            note("sources", message, "make sources/web.yaml with `kind: http` and a `write_key`".to_owned());
        }
        let now_us = clock::now_us();
        // Environments have the ports of the server, whose folder says so.
        let ports = self.tls.iter().chain(&self.admin_tls).filter(|tls| tls.is_of_folder(&self.dir));
        let of_ports: Vec<Problem> = ports.flat_map(|tls| tls.notes(now_us)).collect();
        for (name, source) in &self.sources {
            let is_signed = source.webhook.as_ref().is_some_and(|webhook| webhook.signature.is_some());
            let is_shut = !is_signed && source.stream.is_none();
            if is_shut && source.write_keys.iter().all(|key| key.ends_at_us.is_some_and(|end| end <= now_us)) {
                let message = "every write key of this source has ended, so no SDK can send anything".to_owned();
                let fix = "add one to `write_keys`, or write a later `ends`".to_owned();
                note(&format!("sources/{name}.yaml"), message, fix);
            }
        }
        notes.extend(of_ports);
        notes.extend(self.streams_that_go_round());
        let mut note = |file: &str, message: String, fix: String| {
            notes.push(Problem::of_file(self.dir.join(file), 0, message, fix));
        };
        let of_syncs = |name: fn(&super::SyncConfig) -> &str| self.syncs.values().map(name).collect::<HashSet<_>>();
        let (sources, destinations) = (of_syncs(|sync| &sync.source.0), of_syncs(|sync| &sync.destination.0));
        for name in self.sources.keys().filter(|name| !sources.contains(name.as_str())) {
            let message =
                "no sync takes from this source: what it accepts waits in the log and goes nowhere".to_owned();
            let fix = format!("make syncs/{name}.yaml with `source: {name}` and a `destination`");
            note(&format!("sources/{name}.yaml"), message, fix);
        }
        for name in self.destinations.keys().filter(|name| !destinations.contains(name.as_str())) {
            let message = "no sync writes to this destination".to_owned();
            let fix = format!("make syncs/{name}.yaml with `destination: {name}` and a `source`");
            note(&format!("destinations/{name}.yaml"), message, fix);
        }
        let of_sources = self.sources.values().flat_map(|source| &source.functions);
        let used = of_sources.chain(self.syncs.values().flat_map(|sync| &sync.functions));
        let used: HashSet<&str> = used.map(|(name, _)| name.as_str()).collect();
        for name in self.functions.keys().filter(|name| !used.contains(name.as_str())) {
            let message = "no source and no sync uses this function".to_owned();
            let fix = format!("write `functions: [{name}]` into a source or a sync");
            note(&format!("functions/{name}.yaml"), message, fix);
        }
        notes.extend(self.names_that_nothing_has(is_uploaded));
        notes.extend(self.contract_notes.iter().cloned());
        // A contract of several sources is looked at once for each.
        notes.sort();
        notes.dedup();
        notes
    }

    /// Sources that read what this workspace writes itself, as far as that can be told.
    fn streams_that_go_round(&self) -> Vec<Problem> {
        let mut notes = Vec::new();
        let written = self.destinations.iter().filter_map(|(name, destination)| match &destination.kind {
            DestinationKind::Stream(stream) => Some((name.as_str(), stream.target.fixed_topics())),
            _ => None,
        });
        let written: BTreeMap<&str, FixedTopics> = written.collect();
        let read = self.sources.iter().filter_map(|(name, source)| Some((name, &source.stream.as_ref()?.origin)));
        for (source, origin) in read {
            for (destination, FixedTopics { servers, ledger, .. }) in &written {
                let Some(topic) = ledger.as_ref().filter(|topic| origin.reads_topic(servers, topic)) else { continue };
                let message = format!("this source reads {topic}, in which the ledger of destination {destination} is");
                let fix = "write `topics`, or a `topic_pattern` that does not fit it".to_owned();
                notes.push(Problem::of_file(self.dir.join(format!("sources/{source}.yaml")), 0, message, fix));
            }
            for (name, sync) in self.syncs.iter().filter(|(_, sync)| sync.source.0 == *source) {
                let Some(FixedTopics { servers, topics, .. }) = written.get(sync.destination.0.as_str()) else {
                    continue;
                };
                let Some(topic) = topics.iter().find(|topic| origin.reads_topic(servers, topic)) else { continue };
                let message = format!(
                    "this sync writes to the topic {topic}, which its own source {source} reads: each event comes in again"
                );
                let fix = "write to another topic, or let the source read others".to_owned();
                notes.push(Problem::of_file(self.dir.join(format!("syncs/{name}.yaml")), 0, message, fix));
            }
        }
        notes
    }

    /// Names in syncs and lookups that no event and no function has, as far as that can be told.
    fn names_that_nothing_has(&self, is_uploaded: impl Fn(&str) -> bool) -> Vec<Problem> {
        let mut notes = Vec::new();
        for (name, sync) in &self.syncs {
            let file = self.dir.join(format!("syncs/{name}.yaml"));
            let mut note = |line: usize, message: String, fix: String| {
                notes.push(Problem::of_file(&*file, line, message, fix));
            };
            let declared = self.contracts.get(&sync.source.0).map(|contract| contract.tracks());
            if let Some((names, others_are_blocked)) = declared {
                for (event, line) in sync.words.events.iter().filter(|(event, _)| !names.contains(&event.as_str())) {
                    let near = nearest(event, &names);
                    if near.is_none() && !others_are_blocked {
                        continue;
                    }
                    let message = format!("no contract of source {} declares a track called {event:?}", sync.source.0);
                    let fix = near.map_or_else(
                        || "declare it, or take it away".to_owned(),
                        |near| format!("did you mean {near:?}?"),
                    );
                    note(*line, message, fix);
                }
            }
            for (pointer, line) in &sync.words.pointers {
                let first = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
                if ENVELOPE.contains(&first) {
                    continue;
                }
                let message = format!("{pointer}: SDKs give an event no field {first:?}");
                let fix = match nearest(first, &ENVELOPE) {
                    Some(near) => format!("did you mean /{near}?"),
                    None => format!(
                        "what a customer sends lies below /properties, /traits or /context: /properties{pointer}?"
                    ),
                };
                note(*line, message, fix);
            }
            for (pointer, line) in &sync.words.targets {
                let first = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
                let near = nearest(first, &ENVELOPE).filter(|_| !ENVELOPE.contains(&first));
                if let Some(near) = near {
                    let message = format!("{pointer}: SDKs give an event no field {first:?}");
                    note(*line, message, format!("did you mean /{near}?"));
                }
            }
        }
        for (table, lookup) in &self.lookups {
            for (function, line) in &lookup.grant_to {
                let asks = |function: &str| format!("functions/{function}.yaml: `lookups: {{{table}: {table}}}`");
                let (message, fix) = if self.functions.contains_key(function) {
                    let message = "functions of files ask for tables themselves; `grant_to` is for uploaded ones";
                    (message.to_owned(), format!("take {function:?} away here, and write into {}", asks(function)))
                } else if is_uploaded(function) {
                    continue;
                } else {
                    let functions: Vec<&str> = self.functions.keys().map(String::as_str).collect();
                    let fix = match nearest(function, &functions) {
                        Some(near) => format!("did you mean {near:?}? That one asks in {}", asks(near)),
                        None => "push it, or mend the name".to_owned(),
                    };
                    (format!("no uploaded function that is live is called {function:?}"), fix)
                };
                let file = self.dir.join(format!("lookups/{table}.yaml"));
                notes.push(Problem::of_file(file, *line, message, fix));
            }
        }
        notes
    }
}

/// Folders that are read, besides those of contract repositories.
fn folders() -> [&'static str; ObjectRefKind::OF_FOLDERS.len()] {
    ObjectRefKind::OF_FOLDERS.map(ObjectRefKind::folder)
}

/// Folders with YAML files that nobody reads; a plugin's project is none of them.
fn unread(dir: &Path) -> Vec<String> {
    let has_yaml = |path: &Path| entries(path).any(|path| is_yaml(&path));
    let mut folders: Vec<String> = entries(dir)
        .filter(|path| path.is_dir() && !path.join("plugin.yaml").exists())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, path)| {
            let is_of_contracts = OF_CONTRACTS.contains(&name.as_str());
            has_yaml(path) || (is_of_contracts && entries(path).any(|path| has_yaml(&path)))
        })
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('.') && name != "events" && name != "data")
        .filter(|name| !folders().contains(&name.as_str()))
        .collect();
    folders.sort_unstable();
    folders
}

/// What lies in a folder of objects, looks like one, and is not read.
fn passed_over(dir: &Path) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for folder in folders() {
        for path in entries(&dir.join(folder)) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            let small = name.to_lowercase();
            let is_object = if path.is_dir() {
                !path.join("plugin.yaml").exists() && entries(&path).any(|path| is_yaml(&path))
            } else {
                let ends = [".yaml", ".yml"].iter().any(|end| small.ends_with(end)) && !is_yaml(&path);
                // Tables that are granted may be JSON.
                ends || small.ends_with(".yaml.txt") || (folder != "lookups" && small.ends_with(".json"))
            };
            if is_object {
                found.push((folder, name));
            }
        }
    }
    found.sort_unstable();
    found
}
