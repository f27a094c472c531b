//! `tidegate check --deep`.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use super::super::{Done, paint};
use crate::app::inspect::{self, Damage, Inspected};
use crate::config::Workspace;

pub(super) fn run(workspace: &Workspace, json: bool) -> Done {
    let inspected = if std::io::stderr().is_terminal() && !json {
        let spinner = indicatif::ProgressBar::new_spinner();
        spinner.enable_steady_tick(Duration::from_millis(100));
        let inspected = inspect::inspect(workspace, &mut |file| spinner.set_message(paint::plain(file, 200)));
        spinner.finish_and_clear();
        inspected
    } else {
        inspect::inspect(workspace, &mut |_| {})
    };
    let damage: Vec<&Damage> = inspected.iter().flat_map(|file| &file.damage).collect();
    if json {
        print_json(&inspected, &damage);
    } else {
        print_table(workspace, &inspected, &damage);
    }
    Ok(if damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(inspected: &[Inspected], damage: &[&Damage]) {
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

fn print_table(workspace: &Workspace, inspected: &[Inspected], damage: &[&Damage]) {
    let mut table = paint::table(&["file", "format", "bytes", "looked at", "result"]);
    for file in inspected {
        let result = match file.damage.len() {
            0 => "ok".to_owned(),
            many => format!("{many} damaged"),
        };
        table.add_row([
            paint::plain(&file.file, 200),
            paint::plain(file.format.as_deref().unwrap_or("-"), 20),
            paint::count(file.bytes),
            paint::plain(&file.looked_at, 200),
            result,
        ]);
    }
    println!("{table}");
    for found in damage {
        println!(
            "{} {}: {}. What follows: {}. What to do: {}",
            paint::bold("damaged:"),
            paint::plain(&found.file, 300),
            paint::plain(&found.what, 500),
            paint::plain(&found.follows, 500),
            paint::plain(&found.remedy, 500)
        );
    }
    if damage.is_empty() {
        println!("{} {}: every file is what was stored", paint::good("ok"), workspace.data.display());
    }
}
