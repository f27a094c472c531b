//! The quarantine of a running server: looked at, tried, retried, edited, exported.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_api_types::quarantine::{
    EditEntry, EntryCounts, EntrySelection, PurgeEntries, QuarantineQuery, RetryEntries, ShownEntry, ShownRetryJob,
};

use super::super::moments::option_time;
use super::super::object::{CatalogArgs, print_json, spec_text};
use super::super::{CommandDone, CommandFailure, runtime, style};
use super::tried::{self, ProposalArgs};

/// Entries of one answer.
const PAGE: u64 = 200;
/// Between two looks at a job that is waited for.
const LOOK: std::time::Duration = std::time::Duration::from_millis(300);
/// Looks at a job that has sent everything.
const LOOKS_BEHIND: u32 = 10;

/// Which entries.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SelectionArgs {
    /// Only this entry
    #[arg(long, value_name = "ID")]
    id: Option<u64>,
    /// Only those with this code, e.g. schema-violation
    #[arg(long)]
    code: Option<String>,
    /// Only those of this stage: log, decode, contract, function, destination
    #[arg(long)]
    stage: Option<String>,
    /// Only what was stopped before any sync of this source had it
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only what this sync alone has stopped
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only events received then or later: a time such as 2026-01-31T00:00:00Z, or an age such as 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events received before: a time, or an age
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those with this text in the event or in the reason
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum OnlineCommand {
    /// List entries of a running server
    List {
        #[command(flatten)]
        which: SelectionArgs,
        /// Show at most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        most: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Count entries by source or sync, code and the name of the event
    Count {
        #[command(flatten)]
        which: SelectionArgs,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Show one entry, with its event as it came
    Show {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Say what would become of entries now, or with contracts and functions as they would be; nothing is delivered
    #[command(
        after_help = "Examples:\n  tidegate quarantine try --code schema-violation\n  tidegate quarantine try --source web --change event purchase --file purchase.yaml\n  tidegate quarantine try --source web --with ../shop      with what another folder says, and what that changes"
    )]
    Try {
        #[command(flatten)]
        which: SelectionArgs,
        #[command(flatten)]
        proposal: ProposalArgs,
        /// Try at most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        most: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Send entries on: past the dedup window, with their ids and times, to the syncs that have not had them
    #[command(
        after_help = "Examples:\n  tidegate quarantine retry --code schema-violation --source web\n  tidegate quarantine retry --sync crm --since 2d --rate 50\n  tidegate quarantine retry --all --no-wait"
    )]
    Retry {
        #[command(flatten)]
        which: SelectionArgs,
        /// Every entry
        #[arg(long)]
        all: bool,
        /// At most so many events a second
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: Option<u32>,
        /// Do not wait until all are sent
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Put another event in the place of the one of an entry, and send it on; not of a part that functions made beside an event
    Edit {
        id: u64,
        /// The event as an SDK would send it, in YAML or JSON; `-` reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Print events as JSON lines that `tidegate send` takes elsewhere
    Export {
        #[command(flatten)]
        which: SelectionArgs,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Remove entries of a running server for good, after asking; the audit log says who did it
    Remove {
        #[command(flatten)]
        which: SelectionArgs,
        /// Every entry
        #[arg(long)]
        all: bool,
        /// Count what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// List the jobs that send entries on, or show one
    Jobs {
        id: Option<u64>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// End a job; what it has sent goes on
    Cancel {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

pub(super) fn run(command: &OnlineCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            OnlineCommand::List { which, most, catalog } => list(which, *most, (catalog, json)).await,
            OnlineCommand::Count { which, catalog } => count(which, (catalog, json)).await,
            OnlineCommand::Show { id, catalog } => {
                let entry = catalog.client()?.quarantined(*id).await?;
                if json {
                    print_json(&entry)
                } else {
                    print_entry(&entry)
                }
                Ok(ExitCode::SUCCESS)
            }
            OnlineCommand::Try { which, proposal, most, catalog } => {
                tried::attempt(which.selection(true)?, (proposal, *most), (catalog, json)).await
            }
            OnlineCommand::Retry { which, all, rate, no_wait, catalog } => {
                let order = RetryEntries { entries: which.selection(*all)?, rate: *rate };
                let job = catalog.client()?.retry_quarantine(&order).await?;
                followed(job, (*no_wait, json), catalog).await
            }
            OnlineCommand::Edit { id, file, catalog } => {
                let event = spec_text::spec(file, &spec_text::read(file)?)?;
                let job = catalog.client()?.edit_quarantined(*id, &EditEntry { event }).await?;
                followed(job, (false, json), catalog).await
            }
            OnlineCommand::Export { which, catalog } => export(which, catalog).await,
            OnlineCommand::Remove { which, all, dry_run, yes, catalog } => {
                remove(&which.selection(*all)?, (*dry_run, *yes), (catalog, json)).await
            }
            OnlineCommand::Jobs { id: Some(id), catalog } => {
                let job = catalog.client()?.retry_job(*id).await?;
                if json {
                    print_json(&job)
                } else {
                    print_jobs(&[job])
                }
                Ok(ExitCode::SUCCESS)
            }
            OnlineCommand::Jobs { id: None, catalog } => {
                let found = catalog.client()?.retry_jobs().await?;
                if json {
                    print_json(&found)
                } else {
                    print_jobs(&found.jobs)
                }
                Ok(ExitCode::SUCCESS)
            }
            OnlineCommand::Cancel { id, catalog } => {
                let job = catalog.client()?.cancel_retry_job(*id).await?;
                if json {
                    print_json(&job)
                } else {
                    print_jobs(&[job])
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

impl SelectionArgs {
    fn selection(&self, all: bool) -> Result<EntrySelection, CommandFailure> {
        Ok(EntrySelection {
            id: self.id,
            code: self.code.clone(),
            stage: self.stage.clone(),
            source: self.source.clone(),
            sync: self.sync.clone(),
            since: self.since.as_deref().map(|text| option_time("--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| option_time("--until", text)).transpose()?,
            text: self.text.clone(),
            all,
        })
    }

    fn query(&self, from: Option<u64>, limit: u64) -> Result<QuarantineQuery, CommandFailure> {
        let limit = Some(limit.clamp(1, PAGE));
        Ok(QuarantineQuery { entries: self.selection(false)?, workspace: None, from, limit })
    }
}

async fn list(which: &SelectionArgs, most: u64, (catalog, json): (&CatalogArgs, bool)) -> CommandDone {
    let client = catalog.client()?;
    let (mut from, mut left) = (None, most);
    let mut entries = Vec::new();
    while left > 0 {
        let page = client.quarantine(&which.query(from, left)?).await?;
        left = left.saturating_sub(page.entries.len() as u64);
        entries.extend(page.entries);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    if json {
        entries.iter().for_each(print_json);
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        println!("Nothing in quarantine is like that.");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = style::table(&["id", "source or sync", "code", "tries", "received", "reason"]);
    for entry in &entries {
        table.add_row([
            entry.id.to_string(),
            style::plain(&entry.scope, 63),
            style::plain(&entry.code, 64),
            (u64::from(entry.attempts) + 1).to_string(),
            style::plain(&entry.received_at, 40),
            style::plain(entry.message.as_deref().unwrap_or("(not for you to see)"), 120),
        ]);
    }
    println!("{table}");
    if from.is_some() {
        println!("there are more: --most shows them, `tidegate quarantine count` counts them");
    }
    Ok(ExitCode::SUCCESS)
}

async fn count(which: &SelectionArgs, (catalog, json): (&CatalogArgs, bool)) -> CommandDone {
    let client = catalog.client()?;
    let mut whole = EntryCounts::default();
    let mut from = None;
    loop {
        let some = client.count_quarantine(&which.query(from, PAGE)?).await?;
        for group in some.groups {
            let is_same = |known: &&mut tidegate_api_types::quarantine::EntryCount| {
                (&known.scope, &known.stage, &known.code, &known.event_name)
                    == (&group.scope, &group.stage, &group.code, &group.event_name)
            };
            match whole.groups.iter_mut().find(is_same) {
                Some(known) => known.entries += group.entries,
                None => whole.groups.push(group),
            }
        }
        whole.total += some.total;
        (whole.expired, whole.purged, from) = (some.expired, some.purged, some.next);
        if from.is_none() {
            break;
        }
    }
    if json {
        print_json(&whole);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = style::table(&["source or sync", "stage", "code", "event", "entries"]);
    for group in &whole.groups {
        table.add_row([
            style::plain(&group.scope, 63),
            style::plain(&group.stage, 20),
            style::plain(&group.code, 64),
            style::plain(group.event_name.as_deref().unwrap_or_default(), 80),
            style::count(group.entries),
        ]);
    }
    println!("{table}");
    let [total, expired, purged] = [whole.total, whole.expired, whole.purged].map(style::count);
    println!("{total} in all; {expired} went because of a bound, and {purged} were purged, ever");
    Ok(ExitCode::SUCCESS)
}

fn print_entry(entry: &ShownEntry) {
    let place = format!("{} of {}, {}", entry.id, entry.scope, entry.code);
    println!("{} {}", style::bold("entry"), style::plain(&place, 300));
    println!("received {}, quarantined {}", entry.received_at, entry.quarantined_at);
    if let Some(message) = &entry.message {
        println!("{}", style::plain(message, 2_000));
    }
    if let Some(sync) = &entry.for_sync {
        println!("for the sync {} alone", style::plain(sync, 63));
    }
    println!("retried {} times{}", entry.attempts, if entry.retrying { ", and on its way now" } else { "" });
    let shown = |value: &serde_json::Value| style::plain(&value.to_string(), 64 << 10);
    if let Some(event) = &entry.event {
        println!("{} {}", style::bold("event:"), shown(event));
    }
    if let Some(detail) = &entry.detail {
        println!("{} {}", style::bold("detail:"), shown(detail));
    }
    if let Some(original) = &entry.original {
        println!("{} {}", style::bold("as it came:"), shown(&serde_json::to_value(original).unwrap_or_default()));
    }
}

/// Waits until a job has sent everything, and a little for what it has sent to be refined, unless nobody wants to.
async fn followed(mut job: ShownRetryJob, (no_wait, json): (bool, bool), catalog: &CatalogArgs) -> CommandDone {
    let client = catalog.client()?;
    let mut looks_left = LOOKS_BEHIND;
    if !no_wait && !json && job.state == "running" {
        eprintln!("job {} has begun; it goes on when this command is stopped", job.id);
    }
    while !no_wait && (job.state == "running" || (job.refined < job.sent && looks_left > 0)) {
        looks_left -= u32::from(job.state != "running");
        tokio::time::sleep(LOOK).await;
        job = client.retry_job(job.id).await?;
    }
    if json {
        print_json(&job);
    } else {
        print_jobs(&[job]);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_jobs(jobs: &[ShownRetryJob]) {
    if jobs.is_empty() {
        println!("There are no jobs.");
        return;
    }
    let columns = ["job", "state", "asked", "matched", "not sent", "sent", "refined", "failed again", "filtered"];
    let mut table = style::table(&columns);
    for job in jobs {
        table.add_row([
            job.id.to_string(),
            style::plain(&job.state, 20),
            style::plain(&job.asked_at, 40),
            style::count(job.matched),
            by_reason(&job.skipped),
            style::count(job.sent),
            style::count(job.refined),
            style::count(job.quarantined),
            by_reason(&job.filtered),
        ]);
    }
    println!("{table}");
    if jobs.iter().any(|job| job.filtered.contains_key("not-made")) {
        println!("not-made: functions do not make the part of the event any more that was stopped; it goes nowhere");
    }
}

fn by_reason(entries: &BTreeMap<String, u64>) -> String {
    let counted: Vec<String> =
        entries.iter().map(|(reason, entries)| format!("{} {reason}", style::count(*entries))).collect();
    style::plain(&counted.join(", "), 200)
}

async fn export(which: &SelectionArgs, catalog: &CatalogArgs) -> CommandDone {
    let client = catalog.client()?;
    let (mut from, mut left_out) = (None, 0);
    let mut of_scopes: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let page = client.export_quarantine(&which.query(from, PAGE)?).await?;
        page.events.iter().for_each(print_json);
        page.scopes.into_iter().flatten().for_each(|scope| *of_scopes.entry(scope).or_default() += 1);
        left_out += page.left_out;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    if of_scopes.len() > 1 {
        eprintln!("each event is there once; they are of {}", by_reason(&of_scopes));
    }
    if left_out > 0 {
        eprintln!("{} entries hold no event and were left out", style::count(left_out));
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(
    entries: &EntrySelection,
    (dry_run, yes): (bool, bool),
    (catalog, json): (&CatalogArgs, bool),
) -> CommandDone {
    let client = catalog.client()?;
    let mut done = client.purge_quarantine(&PurgeEntries { entries: entries.clone(), dry_run: true }).await?;
    if !dry_run && done.matched > 0 && (yes || confirmed(done.matched)?) {
        done = client.purge_quarantine(&PurgeEntries { entries: entries.clone(), dry_run: false }).await?;
    }
    if json {
        print_json(&done);
    } else {
        println!("{} entries are like that; {} were removed", style::count(done.matched), style::count(done.purged));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks on a terminal; elsewhere somebody must have said `--yes`.
fn confirmed(entries: u64) -> Result<bool, CommandFailure> {
    if !std::io::stdin().is_terminal() {
        let message = format!("{entries} entries would go for good; say --yes, or --dry-run to only count them");
        return Err(CommandFailure::Failed(message));
    }
    eprint!("Remove these {} entries for good? [y/N] ", style::count(entries));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
