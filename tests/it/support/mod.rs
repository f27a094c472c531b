//! A running server in a workspace of its own, and the few things that tests do to it.

pub mod admin;
pub mod browser;
pub mod far;
pub mod guests;
pub mod held;
pub mod home;
pub mod http;
pub mod kafka;
pub mod lines;
pub mod mmdb;
pub mod plugins;
pub mod registry;
pub mod tls;
pub mod waiting;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

pub use http::{Reply, basic, request};
use waiting::{PATIENCE, within};

/// The program under test. What it compiles for one test is there for the next, unless a test has fail points of its own.
pub fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env("FAILPOINTS", format!("compiled_code=return({})", compiled_code().display()));
    command
}

/// The folder of compiled code, without what no run has made for a day.
fn compiled_code() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        std::fs::create_dir_all(&folder).unwrap();
        for file in std::fs::read_dir(&folder).unwrap().flatten() {
            let age = file.metadata().and_then(|found| found.modified()).ok().and_then(|made| made.elapsed().ok());
            if age.is_some_and(|age| age > Duration::from_secs(86_400)) {
                // Another run may do the same.
                let _ = std::fs::remove_file(file.path());
            }
        }
        folder
    })
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    tidegate().args(args).output().unwrap()
}

/// A workspace in a temporary folder, made by `tidegate init`.
pub struct Workspace {
    pub dir: TempDir,
    pub write_key: String,
}

impl Workspace {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let output = run(&["init", dir.path().join("w").to_str().unwrap(), "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        Self { write_key: answer["write_key"].as_str().unwrap().to_owned(), dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn append(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, old + text).unwrap();
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts a server; `failpoints` as `name=action` pairs.
    pub fn serve_with(&self, failpoints: &[&str]) -> Server {
        self.try_serve_with(failpoints).unwrap_or_else(|said| panic!("the server did not start: {said}"))
    }

    /// Starts a server, or says what it said when it ended before it was ready: a fail point may be reached by then.
    pub fn try_serve_with(&self, failpoints: &[&str]) -> Result<Server, String> {
        self.try_serve(&[], failpoints)
    }

    /// The same with further arguments.
    pub fn try_serve(&self, arguments: &[&str], failpoints: &[&str]) -> Result<Server, String> {
        let mut command = tidegate();
        if !failpoints.is_empty() {
            command.env("FAILPOINTS", failpoints.join(";"));
        }
        self.start(command, arguments)
    }

    /// Starts a server as the last arguments of another command.
    pub fn serve_under(&self, outer: &[&str]) -> Server {
        let mut command = Command::new(outer[0]);
        command.args(&outer[1..]).arg(env!("CARGO_BIN_EXE_tidegate"));
        self.start(command, &[]).unwrap_or_else(|said| panic!("the server did not start: {said}"))
    }

    /// Starts a server with variables of its own and further arguments, whose log goes into a file, however much it is.
    pub fn serve_logging(&self, variables: &[(&str, &str)], arguments: &[&str], log: &Path) -> Server {
        let mut command = tidegate();
        command.envs(variables.iter().copied());
        let log = Stdio::from(std::fs::File::create(log).unwrap());
        self.start_with(command, arguments, log).unwrap_or_else(|said| panic!("the server did not start: {said}"))
    }

    fn start(&self, command: Command, arguments: &[&str]) -> Result<Server, String> {
        self.start_with(command, arguments, Stdio::piped())
    }

    fn start_with(&self, mut command: Command, arguments: &[&str], log: Stdio) -> Result<Server, String> {
        command.args([
            "serve",
            self.path().to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--json",
        ]);
        if !arguments.contains(&"--log") {
            command.args(["--log", "warn"]);
        }
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            // Whoever asked may have given up.
            let _ = say.send((stdout, read.map(|_| line)));
        });
        let Ok((stdout, line)) = said.recv_timeout(PATIENCE) else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the server said nothing within {PATIENCE:?}");
        };
        let line = line.unwrap();
        let ready = serde_json::from_str::<serde_json::Value>(&line).ok().filter(|ready| ready["url"].is_string());
        let Some(ready) = ready else {
            let output = child.wait_with_output().unwrap();
            return Err(format!("{line}{}", String::from_utf8_lossy(&output.stderr)));
        };
        let url = ready["url"].as_str().unwrap_or_else(|| panic!("no url in {line}")).to_owned();
        Ok(Server {
            child,
            _stdout: stdout,
            address: url.split_once("://").unwrap().1.to_owned(),
            admin: ready["admin"].as_str().unwrap().split_once("://").unwrap().1.to_owned(),
            key: self.write_key.clone(),
        })
    }

    /// `tidegate status --json`.
    pub fn status(&self) -> serde_json::Value {
        let output = run(&["status", self.path().to_str().unwrap(), "--json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        // 1 when something is not well, as it says.
        assert_eq!(output.status.code(), Some(i32::from(status["health"]["well"] != true)), "{said}");
        status
    }

    /// What `tidegate audit conservation` says of the data directory, with further arguments, and its exit code.
    pub fn conservation(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let path = self.path();
        let mut all = vec!["audit", "conservation", path.to_str().unwrap(), "--json"];
        all.extend(arguments);
        let output = run(&all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        (output.status.code().unwrap(), report)
    }

    /// Every event is accounted for: what was accepted is the sum of what became of it.
    pub fn conserves(&self) {
        let (code, report) = self.conservation(&[]);
        assert_eq!((code, &report["holds"]), (0, &serde_json::Value::Bool(true)), "{report:#}");
    }

    /// Codes of the quarantined events, in order.
    pub fn quarantined(&self) -> Vec<String> {
        let output = run(&["quarantine", self.path().to_str().unwrap(), "--json", "--most", "100000"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).unwrap();
                entry["code"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    pub fn warehouse(&self) -> Warehouse {
        Warehouse::open(&self.data().join("warehouse.db"))
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub address: String,
    /// The address of the admin API.
    pub admin: String,
    pub key: String,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Posts to a path with the source's key as Basic authorization.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        request(&self.address, "POST", path, &[("authorization", &basic(&self.key))], body.as_ref())
    }

    /// Posts events as one batch.
    pub fn batch(&self, events: &[serde_json::Value]) -> Reply {
        self.post("/v1/batch", serde_json::json!({ "batch": events }).to_string())
    }

    /// SIGTERM: everything accepted is delivered. Answers the log on stderr, unless that went into a file.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
        }
        assert!(status.success(), "{status}: {text}");
        text
    }

    /// SIGKILL, without warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        within(PATIENCE, "the server ends", || {
            self.child.try_wait().unwrap().ok_or_else(|| "it is still there".to_owned())
        })
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another program's view of the warehouse.
pub struct Warehouse {
    connection: Connection,
}

impl Warehouse {
    pub fn open(path: &Path) -> Self {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { connection }
    }

    /// Rows as text, columns joined by `|`, NULL as nothing.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let mut statement = self.connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells = (0..columns).map(|at| row.get::<_, Value>(at).map(text)).collect::<Result<Vec<_>, _>>()?;
            Ok(cells.join("|"))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    pub fn count(&self, table: &str) -> u64 {
        self.rows(&format!("SELECT count(*) FROM \"{table}\""))[0].parse().unwrap()
    }

    pub fn has(&self, table: &str) -> bool {
        !self.rows(&format!("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '{table}'")).is_empty()
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => format!("{bytes:?}"),
    }
}
