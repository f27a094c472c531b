//! A function as somebody writes it who knows wit-bindgen and nothing of Tidegate but its WIT. It uses what a standard
//! library offers: a map with a random seed, the clock, the environment, a file that is not there, standard output.

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

wit_bindgen::generate!({ path: "wit/deps/tidegate-plugin-0.1.0", world: "transform" });

use exports::tidegate::plugin::{lifecycle, transformer};
use transformer::Outcome;

struct Plain;

impl lifecycle::Guest for Plain {
    fn configure(_setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        Ok(())
    }
}

impl transformer::Guest for Plain {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, transformer::BatchError> {
        Ok(batch.iter().map(|event| outcome(event)).collect())
    }
}

fn outcome(event: &str) -> Outcome {
    let began = Instant::now();
    println!("an event of {} bytes", event.len());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for word in event.split('"') {
        *seen.entry(word).or_default() += 1;
    }
    let names = std::env::vars().count() + std::env::args().count();
    let files = std::fs::read("/etc/passwd").is_ok() || std::fs::read_dir("/").is_ok();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let ordered = began.elapsed().as_secs() < 60;
    if seen.contains_key("panic") {
        panic!("asked to");
    }
    if seen.contains_key("keep") {
        return Outcome::Keep;
    }
    let body = &event[..event.rfind('}').unwrap_or(0)];
    Outcome::Replace(format!(
        r#"{body},"properties":{{"names":{names},"files":{files},"seconds":{seconds},"ordered":{ordered}}}}}"#
    ))
}

export!(Plain);
