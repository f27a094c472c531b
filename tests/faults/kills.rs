//! SIGKILL at random instants under load, again and again.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::load::Load;
use crate::server::ServerProcess;
use crate::soak::finish;
use crate::support::Workspace;
use crate::{Dice, Found, Plan, pass};

pub fn run(plan: &Plan) -> Found {
    let workspace = Workspace::new();
    let mut dice = Dice::new(plan.seed);
    let ledger = Arc::new(Ledger::new(plan.seed, 4));
    let mut load = Load::start(Arc::clone(&ledger), &workspace.write_key, 3_000);
    let mut slowest = Duration::ZERO;
    for cycle in 0..plan.cycles {
        let server = match ServerProcess::start(&workspace.path(), "") {
            Ok(server) => server,
            Err(said) => {
                let notes = vec![format!("cycle {cycle}: the server did not start: {said}")];
                return Found { acked: ledger.acked(), lost: ledger.acked(), notes, ..Found::default() };
            }
        };
        slowest = slowest.max(server.start_up);
        load.turn_to(&server.address);
        pass(dice.millis(100, 1500));
        server.kill();
    }
    let mut found = finish(workspace, &mut load);
    found.notes.push(format!("{} kills, slowest start {:.2} s", plan.cycles, slowest.as_secs_f64()));
    found
}
