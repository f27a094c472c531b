//! What an honest function notices of hostile ones on the same pool: a batch of 100 events, alone and beside functions
//! that loop, fill their memory and trap, again and again.
//!
//! Prints p50 and p99 of both, and their ratios, from one run; interleaved, so that a busy machine hits both alike. Each
//! figure is the median of those of the rounds: on a shared machine some rounds measure the neighbours of the machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate_authoring as project;
use tidegate_wasm::function::{CallLimits, Function, Outcome, Pool, RunContext, Workers};
use tidegate_wasm::{Engine, Module};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 15;
const CALLS: usize = 200;

fn function(engine: &Engine, guest: &str, name: &str) -> Function {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions").join(guest);
    let target_dir = std::env::current_exe().ok().and_then(|exe| Some(exe.ancestors().nth(3)?.join("guests")));
    // A guest in Rust needs no tools but cargo.
    let workbench = project::Workbench { tools: root.join("tools"), target_dir };
    let built = project::build(&root, &workbench, None, &mut |_| {}).expect("the guest builds");
    let bytes = std::fs::read(built.path).expect("the component is there");
    let module = Module::compile_any(engine, &bytes).expect("the component loads");
    Function::of(module, name, "{}".to_owned(), CallLimits::default())
}

async fn call(workers: &Workers, function: &Function, batch: Arc<Vec<String>>) -> Vec<Outcome> {
    let (function, lane) = (function.clone(), function.lane());
    let run = async move { function.run(&batch, RunContext::default()).await.outcomes };
    workers.run(lane, run).await.expect("the pool runs")
}

/// Times of calls, a pause between them as a trickle of events has.
async fn times(workers: &Workers, honest: &Function, batch: &Arc<Vec<String>>) -> Vec<Duration> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        let outcomes = call(workers, honest, Arc::clone(batch)).await;
        times.push(began.elapsed());
        assert!(matches!(outcomes[0], Outcome::Replace(_)), "{:?}", outcomes[0]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times
}

fn at(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

fn of_rounds(rounds: &mut [Vec<Duration>], share: f64) -> Duration {
    let mut times: Vec<Duration> = rounds.iter_mut().map(|times| at(times, share)).collect();
    at(&mut times, 0.5)
}

fn main() {
    let engine = Engine::new(&CallLimits::default()).expect("the engine starts");
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    let pool = Pool::start(cores).expect("the pool starts");
    let honest = function(&engine, "bench/rewrite", "honest");
    let event = r#"{"type":"track","event":"Order Completed","messageId":"m","properties":{"order_id":"A-1","n":1}}"#;
    let batch = Arc::new(vec![event.to_owned(); 100]);
    let workers = pool.workers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts");
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(runtime.block_on(times(&workers, &honest, &batch)));
        let stop = Arc::new(AtomicBool::new(false));
        let hostile: Vec<_> = ["loop", "memory-bomb", "recursion", "log-flood"]
            .map(|attack| {
                let function = function(&engine, "hostile/attacks", attack);
                let (workers, stop) = (workers.clone(), Arc::clone(&stop));
                let batch = Arc::new(vec![format!(r#"{{"properties":{{"attack":"{attack}"}}}}"#)]);
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("the runtime starts");
                    while !stop.load(Ordering::Relaxed) {
                        runtime.block_on(call(&workers, &function, Arc::clone(&batch)));
                    }
                })
            })
            .into();
        beside.push(runtime.block_on(times(&workers, &honest, &batch)));
        stop.store(true, Ordering::Relaxed);
        for thread in hostile {
            thread.join().expect("the attacker ends");
        }
    }
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (alone, beside) = (of_rounds(&mut alone, share), of_rounds(&mut beside, share));
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        println!("{name}: alone {alone:?}, beside four hostile functions {beside:?}: {ratio:.2}");
    }
}
