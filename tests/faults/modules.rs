//! Mutated components past the limits, the compiler and a run: whatever they are, the host goes on.
//!
//! In a server the compiler runs in a child with limits; here it runs in this process, so that a panic in it is seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tidegate_plugin::Package;
use tidegate_wasm::function::{Function, RunContext};
use tidegate_wasm::{CallLimits, Module, inspect};

use crate::support::guests;
use crate::{Dice, Found, Plan};

pub fn run(plan: &Plan) -> Found {
    let mut dice = Dice::new(plan.seed);
    let limits = CallLimits { wall_max: Duration::from_secs(2), ..CallLimits::default() };
    let bases: Vec<Vec<u8>> = ["transform/redact-pii", "transform/sampling", "hostile/attacks"]
        .iter()
        .map(|guest| std::fs::read(guests::component(guest)).expect("a component"))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (mut inspected, mut compiled, mut ran, mut panics) = (0, 0, 0, 0);
    let mut found = Found { acked: plan.modules, ..Found::default() };
    for n in 0..plan.modules {
        let base = &bases[(n % bases.len() as u64) as usize];
        let bytes = mutate(&mut dice, base);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _ = Package::read(&bytes);
            if inspect(&bytes, &limits, None).is_err() {
                return (0, 0, 0);
            }
            // The compiler is a hundred times dearer than the limits.
            if n % 25 != 0 {
                return (1, 0, 0);
            }
            let Ok(module) = Module::compile_any(guests::engine(), &bytes) else { return (1, 0, 0) };
            let function = Function::of(module, "mutated", "{}".to_owned(), limits.clone());
            let batch =
                vec![r#"{"type":"track","event":"E","messageId":"m","properties":{"a":[1,{"b":"c"}]}}"#.to_owned()];
            let cx = RunContext { now_ms: 1, seed: 1, deadline: None };
            let _ = runtime.block_on(function.run(&batch, cx));
            (1, 1, 1)
        }));
        match outcome {
            Ok((component_limits, compiler, run)) => {
                inspected += component_limits;
                compiled += compiler;
                ran += run;
            }
            Err(_) => {
                panics += 1;
                let kept = std::env::temp_dir().join(format!("tidegate-panic-{}-{n}.wasm", plan.seed));
                let _ = std::fs::write(&kept, &bytes);
                found.notes.push(format!(
                    "module {n} of seed {} made the host panic; kept: {}",
                    plan.seed,
                    kept.display()
                ));
            }
        }
    }
    found.altered = panics;
    found.notes.push(format!(
        "{inspected} stayed within the limits, {compiled} compiled, {ran} ran, {panics} panics of the host"
    ));
    found
}

/// Flips, overwrites, cuts, repeats or swaps some bytes; one in four times only within the code's later half.
fn mutate(dice: &mut Dice, base: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..dice.between(1, 6) {
        let len = bytes.len() as u64;
        if len < 64 {
            break;
        }
        let low = if dice.between(0, 4) == 0 { len / 2 } else { 8 };
        let at = dice.between(low, len) as usize;
        match dice.between(0, 6) {
            0 | 1 => bytes[at] ^= 1 << dice.between(0, 8),
            2 => bytes[at] = dice.roll() as u8,
            3 => bytes[at] = [0x00, 0x7f, 0x80, 0xff, 0x0b, 0x41][dice.between(0, 6) as usize],
            4 => {
                let to = (at + dice.between(1, 64) as usize).min(bytes.len());
                bytes.drain(at..to);
            }
            _ => {
                let to = (at + dice.between(1, 64) as usize).min(bytes.len());
                let piece = bytes[at..to].to_vec();
                let place = dice.between(8, bytes.len() as u64) as usize;
                bytes.splice(place..place, piece);
            }
        }
    }
    bytes
}
