//! Two builds of the server, in turns: what each costs for the same events. A machine whose speed changes from minute to
//! minute changes it for both, and each round gives a ratio of its own.
//!
//! `cargo bench --bench end_to_end -- --against OTHER_BUILD [--program THIS_BUILD] [--rounds 15] [--only single] [--events 2000000]
//! [--function COMPONENT]`: with that, the source has this function.

use tokio::runtime::Runtime;

use super::load::Load;
use super::process::{self, Process};
use super::{CONNECTIONS, drain};

/// What one build did with the events of a round.
#[derive(Default)]
struct Cost {
    /// Seconds until the last was answered, or was in its table.
    wall: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

#[derive(Clone, Copy)]
struct World {
    name: &'static str,
    events: u64,
    batches: bool,
    /// The events go on into tables; without that, only the door and the log are at work.
    tables: bool,
}

const WORLDS: [World; 3] = [
    World { name: "single tracks, into the log", events: 60_000, batches: false, tables: false },
    World { name: "batches of 100, into the log", events: 600_000, batches: true, tables: false },
    World { name: "batches of 100, into tables", events: 100_000, batches: true, tables: true },
];

pub fn measure(runtime: &Runtime, other: &str, rounds: u64) {
    let this = process::program();
    println!("\n== {this}\n   against {other}, {rounds} rounds in turns; median of the ratios (quarters)");
    let only = process::argument("--only").unwrap_or_default();
    let events: Option<u64> = process::argument("--events").and_then(|text| text.parse().ok());
    for world in WORLDS.into_iter().filter(|world| world.name.contains(&only)) {
        // What connections share in whole batches.
        let events = events.unwrap_or(world.events) / 1_600 * 1_600;
        let world = World { events, ..world };
        let mut ratios: [Vec<f64>; 4] = Default::default();
        let mut this_cost = Cost::default();
        for round in 0..rounds {
            let (a, b) = if round % 2 == 0 {
                let a = cost(runtime, &this, world);
                (a, cost(runtime, other, world))
            } else {
                let b = cost(runtime, other, world);
                (cost(runtime, &this, world), b)
            };
            for (all, (a, b)) in
                ratios.iter_mut().zip([(a.wall, b.wall), (a.cpu, b.cpu), (a.p50, b.p50), (a.p99, b.p99)])
            {
                all.push(a / b);
            }
            this_cost = a;
        }
        let [wall, cpu, p50, p99] = ratios.map(quarters);
        println!("{:<34} time {wall}  CPU {cpu}  p50 {p50}  p99 {p99}", world.name);
        let [events_a_second, cpu_s] =
            [world.events as f64 / this_cost.wall, this_cost.cpu * 1e6 / world.events as f64];
        println!("{:<34} the last round of this build: {events_a_second:.0} events/s, {cpu_s:.1} CPU-s a million", "");
    }
}

fn cost(runtime: &Runtime, program: &str, world: World) -> Cost {
    let dir = Process::workspace_of(program);
    if !world.tables {
        std::fs::remove_file(dir.path().join("w/syncs/web-to-warehouse.yaml")).expect("a sync");
    }
    if let Some(component) = process::argument("--function") {
        drain::add_functions(dir.path(), component.as_ref(), 1);
    }
    let server = Process::serve_with(program, dir);
    let (before, started) = (server.usage().0, std::time::Instant::now());
    let load = if world.batches { Load::batch } else { Load::single };
    let connections = if world.batches { 16 } else { CONNECTIONS };
    let sent = runtime.block_on(load(&server.address, &server.key).count(connections, world.events));
    let answered = started.elapsed().as_secs_f64();
    if world.tables {
        server.drained(world.events);
    }
    let cpu = server.usage().0;
    let wall = if world.tables { started.elapsed().as_secs_f64() } else { answered };
    Cost { wall, cpu: cpu - before, p50: sent.quantile(0.5).into(), p99: sent.quantile(0.99).into() }
}

fn quarters(mut all: Vec<f64>) -> String {
    all.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| all.get(all.len() * part / 4).copied().unwrap_or_default();
    format!("{:.3} ({:.2}-{:.2})", at(2), at(1), at(3))
}
