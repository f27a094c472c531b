//! The command line: one module for each command, results as tables for people or JSON for programs.
//!
//! Exit codes: 0 done · 1 failed, or stopped at once by a second signal · 2 wrong usage · 3 the workspace has problems · 141 nobody reads what is printed.
//! `plan` and `object diff` answer 2 when something is different, `plan` and `apply` 1 for problems too, `apply` 2 when something does not run yet; `audit verify` 2 when the log was altered;
//! `compare` answers 1 when something is different and 2 when nothing could be compared, `contract diff` 1 when something would be newly blocked, `contract test` 1 when a case fails, and both,
//! `contract infer` and `contract drift` 2 when nothing could be looked at. `audit conservation`
//! answers 1 when events are not accounted for, 2 when that cannot be told.

/// In this room whatever is printed passes [`out`], whoever writes the line: text from outside must not reach a terminal as
/// it came.
macro_rules! println {
    () => { $crate::cli::out::line(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}
/// The same for standard error.
macro_rules! eprintln {
    () => { $crate::cli::out::error_line(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::out::error_line(format_args!($($text)*)) };
}

mod admin;
mod alert;
mod apply;
mod audit;
mod backup;
mod change_wish;
mod check;
mod client;
mod compare;
mod complete_names;
mod completions;
mod connections;
mod context;
mod contract;
mod core_dumps;
mod demo;
mod draft;
mod export;
mod field_difference;
mod function;
mod init;
mod log_parts;
mod login;
mod man;
mod moments;
mod object;
mod out;
mod pause;
mod people;
mod plan;
mod privacy;
mod promote;
mod style;
mod quarantine;
mod reload;
mod replay;
mod restore;
mod secret;
mod secret_input;
mod send;
mod sent_files;
mod serve;
mod signals;
mod source;
mod sql;
mod status;
mod sync;
mod tap;
mod token;
mod top;
mod trace;
mod traffic;
mod versions;
mod warehouse;
mod wit;
mod write_key;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rustix::fs::Mode;
use tidegate_document::problem::Problem;
use tidegate_process::telemetry::{LogLook, harmless};
use tidegate_registry as store;

use crate::app::live_versions;
use crate::config::{Outline, ReadEnvironment, Workspace, read_environments};

/// Collect events from the SDKs you run, check them, transform them, and find them in your warehouse.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "First steps:\n  tidegate demo              see it work, nothing to set up\n  tidegate init shop         make a workspace\n  tidegate serve shop        run it\n  tidegate status shop       see what was accepted and delivered\n\nRead a stream (kafka, pubsub, kinesis; sources/kafka.yaml.example is one to begin with):\n  tidegate check shop --connect                   may it be read?\n  tidegate source stream orders                   how far it is, in each partition\n  tidegate source seek orders --to earliest       have it go on elsewhere\n\nWrite a plugin, in js, ts, rust, python, go or c:\n  tidegate function new lower-case --lang js\n  tidegate function test lower-case"
)]
struct Cli {
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// What to log on stderr: error, warn, info, debug, or a filter such as tidegate=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "info")]
    log: String,
    /// Log as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
    /// Let the system write the memory of a crashed process to disk, secrets included
    #[arg(long, global = true, hide = true, env = "TIDEGATE_CORE_DUMPS", value_parser = BoolishValueParser::new())]
    core_dumps: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a workspace: commented files for the server, a source, a destination and a sync
    Init(init::InitArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Run the main job on a temporary workspace: events in over HTTP, tables out
    Demo(demo::DemoArgs),
    /// Report every problem of a workspace, with file, line and fix; with --deep, every damaged file of its data
    Check(check::CheckArgs),
    /// Copy a data directory while its server runs; verify a backup
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup
    Restore(restore::RestoreArgs),
    /// Show what would change if another folder were run as the workspace, or applied to a running server
    Plan(plan::FolderPlanArgs),
    /// Make a running server's catalog say what a folder says, and what runs follow it
    Apply(apply::ApplyArgs),
    /// Give a workspace of a running server what another one has: production what was tried in staging
    Promote(promote::PromoteArgs),
    /// Have a running server read its folder again, and change what is different while it runs
    Reload(reload::ReloadArgs),
    /// Sign in at a running server, so that later commands need neither address nor token
    Login(login::LoginArgs),
    /// Sign out: end the token that login has kept
    Logout(login::LogoutArgs),
    /// The servers that you have signed in at: list, use, show, remove
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Write the catalog of a running server as a folder
    Export(export::ExportArgs),
    /// What a running server has in its catalog: list, get, create, update, edit, delete, test, history, diff
    #[command(subcommand)]
    Object(object::ObjectCommand),
    /// Who may use a running server
    #[command(subcommand)]
    User(people::UserCommand),
    /// What who may use it may do
    #[command(subcommand)]
    Role(people::RoleCommand),
    /// API tokens of a running server
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Changes that wait for somebody else to approve them: list, show, approve, close
    #[command(subcommand)]
    Draft(draft::DraftCommand),
    /// Values that documents name as `secret:NAME` and that a running server shows to nobody: list, set, delete
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Write keys of a source of a running server: list, create, rotate, revoke
    #[command(subcommand)]
    WriteKey(write_key::WriteKeyCommand),
    /// Streams that sources of a running server read, from Kafka, Pub/Sub or Kinesis: stream (how it is), seek (go on elsewhere)
    #[command(subcommand)]
    Source(source::SourceCommand),
    /// What was done on a running server, by whom; whether events are conserved
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Send events from a file, or made-up ones at a rate, to a running server
    Send(send::SendArgs),
    /// Show what was accepted, delivered and quarantined, and how far each sync is behind
    Status(status::StatusArgs),
    /// Watch a running server: events in and out, syncs, functions, destinations, write keys, alerts
    Top(top::TopArgs),
    /// List the quarantined events, and why; try, retry, edit, export, purge them
    Quarantine(quarantine::QuarantineArgs),
    /// Contracts of events: infer from traffic, compare, test, watch for drift, count violations, import from other products
    #[command(subcommand)]
    Contract(contract::ContractCommand),
    /// What has become of single events of a running server, by id, user, name and time
    Trace(trace::TraceArgs),
    /// Read the tables of a SQLite destination of a running server by SQL
    Sql(sql::SqlArgs),
    /// Watch events pass a running server, and what functions and syncs make of them
    Tap(tap::TapArgs),
    /// Give a part of the log to a sync of a running server once more
    Replay(replay::ReplayArgs),
    /// The replays of a running server: list, show, cancel
    #[command(subcommand)]
    Replays(replay::ReplaysCommand),
    /// Alerts of a running server, and who is told: list, show, test, mute, unmute, history
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Make the tables of a sync of a running server anew beside the old ones, and swap them: rebuild, swap, rebuilds
    #[command(subcommand)]
    Sync(sync::SyncCommand),
    /// Leave somebody out from now on, or forget what there is about them: suppress, unsuppress, list, forget, status, report, verify, warehouses
    #[command(subcommand)]
    Privacy(Box<privacy::PrivacyCommand>),
    /// Write functions: make, build, test, measure, check; upload, try, roll back
    #[command(subcommand)]
    Function(function::FunctionCommand),
    /// Write destination plugins: make, build, test, measure, check; upload, roll back
    #[command(subcommand)]
    Destination(function::DestinationCommand),
    /// The interface of plugins, for tools of any kind: text, package, page
    Wit(wit::WitArgs),
    /// The tables of warehouses: see what would be done to them
    #[command(subcommand)]
    Warehouse(warehouse::WarehouseCommand),
    /// Compare the tables that were written here with those of Segment, RudderStack or Hightouch for the same time
    Compare(compare::CompareArgs),
    /// The admin token of a server, and the key that its secrets are sealed under
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Print a completion script for your shell
    Completions(completions::CompletionsArgs),
    /// Write manual pages into a folder; packages carry them
    #[command(hide = true)]
    Man(man::ManArgs),
    /// What may stand next on a command line, by the words before; completion scripts ask
    #[command(hide = true)]
    CompleteNames(complete_names::CompleteNamesArgs),
    /// Compile a component from standard input to standard output, within limits; the server runs this on itself
    #[command(name = store::COMPILE_COMMAND, hide = true)]
    CompileComponent { memory_bytes_max: u64, cpu_seconds_max: u64 },
    /// Take the types from a script in TypeScript, from standard input to standard output, within limits; the server runs this on itself
    #[command(name = store::STRIP_COMMAND, hide = true)]
    StripTypes { memory_bytes_max: u64, cpu_seconds_max: u64 },
}

impl Command {
    /// Whether it makes files in a data directory.
    const fn writes_data(&self) -> bool {
        matches!(
            self,
            Self::Serve(_)
                | Self::Demo(_)
                | Self::Check(_)
                | Self::Status(_)
                | Self::Quarantine(_)
                | Self::Admin(_)
                | Self::Audit(_)
                | Self::Backup(_)
                | Self::Restore(_)
        )
    }
}

/// Which workspace a command is about.
#[derive(Debug, Clone, clap::Args)]
struct WorkspaceArgs {
    /// The workspace's folder
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// The data directory [default: `data` of tidegate.yaml]
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
}

impl WorkspaceArgs {
    fn read(&self) -> Result<Workspace, CommandFailure> {
        Workspace::read(&self.dir, self.data.as_deref(), live_versions::destination).map_err(CommandFailure::Problems)
    }

    /// The same, with the environments of the server.
    fn read_environments(&self) -> Result<Vec<ReadEnvironment>, CommandFailure> {
        let read = read_environments(&self.dir, self.data.as_deref(), live_versions::destination);
        read.map_err(CommandFailure::Problems)
    }

    /// For commands that look at the data directory: no secret of a destination is needed, and nothing else need be right.
    fn outline(&self) -> Result<Outline, CommandFailure> {
        Outline::read(&self.dir, self.data.as_deref()).map_err(CommandFailure::Problems)
    }
}

/// Which environment of a workspace a command is about.
#[derive(Debug, Clone, clap::Args)]
struct EnvironmentArgs {
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// An environment that tidegate.yaml names [default: that of the folder itself]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
}

impl EnvironmentArgs {
    fn read(&self) -> Result<Workspace, CommandFailure> {
        let Some(name) = &self.environment else { return self.workspace.read() };
        // What is said of a name that is not there.
        self.outline()?;
        let found = self.workspace.read_environments()?.into_iter().find(|one| one.name == *name);
        found.map(|one| one.workspace).ok_or_else(|| {
            CommandFailure::Failed(format!("there is no environment {name:?} in {}", self.workspace.dir.display()))
        })
    }

    /// For commands that look at the data directory.
    fn outline(&self) -> Result<Outline, CommandFailure> {
        let outline = self.workspace.outline()?;
        match &self.environment {
            Some(name) => outline.of_environment(name).map_err(CommandFailure::Problems),
            None => Ok(outline),
        }
    }
}

/// Why a command did not do what it was asked.
enum CommandFailure {
    /// Exit code 3.
    Problems(Vec<Problem>),
    /// Exit code 1: what happened, with its causes.
    Failed(String),
}

impl<E: std::error::Error> From<E> for CommandFailure {
    fn from(error: E) -> Self {
        Self::Failed(tidegate_process::telemetry::with_causes(&error))
    }
}

type CommandDone = Result<ExitCode, CommandFailure>;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    // What is printed to a pipe that nobody reads any more panics inside `println!`. That is nobody's error: the
    // command ends as if the signal had ended it, and drops everything in order.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.to_string();
        match () {
            () if is_closed_pipe(panic.payload()) => {}
            // It quotes something from outside.
            () if text.chars().any(harmless::is_harmful) => eprintln!("{text}"),
            () => usual(panic),
        }
    }));
    match std::panic::catch_unwind(command) {
        Ok(code) => code,
        Err(panic) if is_closed_pipe(&*panic) => ExitCode::from(CLOSED_PIPE),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// What a shell shows for a command that SIGPIPE ended.
const CLOSED_PIPE: u8 = 141;

fn is_closed_pipe(payload: &(dyn std::any::Any + Send)) -> bool {
    let said = payload.downcast_ref::<String>();
    said.is_some_and(|said| said.starts_with("failed printing to std") && said.contains("Broken pipe"))
}

fn command() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // The children that compile and strip have the limit of whoever starts them, and touch no file.
    let is_child = matches!(cli.command, Command::CompileComponent { .. } | Command::StripTypes { .. });
    if !cli.core_dumps && !is_child {
        core_dumps::forbid();
    }
    let look = match (cli.log_json, out::is_coloured(out::Stream::Error)) {
        (true, _) => LogLook::Json,
        (false, true) => LogLook::Coloured,
        (false, false) => LogLook::Plain,
    };
    tidegate_process::telemetry::init(&cli.log, look);
    let json = cli.json;
    if json {
        out::is_json();
    }
    if cli.command.writes_data() {
        // Events are personal data: whatever these make is for their owner alone.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
    }
    let done = match cli.command {
        Command::Init(args) => init::run(&args, json),
        Command::Serve(args) => serve::run(&args, json),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args, json),
        Command::Backup(args) => backup::run(&args, json),
        Command::Restore(args) => restore::run(&args, json),
        Command::Plan(args) => plan::run(&args, json),
        Command::Apply(args) => apply::run(&args, json),
        Command::Promote(args) => promote::run(&args, json),
        Command::Reload(args) => reload::run(&args, json),
        Command::Login(args) => login::run(&args, json),
        Command::Logout(args) => login::run_logout(&args, json),
        Command::Context(command) => context::run(&command, json),
        Command::Export(args) => export::run(&args, json),
        Command::Object(command) => object::run(&command, json),
        Command::User(command) => people::run_user(&command, json),
        Command::Role(command) => people::run_role(&command, json),
        Command::Token(command) => token::run(&command, json),
        Command::Draft(command) => draft::run(&command, json),
        Command::Secret(command) => secret::run(&command, json),
        Command::WriteKey(command) => write_key::run(&command, json),
        Command::Source(command) => source::run(&command, json),
        Command::Audit(command) => audit::run(&command, json),
        Command::Send(args) => send::run(&args, json),
        Command::Status(args) => status::run(&args, json),
        Command::Top(args) => top::run(&args, json),
        Command::Quarantine(args) => quarantine::run(&args, json),
        Command::Contract(command) => contract::run(&command, json),
        Command::Trace(args) => trace::run(&args, json),
        Command::Sql(args) => sql::run(&args, json),
        Command::Tap(args) => tap::run(&args, json),
        Command::Replay(args) => replay::run(&args, json),
        Command::Replays(command) => replay::run_replays(&command, json),
        Command::Alert(command) => alert::run(&command, json),
        Command::Sync(command) => sync::run(&command, json),
        Command::Privacy(command) => privacy::run(&command, json),
        Command::Function(command) => function::run(&command, json),
        Command::Destination(command) => function::run_destination(&command, json),
        Command::Wit(args) => wit::run(&args, json),
        Command::Warehouse(command) => warehouse::run(&command, json),
        Command::Compare(args) => compare::run(&args, json),
        Command::Admin(command) => admin::run(&command, json),
        Command::Completions(args) => completions::run::<Cli>(&args),
        Command::Man(args) => man::run::<Cli>(&args),
        Command::CompleteNames(args) => complete_names::run::<Cli>(&args),
        Command::CompileComponent { memory_bytes_max, cpu_seconds_max } => {
            Ok(ExitCode::from(store::compile_child(memory_bytes_max, cpu_seconds_max)))
        }
        Command::StripTypes { memory_bytes_max, cpu_seconds_max } => {
            Ok(ExitCode::from(store::strip_child(memory_bytes_max, cpu_seconds_max)))
        }
    };
    match done {
        Ok(code) => code,
        Err(CommandFailure::Problems(problems)) => {
            check::report(&problems, json);
            ExitCode::from(3)
        }
        Err(CommandFailure::Failed(message)) => {
            if json {
                println!("{}", serde_json::json!({ "error": message }));
            }
            eprintln!("{} {message}", style::error("error:"));
            ExitCode::FAILURE
        }
    }
}

/// Reads the arguments. What is wrong with them is said here, and the exit code answered.
fn parse() -> Result<Cli, ExitCode> {
    let mut command = Cli::command();
    // A terminal that has not been told its width would get one word on each line.
    if let Some(columns) = out::columns() {
        command = command.term_width(usize::from(columns.min(100)));
    }
    if out::is_colour_unwanted() {
        // Left to itself it colours for whoever sets CI.
        command = command.color(clap::ColorChoice::Never);
    }
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            // It quotes the arguments.
            eprintln!("{}", error.render().to_string().trim_end());
        } else {
            // A reader that has left is no error.
            let _ = error.print();
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// A runtime for commands that wait for more than one thing.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Turns true on Ctrl-C and on SIGTERM.
fn on_signal() -> std::io::Result<tokio::sync::watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_replace(true);
    });
    Ok(stopped)
}
