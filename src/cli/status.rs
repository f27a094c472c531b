//! `tidegate status`.

mod alerts;
mod archive;
mod configuration;
mod endings;
mod health;
mod retention;
mod streams;
mod tls;
mod write_keys;

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_api_types::write_key::ShownWriteKey;
use tidegate_event::time;
use tidegate_log as intake;
use tidegate_registry::{self as store, PluginKind};
use tidegate_state::{
    self as state, Charge, FateBreach, KeyUse, PendingCount, QuarantineFilter, QuarantineSize, State, SyncReport,
};

use super::{CommandDone, CommandFailure, EnvironmentArgs, style};
use crate::app::findings::{self, Finding};
use crate::app::{catalog, paths};
use crate::config::{MAIN_ENVIRONMENT, Outline};
use alerts::AlertLines;
use archive::ArchiveLines;
use configuration::RunningConfiguration;
use endings::SyncEndings;
use health::StatusHealth;
use retention::RetentionLines;
use streams::StreamLines;
use tls::TlsLines;
use write_keys::AskedServer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the data directory, and those of the environments in it; the server may run or not. What write keys are used for is written there every few seconds. \
    Only a running server knows which there are: name its admin API with --server to see that too.\n\nExit code 0 when all is well, 1 when something fails or is late: a sync or a stream fails, events wait for another try for more \
    than 15 minutes, a function is stopped, a function or a destination fails most of its events, an object does not run as it is wanted, a file is damaged, events are not accounted for; or when the data directory \
    cannot be read. 3 when the folder has problems."
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    workspace: EnvironmentArgs,
    #[command(flatten)]
    asked: AskedServer,
}

/// What there is to say of the log.
struct StatusLogLine {
    /// Of each partition.
    partitions: Vec<intake::Overview>,
    /// Records that are refined.
    refined: u64,
    /// Log ranges in quarantine, by code.
    damage: Vec<(String, u64)>,
}

impl StatusLogLine {
    /// Where a sync is, when there is one partition.
    fn cursor(&self, report: &SyncReport) -> Option<u64> {
        self.cursors(report).pop().filter(|_| self.partitions.len() == 1)
    }

    /// Where a sync is in each partition.
    fn cursors(&self, report: &SyncReport) -> Vec<u64> {
        let of = |partition| report.cursors.iter().find(|cursor| cursor.partition == partition);
        (0..).zip(&self.partitions).map(|(partition, _)| of(partition).map_or(0, |cursor| cursor.offset)).collect()
    }

    /// Records that a sync has not had yet.
    fn lag(&self, report: &SyncReport) -> u64 {
        let cursors = self.partitions.iter().zip(self.cursors(report));
        cursors.map(|(partition, cursor)| partition.records(cursor, partition.end)).sum()
    }

    /// Records that were ever accepted.
    fn records(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.records(0, partition.end)).sum()
    }

    fn notes(&self) -> impl Iterator<Item = &str> {
        self.partitions.iter().flat_map(|partition| &partition.notes).map(|note| note.text.as_str())
    }
}

/// What became of the events of one source.
#[derive(Debug, Default)]
struct SourceLine {
    accepted: u64,
    duplicates: u64,
    /// Events about somebody who is left out, or was forgotten before they were refined.
    suppressed: u64,
    violations: u64,
    quarantined: u64,
    dropped: u64,
    unreadable_times: u64,
    /// Events of the quarantine that were tried once more.
    retried: u64,
    /// Events that came again while they were in quarantine.
    duplicates_of_quarantined: u64,
    /// What contracts do not declare and let through, by name.
    undeclared: BTreeMap<String, u64>,
}

pub(super) fn run(args: &StatusArgs, json: bool) -> CommandDone {
    let (server, named) = (args.workspace.workspace.outline()?, args.workspace.environment.as_deref());
    let main = ShownEnvironment { name: named.unwrap_or(MAIN_ENVIRONMENT), server: &server, asked: &args.asked };
    let (mut answer, mut health) = main.show(&args.workspace.outline()?, json)?;
    let others = if named.is_none() { server.environments() } else { BTreeMap::new() };
    for name in others.keys() {
        let outline = server.of_environment(name).map_err(CommandFailure::Problems)?;
        let has_run = paths::state(&outline.data).exists();
        if !json {
            println!();
            let never = if has_run { "" } else { ": no server has run it yet" };
            println!("{}{never}", style::bold(&format!("environment {name}")));
        }
        let shown = ShownEnvironment { name, ..main };
        let (shown, of_it) = if has_run { shown.show(&outline, json)? } else { Default::default() };
        health.add_environment(name, of_it);
        answer["environments"][name] = shown;
    }
    if json {
        answer["health"] = health.to_json();
        println!("{answer}");
    } else {
        health.print();
    }
    Ok(health.exit_code())
}

/// An environment, and where to ask for what the data directory does not say.
#[derive(Clone, Copy)]
struct ShownEnvironment<'a> {
    name: &'a str,
    /// That of the server's own folder, where the catalog is.
    server: &'a Outline,
    asked: &'a AskedServer,
}

impl ShownEnvironment<'_> {
    /// Prints what became of the events of an environment that is in `workspace`, or answers it as JSON.
    fn show(&self, workspace: &Outline, json: bool) -> Result<(serde_json::Value, StatusHealth), CommandFailure> {
        let mut state = State::read(&paths::state(&workspace.data))?;
        let (mut partitions, mut refined) = (Vec::new(), 0);
        for partition in 0..state.partitions()? {
            let dir = intake::partition_dir(&paths::log(&workspace.data), partition);
            let overview = intake::overview(&dir)?;
            state = state.of_partition(partition);
            refined += overview.records(0, state.refined_to()?);
            partitions.push(overview);
        }
        let of_log = QuarantineFilter { scope: Some("log".to_owned()), ..QuarantineFilter::default() };
        let damage = state.quarantine_counts(&of_log)?.into_iter().map(|(_, _, code, count)| (code, count)).collect();
        let log = StatusLogLine { partitions, refined, damage };
        let mut sources: BTreeMap<String, SourceLine> = BTreeMap::new();
        for name in workspace.sources.keys() {
            sources.insert(name.clone(), SourceLine::default());
        }
        for (scope, name, value) in state.counters()? {
            if let Some(source) = state::source_of_undeclared(&scope) {
                sources.entry(source.to_owned()).or_default().undeclared.insert(name, value);
                continue;
            }
            if state::sync_of_suppressed(&scope).is_some() {
                continue;
            }
            let line = sources.entry(scope).or_default();
            match name.as_str() {
                "accepted" => line.accepted = value,
                "duplicates" => line.duplicates = value,
                "suppressed" => line.suppressed = value,
                "violations" => line.violations = value,
                "quarantined" => line.quarantined = value,
                "unreadable times" => line.unreadable_times = value,
                "retried" => line.retried = value,
                "duplicates of quarantined" => line.duplicates_of_quarantined = value,
                _ => line.dropped += value,
            }
        }
        let reports = state.reports()?;
        let counts = state.pending_counts()?;
        let pending = |sync: &str| counts.iter().find(|count| count.sync == sync).cloned().unwrap_or_default();
        let reports: Vec<(SyncReport, PendingCount)> =
            reports.into_iter().map(|report| (report.clone(), pending(&report.sync))).collect();
        let records = |partition: u16, from: u64, to: u64| {
            log.partitions.get(usize::from(partition)).map_or(0, |partition| partition.records(from, to))
        };
        let endings = SyncEndings::read(&state, records)?;
        let functions = state.charges()?;
        let destinations = state.destination_charges()?;
        let quarantine = state.quarantine_size()?;
        let damage = findings::read(&paths::findings(&workspace.data));
        let breaches = state.fate_breaches()?;
        let alerts = AlertLines::read(&state)?;
        let (write_keys, uses) = (self.asked.write_keys(self.name)?, state.key_uses()?);
        let configuration = RunningConfiguration::read(&workspace.data, &workspace.dir);
        let streams = StreamLines::read(&workspace.data);
        let tls = TlsLines::read(&workspace.data);
        let archive = ArchiveLines::read(&workspace.data);
        let retention = RetentionLines::read(&state)?;
        let revision = catalog::revision(&self.server.data)?;
        let store = paths::store(&workspace.data);
        let of_functions = live(functions.iter().map(|(charge, _)| &charge.function), PluginKind::Functions, &store);
        let names = destinations.iter().map(|charge| &charge.function);
        let of_destinations = live(names, PluginKind::Destinations, &store);
        let mut health = StatusHealth::default();
        health.add_syncs(&reports, configuration.as_ref());
        health.add_functions(&functions, &of_functions);
        health.add_destinations(&destinations, &of_destinations);
        health.add_data(&damage, &breaches);
        streams.failing().for_each(|source| health.add(format!("the stream of source {source} cannot be read")));
        let behind = configuration.as_ref().map_or(0, RunningConfiguration::behind);
        if behind > 0 {
            health.add(format!("{behind} objects do not run as they are wanted"));
        }
        if json {
            let destinations_of: Vec<(String, serde_json::Value)> = reports
                .iter()
                .filter_map(|(report, _)| {
                    let (destination, kind) = configuration.as_ref()?.destination_of(&report.sync)?;
                    Some((report.sync.clone(), serde_json::json!({"name": destination, "kind": kind})))
                })
                .collect();
            let configuration = configuration.map(|configuration| configuration.to_json());
            let others = ((write_keys.as_deref(), &*uses), configuration, revision, &endings);
            let functions = (&*functions, &*destinations);
            let mut answer = to_json((&log, &sources), &reports, functions, (&quarantine, &damage), others);
            answer["streams"] = streams.to_json();
            answer["tls"] = tls.to_json();
            answer["archive"] = archive.to_json();
            answer["retention"] = retention.to_json();
            answer["breaches"] = breaches.len().into();
            answer["alerts"] = alerts.to_json();
            for (sync, destination) in destinations_of {
                answer["syncs"][sync]["destination"] = destination;
            }
            return Ok((answer, health));
        }
        if let Some(configuration) = &configuration {
            configuration.print();
        }
        print_tables(&log, &sources, (&*reports, configuration.as_ref()));
        streams.print();
        tls.print();
        archive.print();
        retention.print();
        endings.print();
        match &write_keys {
            Some(keys) => write_keys::print(keys),
            None => write_keys::print_used(&uses),
        }
        print_functions(&functions, &of_functions);
        print_destinations(&destinations, &of_destinations);
        print_quarantine(&quarantine);
        print_damage(&damage);
        print_breaches(&breaches);
        alerts.print();
        // It counts the changes of all environments.
        if let Some(revision) = revision.filter(|_| self.name == MAIN_ENVIRONMENT) {
            let running = configuration.map(|configuration| configuration.catalog_revision());
            match running.filter(|running| *running < revision) {
                Some(running) => {
                    println!("The catalog is at revision {revision}; what runs was last changed at {running}.")
                }
                None => println!("The catalog is at revision {revision}."),
            }
        }
        Ok((serde_json::Value::Null, health))
    }
}

/// What a server that was asked says of write keys, and what the data directory says of their use.
type WriteKeysShown<'k> = (Option<&'k [ShownWriteKey]>, &'k [KeyUse]);

/// What else there is to say, as far as it is known.
type OtherAnswers<'a> = (WriteKeysShown<'a>, Option<serde_json::Value>, Option<u64>, &'a SyncEndings);

fn to_json(
    (log, sources): (&StatusLogLine, &BTreeMap<String, SourceLine>),
    reports: &[(SyncReport, PendingCount)],
    (functions, destinations): (&[(Charge, Option<String>)], &[Charge]),
    (quarantine, damage): (&QuarantineSize, &[Finding]),
    ((write_keys, uses), configuration, revision, endings): OtherAnswers<'_>,
) -> serde_json::Value {
    let sources: serde_json::Map<_, _> = sources
        .iter()
        .map(|(name, line)| {
            let line = serde_json::json!({
                "accepted": line.accepted, "duplicates": line.duplicates, "violations": line.violations,
                "quarantined": line.quarantined, "dropped": line.dropped,
                "unreadable_times": line.unreadable_times, "undeclared": line.undeclared, "retried": line.retried,
                "duplicates_of_quarantined": line.duplicates_of_quarantined, "suppressed": line.suppressed,
            });
            (name.clone(), line)
        })
        .collect();
    let syncs: serde_json::Map<_, _> = reports
        .iter()
        .map(|(report, pending)| {
            let line = serde_json::json!({
                "cursor": log.cursor(report), "cursors": log.cursors(report), "lag": log.lag(report), "delivered": report.delivered,
                "duplicates": report.duplicates, "quarantined": report.rejected, "filtered": report.filtered,
                "pending": pending.events, "pending_bytes": pending.bytes,
                "pending_since": (pending.events > 0).then(|| time::format(pending.oldest_at_us)),
                "delivered_at": report.delivered_at_us.map(time::format), "failure": report.failure,
                "notices": report.notices, "ending": endings.of(&report.sync),
            });
            (report.sync.clone(), line)
        })
        .collect();
    let functions: Vec<_> = functions
        .iter()
        .map(|(charge, stopped)| {
            serde_json::json!({
                "name": charge.function, "version": charge.version, "batches": charge.batches, "calls": charge.calls,
                "calls_failed": charge.calls_failed, "events": charge.events, "errors": charge.errors,
                "failed": charge.failed, "dropped": charge.dropped, "cpu_us": charge.cpu_us,
                "memory_bytes_peak": charge.memory_peak_bytes, "last_error": charge.error, "stopped": stopped,
            })
        })
        .collect();
    let destinations: Vec<_> = destinations
        .iter()
        .map(|charge| {
            serde_json::json!({
                "name": charge.function, "version": charge.version, "events": charge.events, "failed": charge.failed,
                "last_error": charge.error,
            })
        })
        .collect();
    let records: serde_json::Map<_, _> =
        log.damage.iter().map(|(code, count)| (code.clone(), (*count).into())).collect();
    let notes: Vec<&str> = log.notes().collect();
    let ends: Vec<u64> = log.partitions.iter().map(|partition| partition.end).collect();
    let log = serde_json::json!({"ends": ends, "end": log.records(), "refined": log.refined, "damage": records, "notes": notes});
    let quarantine = serde_json::json!({
        "events": quarantine.entries, "bytes": quarantine.bytes,
        "oldest_at": quarantine.oldest_at_us.map(time::format), "expired": quarantine.expired,
        "purged": quarantine.purged,
    });
    let damage: Vec<_> = damage
        .iter()
        .map(|found| {
            serde_json::json!({
                "file": found.file, "what": found.what, "follows": found.follows, "remedy": found.remedy,
            })
        })
        .collect();
    serde_json::json!({
        "log": log, "sources": sources, "syncs": syncs, "functions": functions, "destinations": destinations,
        "quarantine": quarantine, "damage": damage, "write_keys": write_keys, "configuration": configuration,
        "key_uses": write_keys::used(uses), "catalog": { "revision": revision }, "endings": endings.to_json(),
    })
}

fn print_quarantine(size: &QuarantineSize) {
    if size.entries == 0 && size.expired == 0 && size.purged == 0 {
        return;
    }
    let oldest = size.oldest_at_us.map_or_else(String::new, |at| format!(", the oldest since {}", time::format(at)));
    println!(
        "{} events in quarantine, {:.1} MiB{oldest}; {} expired, {} purged",
        style::count(size.entries),
        size.bytes as f64 / f64::from(1 << 20),
        style::count(size.expired),
        style::count(size.purged)
    );
}

/// Where events are not accounted for.
fn print_breaches(breaches: &[FateBreach]) {
    const SHOWN_MAX: usize = 3;
    for FateBreach { scope, is_sync, expected, found, what, .. } in breaches.iter().take(SHOWN_MAX) {
        let (kind, missing) = (if *is_sync { "sync" } else { "source" }, expected.abs_diff(*found));
        let (bold, missing) = (style::bold("breach:"), style::count(missing));
        println!("{bold} {kind} {scope}: {missing} events are not accounted for: {}", style::plain(what, 300));
    }
    if !breaches.is_empty() {
        println!("{} breaches in all: `tidegate audit conservation` shows them", breaches.len());
    }
}

fn print_damage(damage: &[Finding]) {
    for found in damage {
        println!(
            "{} {}: {}. What follows: {}. What to do: {}",
            style::bold("damaged:"),
            style::plain(&found.file, 300),
            style::plain(&found.what, 500),
            style::plain(&found.follows, 500),
            style::plain(&found.remedy, 500)
        );
    }
}

/// The versions that are live in the store, by name. What stands in a file has none there.
fn live<'n>(
    names: impl Iterator<Item = &'n String>,
    plugin_kind: PluginKind,
    store: &Path,
) -> BTreeMap<String, String> {
    let live = |name: &String| {
        let (placed, _) = store::glance(store, plugin_kind, name).ok()??;
        Some((name.clone(), placed.sha256.to_string()))
    };
    names.filter_map(live).collect()
}

/// Those that fail: how many each had is in the table of syncs.
fn print_destinations(destinations: &[Charge], live: &BTreeMap<String, String>) {
    for charge in destinations {
        let is_live = live.get(&charge.function).map_or("", String::as_str) == charge.version;
        if is_live && charge.fails_most() {
            print_failing("destination", charge, "the tool refuses them");
        }
    }
}

fn print_failing(one: &str, charge: &Charge, otherwise: &str) {
    let (name, error) = (&charge.function, charge.error.as_deref().unwrap_or(otherwise));
    println!(
        "{} {one} {name}: {} of {} events, which are in quarantine: {}",
        style::bold("failing:"),
        style::count(charge.errors + charge.failed),
        style::count(charge.events),
        style::plain(error, 500)
    );
}

fn print_functions(functions: &[(Charge, Option<String>)], live: &BTreeMap<String, String>) {
    if functions.is_empty() {
        return;
    }
    let names = ["function", "version", "events", "errors", "failed", "dropped", "\u{b5}s/event", "peak MiB"];
    let mut table = style::table(&names);
    for (charge, _) in functions {
        let version = charge.version.get(..12).unwrap_or(&charge.version).to_owned();
        let numbers = [charge.events, charge.errors, charge.failed, charge.dropped].map(style::count);
        let each = format!("{:.1}", charge.cpu_us as f64 / charge.events.max(1) as f64);
        let peak = format!("{:.1}", charge.memory_peak_bytes as f64 / f64::from(1 << 20));
        table.add_row([charge.function.clone(), version].into_iter().chain(numbers).chain([each, peak]));
    }
    println!("{table}");
    for (charge, stopped) in functions {
        let is_live = live.get(&charge.function).is_none_or(|version| *version == charge.version);
        if is_live && charge.fails_most() {
            print_failing("function", charge, "it refuses them");
        }
        if let Some(error) = stopped {
            let (name, error) = (&charge.function, style::plain(error, 500));
            println!("{} function {name}: {error}; its events wait in the log", style::bold("stopped:"));
        }
    }
}

/// What a source sends that somebody may want to mend.
fn print_notes(source: &str, line: &SourceLine) {
    const NAMES_MAX: usize = 5;
    if line.unreadable_times > 0 {
        println!(
            "{} source {source}: {} events have a time that cannot be read: they bear the time of receipt, or one that was not \
             corrected (`context.timestampReadAs` or `sentAtReadAs` is unreadable; `originalTimestamp` and `sentAt` are what they said)",
            style::bold("notice:"),
            style::count(line.unreadable_times)
        );
    }
    if line.suppressed > 0 {
        println!(
            "{} source {source}: {} events went nowhere, for they are about somebody who is suppressed (`tidegate privacy list`)",
            style::bold("notice:"),
            style::count(line.suppressed)
        );
    }
    if line.duplicates_of_quarantined > 0 {
        println!(
            "{} source {source}: {} duplicates were sent of events that are in quarantine, which stay there: `tidegate quarantine \
             retry` sends them on",
            style::bold("notice:"),
            style::count(line.duplicates_of_quarantined)
        );
    }
    if line.undeclared.is_empty() {
        return;
    }
    let mut names: Vec<(&String, u64)> = line.undeclared.iter().map(|(name, count)| (name, *count)).collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<String> = names
        .iter()
        .take(NAMES_MAX)
        .map(|(name, count)| format!("{} {}", style::count(*count), style::plain(name, 200)))
        .collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    let more = if more > 0 { format!(" (and {more} more names: --json)") } else { String::new() };
    println!("{} source {source}, let through: {}{more}", style::bold("undeclared:"), shown.join(", "));
}

fn print_tables(
    log: &StatusLogLine,
    sources: &BTreeMap<String, SourceLine>,
    (reports, configuration): (&[(SyncReport, PendingCount)], Option<&RunningConfiguration>),
) {
    println!("{} records in the log, {} of them refined", style::count(log.records()), style::count(log.refined));
    for (code, count) in &log.damage {
        println!("{} {} log ranges in quarantine with the code {code}", style::bold("damaged:"), style::count(*count));
    }
    for note in log.notes() {
        println!("{} {}", style::bold("log:"), style::plain(note, 500));
    }
    let mut table = style::table(&["source", "accepted", "duplicates", "violations", "quarantined", "dropped"]);
    for (name, line) in sources {
        let numbers = [line.accepted, line.duplicates, line.violations, line.quarantined, line.dropped];
        table.add_row(std::iter::once(name.clone()).chain(numbers.map(style::count)));
    }
    println!("{table}");
    sources.iter().for_each(|(name, line)| print_notes(name, line));
    let mut table = style::table(&[
        "sync",
        "to",
        "delivered",
        "duplicates",
        "quarantined",
        "filtered",
        "pending",
        "lag",
        "last delivery",
    ]);
    for (report, pending) in reports {
        let lag = log.lag(report);
        let numbers = [report.delivered, report.duplicates, report.rejected, report.filtered, pending.events, lag];
        let last = report.delivered_at_us.map_or_else(|| "never".to_owned(), time::format);
        let to = configuration.and_then(|configuration| configuration.destination_of(&report.sync));
        let to = to.map_or_else(String::new, |(name, kind)| style::plain(&format!("{name} ({kind})"), 200));
        table.add_row([report.sync.clone(), to].into_iter().chain(numbers.map(style::count)).chain([last]));
    }
    println!("{table}");
    for (report, _) in reports {
        let is_paused = configuration.is_some_and(|configuration| configuration.is_sync_paused(&report.sync));
        if let Some(failure) = report.failure.as_ref().filter(|_| !is_paused) {
            println!("{} sync {}: {}", style::bold("failing:"), report.sync, style::plain(failure, 500));
        }
        for notice in &report.notices {
            println!("{} sync {}: {}", style::bold("notice:"), report.sync, style::plain(notice, 1_000));
        }
    }
}
