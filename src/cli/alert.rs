//! `tidegate alert`: what people are told of, whether it arrives, and that nobody is told for a while.

use std::process::ExitCode;

use tidegate_api_types::alert::{MuteAlert, ShownAlert};

use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

#[derive(Debug, clap::Subcommand)]
pub(super) enum AlertCommand {
    /// List alerts: how each is, and who is told
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// How an alert is: what it fires for, since when, and whether messages wait
    Show {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Send a test message to each channel of an alert
    #[command(after_help = "Exit code 1 when a channel has not taken it.")]
    Test {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Have nobody be told of an alert for a while
    #[command(
        after_help = "Examples:\n  tidegate alert mute crm-failing --for 2h --reason \"the CRM is being moved\"\n  tidegate alert mute crm-failing               until `tidegate alert unmute`\n\nWhat fires meanwhile is in the history, and is told afterwards if it still fires then."
    )]
    Mute {
        name: String,
        /// For how long, e.g. 30min, 2h or 7d [default: until somebody says otherwise]
        #[arg(long = "for", value_name = "TIME")]
        length: Option<String>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// Have people be told of an alert again
    Unmute {
        name: String,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// What happened, newest first: what fired, recovered, was told, was muted
    History {
        /// Only of this alert
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Entries
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        limit: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

pub(super) fn run(command: &AlertCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            AlertCommand::List { catalog } => list((catalog, json)).await?,
            AlertCommand::Show { name, catalog } => print_alert(&one(catalog, name).await?, json),
            AlertCommand::Test { name, catalog } => return test(name, (catalog, json)).await,
            AlertCommand::Mute { name, length, reason, catalog } => {
                let asked = MuteAlert { length: length.clone(), reason: reason.clone() };
                print_alert(&catalog.client()?.mute_alert(name, &asked).await?, json);
            }
            AlertCommand::Unmute { name, catalog } => {
                print_alert(&catalog.client()?.unmute_alert(name).await?, json);
            }
            AlertCommand::History { name, limit, catalog } => {
                history((name.as_ref(), *limit), (catalog, json)).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn one(catalog: &CatalogArgs, name: &str) -> Result<ShownAlert, CommandFailure> {
    let found = catalog.client()?.alerts().await?;
    found.alerts.into_iter().find(|alert| alert.name == name).ok_or_else(|| {
        let wrong =
            format!("there is no alert {name:?} that runs and that you may see; `tidegate alert list` shows all");
        CommandFailure::Failed(wrong)
    })
}

async fn list((catalog, json): (&CatalogArgs, bool)) -> Result<(), CommandFailure> {
    let found = catalog.client()?.alerts().await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    let mut table = style::table(&["alert", "condition", "severity", "state", "for", "channels", "owner"]);
    for alert in &found.alerts {
        let firing: Vec<&str> = alert.objects.iter().map(|one| one.object.as_str()).collect();
        let channels: Vec<&str> = alert.channels.iter().map(|one| one.name.as_str()).collect();
        table.add_row([
            style::plain(&alert.name, 100),
            alert.condition.clone(),
            alert.severity.clone(),
            alert.state.clone(),
            style::plain(&firing.join(", "), 200),
            style::plain(&channels.join(", "), 200),
            style::plain(alert.owner.as_deref().unwrap_or_default(), 100),
        ]);
    }
    println!("{table}");
    if found.alerts.iter().any(|alert| alert.is_default) {
        println!(
            "These are watched because the workspace has no alert, and nobody is told: write alerts/NAME.yaml (docs/alerts.md)"
        );
    }
    Ok(())
}

fn print_alert(alert: &ShownAlert, json: bool) {
    if json {
        print_json(alert);
        return;
    }
    println!("{} {} is {} ({}, {})", style::bold("alert:"), alert.name, alert.state, alert.condition, alert.severity);
    for one in &alert.objects {
        let (object, text) = (style::plain(&one.object, 200), style::plain(&one.text, 600));
        println!("{object} is {} since {}: {text}", one.state, one.since);
    }
    println!("{} objects are watched", style::count(alert.objects_watched));
    if alert.is_muted {
        let until = alert.muted_until.as_deref().map_or_else(String::new, |until| format!(" until {until}"));
        let by = alert.muted_by_name.as_deref().or(alert.muted_by.as_deref()).unwrap_or("its file");
        println!("{} by {}{until}", style::bold("muted"), style::plain(by, 100));
    }
    for channel in &alert.channels {
        let name = style::plain(&channel.name, 100);
        println!("channel {name} ({}): {} messages wait", channel.kind, style::count(channel.waiting));
        if let Some(error) = &channel.error {
            println!("{} {}", style::error("not delivered:"), style::plain(error, 600));
        }
    }
    if alert.state == "firing" {
        println!("{} {}", style::bold("what to do:"), alert.what_to_do);
    }
}

async fn test(name: &str, (catalog, json): (&CatalogArgs, bool)) -> CommandDone {
    let tested = catalog.client()?.test_alert(name).await?;
    let is_good = tested.channels.iter().all(|channel| channel.error.is_none());
    if json {
        print_json(&tested);
    } else if tested.channels.is_empty() {
        println!("{name} has no channel: nobody is told. Write `notify` into its file (docs/alerts.md)");
    } else {
        for channel in &tested.channels {
            let (shown, kind) = (style::plain(&channel.channel, 100), &channel.kind);
            match &channel.error {
                None => println!("{} {shown} ({kind}) in {} ms", style::good("arrived:"), channel.took_ms),
                Some(error) => {
                    println!("{} {shown} ({kind}): {}", style::error("not delivered:"), style::plain(error, 600));
                }
            }
        }
    }
    Ok(if is_good && !tested.channels.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn history(
    (name, limit): (Option<&String>, u64),
    (catalog, json): (&CatalogArgs, bool),
) -> Result<(), CommandFailure> {
    let found = catalog.client()?.alert_history(name.cloned(), limit).await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    let mut table = style::table(&["at", "alert", "what", "object", "text"]);
    for entry in &found.entries {
        table.add_row([
            entry.at.clone(),
            style::plain(&entry.alert, 100),
            entry.what.clone(),
            style::plain(&entry.object, 200),
            style::plain(&entry.text, 600),
        ]);
    }
    println!("{table}");
    Ok(())
}
