//! One tenant's bytes never appear in another's instance, though both run in the same slot of the pool.

use std::time::Duration;

use tidegate_plugin::ManifestKind;
use tidegate_wasm::function::{CallLimits, Function, Outcome, RunContext};
use tidegate_wasm::{Engine, Module};

use crate::support::guests::component;

/// A slot that two tenants take in turn; memory that a slot keeps between calls makes leaks likely, if there are any.
fn shared_slot(pagemap_scan: bool, slot_resident_bytes: usize) {
    let time = Duration::from_secs(60);
    let limits = CallLimits {
        calls_at_once_max: 1,
        pagemap_scan,
        slot_resident_bytes,
        cpu_base: time,
        cpu_max: time,
        wall_max: 5 * time,
        ..CallLimits::default()
    };
    let engine = Engine::new(&limits).unwrap();
    let bytes = std::fs::read(component("hostile/canary")).unwrap();
    // Two modules, as two tenants have; the mark is known to both, turned over.
    let tenant = |name: &str| {
        let module = Module::compile(&engine, &bytes, ManifestKind::Transform).unwrap();
        Function::of(module, name, "\"c0ffee11deadbe42\"".to_owned(), limits.clone())
    };
    let (first, second) = (tenant("first"), tenant("second"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let run = |function: &Function, words: &[&str]| -> Vec<Outcome> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        runtime.block_on(function.run(&words, RunContext::default())).outcomes
    };
    // The scan sees what is there: within one call it finds the mark everywhere.
    let Outcome::Replace(found) = &run(&first, &["fill", "scan"])[1] else { panic!("no scan") };
    let found: u64 = found.trim_start_matches("{\"found\":").trim_end_matches('}').parse().unwrap();
    assert!(found > 1_000_000, "the scan found {found} marks in its own memory");
    for round in 0..20 {
        assert_eq!(run(&first, &["fill"]), [Outcome::Keep], "round {round}");
        for tenant in [&second, &first] {
            let scanned = run(tenant, &["scan"]);
            assert_eq!(scanned, [Outcome::Replace("{\"found\":0}".to_owned())], "round {round}, {}", tenant.name());
        }
    }
}

#[test]
fn nothing_of_one_tenant_is_left_for_the_next() {
    shared_slot(false, CallLimits::default().slot_resident_bytes);
}

#[test]
fn nothing_is_left_in_a_slot_that_keeps_all_its_memory() {
    shared_slot(false, 64 << 20);
}

#[test]
fn nothing_is_left_where_the_kernel_is_asked_for_dirty_pages() {
    shared_slot(true, 64 << 20);
}
