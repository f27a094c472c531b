//! Unknown clients at the door: floods of idle, slow and unreading connections, bombs, and guesses at keys, from fifty addresses
//! at once, while an honest client sends. Its success is counted, and everything that it was answered for is looked up.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::ledger::Ledger;
use crate::server::ServerProcess;
use crate::support::Workspace;
use crate::support::http::{basic, try_request};
use crate::{Found, Plan, pass};

/// An attack: its name, how many connections, what each sends at first, and what again and again.
struct Attack {
    name: &'static str,
    connections: usize,
    first: Vec<u8>,
    /// Sent once a second; nothing when empty.
    drip: Vec<u8>,
    /// Reads answers (and then sends `first` again); one that does not read piles them up.
    reads: bool,
}

fn attacks(key: &str, scale: usize) -> Vec<Attack> {
    let head = |auth: &str, length: usize| {
        format!("POST /v1/batch HTTP/1.1\r\nhost: x\r\n{auth}content-length: {length}\r\n\r\n").into_bytes()
    };
    let good = format!("authorization: {}\r\n", basic(key));
    let wrong = format!("authorization: {}\r\n", basic("0123456789abcdef0123456789abcdef"));
    let pipeline: Vec<u8> =
        std::iter::repeat_n(b"GET /v1/projects/none/settings HTTP/1.1\r\nhost: x\r\n\r\n".as_slice(), 1000)
            .flatten()
            .copied()
            .collect();
    let guess = [head(&wrong, 2).as_slice(), b"{}"].concat();
    let bomb = bomb(&good);
    vec![
        Attack { name: "nothing", connections: 0, first: Vec::new(), drip: Vec::new(), reads: false },
        Attack { name: "idle", connections: 5000 / scale, first: Vec::new(), drip: Vec::new(), reads: false },
        Attack {
            name: "slow heads",
            connections: 3000 / scale,
            first: b"POST /v1/batch HTTP/1.1\r\nhost: x\r\n".to_vec(),
            drip: b"x-a: b\r\n".to_vec(),
            reads: false,
        },
        Attack {
            name: "slow bodies",
            connections: 1500 / scale,
            first: head("", 400_000),
            drip: vec![b' '; 200],
            reads: false,
        },
        Attack {
            name: "half bodies",
            connections: 1500 / scale,
            first: [head("", 400_000), vec![b' '; 300_000]].concat(),
            drip: Vec::new(),
            reads: false,
        },
        Attack { name: "unread answers", connections: 200 / scale, first: pipeline, drip: Vec::new(), reads: false },
        Attack { name: "bombs", connections: 12, first: bomb, drip: Vec::new(), reads: true },
        Attack { name: "wrong keys", connections: 24, first: guess, drip: Vec::new(), reads: true },
    ]
}

/// A gzip body that would become 5 MiB of spaces.
fn bomb(auth: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..80 {
        encoder.write_all(&[b' '; 1 << 16]).expect("memory takes it");
    }
    let body = encoder.finish().expect("memory takes it");
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nhost: x\r\n{auth}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

pub fn run(plan: &Plan) -> Found {
    let workspace = Workspace::new();
    let ledger = Arc::new(Ledger::new(plan.seed, 1));
    let server = match ServerProcess::start(&workspace.path(), "") {
        Ok(server) => server,
        Err(said) => return Found { lost: 1, notes: vec![said], ..Found::default() },
    };
    let short = plan.length < Duration::from_secs(60);
    let (scale, length) = if short { (10, Duration::from_secs(3)) } else { (1, Duration::from_secs(40)) };
    let attacks = attacks(&workspace.write_key, scale);
    let mut notes = Vec::new();
    let mut broken = 0;
    let mut next = 0;
    let mut quiet_p50 = f64::NAN;
    for attack in &attacks {
        let (before, _) = server.usage();
        let under_attack = attacked(&server.address, attack);
        pass(length / 3);
        let honest = honest(&server.address, &workspace.write_key, &ledger, next, length * 2 / 3);
        next = honest.next;
        let (after, _) = server.usage();
        under_attack.stop();
        if attack.connections == 0 {
            quiet_p50 = honest.p50_ms;
        }
        let share = 100.0 * honest.fine as f64 / honest.tried.max(1) as f64;
        notes.push(format!(
            "{:<15} {:>5} connections: honest success {share:.2} % of {}, p50 {:.2} of the quiet one, memory {:+} MiB",
            attack.name,
            attack.connections,
            honest.tried,
            honest.p50_ms / quiet_p50,
            (after as i64 - before as i64) >> 20,
        ));
        if share < 99.9 {
            broken += 1;
            notes.push(format!("{}: less than 99.9 % of honest requests were answered with 200", attack.name));
        }
    }
    let _ = server.stop(Duration::from_secs(30));
    let mut found = ledger.judge(&workspace.data().join("warehouse.db"));
    found.notes = [notes, found.notes].concat();
    found.broken = broken;
    found
}

struct Honest {
    tried: u64,
    fine: u64,
    next: u64,
    p50_ms: f64,
}

/// One event after the other, each on a connection of its own.
fn honest(address: &str, key: &str, ledger: &Ledger, first: u64, length: Duration) -> Honest {
    let until = Instant::now() + length;
    let key = basic(key);
    let (mut tried, mut fine, mut next) = (0, 0, first);
    let mut took = Vec::new();
    while Instant::now() < until {
        let body = ledger.event(0, next).to_string();
        let started = Instant::now();
        let reply = try_request(address, "POST", "/v1/track", &[("authorization", &key)], body.as_bytes());
        tried += 1;
        if reply.is_ok_and(|reply| reply.status == 200) {
            ledger.answered(0, next..next + 1);
            fine += 1;
            took.push(started.elapsed().as_secs_f64() * 1e3);
        }
        next += 1;
        pass(Duration::from_millis(4));
    }
    took.sort_unstable_by(f64::total_cmp);
    Honest { tried, fine, next, p50_ms: took.get(took.len() / 2).copied().unwrap_or(f64::NAN) }
}

struct UnderAttack {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl UnderAttack {
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn attacked(address: &str, attack: &Attack) -> UnderAttack {
    let stop = Arc::new(AtomicBool::new(false));
    let target: SocketAddr = address.parse().expect("an address");
    let (first, drip) = (Arc::new(attack.first.clone()), Arc::new(attack.drip.clone()));
    let (connections, reads, stopping) = (attack.connections, attack.reads, Arc::clone(&stop));
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let alive = Arc::new(AtomicU64::new(0));
            let tasks: Vec<_> = (0..connections)
                .map(|n| {
                    let (first, drip, alive) = (Arc::clone(&first), Arc::clone(&drip), Arc::clone(&alive));
                    tokio::spawn(async move {
                        // One that is thrown out comes back.
                        loop {
                            alive.fetch_add(1, Ordering::Relaxed);
                            let _ = attack_once(target, n, &first, &drip, reads).await;
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                    })
                })
                .collect();
            while !stopping.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for task in tasks {
                task.abort();
            }
        });
    });
    UnderAttack { stop, thread }
}

async fn attack_once(target: SocketAddr, n: usize, first: &[u8], drip: &[u8], reads: bool) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, 1 + (n % 50) as u8), 0)))?;
    let mut stream: TcpStream = socket.connect(target).await?;
    if first.is_empty() {
        // Idle until the server ends it.
        let mut nothing = [0; 1];
        return stream.read(&mut nothing).await.map(drop);
    }
    let mut buffer = [0; 4096];
    loop {
        stream.write_all(first).await?;
        if reads {
            if stream.read(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        }
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if drip.is_empty() {
                // Nothing more comes; a reset shows in the next write, which is never made, so ask the socket.
                let mut nothing = [0; 1];
                if matches!(stream.try_read(&mut nothing), Ok(0)) {
                    return Ok(());
                }
                continue;
            }
            stream.write_all(drip).await?;
        }
    }
}
