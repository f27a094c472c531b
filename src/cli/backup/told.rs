//! What a backup has, for people and for programs, and what is being copied.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::app::backup::{BackupContents, InstanceKeyCopy};
use crate::cli::style;

/// A line on a terminal that says what is being read or copied.
pub(in crate::cli) struct BackupProgress(Option<ProgressBar>);

impl BackupProgress {
    pub(in crate::cli) fn begin(json: bool) -> Self {
        let is_shown = std::io::stderr().is_terminal() && !json;
        Self(is_shown.then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        }))
    }

    pub(in crate::cli) fn tell(&self, what: &str) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(style::plain(what, 200));
        }
    }

    pub(in crate::cli) fn end(self) {
        if let Some(spinner) = self.0 {
            spinner.finish_and_clear();
        }
    }
}

/// The contents of a backup without its files, of which there may be thousands.
pub(in crate::cli) fn shown_contents(contents: &BackupContents) -> Value {
    let BackupContents { format, version, begun_at, ended_at, instance_key, environments, files, left_out, notes } =
        contents;
    json!({
        "format": format, "version": version, "begun_at": begun_at, "ended_at": ended_at,
        "instance_key": instance_key, "environments": environments, "files": files.len(), "bytes": contents.bytes(),
        "left_out": left_out, "notes": notes,
    })
}

/// The same for people.
pub(in crate::cli) fn print_contents(contents: &BackupContents) {
    let (files, bytes) = (style::count(contents.files.len() as u64), style::count(contents.bytes()));
    println!(
        "  {files} files, {bytes} bytes; everything that was accepted by {}",
        style::plain(&contents.begun_at, 40)
    );
    for environment in &contents.environments {
        for partition in &environment.partitions {
            println!(
                "  environment {}, partition {} of the log: offsets {} to before {}, refined to {}",
                style::plain(&environment.name, 63),
                partition.partition,
                partition.oldest,
                partition.end,
                partition.refined_to
            );
        }
    }
    println!("  {}", of_key(contents.instance_key));
    for name in &contents.left_out {
        println!("  left out: {}, which is no file of the server", style::plain(name, 200));
    }
    for note in &contents.notes {
        eprintln!("{} {}", style::error("note:"), style::plain(note, 500));
    }
}

fn of_key(instance_key: InstanceKeyCopy) -> &'static str {
    match instance_key {
        InstanceKeyCopy::Contained => {
            "the instance key is in it: whoever has this backup has every secret of the catalog"
        }
        InstanceKeyCopy::LeftOut => {
            "the instance key (instance.key) is not in it: keep a copy elsewhere, without which no server starts with this backup"
        }
        InstanceKeyCopy::Elsewhere => {
            "the instance key lies where `instance_key` in tidegate.yaml says, and is not in it"
        }
        InstanceKeyCopy::NotNeeded => "there is no catalog, and no instance key is needed",
    }
}
