//! Faults for as long as told: a real server under load is killed, stopped, starved and lied to, and a ledger kept
//! outside of it says what was lost, doubled or altered.
//!
//! `cargo test --release --features failpoints --test faults -- [STORY..] [--short] [--minutes N] [--cycles N] [--modules N]
//! [--changes N] [--applies N] [--stream-kills N] [--quarantined N] [--replayed N] [--forgotten N] [--seed N]`. Without a story all of them run. Each line names the seed; a story that fails keeps its data directory and
//! says where. The process ends with 1 if anything was lost, doubled or altered, or a promise did not hold: a stop in time, the
//! delivery of everything in the end, no panic, an answer for honest clients. Times, memory and open files are only
//! reported.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, though not one of the harness")]

#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use more of it")]
mod support;

/// Shared by all stories, as it is by the tests of the warehouse.
#[path = "../../crates/warehouse-postgres/tests/it/rig/server.rs"]
#[allow(dead_code, reason = "the tests of the warehouse use more of it")]
mod postgres_server;

/// ClickHouse's engine, and who reads lakes.
#[path = "../../crates/warehouse-clickhouse/tests/it/rig/mod.rs"]
#[allow(dead_code, reason = "the tests of the warehouse use more of it")]
mod clickhouse_rig;
#[path = "../../crates/warehouse-lake/tests/it/rig/reader.rs"]
#[allow(dead_code, reason = "the tests of the warehouse use more of it")]
mod lake_reader;

mod applies;
mod changes;
mod control;
mod filled;
mod fingerprints;
mod forget;
mod kills;
mod ledger;
mod load;
mod marked_files;
mod modules;
mod noisy_key;
mod quarantine;
mod replay;
mod server;
mod soak;
mod steady;
mod streams;
mod unknown_clients;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long each story runs.
pub struct Plan {
    pub seed: u64,
    /// Kills of the story `kills`.
    pub cycles: u64,
    /// Mutated modules of the story `modules`.
    pub modules: u64,
    /// Changes of the story `changes`.
    pub changes: usize,
    /// Kills of the story `applies`.
    pub applies: u64,
    /// Kills of the story `streams`.
    pub stream_kills: u64,
    /// Events that are quarantined in the story `quarantine`.
    pub quarantined: u64,
    /// Events of the story `replay`.
    pub replayed: u64,
    /// Events of the story `forget`.
    pub forgotten: u64,
    /// The stories `soak` and `steady`, each.
    pub length: Duration,
}

/// What a story found.
#[derive(Debug, Default)]
pub struct Found {
    /// Events (or modules) that went in.
    pub acked: u64,
    pub lost: u64,
    pub double: u64,
    pub altered: u64,
    /// Promises that did not hold; the notes name them.
    pub broken: u64,
    /// What else is worth a line.
    pub notes: Vec<String>,
}

impl Found {
    pub fn is_clean(&self) -> bool {
        self.lost + self.double + self.altered + self.broken == 0
    }
}

type Story = fn(&Plan) -> Found;

const STORIES: [(&str, Story); 12] = [
    ("kills", kills::run),
    ("soak", soak::run),
    ("steady", steady::run),
    ("unknown-clients", unknown_clients::run),
    ("noisy-key", noisy_key::run),
    ("modules", modules::run),
    ("changes", changes::run),
    ("applies", applies::run),
    ("streams", streams::run),
    ("quarantine", quarantine::run),
    ("replay", replay::run),
    ("forget", forget::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let short = arguments.iter().any(|argument| argument == "--short");
    let minutes = number("--minutes").map(|minutes| Duration::from_secs(minutes * 60));
    let plan = Plan {
        seed: number("--seed").unwrap_or_else(|| u64::from_le_bytes(tidegate_process::clock::random())),
        cycles: number("--cycles").unwrap_or(if short { 12 } else { 500 }),
        modules: number("--modules").unwrap_or(if short { 1_000 } else { 1_000_000 }),
        changes: number("--changes").map_or(if short { 50 } else { 500 }, |changes| changes as usize),
        applies: number("--applies").unwrap_or(if short { 5 } else { 100 }),
        stream_kills: number("--stream-kills").unwrap_or(if short { 6 } else { 100 }),
        quarantined: number("--quarantined").unwrap_or(if short { 2_000 } else { 100_000 }),
        replayed: number("--replayed").unwrap_or(if short { 20_000 } else { 1_000_000 }),
        forgotten: number("--forgotten").unwrap_or(if short { 20_000 } else { 1_000_000 }),
        length: minutes.unwrap_or(Duration::from_secs(if short { 15 } else { 20 * 60 })),
    };
    let asked = |story: &str| {
        let named = STORIES.iter().any(|(name, _)| arguments.iter().any(|argument| argument == name));
        !named || arguments.iter().any(|argument| argument == story)
    };
    println!("seed {} (repeat with --seed {})", plan.seed, plan.seed);
    println!(
        "{:<9} {:>10} {:>6} {:>7} {:>8} {:>7} {:>8}",
        "story", "acked", "lost", "double", "altered", "broken", "seconds"
    );
    let mut clean = true;
    for (name, story) in STORIES.iter().filter(|(name, _)| asked(name)) {
        let started = Instant::now();
        let found = story(&plan);
        println!(
            "{name:<9} {:>10} {:>6} {:>7} {:>8} {:>7} {:>8}",
            found.acked,
            found.lost,
            found.double,
            found.altered,
            found.broken,
            started.elapsed().as_secs()
        );
        for note in &found.notes {
            println!("          {note}");
        }
        clean &= found.is_clean();
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A small generator (SplitMix64), so that a seed tells the whole schedule.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to below `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low)
    }

    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

/// Lets time pass: these stories are schedules, and the time between two faults is part of them.
pub fn pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
