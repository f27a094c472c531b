//! `tidegate reload`: a running server reads its folder again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tidegate_api_types::ProblemDetails;
use tidegate_api_types::control::FolderApplied;
use tidegate_api_types::reload::{ObjectRunning, Reload, Reloaded, WorkspaceProblem};
use tidegate_document::problem::Problem;

use super::change_wish::EndingArgs;
use super::client::{ClientError, TokenArgs};
use super::{CommandDone, CommandFailure, check, plan, runtime, style};
use crate::config::Outline;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate reload shop                                   the server on this machine, by `admin.listen` of shop, whichever context is in use\n  tidegate reload --server https://tide.example.com      one that is elsewhere\n\nThe server reads its folder, checks all of it, and changes what is different, part by part: everything else goes\non as it is. A folder with problems changes nothing, and so does one that takes a source or a sync away for which\nevents wait, unless --drain or --abandon says what becomes of them: a sync that drains goes on, also over a restart,\nuntil everything is delivered that was accepted for it. SIGHUP to the server does the same and says in its log what came of it.\n\nExit code 0 when what the folder says runs, 1 when it was refused or an object of it does not run, 3 when the\nfolder has problems."
)]
pub(super) struct ReloadArgs {
    /// A workspace's folder: the server on this machine at its `admin.listen` is asked, whichever context is in use, and reads its own folder
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The admin API of the server [default: by DIR; without it that of the context, else `admin.listen` of ./tidegate.yaml, on this machine]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The environment whose folder is read again [default: that of the server's own folder]
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    #[command(flatten)]
    endings: EndingArgs,
    #[command(flatten)]
    access: TokenArgs,
}

pub(super) fn run(args: &ReloadArgs, json: bool) -> CommandDone {
    let of_folder = |dir: &Path| -> Result<String, CommandFailure> {
        let outline = Outline::read(dir, None).map_err(CommandFailure::Problems)?;
        outline.admin_url().map_err(CommandFailure::Problems)
    };
    // A folder that is named is of a server, which is not that of the context.
    let server = match (&args.server, &args.dir) {
        (Some(server), _) => Some(server.clone()),
        (None, Some(dir)) => Some(of_folder(dir)?),
        (None, None) => None,
    };
    let client = args.access.client_or(server.as_deref(), || of_folder(Path::new(".")))?;
    let client = client.in_workspace(args.workspace.clone());
    let reload = Reload { drain: args.endings.drain.clone(), abandon: args.endings.abandon.clone() };
    match runtime()?.block_on(client.reload(&reload)) {
        Ok(done) => {
            if json {
                println!("{}", serde_json::to_string(&done)?);
            } else {
                print(&done, &client.origin());
            }
            let fails = done.behind.iter().any(|one| one.error.is_some());
            Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Err(ClientError::Refused(problem)) if !problem.problems.is_empty() => {
            check::report_with(&problems(&problem), json, "the running configuration goes on");
            Ok(ExitCode::from(3))
        }
        Err(error) => Err(error.into()),
    }
}

/// What a refusal names, as problems of files.
pub(super) fn problems(problem: &ProblemDetails) -> Vec<Problem> {
    let of = |one: &WorkspaceProblem| {
        let line = usize::try_from(one.line).unwrap_or(0);
        Problem::of_file(&one.file, line, one.message.clone(), one.fix.clone())
    };
    problem.problems.iter().map(of).collect()
}

fn print(done: &Reloaded, server: &str) {
    plan::print_differences(&done.settings, &done.changed);
    for (sync, change) in &done.syncs {
        println!("  sync {}: {}", style::plain(sync, 200), style::plain(change, 50));
    }
    print_draining(&done.draining);
    if !done.needs_restart.is_empty() {
        println!("{} {}: counts from the next start", style::bold("restart:"), done.needs_restart.join(", "));
    }
    print_behind(&done.behind);
    let nothing = done.settings.is_empty() && done.changed.is_empty() && done.syncs.is_empty();
    let what = match (done.behind.is_empty(), nothing) {
        (false, _) => "not all of the workspace runs yet",
        (true, true) => "nothing is different",
        (true, false) => "the workspace runs",
    };
    println!("{what}; revision {} of {}", style::count(done.revision), style::plain(server, 300));
}

/// What was changed, or would be; what is left is somewhere no more, as `left` says, and is not deleted.
pub(super) fn print_applied(applied: &FolderApplied, left: &str) {
    plan::print_planned(&applied.changes);
    for name in &applied.left {
        println!("  {} {} is {left}; --prune deletes it", name.kind, style::plain(&name.name, 200));
    }
    if let Some(running) = &applied.running {
        print_draining(&running.draining);
        print_behind(&running.behind);
    }
}

/// Syncs that go on until everything is delivered.
pub(super) fn print_draining(syncs: &[String]) {
    for sync in syncs {
        println!("  sync {}: draining; it ends when everything is delivered", style::plain(sync, 200));
    }
}

/// Objects that do not run as they are wanted.
pub(super) fn print_behind(behind: &[ObjectRunning]) {
    for one in behind {
        let object = style::plain(&one.object.to_string(), 200);
        let (wanted, running) = (style::count(one.wanted), style::count(one.running));
        match &one.error {
            Some(error) => println!(
                "{} {object}: {} (wanted as of revision {wanted}, runs as of {running})",
                style::bold("behind:"),
                style::plain(error, 500)
            ),
            None => println!(
                "{} {object}: it is being changed (wanted as of revision {wanted}, runs as of {running})",
                style::bold("behind:")
            ),
        }
    }
}
