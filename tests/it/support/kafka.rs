//! Three Kafka brokers that all tests share, and another client of them. `tests/streams/setup` brings both.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value, json};

use super::lines::LineProgram;
use super::waiting::seldom;

/// Who may come in over TLS, and with which password.
pub const KAFKA_USER: &str = "tidegate";
pub const KAFKA_PASSWORD: &str = "p@ss-of-streams";

/// Where `tests/streams/setup` puts what it installs.
pub fn stream_cache() -> PathBuf {
    std::env::var_os("TIDEGATE_STREAM_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/streams"),
        PathBuf::from,
    )
}

/// The folder of the programs of these tests.
pub fn stream_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams")
}

/// A name that no other test of this process has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Three brokers: each topic has three replicas, two of which must have a message before it counts.
pub struct KafkaCluster {
    folder: PathBuf,
    plain: Vec<u16>,
    secure: Vec<u16>,
    mutual: Vec<u16>,
    keeper: Mutex<LineProgram>,
}

impl KafkaCluster {
    /// The one of this process, started at first.
    ///
    /// # Errors
    /// What the machine lacks.
    pub fn shared() -> Result<&'static Self, String> {
        static CLUSTER: OnceLock<Result<KafkaCluster, String>> = OnceLock::new();
        CLUSTER.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    fn start() -> Result<Self, String> {
        let jars = stream_cache().join("kafka/jars");
        if !jars.is_dir() || !python().exists() {
            return Err("Kafka or its client is not installed; `tests/streams/setup` says why".to_owned());
        }
        // Held until all are chosen, so that they differ.
        let held = (0..12).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>();
        let held = held.map_err(|error| error.to_string())?;
        let ports: Vec<u16> = held.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        drop(held);
        let folder = tempfile::Builder::new().prefix("tidegate-kafka-").tempdir().map_err(|error| error.to_string())?;
        let folder = folder.keep();
        let mut command = Command::new(stream_folder().join("kafka/cluster"));
        command.arg(jars).arg(&folder).args(ports.iter().map(u16::to_string));
        let mut keeper = LineProgram::start(command)?;
        let said = keeper.line();
        if said != "ready" {
            return Err(format!("Kafka does not start: {said}"));
        }
        let [plain, secure, mutual] = [&ports[..3], &ports[3..6], &ports[6..9]].map(<[u16]>::to_vec);
        Ok(Self { folder, plain, secure, mutual, keeper: Mutex::new(keeper) })
    }

    /// Brokers without TLS, as a list in YAML.
    pub fn brokers(&self) -> String {
        format!("[{}]", addresses("127.0.0.1", &self.plain, ", "))
    }

    /// Brokers with TLS that ask for a password or a token.
    pub fn secure_brokers(&self) -> String {
        format!("[{}]", addresses("localhost", &self.secure, ", "))
    }

    /// Brokers with TLS that ask for a client's certificate.
    pub fn mutual_brokers(&self) -> String {
        format!("[{}]", addresses("localhost", &self.mutual, ", "))
    }

    /// A client's certificate and its key, of the same authority as those of the brokers.
    pub fn client_identity(&self) -> [PathBuf; 2] {
        ["client.crt", "client.key"].map(|name| self.folder.join(name))
    }

    /// The certificate of the authority of the brokers.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Another client.
    pub fn client(&self) -> KafkaClient {
        let settings = json!({"bootstrap.servers": addresses("127.0.0.1", &self.plain, ",")});
        let mut command = Command::new(python());
        command.arg(stream_folder().join("kafka/client.py")).arg(settings.to_string());
        KafkaClient { program: LineProgram::start(command).unwrap() }
    }

    /// SIGKILL of a broker, 1 to 3. It starts again when the answer is dropped. One at a time: two are enough for everything, one
    /// is not.
    pub fn kill_broker(&self, number: u8) -> DeadBroker<'_> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(keeper.tell(&format!("kill {number}")), "done");
        DeadBroker { cluster: self, keeper, number }
    }
}

fn addresses(host: &str, ports: &[u16], between: &str) -> String {
    ports.iter().map(|port| format!("{host}:{port}")).collect::<Vec<_>>().join(between)
}

fn python() -> PathBuf {
    stream_cache().join("client/bin/python")
}

/// A broker that was killed, and starts again when this is dropped.
pub struct DeadBroker<'a> {
    cluster: &'a KafkaCluster,
    keeper: MutexGuard<'a, LineProgram>,
    number: u8,
}

impl Drop for DeadBroker<'_> {
    fn drop(&mut self) {
        let said = self.keeper.tell(&format!("start {}", self.number));
        // A second panic would end the process.
        if said == "done" && !std::thread::panicking() {
            self.cluster.client().ask(&json!({"do": "whole"}));
        }
    }
}

/// A client of another make. `tests/streams/kafka/client.py` says what it can be asked.
pub struct KafkaClient {
    program: LineProgram,
}

impl KafkaClient {
    #[track_caller]
    pub fn ask(&mut self, request: &Value) -> Value {
        self.program.ask(request)
    }

    /// Makes a topic of three partitions; answers its name.
    pub fn topic(&mut self, name: &str) -> String {
        let name = unique(name);
        self.ask(&json!({"do": "topic", "name": name, "partitions": 3}));
        name
    }

    /// Produces orders of these numbers. `more` has further fields of the request.
    #[track_caller]
    pub fn produce(&mut self, topic: &str, numbers: std::ops::Range<u64>, more: Value) {
        let count = numbers.end - numbers.start;
        let mut request =
            json!({"do": "produce", "topic": topic, "format": "json", "from": numbers.start, "count": count});
        for (name, value) in more.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        assert_eq!(self.ask(&request)["acked"], count);
    }

    /// Messages that the group has not acknowledged.
    pub fn lag(&mut self, group: &str, topic: &str) -> u64 {
        self.ask(&json!({"do": "lag", "group": group, "topic": topic}))["lag"].as_u64().unwrap()
    }

    /// Waits until the group has acknowledged everything; it is told a moment after the log has it.
    #[track_caller]
    pub fn wait_until_acknowledged(&mut self, group: &str, topic: &str) {
        seldom("the group has acknowledged everything", || match self.lag(group, topic) {
            0 => Ok(()),
            lag => Err(format!("{lag} messages are left")),
        });
    }

    /// Members of a group.
    pub fn members(&mut self, group: &str) -> u64 {
        self.ask(&json!({"do": "members", "group": group}))["members"].as_u64().unwrap()
    }

    /// The same, of messages that the library of this registry reads: each value is what the schema makes of it.
    #[track_caller]
    pub fn read_by(&mut self, topic: &str, registry: &str) -> Vec<Value> {
        let answer = self.ask(&json!({"do": "read", "topic": topic, "registry": {"url": registry}}));
        answer["messages"].as_array().unwrap().clone()
    }

    /// All that is committed.
    pub fn read(&mut self, topic: &str) -> Vec<Value> {
        let answer = self.ask(&json!({"do": "read", "topic": topic}));
        answer["messages"].as_array().unwrap().clone()
    }
}
