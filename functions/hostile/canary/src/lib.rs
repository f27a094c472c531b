//! Fills its memory with a mark, or looks for a mark that somebody else left there.
//!
//! An event is a bare word: `fill` writes the mark of the settings all over the heap, the stack and fresh pages; `scan`
//! answers `{"found": n}`, how often the mark stands anywhere in the linear memory, pages included that are only grown
//! now. The mark comes as hexadecimal text with each byte turned over, so that reading the settings leaves no copy.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;
use std::sync::OnceLock;

use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use exports::tidegate::plugin::transformer::{self, BatchError, Outcome};

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

struct Canary;

/// The mark, every byte turned over.
static HIDDEN: OnceLock<[u8; 8]> = OnceLock::new();

const PAGE_BYTES: usize = 64 << 10;
const GROWN_PAGES: usize = 400;

impl lifecycle::Guest for Canary {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let digits: Vec<u8> = setup.settings_json.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut hidden = [0; 8];
        for (byte, pair) in hidden.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or("0");
            *byte = u8::from_str_radix(pair, 16).unwrap_or(0);
        }
        HIDDEN.get_or_init(|| hidden);
        Ok(())
    }
}

impl transformer::Guest for Canary {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, BatchError> {
        let hidden = HIDDEN.get().copied().unwrap_or_default();
        Ok(batch.iter().map(|word| one(word, hidden)).collect())
    }
}

fn one(word: &str, hidden: [u8; 8]) -> Outcome {
    match word {
        "fill" => {
            fill(hidden);
            Outcome::Keep
        }
        "scan" => {
            core::arch::wasm32::memory_grow::<0>(GROWN_PAGES);
            Outcome::Replace(format!("{{\"found\":{}}}", scan(hidden)))
        }
        other => Outcome::Drop(other.to_owned()),
    }
}

fn fill(hidden: [u8; 8]) {
    let mark = hidden.map(|byte| !byte);
    let mut on_the_stack = [[0_u8; 8]; 4096];
    on_the_stack.fill(mark);
    black_box(&on_the_stack);
    let on_the_heap: Vec<[u8; 8]> = vec![mark; 1 << 19];
    // Left behind on purpose: nothing is tidied up.
    std::mem::forget(black_box(on_the_heap));
    let first = core::arch::wasm32::memory_grow::<0>(GROWN_PAGES);
    if first == usize::MAX {
        return;
    }
    let fresh = (first * PAGE_BYTES) as *mut [u8; 8];
    for at in 0..GROWN_PAGES * PAGE_BYTES / 8 {
        // SAFETY: these pages were just grown, so nobody else has them, and they hold this many marks.
        unsafe { fresh.add(at).write_volatile(mark) };
    }
}

/// Compares each byte turned over, so that looking for the mark makes none.
fn scan(hidden: [u8; 8]) -> usize {
    let end = core::arch::wasm32::memory_size::<0>() * PAGE_BYTES;
    let mut found = 0;
    let mut at = 1024_usize;
    while at + 8 <= end {
        // SAFETY: `at` lies below the end of the memory, and reading any of it is this guest's right.
        let there = |n: usize| unsafe { ((at + n) as *const u8).read_volatile() };
        if (0..8).all(|n| !there(n) == hidden[n]) {
            found += 1;
        }
        at += 8;
    }
    found
}

export!(Canary);
