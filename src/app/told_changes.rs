//! What the server's log says of a change of what runs.

use crate::api::{OrderDone, OrderedChange, ReloadRefusal};

/// Says what came of it in an environment. What somebody asked for over the API and did not get, they are told themselves.
pub(super) fn tell(environment: &str, what: &OrderedChange, answer: &Result<OrderDone, ReloadRefusal>) {
    match what {
        OrderedChange::Folder => tell_of_folder(environment, answer),
        OrderedChange::Catalog { is_dry_run: true, .. } => {}
        OrderedChange::Catalog { is_dry_run: false, .. } => tell_of_catalog(environment, answer),
    }
}

const GOES_ON: &str = "the running configuration goes on";

fn tell_of_folder(environment: &str, answer: &Result<OrderDone, ReloadRefusal>) {
    match answer {
        Ok(OrderDone { running: done, .. }) => tracing::info!(
            environment,
            revision = done.revision,
            changed = done.changed.len(),
            syncs = done.syncs.len(),
            behind = done.behind.len(),
            needs_restart = done.needs_restart.join(", "),
            "the workspace was read again"
        ),
        Err(ReloadRefusal::Problems(problems)) => {
            for problem in problems {
                let (file, line, fix) = (problem.file.display(), problem.line, &*problem.fix);
                tracing::error!(file = %file, line, fix, "{}", problem.message);
            }
            tracing::error!(environment, problems = problems.len(), "the workspace has problems; {GOES_ON}");
        }
        Err(ReloadRefusal::NeedsEnding(behind)) => {
            for one in behind {
                tracing::error!("{one}");
            }
            tracing::error!(environment, "events wait for what would be taken away; {GOES_ON}");
        }
        Err(ReloadRefusal::Failed(reason)) => {
            tracing::error!(environment, reason, "the workspace cannot be run; {GOES_ON}");
        }
        Err(ReloadRefusal::Catalog(error)) => {
            tracing::error!(environment, error = %error, "the catalog cannot be read; {GOES_ON}");
        }
        Err(ReloadRefusal::NotInPlace(reason)) => {
            tracing::error!(environment, reason, "the workspace was not put in place");
        }
        Err(ReloadRefusal::Stopping) => tracing::info!("the workspace is not read again: the server is stopping"),
    }
}

fn tell_of_catalog(environment: &str, answer: &Result<OrderDone, ReloadRefusal>) {
    match answer {
        Ok(OrderDone { running: done, committed }) => tracing::info!(
            environment,
            revision = done.revision,
            catalog = committed.as_ref().map(|committed| committed.revision),
            changed = done.changed.len(),
            syncs = done.syncs.len(),
            behind = done.behind.len(),
            "the catalog was changed, and what runs follows it"
        ),
        Err(ReloadRefusal::NotInPlace(reason)) => {
            tracing::error!(
                environment,
                reason,
                "the catalog was changed, and what runs does not follow it; a reload tries it again"
            );
        }
        Err(refusal) => tracing::debug!(?refusal, "a change of the catalog was refused"),
    }
}
