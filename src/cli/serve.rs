//! `tidegate serve`.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::signals::HeardSignals;
use super::{CommandDone, CommandFailure, WorkspaceArgs, runtime, signals};
use crate::app::{App, AppError, STOP_MAX, folder_watch};
use crate::config::ReadEnvironment;

#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Prints one line with the address when it is ready.\n\nSIGTERM and Ctrl-C stop it within 10 seconds: requests in flight are answered, what was accepted is delivered or\nwaits in the log for the next start. What does not end in time is left behind, with a line in the log that names it.\nA second SIGTERM or Ctrl-C ends it at once (exit code 1); nothing accepted is lost by that either. SIGHUP reads the workspace\nagain and changes what is different while the server runs; a workspace with problems changes nothing, and the log names\nthem. `tidegate reload` does the same and prints what came of it. SIGUSR1 and SIGUSR2 are ignored with a line in the log."
)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Where to listen; port 0 takes any free one [default: `listen` of tidegate.yaml, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the admin API listens [default: `admin.listen` of tidegate.yaml, else 127.0.0.1:8089]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Go on when state.db is lost, damaged or an older copy: a damaged one is moved away, the state is made anew from
    /// the log, and what follows is logged
    #[arg(long)]
    rebuild_state: bool,
    /// Read the folder again whenever its files have changed and lie still for two seconds, as `tidegate reload` does
    #[arg(long)]
    watch: bool,
}

/// What the main thread hears.
enum Heard {
    /// An order to stop, by the name of its signal.
    Stop(&'static str),
    /// The server takes events.
    Ready,
    Ended(Result<CommandDone, Box<dyn Any + Send>>),
}

/// Beyond the server's own bound: then not even its clocks run any more.
const GRACE: Duration = Duration::from_millis(200);
/// A start has accepted nothing yet; it may be left at any point.
const START_GRACE: Duration = Duration::from_millis(500);

/// Runs the server on a thread of its own and watches over it: whatever it waits for, the process ends in time.
pub(super) fn run(args: &ServeArgs, json: bool) -> CommandDone {
    let (tell, heard) = channel();
    let signals = signals::listen(tell.clone(), Heard::Stop)?;
    let args = args.clone();
    let work = move || {
        let ended = catch_unwind(AssertUnwindSafe(|| serve(&args, json, signals, &tell)));
        // Nobody listens any more when the time is up.
        let _ = tell.send(Heard::Ended(ended));
    };
    std::thread::Builder::new().name("serve".into()).spawn(work)?;
    watch_over(&heard)
}

fn serve(args: &ServeArgs, json: bool, signals: HeardSignals, tell: &Sender<Heard>) -> CommandDone {
    let mut environments = args.workspace.read_environments()?;
    for ReadEnvironment { workspace, .. } in &mut environments {
        workspace.admin_listen = args.admin_listen.unwrap_or(workspace.admin_listen);
        workspace.rebuild_state = args.rebuild_state;
    }
    let runtime = runtime()?;
    let running = open_and_run(environments, args, json, signals, tell);
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(running)));
    // Everything accepted has its place. A build under way would hold the stop up for minutes; its child dies with us.
    runtime.shutdown_background();
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

async fn open_and_run(
    environments: Vec<ReadEnvironment>,
    args: &ServeArgs,
    json: bool,
    signals: HeardSignals,
    tell: &Sender<Heard>,
) -> CommandDone {
    let HeardSignals { stop, hung_up, hang_up } = signals;
    let folders = environments.iter().map(|one| (one.workspace.dir.clone(), one.workspace.data.clone()));
    let watched: Vec<(PathBuf, PathBuf)> = folders.filter(|_| args.watch).collect();
    let mut stopped = stop.clone();
    let mut app = tokio::select! {
        biased;
        _ = stopped.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
        opened = App::open(environments, args.listen) => match opened {
            Err(AppError::Problems(problems)) => return Err(CommandFailure::Problems(problems)),
            opened => opened?,
        },
    };
    if let Some(token) = app.take_admin_token() {
        eprintln!(
            "The admin token, shown this once:\n\n    {token}\n\nKeep it; put it into TIDEGATE_ADMIN_TOKEN for \
             `tidegate function push`. `tidegate admin token --reset` makes another.\n"
        );
    }
    if let Some(token) = app.take_first_token() {
        eprintln!(
            "A token of the first admin, the user `admin`, shown this once:\n\n    {}\n\nSign in with it at {}/ as `admin`, in place \
             of a password. It ends in 90 days; others are made on the page /people, or by `tidegate token create` with the admin token.\n",
            token.expose_text().unwrap_or_default(),
            app.admin_url()
        );
    }
    let (url, admin) = (app.url(), app.admin_url());
    if json {
        println!("{}", serde_json::json!({"ready": true, "url": url, "admin": admin}));
    } else {
        println!("tidegate is ready at {url} (console and admin API at {admin})");
    }
    // Nobody listens any more when the time is up.
    let _ = tell.send(Heard::Ready);
    for (dir, data) in watched {
        tokio::spawn(folder_watch::watch(dir, data, hang_up.clone()));
    }
    app.run(stop, hung_up).await?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for the end of the server, or for the end of its time after an order to stop.
fn watch_over(heard: &Receiver<Heard>) -> CommandDone {
    let (mut is_ready, mut ordered_at) = (false, None::<Instant>);
    loop {
        let next = match ordered_at {
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => {
                let patience = if is_ready { STOP_MAX + GRACE } else { START_GRACE };
                heard.recv_timeout((at + patience).saturating_duration_since(Instant::now()))
            }
        };
        match next {
            Ok(Heard::Ready) => is_ready = true,
            Ok(Heard::Stop(signal)) if ordered_at.is_none() => {
                ordered_at = Some(Instant::now());
                say(move || announce(signal, is_ready));
            }
            Ok(Heard::Stop(signal)) => {
                say(move || tracing::warn!(signal, "stopped at once: what was accepted waits in the log"));
                return Ok(ExitCode::FAILURE);
            }
            Ok(Heard::Ended(done)) => return done.unwrap_or_else(|panic| resume_unwind(panic)),
            Err(RecvTimeoutError::Timeout) => {
                if is_ready {
                    say(|| {
                        tracing::warn!(
                            "the server did not end in time and is left behind; what was accepted waits in the log"
                        );
                    });
                }
                return Ok(ExitCode::SUCCESS);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(CommandFailure::Failed("the server ended without a word".to_owned()));
            }
        }
    }
}

fn announce(signal: &'static str, is_ready: bool) {
    let seconds_max = STOP_MAX.as_secs();
    if is_ready {
        tracing::info!(
            signal,
            seconds_max,
            "stopping: no new events are taken, and what was accepted is delivered while the time lasts"
        );
    } else {
        tracing::info!(signal, "stopped before it was ready: nothing was accepted");
    }
}

/// Writes to the log without waiting for it for long: a reader of stderr that does not read must not hold up the end.
fn say(line: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel();
    let work = move || {
        line();
        // Whoever asked may have gone on.
        let _ = done.send(());
    };
    if std::thread::Builder::new().name("say".into()).spawn(work).is_ok() {
        let _ = is_done.recv_timeout(Duration::from_millis(300));
    }
}
