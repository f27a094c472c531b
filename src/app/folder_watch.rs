//! Watches the folder of a running workspace: when files of it differ from those that run, and lie still, it is read again. Each content
//! is tried once, so that what is wrong with it is said once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{paths, running_report};
use crate::config::{FileMarks, differing_marks};

/// Between two looks at the files, and for how long they must lie still.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Orders through `order` that the folder in `dir` be read again, for the server of `data`, until nobody takes orders any more.
pub async fn watch(dir: PathBuf, data: PathBuf, order: mpsc::Sender<()>) {
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut tried) = (None, None);
    loop {
        look.tick().await;
        let (folder, data) = (dir.clone(), data.clone());
        let Ok(found) = tokio::task::spawn_blocking(move || different(&folder, &data)).await else { return };
        if found.is_some() && found == seen && found != tried {
            tried.clone_from(&found);
            tracing::info!("files of the workspace have changed; it is read again");
            if order.send(()).await.is_err() {
                return;
            }
        }
        if found.is_none() {
            tried = None;
        }
        seen = found;
    }
}

/// The marks of files that are others than those that run.
fn different(dir: &Path, data: &Path) -> Option<FileMarks> {
    let report = running_report::read(&paths::running(data)).ok()??;
    differing_marks(dir, &report.files, &report.salt)
}
