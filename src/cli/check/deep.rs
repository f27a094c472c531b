//! `tidegate check --deep`.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use super::super::{CommandDone, style};
use crate::app::inspect::{self, FileDamage, InspectedFiles};
use crate::config::ReadEnvironment;

pub(super) fn run(environments: &[ReadEnvironment], json: bool) -> CommandDone {
    let inspected = if std::io::stderr().is_terminal() && !json {
        let spinner = indicatif::ProgressBar::new_spinner();
        spinner.enable_steady_tick(Duration::from_millis(100));
        let inspected = inspect_all(environments, &mut |file| spinner.set_message(style::plain(file, 200)));
        spinner.finish_and_clear();
        inspected
    } else {
        inspect_all(environments, &mut |_| {})
    };
    let damage: Vec<&FileDamage> = inspected.iter().flat_map(|file| &file.damage).collect();
    if json {
        print_json(&inspected, &damage);
    } else {
        print_table(environments, &inspected, &damage);
    }
    Ok(if damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn inspect_all(environments: &[ReadEnvironment], told: &mut dyn FnMut(&str)) -> Vec<InspectedFiles> {
    let mut all = Vec::new();
    for one in environments {
        all.extend(inspect::inspect(&one.workspace, told));
    }
    all
}

fn print_json(inspected: &[InspectedFiles], damage: &[&FileDamage]) {
    let files: Vec<_> = inspected
        .iter()
        .map(|file| {
            serde_json::json!({
                "file": file.file, "format": file.format, "bytes": file.bytes, "looked_at": file.looked_at,
                "damaged": !file.damage.is_empty(),
            })
        })
        .collect();
    let damage: Vec<_> = damage
        .iter()
        .map(|found| {
            serde_json::json!({
                "file": found.file, "what": found.what, "follows": found.follows, "remedy": found.remedy,
            })
        })
        .collect();
    println!("{}", serde_json::json!({"ok": damage.is_empty(), "files": files, "damage": damage}));
}

fn print_table(environments: &[ReadEnvironment], inspected: &[InspectedFiles], damage: &[&FileDamage]) {
    let mut table = style::table(&["file", "format", "bytes", "looked at", "result"]);
    for file in inspected {
        let result = match file.damage.len() {
            0 => "ok".to_owned(),
            many => format!("{many} damaged"),
        };
        table.add_row([
            style::plain(&file.file, 200),
            style::plain(file.format.as_deref().unwrap_or("-"), 20),
            style::count(file.bytes),
            style::plain(&file.looked_at, 200),
            result,
        ]);
    }
    println!("{table}");
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
    if damage.is_empty() {
        for ReadEnvironment { workspace, .. } in environments {
            println!("{} {}: every file is what was stored", style::good("ok"), workspace.data.display());
        }
    }
}
