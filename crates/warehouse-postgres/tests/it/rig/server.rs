//! PostgreSQL servers that end with the tests: a shell starts one, waits for the end of its input, and takes it away.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Starts the server, says so, stops it when nobody is there any more.
const KEEPER: &str = r#"
set -e
"$1/initdb" -D "$2/data" -U postgres -A trust --encoding UTF8 --locale C.UTF-8 --no-sync --no-instructions >"$2/initdb" 2>&1
cp "$2/hba" "$2/data/pg_hba.conf"
cat "$2/conf" >>"$2/data/postgresql.conf"
"$1/pg_ctl" -D "$2/data" -w -t 120 -l "$2/log" start >"$2/start" 2>&1
echo ready
read -r _ || true
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1 || true
cd / && rm -rf "$2"
"#;

/// One server with its own data. Everybody on the machine may come in over the socket, as anybody.
pub struct Server {
    programs: PathBuf,
    pub folder: PathBuf,
    pub port: u16,
    /// Certificates were made, and the server has TLS.
    pub tls: bool,
    keeper: Child,
}

impl Server {
    /// The one that most tests share, each with a database of its own.
    pub fn shared() -> Result<&'static Self, String> {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        SERVER.get_or_init(|| Self::start("")).as_ref().map_err(Clone::clone)
    }

    /// A server of one's own, with these settings.
    pub fn start(settings: &str) -> Result<Self, String> {
        let programs = programs().ok_or("there is no PostgreSQL server; run tests/warehouses/setup postgres")?;
        let folder = tempfile::Builder::new().prefix("tidegate-pg-").tempdir().map_err(|error| error.to_string())?;
        let folder = folder.keep();
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = port.map_err(|error| error.to_string())?.port();
        let tls = certificates(&folder).is_ok();
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             full_page_writes = off\nmax_connections = 200\nshared_buffers = 64MB\njit = off\n\
             timezone = 'America/New_York'\ndatestyle = 'SQL, DMY'\nlog_min_messages = warning\n{settings}\n",
            folder.display()
        );
        if tls {
            let at = folder.display();
            conf += &format!(
                "ssl = on\nssl_cert_file = '{at}/server.crt'\nssl_key_file = '{at}/server.key'\nssl_ca_file = '{at}/ca.crt'\n"
            );
        }
        let mut hba = "local all all trust\n".to_owned();
        if tls {
            hba += "hostssl all bycert all cert\nhostssl all onlytls all scram-sha-256\nhostnossl all onlytls all reject\n";
        }
        hba += "hostnossl all onlyplain all scram-sha-256\nhost all onlyplain all reject\nhost all all all scram-sha-256\n";
        for (name, text) in [("conf", &conf), ("hba", &hba)] {
            std::fs::write(folder.join(name), text).map_err(|error| error.to_string())?;
        }
        let root = rustix::process::geteuid().is_root();
        if root {
            let owner = Command::new("chown").args(["-R", "postgres"]).arg(&folder).status();
            if !owner.is_ok_and(|status| status.success()) {
                return Err("there is no user postgres, and PostgreSQL does not run as root".to_owned());
            }
        }
        let mut command = as_owner("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&programs).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().map_err(|error| error.to_string())?;
        let mut said = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut said);
        }
        if said != "ready\n" {
            let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            return Err(format!("PostgreSQL does not start: {}{}{}", read("initdb"), read("start"), read("log")));
        }
        let server = Self { programs, folder, port, tls, keeper };
        server.psql(
            "postgres",
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE router LOGIN PASSWORD 'p@ss'; \
             CREATE ROLE onlytls LOGIN PASSWORD 'p@ss'; CREATE ROLE onlyplain LOGIN PASSWORD 'p@ss'; \
             CREATE ROLE bycert LOGIN; CREATE ROLE reader LOGIN PASSWORD 'p@ss'",
        );
        Ok(server)
    }

    /// Stops it at once, or starts it again.
    pub fn control(&self, what: &str) {
        let mut command = as_owner(self.programs.join("pg_ctl"));
        command.args(["-w", "-t", "120", "-m", "immediate", "-D"]).arg(self.folder.join("data"));
        if what == "start" {
            command.arg("-l").arg(self.folder.join("log"));
        }
        let done = command.arg(what).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "pg_ctl {what}");
    }

    pub fn command(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-p"]);
        command.arg(self.port.to_string()).arg("-h").arg(&self.folder);
        command.env("PGTZ", "UTC").env("PGDATESTYLE", "ISO").env("PGOPTIONS", "-c client_min_messages=warning");
        command
    }

    /// What the server says to these statements, as the superuser.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut command = self.command(database);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sql = sql.to_owned();
        let writer = std::thread::spawn(move || drop(stdin.write_all(sql.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Rows of JSON.
    pub fn rows(&self, database: &str, sql: &str) -> Vec<Value> {
        self.psql(database, sql).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A command as the user who runs servers.
pub fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program).current_dir("/");
        command
    } else {
        Command::new(program)
    }
}

fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

/// An authority, a server called `localhost`, a client called `bycert`, and an authority that nobody asked.
fn certificates(folder: &Path) -> Result<(), String> {
    let script = r#"
set -e
cd "$1"
new() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" -keyout "$1.key" "${@:3}"; }
new ca "An authority" -x509 -days 30 -out ca.crt
new other "Another authority" -x509 -days 30 -out other.crt
new server localhost -addext "subjectAltName=DNS:localhost" -out server.csr
new client bycert -out client.csr
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -copy_extensions copy -out server.crt
printf 'extendedKeyUsage=clientAuth\n' >client.ext
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile client.ext -out client.crt
chmod 600 ./*.key
"#;
    let done = Command::new("bash").args(["-c", script, "certificates"]).arg(folder).output();
    match done {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}
