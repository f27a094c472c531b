//! The server goes away, answers are lost, locks are held, disks are full.

use super::open;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::json;
use tidegate_event::destination::{Batch, Failure};
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_postgres as postgres;

use super::server::Server;
use super::{Postgres, address};
use tidegate_warehouse_suite::events::{batch, numbered, track};
use tidegate_warehouse_suite::{Rig, Subject, run};

/// A rig that goes another way to the same database.
struct By<'r> {
    rig: &'r Postgres,
    settings: postgres::PostgresSettings,
}

impl<'r> By<'r> {
    fn new(rig: &'r Postgres, change: impl FnOnce(&mut postgres::PostgresSettings)) -> Self {
        let mut settings = rig.with(rig.address(""));
        change(&mut settings);
        Self { rig, settings }
    }
}

impl Rig for By<'_> {
    fn new() -> Result<Self, String> {
        Err("it goes by another rig".to_owned())
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&postgres::PostgresSettings { limits, ..self.settings.clone() }, part)
    }

    fn seen(&self, schema: Option<&str>) -> tidegate_warehouse_suite::TablesSeen {
        self.rig.seen(schema)
    }

    fn act(&self, act: &tidegate_warehouse_suite::Act) -> bool {
        self.rig.act(act)
    }
}

/// Passes bytes on to the server; cuts a connection after so many bytes of one direction.
struct Proxy {
    port: u16,
    /// Bytes to the server, and from it, after which both ends are cut; 0 for never.
    limits: Arc<[AtomicU64; 2]>,
    passed: Arc<[AtomicU64; 2]>,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            limits: Arc::default(),
            passed: Arc::default(),
            cuts: Arc::default(),
        };
        let (limits, passed, cuts) = (proxy.limits.clone(), proxy.passed.clone(), proxy.cuts.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) else { continue };
                passed.iter().for_each(|passed| passed.store(0, Ordering::SeqCst));
                let ends = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
                for (way, (from, to)) in ends.into_iter().enumerate() {
                    let (limits, passed, cuts) = (limits.clone(), passed.clone(), cuts.clone());
                    std::thread::spawn(move || pass(from, to, &limits[way], &passed[way], &cuts));
                }
            }
        });
        proxy
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, limit: &AtomicU64, passed: &AtomicU64, cuts: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let (limit, before) = (limit.load(Ordering::SeqCst), passed.fetch_add(read as u64, Ordering::SeqCst));
        let within = if limit == 0 { read } else { usize::try_from(limit.saturating_sub(before)).unwrap().min(read) };
        if to.write_all(&buffer[..within]).is_err() || within < read {
            cuts.fetch_add(usize::from(within < read), Ordering::SeqCst);
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn events(from: u64, to: u64) -> Batch {
    let made = (from..to).map(|n| {
        let value = if n % 7 == 6 { json!("text") } else { json!(n) };
        track(
            n,
            &format!("m{n}"),
            if n % 3 == 0 { "F" } else { "E" },
            json!({ "v": value, (format!("c{}", n / 10)): 1 }),
        )
    });
    batch(made.collect())
}

fn whole(rig: &Postgres, total: u64) {
    let seen = rig.seen(None);
    let ids: BTreeSet<String> = (0..total).map(|n| format!("m{n}")).collect();
    assert_eq!(seen["tracks"].rows.keys().cloned().collect::<BTreeSet<_>>(), ids);
    assert_eq!(seen["e"].rows.len() + seen["f"].rows.len(), ids.len());
}

/// Each delivery makes tables, adds columns or widens one, and is cut some bytes later than the one before: in each
/// direction, up to its last byte and so also where COMMIT is out and its answer is not back.
#[test]
fn a_connection_that_is_cut_anywhere_loses_nothing_and_doubles_nothing() {
    run::<Postgres>("cut", |rig| {
        let proxy = Proxy::to(rig.server.port);
        let text = format!("host=127.0.0.1 port={} sslmode=disable", proxy.port);
        let by = By::new(rig, |settings| settings.address = address(&text, &rig.database));
        let mut at = 0;
        for way in 0..2 {
            let mut limit = 1;
            loop {
                proxy.limits[way].store(limit, Ordering::SeqCst);
                let (before, mut subject) = (proxy.cuts.load(Ordering::SeqCst), Subject::open(&by));
                let outcome = subject.try_deliver(events(at, at + 8));
                let through = outcome.is_ok() && proxy.cuts.load(Ordering::SeqCst) == before;
                assert!(matches!(outcome, Ok(_) | Err(Failure::Retry { .. })), "{outcome:?} after {limit}");
                drop(subject);
                proxy.limits[way].store(0, Ordering::SeqCst);
                let mut subject = Subject::open(&by);
                let durable = subject.durable_to().unwrap_or(0);
                assert!(durable == at || durable == at + 8, "{durable} after {at}");
                assert!(outcome.is_err() || durable == at + 8, "accepted, and not durable after {limit} bytes");
                subject.deliver(events(durable, at + 11));
                at += 11;
                if through {
                    break;
                }
                limit += 1 + limit / 9;
            }
        }
        assert!(proxy.cuts.load(Ordering::SeqCst) > 40, "{:?}", proxy.cuts);
        println!("{} cuts", proxy.cuts.load(Ordering::SeqCst));
        whole(rig, at);
    });
}

/// The last bytes one by one: the answer to COMMIT among them.
#[test]
fn an_answer_to_commit_that_is_lost_doubles_nothing() {
    run::<Postgres>("commit", |rig| {
        Subject::open(rig).deliver(numbered(0..8));
        let proxy = Proxy::to(rig.server.port);
        let text = format!("host=127.0.0.1 port={} sslmode=disable", proxy.port);
        let by = By::new(rig, |settings| settings.address = address(&text, &rig.database));
        // How many bytes come back for such a delivery.
        let mut subject = Subject::open(&by);
        subject.deliver(numbered(8..16));
        let total = proxy.passed[1].load(Ordering::SeqCst);
        drop(subject);
        let mut committed_unheard = 0;
        for (turn, back) in (0..40).enumerate() {
            let at = 16 + turn as u64 * 8;
            proxy.limits[1].store(total.saturating_sub(back), Ordering::SeqCst);
            let mut subject = Subject::open(&by);
            let outcome = subject.try_deliver(numbered(at..at + 8));
            proxy.limits[1].store(0, Ordering::SeqCst);
            drop(subject);
            let mut subject = Subject::open(&by);
            committed_unheard += usize::from(outcome.is_err() && subject.durable_to() == Some(at + 8));
            subject.deliver(numbered(at..at + 8));
        }
        assert!(committed_unheard > 0, "no cut fell between COMMIT and its answer");
        assert_eq!(rig.seen(None)["tracks"].rows.len(), 16 + 40 * 8);
    });
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let server = match Server::start("") {
        Ok(server) => server,
        Err(lack) => return println!("skipped: back: {lack}"),
    };
    server.psql("postgres", "CREATE DATABASE shop OWNER router");
    let text = format!("host=127.0.0.1 port={}", server.port);
    let settings = postgres::PostgresSettings::new(address(&text, "shop"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let part = tidegate_warehouse::SyncPart { sync: "sync".to_owned(), ..Default::default() };
    server.control("stop");
    // Nothing need be there when it opens.
    let mut destination = runtime.block_on(async { open(&settings, &part) }).unwrap();
    let mut deliver = |batch: Batch| runtime.block_on(destination.deliver(Arc::new(batch)));
    let failure = deliver(events(0, 5)).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
    server.control("start");
    assert_eq!(deliver(events(0, 5)).unwrap().delivered, 5);
    // Ended between two batches: the next goes over a new connection at once.
    server.control("restart");
    assert_eq!(deliver(events(5, 9)).unwrap().delivered, 4);
    server.control("stop");
    assert!(matches!(deliver(events(9, 12)), Err(Failure::Retry { .. })));
    server.control("start");
    assert_eq!(deliver(events(9, 12)).unwrap().duplicates, 0);
    let seen = super::seen(&server, "shop", "public");
    assert_eq!(seen["tracks"].rows.len(), 12);
}

/// A session that stays in a transaction until it is told to go on.
struct Session {
    child: std::process::Child,
}

impl Session {
    /// Runs the statements in a transaction that it leaves open.
    fn holding(rig: &Postgres, sql: &str) -> Self {
        let mut command = rig.server.command(&rig.database);
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "BEGIN; {sql}; SELECT 'held';").unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.any(|line| line.unwrap() == "held"));
        Self { child }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn a_reader_that_holds_a_table_delays_new_columns_and_no_event() {
    run::<Postgres>("reader", |rig| {
        let by = By::new(rig, |settings| settings.lock_timeout = Duration::from_millis(100));
        let mut subject = Subject::open(&by);
        subject.deliver(numbered(0..3));
        let reader = Session::holding(rig, "SELECT count(*) FROM e");
        subject.deliver(numbered(3..6));
        let wide = |at: u64| batch(vec![track(at, &format!("m{at}"), "E", json!({ "n": "text", "fresh": 1, "f": 2 }))]);
        let delivery = subject.deliver(wide(6));
        let notices = delivery.notices.join("; ");
        for word in ["55P03", "ADD COLUMN \"fresh\" bigint", "ALTER COLUMN \"n\" TYPE text"] {
            assert!(notices.contains(word), "{notices}");
        }
        assert_eq!(subject.deliver(wide(7)).notices, Vec::<String>::new(), "told once");
        reader.end();
        drop(subject);
        Subject::open(&by).deliver(wide(8));
        let seen = rig.seen(None);
        let lost = json!({"properties": {"n": "text", "fresh": 1, "f": 2}});
        assert_eq!([seen["e"].overflow("m6"), seen["e"].overflow("m7")], [lost.clone(), lost]);
        assert_eq!((seen["e"].cell("m8", "n"), seen["e"].cell("m8", "fresh")), (Some("text"), Some("1")));
        assert_eq!(seen["e"].rows.len(), 9);
    });
}

/// Another process with the same sync is in the middle of a batch.
#[test]
fn two_processes_with_one_sync_take_turns() {
    run::<Postgres>("turns", |rig| {
        let by = By::new(rig, |settings| settings.lock_timeout = Duration::from_millis(100));
        let (mut one, mut two) = (Subject::open(&by), Subject::open(&by));
        one.deliver(numbered(0..3));
        assert_eq!(two.durable_to(), Some(3));
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('tidegate public sync', 0))";
        let holder = Session::holding(rig, lock);
        let failure = two.try_deliver(numbered(3..6)).unwrap_err();
        assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
        holder.end();
        // Each thinks that it is alone, and that 3 to 6 are still to come.
        one.deliver(numbered(3..6));
        let delivery = two.deliver(numbered(3..6));
        assert_eq!((delivery.delivered, delivery.duplicates), (3, 3));
        two.deliver(numbered(6..9));
        assert_eq!(one.deliver(numbered(6..12)).duplicates, 3);
        assert_eq!(rig.seen(None)["e"].rows.len(), 12);
    });
}

/// Two syncs with the same tables bring the same events; each alters them behind the other's back.
#[test]
fn two_syncs_with_the_same_tables_leave_each_event_once() {
    run::<Postgres>("shared", |rig| {
        let (mut one, mut two) = (Subject::of(rig, "one", None), Subject::of(rig, "two", None));
        for start in (0..60).step_by(12) {
            one.deliver(events(start, start + 12));
            let delivery = two.deliver(events(start, start + 12));
            assert_eq!((delivery.delivered, delivery.duplicates), (12, 12));
        }
        whole(rig, 60);
    });
}

/// Whatever runs the disk full, the batch comes again when there is room.
#[test]
fn a_full_disk_is_waited_for() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: full: only root mounts a small disk");
    }
    let server = match Server::start("") {
        Ok(server) => server,
        Err(lack) => return println!("skipped: full: {lack}"),
    };
    let disk = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let status =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(disk.path()).status();
        status.is_ok_and(|status| status.success())
    };
    if !mount("size=3m") {
        return println!("skipped: full: a small disk cannot be mounted");
    }
    let space = disk.path().join("space");
    std::fs::create_dir(&space).unwrap();
    std::process::Command::new("chown").arg("postgres").args([disk.path(), &space]).status().unwrap();
    server.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", space.display()));
    server.psql("postgres", "GRANT CREATE ON TABLESPACE small TO router; CREATE DATABASE shop OWNER router");
    server.psql("postgres", "ALTER DATABASE shop SET default_tablespace = 'small'");
    let text = format!("host=127.0.0.1 port={}", server.port);
    let settings = postgres::PostgresSettings::new(address(&text, "shop"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let part = tidegate_warehouse::SyncPart { sync: "sync".to_owned(), ..Default::default() };
    let mut destination = runtime.block_on(async { open(&settings, &part) }).unwrap();
    let mut deliver = |batch: Batch| runtime.block_on(destination.deliver(Arc::new(batch)));
    let first = deliver(numbered(0..3));
    // Text that the server cannot compress.
    let large = || {
        let text = |n: u64| {
            (0..120)
                .map(|at| format!("{:016x}", (n * 120 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect::<String>()
        };
        batch((3..3000).map(|n| track(n, &format!("m{n}"), "E", json!({ "n": n, "t": text(n) }))).collect())
    };
    let full = deliver(large());
    let grown = mount("remount,size=64m");
    let second = deliver(large());
    let seen = second.is_ok().then(|| super::seen(&server, "shop", "public"));
    drop(server);
    std::process::Command::new("umount").arg("-l").arg(disk.path()).status().unwrap();
    assert_eq!(first.unwrap().delivered, 3);
    let full = full.unwrap_err();
    assert!(matches!(&full, Failure::Retry { .. }) && full.to_string().contains("53100"), "{full}");
    assert!(grown);
    assert_eq!(second.unwrap().duplicates, 0);
    assert_eq!(seen.unwrap()["e"].rows.len(), 3000);
}
