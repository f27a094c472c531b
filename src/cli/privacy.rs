//! `tidegate privacy`.

mod warehouses;

use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_api_types::privacy::{
    ForgetSubjects, ForgottenVerified, HashedName, NamedSubject, SayConsents, ShownConsent, ShownForgetJob,
    SubjectsSuppressed, SuppressSubjects, VerifyForgotten,
};

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

/// Between two looks at a job that is waited for.
const LOOK: std::time::Duration = std::time::Duration::from_millis(300);

/// Who is meant.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SubjectArgs {
    /// A `userId`
    #[arg(long, value_name = "ID")]
    user: Vec<String>,
    /// An `anonymousId`
    #[arg(long, value_name = "ID")]
    anonymous: Vec<String>,
    /// A `groupId`
    #[arg(long, value_name = "ID")]
    group: Vec<String>,
    /// A trait, such as email=ann@example.com, or email=sha256:DIGEST of it in small letters
    #[arg(long = "trait", value_name = "NAME=VALUE")]
    traits: Vec<String>,
    /// Lines such as `user ID` or `trait NAME=VALUE`; `-` reads standard input, so that no id is on the command line
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum PrivacyCommand {
    /// Leave somebody out from now on: their events go nowhere, and are counted
    #[command(
        after_help = "Examples:\n  tidegate privacy suppress --user ann --anonymous 7f1c --trait email=ann@example.com\n  echo \"user ann\" | tidegate privacy suppress --file -"
    )]
    Suppress {
        #[command(flatten)]
        who: SubjectArgs,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Let their events pass again
    Unsuppress {
        #[command(flatten)]
        who: SubjectArgs,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// List who is left out, by hashes
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Say what somebody consents to, and hold what waits for syncs against it; without a category, show what is known
    #[command(
        after_help = "Examples:\n  tidegate privacy consent --user ann --deny Advertising      nothing that waits goes to syncs that need it\n  tidegate privacy consent --user ann --grant Advertising\n  tidegate privacy consent --user ann                         shows what is known\n\nWhat is denied here stands whatever their events say. --clear takes back what is known."
    )]
    Consent {
        #[command(flatten)]
        who: SubjectArgs,
        /// A category that they consent to
        #[arg(long, value_name = "CATEGORY")]
        grant: Vec<String>,
        /// A category that they do not consent to
        #[arg(long, value_name = "CATEGORY")]
        deny: Vec<String>,
        /// A category of which nothing is to be known any more
        #[arg(long, value_name = "CATEGORY")]
        clear: Vec<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Remove what there is about somebody from the log, the quarantine, what is pending and what functions logged, and ask tools to delete them
    #[command(
        after_help = "Examples:\n  tidegate privacy forget --user ann --dry-run        counts what would be removed\n  tidegate privacy forget --user ann --verify         and looks for it in every file afterwards\n  tidegate privacy warehouses shop --user ann         the statements for the tables\n\nThey are left out from then on as well, unless --keep-accepting says otherwise."
    )]
    Forget {
        #[command(flatten)]
        who: SubjectArgs,
        /// Count what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Take later events of theirs like any other
        #[arg(long)]
        keep_accepting: bool,
        /// Look for them in every file of the data directory afterwards
        #[arg(long, conflicts_with_all = ["dry_run", "no_wait"])]
        verify: bool,
        /// Do not wait until it is done
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// How far the jobs are that forget
    Status {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// What a job did, and where
    Report {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Look for somebody in every file of the data directory
    Verify {
        #[command(flatten)]
        who: SubjectArgs,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Print the statements that remove somebody from the tables of warehouses; run them in SQLite and PostgreSQL
    Warehouses(warehouses::WarehousesArgs),
}

pub(super) fn run(command: &PrivacyCommand, json: bool) -> CommandDone {
    if let PrivacyCommand::Warehouses(args) = command {
        return warehouses::run(args, json);
    }
    runtime()?.block_on(async {
        match command {
            PrivacyCommand::Suppress { who, dry_run, catalog } => {
                let order = SuppressSubjects { subjects: who.subjects()?, dry_run: *dry_run };
                print_suppressed(&catalog.client()?.suppress(&order).await?, ("left out", json));
            }
            PrivacyCommand::Unsuppress { who, dry_run, catalog } => {
                let order = SuppressSubjects { subjects: who.subjects()?, dry_run: *dry_run };
                print_suppressed(&catalog.client()?.unsuppress(&order).await?, ("let through", json));
            }
            PrivacyCommand::List { catalog } => list((catalog, json)).await?,
            PrivacyCommand::Consent { who, grant, deny, clear, catalog } => {
                let mut order = SayConsents { subjects: who.subjects()?, ..SayConsents::default() };
                for (categories, said) in [(grant, Some(true)), (deny, Some(false)), (clear, None)] {
                    order.categories.extend(categories.iter().map(|category| (category.clone(), said)));
                }
                consent(&order, (catalog, json)).await?;
            }
            PrivacyCommand::Forget { who, dry_run, keep_accepting, verify, no_wait, catalog } => {
                let subjects = who.subjects()?;
                let (dry_run, keep_accepting) = (*dry_run, *keep_accepting);
                let order = ForgetSubjects { subjects: subjects.clone(), dry_run, keep_accepting };
                forget(&order, *no_wait, (catalog, json)).await?;
                if *verify {
                    return verified(subjects, (catalog, json)).await;
                }
            }
            PrivacyCommand::Status { catalog } => status((catalog, json)).await?,
            PrivacyCommand::Report { id, catalog } => {
                print_job(&catalog.client()?.forget_job(*id).await?, json);
            }
            PrivacyCommand::Verify { who, catalog } => return verified(who.subjects()?, (catalog, json)).await,
            PrivacyCommand::Warehouses(_) => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl SubjectArgs {
    /// Who is named, on the command line and in the file.
    fn subjects(&self) -> Result<Vec<NamedSubject>, CommandFailure> {
        let mut subjects = Vec::new();
        for (kind, values) in [("user", &self.user), ("anonymous", &self.anonymous), ("group", &self.group)] {
            subjects.extend(values.iter().map(|value| subject(kind, value)));
        }
        for text in &self.traits {
            subjects.push(of_trait(text)?);
        }
        if let Some(file) = &self.file {
            let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", file.display()));
            let text = if file.as_os_str() == "-" {
                std::io::read_to_string(std::io::stdin()).map_err(failed)?
            } else {
                std::fs::read_to_string(file).map_err(failed)?
            };
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
                match line.trim().split_once(' ') {
                    Some(("trait", rest)) => subjects.push(of_trait(rest.trim())?),
                    Some((kind @ ("user" | "anonymous" | "group"), rest)) => subjects.push(subject(kind, rest.trim())),
                    _ => {
                        let wrong = format!(
                            "{}:{number}: a line names somebody as `user ID`, `anonymous ID`, `group ID` or `trait NAME=VALUE`",
                            file.display()
                        );
                        return Err(CommandFailure::Failed(wrong));
                    }
                }
            }
        }
        if subjects.is_empty() {
            let wrong = "nobody is named; --user, --anonymous, --group, --trait or --file says who is meant";
            return Err(CommandFailure::Failed(wrong.to_owned()));
        }
        Ok(subjects)
    }
}

fn subject(kind: &str, value: &str) -> NamedSubject {
    NamedSubject { kind: kind.to_owned(), name: None, value: value.to_owned() }
}

fn of_trait(text: &str) -> Result<NamedSubject, CommandFailure> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        CommandFailure::Failed("a trait is written as NAME=VALUE, e.g. email=ann@example.com".to_owned())
    })?;
    Ok(NamedSubject { kind: "trait".to_owned(), name: Some(name.trim().to_owned()), value: value.trim().to_owned() })
}

fn print_suppressed(done: &SubjectsSuppressed, (what, json): (&str, bool)) {
    if json {
        print_json(done);
        return;
    }
    let would = if done.dry_run { "would be" } else { "are" };
    println!("{} subjects {would} {what} who were not before", style::count(done.changed));
    if done.pending > 0 {
        println!("{} pending events of theirs {would} removed", style::count(done.pending));
    }
}

async fn list((catalog, json): (&CatalogArgs, bool)) -> Result<(), CommandFailure> {
    let found = catalog.client()?.suppressed().await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    if found.subjects.is_empty() {
        println!("Nobody is left out.");
        return Ok(());
    }
    let mut table = style::table(&["subject", "hash", "since", "asked by"]);
    for suppressed in &found.subjects {
        table.add_row([
            kind_of(&suppressed.subject),
            suppressed.subject.hash.clone(),
            suppressed.since.clone(),
            style::plain(suppressed.asked_by_name.as_ref().unwrap_or(&suppressed.asked_by), 100),
        ]);
    }
    println!("{table}");
    Ok(())
}

async fn consent(order: &SayConsents, (catalog, json): (&CatalogArgs, bool)) -> Result<(), CommandFailure> {
    let done = catalog.client()?.say_consents(order).await?;
    if json {
        print_json(&done);
        return Ok(());
    }
    if !order.categories.is_empty() {
        println!("{} are another than before", style::count(done.changed));
    }
    if done.withheld > 0 {
        println!("{} pending events are filtered", style::count(done.withheld));
    }
    if done.known.is_empty() {
        println!("Nothing is known of what they consent to, but what their events say.");
        return Ok(());
    }
    let mut table = style::table(&["subject", "hash", "category", "consent", "since", "said by"]);
    for ShownConsent { subject, category, granted, since, by } in &done.known {
        let is_granted = if *granted { "granted" } else { "denied" };
        table.add_row([
            kind_of(subject),
            subject.hash.clone(),
            style::plain(category, 128),
            is_granted.to_owned(),
            since.clone(),
            by.clone(),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn kind_of(subject: &HashedName) -> String {
    match &subject.name {
        Some(name) => format!("{} {}", subject.kind, style::plain(name, 64)),
        None => subject.kind.clone(),
    }
}

async fn forget(
    order: &ForgetSubjects,
    no_wait: bool,
    (catalog, json): (&CatalogArgs, bool),
) -> Result<(), CommandFailure> {
    let client = catalog.client()?;
    let mut job = client.forget(order).await?;
    while !no_wait && job.state == "running" {
        tokio::time::sleep(LOOK).await;
        job = client.forget_job(job.id).await?;
    }
    print_job(&job, json);
    Ok(())
}

async fn status((catalog, json): (&CatalogArgs, bool)) -> Result<(), CommandFailure> {
    let found = catalog.client()?.forget_jobs().await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    if found.jobs.is_empty() {
        println!("There are no jobs.");
        return Ok(());
    }
    let mut table = style::table(&["job", "state", "asked", "subjects", "at", "found", "removed"]);
    for job in &found.jobs {
        let found: u64 = job.report.places.iter().map(|place| place.found).sum();
        let removed: u64 = job.report.places.iter().map(|place| place.removed).sum();
        let dry = if job.dry_run { " (dry run)" } else { "" };
        table.add_row([
            job.id.to_string(),
            format!("{}{dry}", job.state),
            job.asked_at.clone(),
            job.subjects.len().to_string(),
            at(job),
            style::count(found),
            style::count(removed),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// How far a job is.
fn at(job: &ShownForgetJob) -> String {
    let report = &job.report;
    match (report.step.as_str(), report.to) {
        ("log", Some(to)) => format!("partition {}, offset {} of {to}", report.partition, report.next),
        ("", _) => "not begun".to_owned(),
        (step, _) => step.to_owned(),
    }
}

fn print_job(job: &ShownForgetJob, json: bool) {
    if json {
        print_json(job);
        return;
    }
    let dry = if job.dry_run { ", a dry run: nothing was removed" } else { "" };
    println!("{} job {} is {}{dry}", style::bold("forget:"), job.id, job.state);
    if job.state == "running" {
        println!("it is at: {}", at(job));
    }
    let mut table = style::table(&["place", "looked at", "found", "removed", "left"]);
    for place in &job.report.places {
        table.add_row([
            style::plain(&place.place, 63),
            style::count(place.looked_at),
            style::count(place.found),
            style::count(place.removed),
            style::plain(place.left.as_deref().unwrap_or_default(), 400),
        ]);
    }
    println!("{table}");
    if !job.report.tools.is_empty() {
        let mut table = style::table(&["tool of", "state", "asked", "left out", "failed", "reason"]);
        for tool in &job.report.tools {
            table.add_row([
                style::plain(&tool.destination, 63),
                tool.state.clone(),
                style::count(tool.asked),
                style::count(tool.left_out),
                style::count(tool.failed),
                style::plain(tool.reason.as_deref().unwrap_or_default(), 600),
            ]);
        }
        println!("{table}");
    }
    for segment in &job.report.segments {
        println!(
            "segment {}/{}: {} records erased; SHA-256 {} before, {} after",
            segment.partition,
            segment.segment,
            style::count(segment.records),
            segment.sha256_before,
            segment.sha256_after
        );
    }
}

async fn verified(subjects: Vec<NamedSubject>, (catalog, json): (&CatalogArgs, bool)) -> CommandDone {
    let found = catalog.client()?.verify_forgotten(&VerifyForgotten { subjects }).await?;
    let code = if found.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    if json {
        print_json(&found);
        return Ok(code);
    }
    let ForgottenVerified { files, found, left_out, .. } = &found;
    println!("{} files were read", style::count(*files));
    for place in found {
        println!("{} {} times in {}", style::bold("found:"), style::count(place.count), style::plain(&place.file, 400));
    }
    for text in left_out {
        println!("{} {}", style::bold("not looked at:"), style::plain(text, 400));
    }
    if found.is_empty() {
        println!("None of them stands anywhere as it was asked for. What is compressed or hashed is not seen.");
    }
    Ok(code)
}
