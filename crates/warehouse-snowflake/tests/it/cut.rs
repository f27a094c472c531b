//! The connection cut after so many bytes, either way: whatever was cut, nothing is lost and nothing doubled.

use super::open;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::json;
use tidegate_event::EventKind;
use tidegate_event::destination::Failure;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_snowflake as snowflake;

use super::Snowflake;
use tidegate_warehouse_suite::events::{batch, event, numbered, track};
use tidegate_warehouse_suite::{Rig, Subject};

/// Lies between the router and the emulator.
pub struct CommitProxy {
    pub port: u16,
    /// Bytes that still pass; at 0 every connection is reset.
    left: Arc<AtomicUsize>,
    /// A text in a request whose answer is withheld, and whether it has come.
    withhold: Arc<AtomicBool>,
}

const FREE: usize = usize::MAX / 2;

impl CommitProxy {
    pub fn to(port: u16, withheld: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let (left, withhold) = (Arc::new(AtomicUsize::new(FREE)), Arc::new(AtomicBool::new(false)));
        let (budget, armed) = (Arc::clone(&left), Arc::clone(&withhold));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let mute = Arc::new(AtomicBool::new(false));
                let ways =
                    [(client.try_clone(), server.try_clone(), true), (server.try_clone(), client.try_clone(), false)];
                for (from, to, is_request) in ways {
                    let (Ok(from), Ok(to)) = (from, to) else { continue };
                    let (budget, armed, mute) = (Arc::clone(&budget), Arc::clone(&armed), Arc::clone(&mute));
                    std::thread::spawn(move || {
                        pump(from, to, &budget, |bytes| {
                            if is_request && armed.load(Ordering::SeqCst) && has(bytes, withheld) {
                                mute.store(true, Ordering::SeqCst);
                            }
                            !is_request && mute.load(Ordering::SeqCst)
                        })
                    });
                }
            }
        });
        Self { port: own, left, withhold }
    }

    /// Lets so many bytes through, both ways together.
    pub fn cut_after(&self, bytes: usize) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.left.store(FREE, Ordering::SeqCst);
        self.withhold.store(false, Ordering::SeqCst);
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Passes bytes on until the budget is spent or `cuts` says so, then closes both ends.
fn pump(mut from: TcpStream, mut to: TcpStream, budget: &AtomicUsize, cuts: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        let before =
            budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(read))).unwrap();
        let passed = &bytes[..read.min(before)];
        if cuts(bytes) || to.write_all(passed).is_err() || passed.len() < read {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// The emulator through a proxy.
struct Cut {
    inner: Snowflake,
    proxy: CommitProxy,
}

impl Rig for Cut {
    fn new() -> Result<Self, String> {
        let inner = Snowflake::new()?;
        let proxy = CommitProxy::to(inner.bridge.port, "\"COMMIT\"");
        Ok(Self { inner, proxy })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&snowflake::SnowflakeSettings { limits, ..super::settings(self.proxy.port, &self.inner.database) }, part)
    }

    fn seen(&self, schema: Option<&str>) -> tidegate_warehouse_suite::TablesSeen {
        self.inner.seen(schema)
    }

    fn act(&self, act: &tidegate_warehouse_suite::Act) -> bool {
        self.inner.act(act)
    }
}

fn rig() -> Option<Cut> {
    Cut::new().map_err(|lack| println!("skipped: snowflake::cut: {lack}")).ok()
}

fn ids(range: std::ops::Range<u64>) -> std::collections::BTreeSet<String> {
    range.map(|n| format!("m{n}")).collect()
}

fn is_whole(rig: &Cut, table: &str, range: std::ops::Range<u64>) {
    let seen = rig.seen(None);
    assert_eq!(seen[table].rows.keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids(range), "{table}");
}

#[test]
fn cut_after_any_number_of_bytes_nothing_is_lost_and_nothing_doubled() {
    let Some(rig) = rig() else { return };
    let (mut at, mut bytes, mut through) = (0, 0, false);
    // Each time a batch that rebuilds a column, cut a little later, until it comes through.
    while !through {
        let column = format!("c{at}");
        let events = |from: u64, value: serde_json::Value| {
            let made =
                |n: u64| event(EventKind::Identify, n, &format!("m{n}"), json!({ "traits": { (&*column): value } }));
            batch((from..from + 3).map(made).collect())
        };
        let mut subject = Subject::open(&rig);
        subject.deliver(events(at, json!(12)));
        rig.proxy.cut_after(bytes);
        let cut = subject.try_deliver(events(at + 3, json!("text")));
        assert!(matches!(cut, Ok(_) | Err(Failure::Retry { .. })), "{cut:?}");
        println!(
            "cut after {bytes} bytes: {}",
            cut.as_ref().map_or_else(ToString::to_string, |_| "through".to_owned())
        );
        rig.proxy.mend();
        // Its farewell was cut off as well.
        rig.inner.bridge.ask(&json!({ "op": "abandon", "database": rig.inner.database }));
        let mut subject = Subject::open(&rig);
        let durable = subject.durable_to().unwrap_or(0);
        assert!(durable == at + 6 || (durable == at + 3 && cut.is_err()), "{durable} after {at}: {cut:?}");
        subject.deliver(events(at + 3, json!("text")));
        (at, bytes, through) = (at + 6, bytes + 1_601, cut.is_ok());
    }
    is_whole(&rig, "identifies", 0..at);
    let seen = rig.seen(None);
    for n in (0..at).step_by(6) {
        let column = format!("c{n}");
        let found = [n, n + 3].map(|n| seen["identifies"].cell(&format!("m{n}"), &column));
        assert_eq!(found, [Some("12"), Some("text")], "{column}");
    }
    assert!(seen["identifies"].columns.keys().all(|column| !column.contains('$')), "{:?}", seen["identifies"].columns);
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_in_the_ledger() {
    let Some(rig) = rig() else { return };
    let mut subject = Subject::open(&rig);
    subject.deliver(numbered(0..5));
    rig.proxy.withhold.store(true, Ordering::SeqCst);
    let failure = subject.try_deliver(numbered(5..10)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    rig.proxy.mend();
    assert_eq!(subject.durable_to(), Some(10), "it was committed");
    let again = subject.deliver(numbered(5..12));
    assert_eq!((again.delivered, again.duplicates), (7, 5));
    is_whole(&rig, "e", 0..12);
}

#[test]
fn away_and_back() {
    let Some(rig) = rig() else { return };
    rig.proxy.cut_after(0);
    let mut subject = Subject::open(&rig);
    let failure = subject.try_deliver(numbered(0..5)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    rig.proxy.mend();
    subject.deliver(numbered(0..5));
    is_whole(&rig, "e", 0..5);
}

/// An operator has made a column narrower than what comes.
#[test]
fn poison_stands_alone() {
    let Some(rig) = rig() else { return };
    let mut subject = Subject::open(&rig);
    subject.deliver(numbered(0..3));
    let narrow = ["RENAME COLUMN n TO was", "ADD COLUMN n NUMBER(2,0)"];
    rig.inner.run(&narrow.map(|what| format!("ALTER TABLE e {what}")));
    let made = (3..40_u64).map(|n| {
        let value = if n == 13 || n == 29 { 1_000 + n } else { n };
        track(n, &format!("m{n}"), "E", json!({ "n": value }))
    });
    let (delivery, rejected) = subject.deliver_refusing(batch(made.collect()));
    let refused: Vec<_> = rejected.iter().map(|rejected| (rejected.index, &*rejected.code)).collect();
    assert_eq!(refused, [(10, "row_refused"), (26, "row_refused")]);
    assert!(rejected.iter().all(|rejected| rejected.reason.contains("10")), "{rejected:?}");
    assert_eq!((delivery.delivered, delivery.duplicates), (35, 0));
    let seen = rig.seen(None);
    assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len()), (38, 38), "both rows of an event are left out");
    assert_eq!(subject.durable_to(), Some(40));
}
