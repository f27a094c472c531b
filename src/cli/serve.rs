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
    /// Where the admin API listens [default: `admin.listen` of tidegate.yaml, else 127.0.0.1:8089]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Go on when state.db is lost, damaged or an older copy: a damaged one is moved away, the state is made anew from
    /// the log, and what follows is logged
    #[arg(long)]
    rebuild_state: bool,
}

pub(super) fn run(args: &Args, json: bool) -> Done {
    let mut workspace = args.workspace.read()?;
    workspace.admin_listen = args.admin_listen.unwrap_or(workspace.admin_listen);
    workspace.rebuild_state = args.rebuild_state;
    let runtime = runtime()?;
    let done: Done = runtime.block_on(async {
        let stop = on_signal()?;
        let mut app = App::open(workspace, args.listen).await?;
        if let Some(token) = app.take_admin_token() {
            eprintln!(
                "The admin token, shown this once:\n\n    {token}\n\nKeep it; put it into TIDEGATE_ADMIN_TOKEN for \
                 `tidegate function push`. `tidegate admin token --reset` makes another.\n"
            );
        }
        let (url, admin) = (format!("http://{}", app.address()), format!("http://{}", app.admin_address()));
        if json {
            println!("{}", serde_json::json!({"ready": true, "url": url, "admin": admin}));
        } else {
            println!("tidegate is ready at {url} (admin API at {admin})");
        }
        app.run(stop).await?;
        Ok(ExitCode::SUCCESS)
    });
    // Everything accepted has its place. A build under way would hold the stop up for minutes; its child dies with us.
    runtime.shutdown_background();
    done
}
