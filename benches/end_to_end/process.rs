//! Servers as processes of their own, with their CPU time and memory.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::Server;

/// The program under test: this build, or the one that `--program` names.
pub fn program() -> String {
    argument("--program").unwrap_or_else(|| env!("CARGO_BIN_EXE_tidegate").to_owned())
}

/// What follows `name` in the arguments.
pub fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// A server; killed when dropped.
pub struct Process {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    dir: Option<TempDir>,
    pub address: String,
    /// The port of the console and the admin API; nothing of the floor.
    pub admin: String,
    pub key: String,
}

/// A PostgreSQL server that syncs as one in production does, and a workspace whose warehouse is a new database there.
///
/// # Errors
/// What the machine lacks.
pub fn workspace_of_postgres(database: &str) -> Result<(Server, TempDir), String> {
    let server = Server::start("fsync = on\nfull_page_writes = on\nsynchronous_commit = on")?;
    let workspace = Process::workspace();
    let yaml = format!("kind: postgres\nurl: postgres://router:p%40ss@127.0.0.1:{}/{database}\n", server.port);
    server.psql("postgres", &format!("CREATE DATABASE {database} OWNER router TEMPLATE template0"));
    std::fs::write(workspace.path().join("w/destinations/warehouse.yaml"), yaml).expect("a file");
    Ok((server, workspace))
}

/// On the disk that the target directory is on: a temporary folder may be in memory.
pub fn scratch() -> PathBuf {
    let target = std::env::current_exe().expect("a path").parent().expect("a folder").join("bench-data");
    std::fs::create_dir_all(&target).expect("a folder");
    target
}

impl Process {
    /// A server on a workspace of its own.
    pub fn tidegate() -> Self {
        Self::serve(Self::workspace())
    }

    /// A new workspace, in `w`.
    pub fn workspace() -> TempDir {
        Self::workspace_of(&program())
    }

    /// A server on that workspace.
    pub fn serve(dir: TempDir) -> Self {
        Self::serve_with(&program(), dir)
    }

    /// A new workspace of that build, in `w`.
    pub fn workspace_of(program: &str) -> TempDir {
        let dir = tempfile::tempdir_in(scratch()).expect("a temporary folder");
        let made = Command::new(program).args(["init", "--json"]).arg(dir.path().join("w")).output();
        assert!(made.expect("tidegate runs").status.success());
        dir
    }

    /// A server of that build.
    pub fn serve_with(program: &str, dir: TempDir) -> Self {
        let workspace = dir.path().join("w");
        let source = std::fs::read_to_string(workspace.join("sources/web.yaml")).expect("a source");
        let key = source.lines().find_map(|line| line.strip_prefix("write_key: ")).expect("a key").trim().to_owned();
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--json", "--log", "error"])
            .arg(&workspace);
        Self::start(command, Some(dir), key)
    }

    pub fn floor() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.arg("--floor");
        Self::start(command, None, "none".to_owned())
    }

    fn start(mut command: Command, dir: Option<TempDir>, key: String) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = ready["url"].as_str().expect("an address").trim_start_matches("http://").to_owned();
        let admin = ready["admin"].as_str().unwrap_or_default().trim_start_matches("http://").to_owned();
        Self { child, _stdout: stdout, dir, address, admin, key }
    }

    /// CPU seconds so far and peak memory in bytes.
    pub fn usage(&self) -> (f64, u64) {
        usage(self.child.id())
    }

    /// Waits until so many events are delivered by each of its syncs.
    pub fn drained(&self, events: u64) {
        self.counted("min(delivered)", events);
    }

    /// Waits until a sync has passed by so many events that its filter does not take.
    pub fn filtered(&self, events: u64) {
        self.counted("min(filtered)", events);
    }

    /// Waits until a count of its syncs is as large.
    fn counted(&self, count: &str, events: u64) {
        let data = self.dir.as_ref().expect("a server of a workspace").path().join("w/data/state.db");
        let deadline = Instant::now() + Duration::from_secs(600);
        // Any build's state: these columns are as old as the table.
        let counted = || -> Option<i64> {
            let state = rusqlite::Connection::open(&data).ok()?;
            state.query_row(&format!("SELECT {count} FROM syncs"), [], |row| row.get(0)).ok()?
        };
        while counted().is_none_or(|counted| counted < events.cast_signed()) {
            assert!(Instant::now() < deadline, "{events} events were not settled: {:?}", counted());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Stops it; answers its workspace.
    pub fn stop_and_keep(mut self) -> TempDir {
        let dir = self.dir.take().expect("a server of a workspace");
        self.stop();
        dir
    }

    /// SIGTERM, wait for the drain; CPU seconds and peak memory of the whole life.
    pub fn stop(mut self) -> (f64, u64) {
        let pid = self.child.id();
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        let mut last = usage(pid);
        loop {
            // A process that has ended and is not yet waited for keeps its times.
            let now = usage(pid);
            if now.0 > 0.0 {
                last = (now.0.max(last.0), now.1.max(last.1));
            }
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z')) {
                break;
            }
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.child.wait();
        last
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn usage(pid: u32) -> (f64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields.get(11..13).into_iter().flatten().filter_map(|f| f.parse::<f64>().ok()).sum();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    // The kernel counts in hundredths of a second on every machine that runs Linux today.
    (ticks / 100.0, kib << 10)
}

/// An axum handler that reads the body and answers at once.
pub fn floor() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let app = axum::Router::new().fallback(|_: axum::body::Bytes| async {
            ([("content-type", "application/json; charset=utf-8")], "{\"success\":true}")
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        println!("{}", serde_json::json!({"url": format!("http://{address}")}));
        axum::serve(listener, app).await.expect("serving");
    });
}

pub fn describe_machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("machine: {} cores,{}; load and servers share them", cores, model.trim_start_matches([' ', '\t', ':']));
}
