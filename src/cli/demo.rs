//! `tidegate demo`: the main job from end to end, on a temporary workspace.

mod show;
mod shop;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use data_encoding::HEXLOWER;
use tidegate_catalog::SecretValue;

use super::{CommandDone, CommandFailure, on_signal, runtime, style};
use crate::app::{App, live_versions};
use crate::config::read_environments;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Starts a server on a temporary workspace (examples/quickstart), sends a small shop's events over HTTP as the\nSDKs do, and shows the tables. Then it stays up, with its console, so that you can send an\nevent of your own."
)]
pub(super) struct DemoArgs {
    /// End after the tables instead of staying up
    #[arg(long)]
    once: bool,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder with redact-pii.component.wasm and utm-referrer.component.wasm, as `make components` leaves them
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// A program that sends with a real SDK; it gets TIDEGATE_URL, TIDEGATE_WRITE_KEY and TIDEGATE_RUN
    #[arg(long, value_name = "PROGRAM")]
    client: Vec<PathBuf>,
    /// Keep the workspace here instead of in a temporary folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// The workspace that the demo runs; `functions` stands in the source's file only when the components are there.
const FILES: [(&str, &str); 13] = [
    ("tidegate.yaml", include_str!("../../examples/quickstart/tidegate.yaml")),
    ("destinations/warehouse.yaml", include_str!("../../examples/quickstart/destinations/warehouse.yaml")),
    ("syncs/web-to-warehouse.yaml", include_str!("../../examples/quickstart/syncs/web-to-warehouse.yaml")),
    ("events/domains/shop/domain.yaml", include_str!("../../examples/quickstart/events/domains/shop/domain.yaml")),
    (
        "events/domains/shop/order-completed.yaml",
        include_str!("../../examples/quickstart/events/domains/shop/order-completed.yaml"),
    ),
    (
        "events/domains/shop/product-viewed.yaml",
        include_str!("../../examples/quickstart/events/domains/shop/product-viewed.yaml"),
    ),
    (
        "events/domains/shop/product-added.yaml",
        include_str!("../../examples/quickstart/events/domains/shop/product-added.yaml"),
    ),
    ("events/domains/shop/identify.yaml", include_str!("../../examples/quickstart/events/domains/shop/identify.yaml")),
    ("events/domains/shop/page.yaml", include_str!("../../examples/quickstart/events/domains/shop/page.yaml")),
    ("events/domains/shop/group.yaml", include_str!("../../examples/quickstart/events/domains/shop/group.yaml")),
    ("events/domains/shop/alias.yaml", include_str!("../../examples/quickstart/events/domains/shop/alias.yaml")),
    ("functions/redact-pii.yaml", include_str!("../../examples/quickstart/functions/redact-pii.yaml")),
    ("functions/utm-referrer.yaml", include_str!("../../examples/quickstart/functions/utm-referrer.yaml")),
];
const SOURCE: &str = include_str!("../../examples/quickstart/sources/web.yaml");
const COMPONENTS: [&str; 2] = ["redact-pii", "utm-referrer"];

pub(super) fn run(args: &DemoArgs) -> CommandDone {
    let temporary = tempfile::tempdir()?;
    let dir = args.keep.clone().unwrap_or_else(|| temporary.path().join("quickstart"));
    step(1, "a workspace: one source, a contract, two functions, one warehouse");
    let with_functions = write(&dir, args.components.as_deref())?;
    if !with_functions {
        println!("   (no components at hand: the functions are left out; `make demo` builds them)");
    }
    println!("   {}", dir.display());
    let read = read_environments(&dir, None, live_versions::destination);
    let mut environments = read.map_err(CommandFailure::Problems)?;
    let Some(workspace) = environments.first_mut().map(|main| &mut main.workspace) else {
        return Err(CommandFailure::Failed("there is no workspace to run".to_owned()));
    };
    // A server that runs already keeps its port.
    workspace.admin_listen.set_port(0);
    let data = workspace.data.clone();
    let key = workspace.sources.values().flat_map(|source| &source.write_keys).next();
    let key = key.map(|key| key.key.clone()).unwrap_or_default();
    runtime()?.block_on(async {
        let stop = on_signal()?;
        step(2, "a server");
        let mut app = App::open(environments, Some(args.listen)).await?;
        let (url, console) = (app.url(), app.admin_url());
        let token = app.take_first_token();
        println!("   listening at {}", style::bold(&url));
        let delivered = app.follow();
        let (end, mut ended) = tokio::sync::watch::channel(false);
        // Nobody asks it to read its files again.
        let (_hang_up, hung_up) = tokio::sync::mpsc::channel(1);
        let serving = tokio::spawn(app.run(ended.clone(), hung_up));
        step(3, "events over HTTP, as the SDKs send them");
        shop::send(&url, &key).await?;
        for client in &args.client {
            real_client(client, &url, &key).await;
        }
        for (log, mut cursor) in delivered {
            let committed = log.committed();
            let _ = cursor.wait_for(|cursor| *cursor >= committed).await;
        }
        step(4, "the warehouse");
        show::tables(&data.join("warehouse.db"))?;
        if let Some(kept) = &args.keep {
            println!("   kept: sqlite3 {}", kept.join("data/warehouse.db").display());
        }
        step(5, "what was quarantined");
        show::quarantine(&data)?;
        if args.once {
            end.send_replace(true);
        } else {
            let token = token.as_ref().and_then(SecretValue::expose_text).unwrap_or_default();
            stay((&url, &key), (&console, token), &dir);
            let mut stop = stop;
            let _ = stop.wait_for(|stop| *stop).await;
            end.send_replace(true);
        }
        let _ = ended.wait_for(|ended| *ended).await;
        serving.await.map_err(|error| CommandFailure::Failed(error.to_string()))??;
        Ok(ExitCode::SUCCESS)
    })
}

fn step(number: u32, title: &str) {
    println!("\n{} {}", style::good(&format!("{number}.")), style::bold(title));
}

/// What to do next, with the door and its key, the console and the token of its first admin, and the workspace.
fn stay((url, key): (&str, &str), (console, token): (&str, &str), dir: &Path) {
    println!("\n{} {}", style::good("Still running."), style::bold(&format!("Console: {console}/")));
    println!("   sign in as `admin`, with this token in place of a password: {token}\n");
    println!("1. send an event of your own, and see it pass on the page Live:");
    println!(
        "   curl {url}/v1/track -u {key}: -d '{{\"event\":\"Tide Turned\",\"userId\":\"me\",\"properties\":{{\"metres\":4.2}}}}'"
    );
    println!("2. look at its table, which was not there before:");
    println!("   sqlite3 {} 'select * from tide_turned'", dir.join("data/warehouse.db").display());
    println!("3. see what broke its contract, and which rule, in the workspace or on the page Quarantine:");
    println!("   tidegate quarantine {}", dir.display());
    println!("\nCtrl-C ends it.");
}

/// Writes the workspace; true when it has its functions.
fn write(dir: &Path, components: Option<&Path>) -> Result<bool, CommandFailure> {
    let file = |name: &str| format!("{name}.component.wasm");
    let found = components.filter(|dir| COMPONENTS.iter().all(|name| dir.join(file(name)).is_file()));
    let key = HEXLOWER.encode(&tidegate_process::clock::random::<16>());
    let mut source = SOURCE.replace("quickstart-write-key", &key);
    if found.is_none() {
        source =
            source.lines().filter(|line| !line.starts_with("functions:")).map(|line| format!("{line}\n")).collect();
    }
    let files = FILES.into_iter().filter(|(name, _)| found.is_some() || !name.starts_with("functions/"));
    for (name, text) in files.chain([("sources/web.yaml", source.as_str())]) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(path, text)?;
    }
    if let Some(components) = found {
        for name in COMPONENTS {
            std::fs::copy(components.join(file(name)), dir.join("functions").join(file(name)))?;
        }
    }
    Ok(found.is_some())
}

/// Lets a program send with a real SDK. It is there for show: the demo goes on when it fails.
async fn real_client(program: &Path, url: &str, key: &str) {
    let (program_shown, program) = (program.display().to_string(), program.to_owned());
    let (url, key) = (url.to_owned(), key.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(program)
            .env("TIDEGATE_URL", url)
            .env("TIDEGATE_WRITE_KEY", key)
            .env("TIDEGATE_RUN", "demo")
            .stdin(Stdio::null())
            .output()
    });
    match output.await {
        Ok(Ok(output)) if output.status.success() => {
            let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let events: u64 = ["tracks", "identifies", "pages", "groups", "aliases"]
                .iter()
                .filter_map(|table| said["expected"][table].as_u64())
                .sum();
            let (sdk, version) =
                (said["sdk"].as_str().unwrap_or(&program_shown), said["version"].as_str().unwrap_or(""));
            println!("   {events} events from the real SDK {} {version}", style::plain(sdk, 60));
        }
        Ok(Ok(output)) => {
            let why = String::from_utf8_lossy(&output.stderr);
            println!("   {program_shown} failed: {}", style::plain(why.lines().last().unwrap_or_default(), 200));
        }
        Ok(Err(error)) => println!("   {program_shown} could not be run: {error}"),
        Err(error) => println!("   {program_shown}: {error}"),
    }
}
