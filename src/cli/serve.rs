//! `tidegate serve`.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::{Done, WorkspaceArgs, on_signal, runtime};
use crate::app::App;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints one line with the address when it is ready. SIGTERM and Ctrl-C drain and stop it: requests in\nflight are answered, what was accepted is delivered or waits in the log for the next start."
)]
pub(super) struct Args {
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Where to listen; port 0 takes any free one [default: `listen` of tidegate.yaml, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args, json: bool) -> Done {
    let workspace = args.workspace.read()?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let stop = on_signal()?;
        let app = App::open(workspace, args.listen).await?;
        let url = format!("http://{}", app.address());
        if json {
            println!("{}", serde_json::json!({"ready": true, "url": url}));
        } else {
            println!("tidegate is ready at {url}");
        }
        app.run(stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
