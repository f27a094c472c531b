//! A line to the server that breaks: after so many bytes of requests, after so many bytes of answers, before a statement.

use super::open;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::json;
use tidegate_event::destination::Failure;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_clickhouse as clickhouse;

use super::{ClickHouse, sql};
use tidegate_warehouse_suite::events::{batch, numbered, track};
use tidegate_warehouse_suite::{Act, Rig, Subject, TablesSeen, run};

/// What the line still carries, over all connections.
struct Line {
    requests: AtomicI64,
    answers: AtomicI64,
    /// Runs once, before the first bytes that hold these are passed on.
    hook: Mutex<Option<Hook>>,
}

type Hook = (&'static str, Box<dyn FnOnce() + Send>);

const EVERYTHING: i64 = i64::MAX / 2;

impl Line {
    fn new(port: u16) -> (Arc<Self>, u16) {
        let line = Arc::new(Self {
            requests: AtomicI64::new(EVERYTHING),
            answers: AtomicI64::new(EVERYTHING),
            hook: Mutex::new(None),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_cut() {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let cut = Arc::new(AtomicBool::new(false));
                for forth in [true, false] {
                    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let (line, cut) = (Arc::clone(&shared), Arc::clone(&cut));
                    std::thread::spawn(move || line.carry(forth, if forth { (from, to) } else { (to, from) }, &cut));
                }
            }
        });
        (line, own)
    }

    fn is_cut(&self) -> bool {
        self.requests.load(Ordering::SeqCst) <= 0 || self.answers.load(Ordering::SeqCst) <= 0
    }

    fn carry(&self, forth: bool, (mut from, mut to): (TcpStream, TcpStream), cut: &AtomicBool) {
        let left = if forth { &self.requests } else { &self.answers };
        let mut buffer = vec![0; 1 << 16];
        while let Some(count) = from.read(&mut buffer).ok().filter(|count| *count > 0) {
            if forth {
                self.run_hook(&buffer[..count]);
            }
            let before = left.fetch_sub(count as i64, Ordering::SeqCst);
            let passed = usize::try_from(before.clamp(0, count as i64)).unwrap();
            if to.write_all(&buffer[..passed]).is_err() || passed < count {
                cut.store(true, Ordering::SeqCst);
                break;
            }
        }
        // A line that is cut is cut both ways; one that ends lets the other way end by itself.
        let how = if cut.load(Ordering::SeqCst) { Shutdown::Both } else { Shutdown::Write };
        let _ = to.shutdown(how);
        if cut.load(Ordering::SeqCst) {
            let _ = from.shutdown(Shutdown::Both);
        }
    }

    fn run_hook(&self, bytes: &[u8]) {
        let mut hook = self.hook.lock().unwrap();
        if hook.as_ref().is_some_and(|(word, _)| memchr::memmem::find(bytes, word.as_bytes()).is_some())
            && let Some((_, act)) = hook.take()
        {
            act();
        }
    }

    fn mend(&self) {
        self.requests.store(EVERYTHING, Ordering::SeqCst);
        self.answers.store(EVERYTHING, Ordering::SeqCst);
    }
}

/// The same place through a line.
struct Through<'r>(&'r ClickHouse, u16);

impl Rig for Through<'_> {
    fn new() -> Result<Self, String> {
        Err("made by the test".to_owned())
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        let url = format!("http://127.0.0.1:{}", self.1);
        open(&clickhouse::ClickHouseSettings { limits, url, ..self.0.settings_of() }, part)
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        self.0.seen(schema)
    }

    fn act(&self, act: &Act) -> bool {
        self.0.act(act)
    }
}

/// Events of two names; a column more and a wider one now and then.
fn events(from: u64, to: u64) -> tidegate_event::destination::Batch {
    let made = (from..to).map(|n| {
        let name = if n % 3 == 0 { "F" } else { "E" };
        let value = if n % 50 == 49 { json!("text") } else { json!("2024-05-06T07:08:09.120Z") };
        track(n, &format!("m{n}"), name, json!({ "v": value, (format!("c{}", n / 40)): 1 }))
    });
    batch(made.collect())
}

fn cut_after(rig: &ClickHouse, step: i64, of: fn(&Line) -> &AtomicI64) {
    let (line, port) = Line::new(rig.port);
    let through = Through(rig, port);
    let (mut at, mut bytes, mut failures) = (0, step, 0);
    loop {
        line.mend();
        of(&line).store(bytes, Ordering::SeqCst);
        let mut subject = Subject::open(&through);
        let first = subject.try_deliver(events(at, at + 10));
        let end = first.is_ok();
        if let Err(failure) = first {
            failures += 1;
            assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
            let seen = rig.seen(None);
            let has = |table: &str, id| seen.get(table).is_some_and(|table| table.rows.contains_key(id));
            for id in seen.get("tracks").iter().flat_map(|tracks| tracks.rows.keys()) {
                assert!(has("e", id) || has("f", id), "{id} is in tracks alone");
            }
        }
        line.mend();
        // The same one goes on, then another, each with batches cut elsewhere.
        subject.deliver(events(at, at + 7));
        let mut other = Subject::open(&through);
        let durable = other.durable_to().unwrap();
        assert!(durable == at + 7 || durable == at + 10, "{durable} after {at}");
        other.deliver(events(at + 5, at + 13));
        at += 13;
        if end {
            break;
        }
        bytes += step + bytes / 8;
    }
    println!("came through after {failures} cuts, the last behind {bytes} bytes");
    assert!(failures > 5, "{failures}");
    let seen = rig.seen(None);
    let ids: std::collections::BTreeSet<String> = (0..at).map(|n| format!("m{n}")).collect();
    let of = |table: &str| seen[table].rows.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(of("tracks"), ids);
    assert_eq!((&of("e") | &of("f"), of("e").len() + of("f").len()), (ids.clone(), ids.len()));
    for (id, row) in seen["e"].rows.iter().chain(&seen["f"].rows) {
        assert!(["text", "2024-05-06T07:08:09.120Z"].contains(&&*row["v"]), "{id}: {}", row["v"]);
    }
}

#[test]
fn requests_cut_anywhere_leave_each_event_once() {
    run("requests cut", |rig: &ClickHouse| cut_after(rig, 211, |line| &line.requests));
}

/// So the server has done what it was asked, and nobody hears of it.
#[test]
fn answers_cut_anywhere_leave_each_event_once() {
    run("answers cut", |rig: &ClickHouse| cut_after(rig, 61, |line| &line.answers));
}

#[test]
fn a_server_that_goes_away_and_comes_back_is_waited_for() {
    run("away and back", |rig: &ClickHouse| {
        let (line, port) = Line::new(rig.port);
        let mut subject = Subject::open(&Through(rig, port));
        subject.deliver(numbered(0..3));
        line.requests.store(0, Ordering::SeqCst);
        for _ in 0..3 {
            let failure = subject.try_deliver(numbered(3..6)).unwrap_err();
            assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
        }
        line.mend();
        subject.deliver(numbered(3..6));
        assert_eq!((rig.seen(None)["e"].rows.len(), subject.durable_to()), (6, Some(6)));
    });
}

#[test]
fn a_widening_whose_answer_is_lost_is_told_all_the_same() {
    run("a widening", |rig: &ClickHouse| {
        let (line, port) = Line::new(rig.port);
        let mut subject = Subject::open(&Through(rig, port));
        subject.deliver(numbered(0..3));
        let cut = Arc::clone(&line);
        *line.hook.lock().unwrap() = Some(("MODIFY COLUMN", Box::new(move || cut.answers.store(0, Ordering::SeqCst))));
        let text = || batch(vec![track(3, "m3", "E", json!({ "n": "text" }))]);
        assert!(matches!(subject.try_deliver(text()), Err(Failure::Retry { .. })));
        line.mend();
        assert_eq!(subject.deliver(text()).notices, ["column n of table e widened from INTEGER to TEXT"]);
        assert_eq!(rig.seen(None)["e"].cell("m0", "n"), Some("0"));
    });
}

/// Somebody alters the table when the rows are on their way: they are refused, not misread, and go out anew.
#[test]
fn a_column_retyped_before_the_very_insert_misreads_nothing() {
    run("retyped before the insert", |rig: &ClickHouse| {
        for (change, word) in [
            ("MODIFY COLUMN n Nullable(String)", "INSERT+INTO"),
            // As many bytes, another meaning.
            ("MODIFY COLUMN n Nullable(DateTime64(6, 'UTC'))", "INSERT+INTO"),
            ("DROP COLUMN n", "INSERT+INTO"),
            ("ADD COLUMN fresh Nullable(String)", "ADD COLUMN"),
        ] {
            let (line, port) = Line::new(rig.port);
            let mut subject = Subject::open(&Through(rig, port));
            subject.deliver(numbered(0..3));
            let alter = format!("ALTER TABLE `{}`.e {change}", rig.database);
            *line.hook.lock().unwrap() = Some((word, Box::new(move || drop(sql(&alter)))));
            let more = if word == "ADD COLUMN" { json!({ "n": 3, "fresh": 5 }) } else { json!({ "n": 3 }) };
            let delivery = subject.deliver(batch(vec![track(3, "m3", "E", more)]));
            assert_eq!((delivery.delivered, delivery.rejected.len()), (1, 0), "{change}");
            assert!(line.hook.lock().unwrap().is_none(), "{change}: nothing was altered");
            let seen = rig.seen(None);
            assert_eq!((seen["e"].cell("m3", "n"), seen["tracks"].rows.len()), (Some("3"), 4), "{change}");
            sql(&format!("DROP DATABASE `{}`", rig.database));
        }
    });
}
