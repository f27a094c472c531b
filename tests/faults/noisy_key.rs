//! Two keys: one floods beyond its rate, the other sends little. The quiet one is never refused, and of neither is anything
//! lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::load::Load;
use crate::server::ServerProcess;
use crate::soak::finish;
use crate::support::Workspace;
use crate::{Found, Plan, pass};

const NOISY: &str = "0123456789abcdef0123456789abcdef";

pub fn run(plan: &Plan) -> Found {
    let workspace = Workspace::new();
    // The noisy source has a warehouse of its own, so that each ledger is held against its own tables.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let noisy_warehouse = elsewhere.path().join("noisy.db");
    workspace.write("sources/noisy.yaml", &format!("kind: http\nwrite_key: {NOISY}\nrate: 1000/s\nrate_burst: 1 s\n"));
    workspace.write("destinations/noisy.yaml", &format!("kind: sqlite\npath: {}\n", noisy_warehouse.display()));
    workspace.write("syncs/noisy.yaml", "source: noisy\ndestination: noisy\n");
    let server = match ServerProcess::start(&workspace.path(), "") {
        Ok(server) => server,
        Err(said) => return Found { lost: 1, notes: vec![said], ..Found::default() },
    };
    let quiet_ledger = Arc::new(Ledger::new(plan.seed, 2));
    let noisy_ledger = Arc::new(Ledger::new(plan.seed.wrapping_add(1), 16));
    let mut quiet = Load::start(Arc::clone(&quiet_ledger), &workspace.write_key, 200);
    let mut noisy = Load::start(Arc::clone(&noisy_ledger), NOISY, 1_000_000);
    quiet.turn_to(&server.address);
    noisy.turn_to(&server.address);
    // What the clients tried before they had an address does not count.
    pass(Duration::from_millis(200));
    let refused = |load: &Load| load.retries.load(Ordering::Relaxed);
    let (quiet_before, noisy_before) = (refused(&quiet), refused(&noisy));
    pass(plan.length.min(Duration::from_secs(60)) / 3);
    let (quiet_refused, noisy_refused) = (refused(&quiet) - quiet_before, refused(&noisy) - noisy_before);
    noisy.stop();
    quiet.stop();
    let _ = server.stop(Duration::from_secs(30));
    let mut found = finish(workspace, &mut quiet);
    let of_noisy = noisy_ledger.judge(&noisy_warehouse);
    found.notes.push(format!(
        "the quiet key: {} events, {quiet_refused} requests refused; the noisy one: {} events, {noisy_refused} refused",
        found.acked, of_noisy.acked
    ));
    if quiet_refused > 0 {
        found.broken += 1;
        found.notes.push("requests of the quiet key were refused".to_owned());
    }
    if noisy_refused == 0 {
        found.broken += 1;
        found.notes.push("no request of the noisy key was refused: the flood was too small to tell".to_owned());
    }
    found.acked += of_noisy.acked;
    found.lost += of_noisy.lost;
    found.double += of_noisy.double;
    found.altered += of_noisy.altered;
    found.notes.extend(of_noisy.notes);
    found
}
