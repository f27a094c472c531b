//! Clients as SDKs are: they number their events, send batches, and send a batch again until it is answered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ledger::Ledger;
use crate::pass;
use crate::support::http::{basic, try_request};

/// Events in a batch.
const BATCH: u64 = 25;

/// Clients at work.
pub struct Load {
    pub ledger: Arc<Ledger>,
    /// Where the server listens now; it changes with each start.
    pub address: Arc<Mutex<String>>,
    /// What clients show; each holds it as long as its request is under way.
    key: Arc<RwLock<String>>,
    stop: Arc<AtomicBool>,
    /// Clients begin no further batch for now.
    rests: Arc<AtomicBool>,
    /// Requests that were sent again.
    pub retries: Arc<AtomicU64>,
    /// Requests whose key was none.
    pub unknown_keys: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sends about `rate` events a second with the key until told to stop.
    pub fn start(ledger: Arc<Ledger>, key: &str, rate: u64) -> Self {
        let (stop, rests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let retries = Arc::new(AtomicU64::new(0));
        let unknown_keys = Arc::new(AtomicU64::new(0));
        let (address, key): (Arc<Mutex<String>>, _) = (Arc::default(), Arc::new(RwLock::new(basic(key))));
        let gap = Duration::from_micros(1_000_000 * BATCH * ledger.clients() as u64 / rate.max(1));
        let clients = (0..ledger.clients())
            .map(|client| {
                let (ledger, address, key) = (Arc::clone(&ledger), Arc::clone(&address), Arc::clone(&key));
                let (stop, rests) = (Arc::clone(&stop), Arc::clone(&rests));
                let (retries, unknown) = (Arc::clone(&retries), Arc::clone(&unknown_keys));
                std::thread::spawn(move || {
                    let mut due = Instant::now();
                    for batch in 0.. {
                        while rests.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                            pass(Duration::from_millis(20));
                        }
                        let numbers = batch * BATCH..(batch + 1) * BATCH;
                        let events: Vec<_> = numbers.clone().map(|n| ledger.event(client, n)).collect();
                        let body = json!({"batch": events, "sentAt": "2026-11-23T10:00:01.000Z"}).to_string();
                        // Every 16th batch is sent twice, as a client does that lost its answer.
                        for _ in 0..=u8::from(batch % 16 == 0) {
                            loop {
                                match send(&address, &key, body.as_bytes()) {
                                    Some(200) => break,
                                    Some(401) => unknown.fetch_add(1, Ordering::Relaxed),
                                    _ => 0,
                                };
                                retries.fetch_add(1, Ordering::Relaxed);
                                if stop.load(Ordering::Relaxed) {
                                    return;
                                }
                                pass(Duration::from_millis(20));
                            }
                            ledger.answered(client, numbers.clone());
                        }
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        due += gap;
                        pass(due.saturating_duration_since(Instant::now()));
                        due = due.max(Instant::now() - gap);
                    }
                })
            })
            .collect();
        Self { ledger, address, key, stop, rests, retries, unknown_keys, clients }
    }

    /// Clients show another key; no request is under way with the one before when this returns.
    pub fn show(&self, key: &str) {
        *self.key.write().expect("nobody panics with it") = basic(key);
    }

    pub fn turn_to(&self, address: &str) {
        address.clone_into(&mut self.address.lock().expect("nobody panics with it"));
    }

    /// Clients begin no further batch, or go on.
    pub fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// No further batches; the server must be there.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client ran to its end");
        }
    }
}

/// The status of the answer, if there is one.
fn send(address: &Mutex<String>, key: &RwLock<String>, body: &[u8]) -> Option<u16> {
    let address = address.lock().expect("nobody panics with it").clone();
    let key = key.read().expect("nobody panics with it");
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    try_request(&address, "POST", "/v1/batch", &headers, body).ok().map(|reply| reply.status)
}
