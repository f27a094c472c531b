//! Text to a configuration that cannot be wrong.
//!
//! A **workspace** is a folder: `tidegate.yaml`, one YAML file for each object under `sources/`, `functions/`,
//! `lookups/`, `destinations/` and `syncs/`, contracts under `events/`. An object's name is its file's name. Reading it finds
//! every problem at once, each with file, line and fix; a [`Workspace`] that was read holds no dangling name and no
//! value out of range. This room is the only reader of the environment (`${NAME}` as a whole value), and
//! never reads the server's store: what is live there is an argument.

mod around;
mod batch;
mod destinations;
mod environment;
mod folder;
mod functions;
mod init;
mod live_version;
mod lookups;
mod names;
mod notes;
mod outgoing;
mod outline;
mod plugin;
mod sources;
mod syncs;
mod warehouses;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use destinations::{DestinationConfig, DestinationKind};
pub(crate) use environment::{environment, home};
pub use functions::{Borrowed, FunctionConfig};
pub use init::{WrittenWorkspace, init};
pub use live_version::{LiveVersion, LookUpLive};
pub use lookups::LookupConfig;
pub(crate) use outgoing::proxies_of_environment;
pub use outline::Outline;
pub use plugin::{PluginConfig, effective_policy};
pub use sources::{SourceConfig, WriteKeyConfig};
pub use syncs::{StartConfig, SyncConfig};

use outgoing::Outgoing;
use tidegate_contract::{Contract, Domain, lint};
use tidegate_dedup::DedupSettings;
use tidegate_document::fields::Fields;
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::Problem;
use tidegate_document::{file, yaml};
use tidegate_log as intake;
use tidegate_net::{self as net, Network};
use tidegate_source::http::{self, RequestLimits};
use tidegate_state::QuarantineBounds;

/// Everything that a server needs to know, checked.
#[derive(Debug)]
pub struct Workspace {
    pub dir: PathBuf,
    pub listen: SocketAddr,
    /// Where the admin API listens.
    pub admin_listen: SocketAddr,
    pub data: PathBuf,
    pub limits: RequestLimits,
    pub connections: net::ConnectionLimits,
    /// Wrong admin tokens in a minute from one address.
    pub wrong_tokens_max: Option<u32>,
    /// Host and path that SDKs are told to send to.
    pub public_host: Option<String>,
    pub trusted_proxies: Vec<Network>,
    pub log: intake::LogSettings,
    /// How many partitions the log has.
    pub partitions: u16,
    pub dedup: DedupSettings,
    pub quarantine: QuarantineBounds,
    /// Whether a state that is lost, damaged or an older copy may be made anew. Never read from a file.
    pub rebuild_state: bool,
    /// Whether the slots of functions are reset by asking the kernel which pages are dirty.
    pub pagemap_scan: bool,
    pub sources: BTreeMap<String, SourceConfig>,
    pub functions: BTreeMap<String, FunctionConfig>,
    /// Tables that functions may borrow.
    pub lookups: BTreeMap<String, LookupConfig>,
    pub destinations: BTreeMap<String, DestinationConfig>,
    pub syncs: BTreeMap<String, SyncConfig>,
    /// By source; a source without any domain has none.
    pub contracts: BTreeMap<String, Arc<Contract>>,
    /// What they were made from: the files below `events/`, by their paths there.
    pub contract_files: BTreeMap<String, serde_json::Value>,
    /// How many contract events there are, for `check`.
    pub contract_events: usize,
    /// What contracts say and hardly mean.
    contract_notes: Vec<Problem>,
}

/// Where the admin API listens unless told otherwise: reachable from this machine alone.
pub const ADMIN_LISTEN_DEFAULT: &str = "127.0.0.1:8089";
/// Where it listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// The same as addresses.
const ADMIN_AND_LISTEN: (SocketAddr, SocketAddr) =
    (SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8089), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));
const DATA_DEFAULT: &str = "data";

fn no_workspace(dir: &Path) -> Problem {
    let message = "there is no tidegate.yaml here";
    let fix = format!("run `tidegate init {}` to make a workspace", dir.display());
    Problem::of_file(dir.join("tidegate.yaml"), 0, message, fix)
}

struct Server {
    listen: Option<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    data: Option<String>,
    limits: RequestLimits,
    connections: net::ConnectionLimits,
    wrong_tokens_max: Option<u32>,
    public_host: Option<String>,
    trusted_proxies: Vec<Network>,
    log: intake::LogSettings,
    partitions: u16,
    dedup: DedupSettings,
    quarantine: QuarantineBounds,
    pagemap_scan: bool,
    outgoing: Outgoing,
}

impl Workspace {
    /// Which events `sync` gets when it first runs: a warehouse all that the log keeps, a tool those from then on.
    #[must_use]
    pub fn start_of(&self, sync: &str) -> StartConfig {
        let Some(config) = self.syncs.get(sync) else { return StartConfig::Beginning };
        config.start.unwrap_or_else(|| match self.destinations.get(&config.destination.0).map(|it| &it.kind) {
            Some(DestinationKind::Plugin(_)) => StartConfig::Now,
            _ => StartConfig::Beginning,
        })
    }

    /// Reads the workspace in `dir`. `data` overrides the data directory of the file; `look_up_live` knows the store in it.
    ///
    /// # Errors
    /// All problems, sorted by file and line.
    pub fn read(dir: &Path, data: Option<&Path>, look_up_live: LookUpLive) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let main = dir.join("tidegate.yaml");
        if !main.exists() {
            return Err(vec![no_workspace(dir)]);
        }
        let server = read_file(dir, &main, &mut problems, |f| read_server(f, dir));
        let sources = folder::read_folder(dir, "sources", &mut problems, sources::source);
        let functions = folder::read_folder(dir, "functions", &mut problems, |f| functions::function(f, dir));
        let lookups = folder::read_folder(dir, "lookups", &mut problems, |f| lookups::lookup(f, dir));
        names::check_lookups(dir, &lookups, &functions, &mut problems);
        let data_dir = data.map(Path::to_path_buf).unwrap_or_else(|| {
            dir.join(server.as_ref().and_then(|server| server.data.clone()).unwrap_or_else(|| DATA_DEFAULT.to_owned()))
        });
        let outgoing = server.as_ref().map(|server| server.outgoing.clone()).unwrap_or_default();
        let around = around::Around { dir, data: &data_dir, outgoing: &outgoing, look_up_live };
        let destinations =
            folder::read_folder(dir, "destinations", &mut problems, |f| destinations::destination(f, &around));
        let syncs = folder::read_folder(dir, "syncs", &mut problems, syncs::sync);
        let names = names::ObjectNames { sources: &sources, functions: &functions, destinations: &destinations };
        names::check(dir, &names, &syncs, &mut problems);
        let mut contract_notes = Vec::new();
        let nodes = contract_nodes(dir, &mut problems);
        let contract_files: BTreeMap<String, serde_json::Value> =
            nodes.iter().map(|(name, node)| (name.clone(), node.to_json())).collect();
        let origins = Origins { root: &dir.join("events"), nodes: &nodes };
        let (contracts, contract_events) =
            contracts(&contract_files, sources.keys(), &origins, &mut problems, &mut contract_notes);
        problems.sort();
        problems.dedup();
        match server {
            Some(server) if problems.is_empty() => Ok(Self {
                dir: dir.to_owned(),
                listen: server.listen.unwrap_or(ADMIN_AND_LISTEN.1),
                admin_listen: server.admin_listen.unwrap_or(ADMIN_AND_LISTEN.0),
                data: data_dir,
                limits: server.limits,
                connections: server.connections,
                wrong_tokens_max: server.wrong_tokens_max,
                public_host: server.public_host,
                trusted_proxies: server.trusted_proxies,
                log: server.log,
                partitions: server.partitions,
                dedup: server.dedup,
                quarantine: server.quarantine,
                rebuild_state: false,
                pagemap_scan: server.pagemap_scan,
                sources,
                functions,
                lookups,
                destinations,
                syncs,
                contracts,
                contract_files,
                contract_events,
                contract_notes,
            }),
            _ => Err(problems),
        }
    }
}

/// Reads one file and hands its fields to `read`; notes what is wrong with it.
fn read_file<T>(
    dir: &Path,
    path: &Path,
    problems: &mut Vec<Problem>,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Option<T> {
    let node = read_tree(dir, path, problems)?;
    let mut fields = environment::fields(path, &node, problems);
    let value = read(&mut fields);
    fields.finish();
    Some(value)
}

/// A file of the workspace in `dir`: an ordinary one, of bounded size, that lies where it seems to lie.
fn read_tree(dir: &Path, path: &Path, problems: &mut Vec<Problem>) -> Option<DocumentNode> {
    let mut note = |line, message: String, fix: &str| {
        problems.push(Problem::of_file(path, line, message, fix));
    };
    let within = file::stays_within(dir, path);
    let text = match within.and_then(|()| file::read_text(path, file::TEXT_BYTES_MAX)) {
        Ok(text) => text,
        Err(error) => {
            let fix = "make it an ordinary, readable UTF-8 text file within the workspace";
            note(0, format!("the file cannot be read: {error}"), fix);
            return None;
        }
    };
    match yaml::parse(&text) {
        Ok(node) => Some(node),
        Err(error) => {
            note(error.line, format!("this is not YAML: {}", error.message), "mend the line, or the one before it");
            None
        }
    }
}

fn read_server(fields: &mut Fields<'_>, dir: &Path) -> Server {
    let listen = fields.parsed("listen", "an address such as 0.0.0.0:8080");
    let (mut admin_listen, mut wrong_tokens_max) = (None, None);
    fields.within("admin", |f| {
        admin_listen = f.parsed("listen", "an address such as 127.0.0.1:8089");
        wrong_tokens_max = f.number("wrong_tokens_max", 1);
    });
    let public_host = fields.text("public_url").and_then(|text| match http::public_host(&text) {
        Ok(host) => Some(host),
        Err(message) => {
            fields.problem("public_url", message, "write the URL that SDKs use, e.g. https://events.example.com");
            None
        }
    });
    let data = fields.text("data");
    let (mut limits, mut connections) = (RequestLimits::default(), net::ConnectionLimits::default());
    fields.within("limits", |f| {
        read_limits(f, &mut limits);
        read_connection_limits(f, &mut connections);
    });
    let mut trusted_proxies = Vec::new();
    for (text, line) in fields.texts_and_lines("trusted_proxies") {
        match text.parse() {
            Ok(network) => trusted_proxies.push(network),
            Err(message) => {
                let message: String = message;
                fields.problem_at("trusted_proxies", line, message, "write addresses or ranges such as 10.0.0.0/8");
            }
        }
    }
    let (mut log, mut partitions) = (intake::LogSettings::default(), 1);
    fields.within("log", |f| {
        set(&mut log.segment_bytes, f.bytes_up_to("segment_bytes", 4 << 30));
        set(&mut log.pending_bytes_max, f.bytes_up_to("pending_bytes_max", 64 << 30));
        set(&mut log.retention_age_us, f.duration("retention_age").map(micros));
        set(&mut log.retention_bytes, f.bytes("retention_bytes"));
        log.hard_cap_bytes = f.bytes("hard_cap_bytes");
        set(&mut partitions, f.number_up_to("partitions", 1, PARTITIONS_MAX));
        if log.segment_bytes < 1 << 20 {
            f.problem("segment_bytes", "`log.segment_bytes` is below 1 MiB", "write 1 MiB or more");
        }
    });
    let mut dedup = DedupSettings::default();
    fields.within("dedup", |f| {
        set(&mut dedup.window_us, f.duration("window").map(micros));
        set(&mut dedup.entries_max, f.number("entries_max", 1_000));
    });
    let mut quarantine = QuarantineBounds::default();
    fields.within("quarantine", |f| {
        set(&mut quarantine.age_us, f.duration("age").map(micros));
        set(&mut quarantine.bytes, f.bytes("bytes"));
    });
    let mut pagemap_scan = false;
    fields.within("slots", |f| set(&mut pagemap_scan, f.flag("pagemap_scan")));
    Server {
        listen,
        admin_listen,
        data,
        limits,
        connections,
        wrong_tokens_max,
        public_host,
        trusted_proxies,
        log,
        partitions,
        dedup,
        quarantine,
        pagemap_scan,
        outgoing: Outgoing::read(fields, dir),
    }
}

/// Each has files, threads and connections of its own.
const PARTITIONS_MAX: i64 = 64;

/// One body; a record of the log holds no more.
const BODY_BYTES_MAX: u64 = 24 << 20;

fn read_limits(f: &mut Fields<'_>, limits: &mut RequestLimits) {
    set(&mut limits.event_bytes_max, f.bytes_up_to("event_bytes_max", BODY_BYTES_MAX));
    set(&mut limits.request_bytes_max, f.bytes_up_to("request_bytes_max", BODY_BYTES_MAX));
    set(&mut limits.inflated_bytes_max, f.bytes_up_to("inflated_bytes_max", BODY_BYTES_MAX));
    set(&mut limits.inflate_ratio_max, f.number("inflate_ratio_max", 1));
    set(&mut limits.event_depth_max, f.number_up_to("event_depth_max", 2, 200));
    set(&mut limits.event_keys_max, f.number("event_keys_max", 1));
    set(&mut limits.request_events_max, f.number("request_events_max", 1));
    set(&mut limits.unfinished_bytes_max, f.bytes("unfinished_bytes_max"));
    set(&mut limits.body_timeout, f.duration("body_timeout"));
    set(&mut limits.requests_address_max, f.number("requests_address_max", 1));
    set(&mut limits.wrong_keys_max, f.number("wrong_keys_max", 1));
    read_expansion(f, limits);
}

/// A limit on what a body grows to makes sense above the limits of a body alone.
fn read_expansion(f: &mut Fields<'_>, limits: &mut RequestLimits) {
    let body = limits.request_bytes_max.max(limits.inflated_bytes_max);
    let bytes = f.bytes("request_expanded_bytes_max");
    if bytes.is_some_and(|bytes: usize| bytes < body) {
        let message = format!("`limits.request_expanded_bytes_max` is below what one body may have, {body} bytes");
        f.problem("request_expanded_bytes_max", message, "write more, or lower the limits of a body");
    }
    limits.request_expanded_bytes_max = bytes.unwrap_or(limits.request_expanded_bytes_max.max(body));
}

fn read_connection_limits(f: &mut Fields<'_>, limits: &mut net::ConnectionLimits) {
    set(&mut limits.head_timeout, f.duration("header_timeout"));
    set(&mut limits.idle_timeout, f.duration("idle_timeout"));
    set(&mut limits.read_timeout, f.duration("read_timeout"));
    set(&mut limits.write_timeout, f.duration("write_timeout"));
    set(&mut limits.rate_min, f.bytes("bytes_a_second_min"));
    set(&mut limits.connections_max, f.number_up_to("connections_max", 1, 1_000_000));
    set(&mut limits.connections_address_max, f.number_up_to("connections_address_max", 1, 1_000_000));
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Problems of one file of a contract that are told; nobody reads more at once.
const PROBLEMS_MAX: usize = 200;

/// Reads `events/`.
fn contract_nodes(dir: &Path, problems: &mut Vec<Problem>) -> BTreeMap<String, DocumentNode> {
    let root = dir.join("events");
    let mut nodes = BTreeMap::new();
    if root.is_dir() {
        gather(dir, &root, problems, &mut nodes, 0);
    }
    nodes
}

/// Compiles one contract for each source that a domain applies to.
fn contracts<'a>(
    files: &BTreeMap<String, serde_json::Value>,
    sources: impl Iterator<Item = &'a String>,
    origins: &Origins<'_>,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Problem>,
) -> (BTreeMap<String, Arc<Contract>>, usize) {
    let (mut contracts, mut events) = (BTreeMap::new(), 0);
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut note = |theirs: Vec<tidegate_contract::ContractProblem>| {
        for problem in theirs {
            let count = found.entry(problem.origin.clone()).or_default();
            *count += 1;
            if *count > PROBLEMS_MAX {
                continue;
            }
            problems.push(origins.problem(problem));
        }
    };
    if files.is_empty() {
        return (contracts, events);
    }
    let sources: Vec<&str> = sources.map(String::as_str).collect();
    let of_files = lint::notes_of_files(files, &sources);
    notes.extend(of_files.into_iter().take(PROBLEMS_MAX).map(|note| origins.problem(note)));
    for source in sources {
        let domains = match Domain::from_files(files, source) {
            Ok(domains) if domains.is_empty() => continue,
            Ok(domains) => domains,
            Err(problems) => {
                note(problems);
                continue;
            }
        };
        events += domains.iter().map(|domain| domain.events.len()).sum::<usize>();
        notes.extend(lint::notes(&domains).into_iter().take(PROBLEMS_MAX).map(|note| origins.problem(note)));
        match Contract::compile(&domains, tidegate_contract::ContractLimits::default()) {
            Ok(contract) => drop(contracts.insert(source.to_owned(), Arc::new(contract))),
            Err(problems) => note(problems),
        }
    }
    for (origin, count) in found.into_iter().filter(|(_, count)| *count > PROBLEMS_MAX) {
        let message = format!("{} more problems", count - PROBLEMS_MAX);
        let fix = "mend those above; these may be of the same kind".to_owned();
        problems.push(Problem::of_file(origins.root.join(origin), 0, message, fix));
    }
    (contracts, events)
}

/// The files of contracts, for the lines of their problems.
struct Origins<'a> {
    root: &'a Path,
    nodes: &'a BTreeMap<String, DocumentNode>,
}

impl Origins<'_> {
    /// A problem with the line of its place, where that is in the file.
    fn problem(&self, problem: tidegate_contract::ContractProblem) -> Problem {
        let node = self.nodes.get(&problem.origin).filter(|_| !problem.place.is_empty());
        let line = node.and_then(|node| node.line_at(&problem.place)).unwrap_or(0);
        Problem::of_file(self.root.join(&problem.origin), line, problem.problem, problem.fix)
    }
}

/// Folders and files below `events/` that are looked at.
const EVENT_FILES_MAX: usize = 100_000;

/// All YAML files below `folder`, by their path relative to `events/` with `/`.
fn gather(
    dir: &Path,
    folder: &Path,
    problems: &mut Vec<Problem>,
    files: &mut BTreeMap<String, DocumentNode>,
    depth: usize,
) {
    let root = dir.join("events");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().take(EVENT_FILES_MAX) {
        let path = entry.path();
        let is_yaml = folder::is_yaml(&path);
        if path.is_dir() && depth < 8 && !is_yaml {
            // A link to a folder elsewhere would bring files in that nobody sees here.
            if file::stays_within(dir, &path).is_ok() {
                gather(dir, &path, problems, files, depth + 1);
            } else {
                let message = "a link leads out of the workspace".to_owned();
                let fix = "put the folder into the workspace".to_owned();
                problems.push(Problem::of_file(path, 0, message, fix));
            }
        } else if is_yaml
            && let Some(node) = read_tree(dir, &path, problems)
            && let Ok(relative) = path.strip_prefix(&root)
        {
            let name: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            files.insert(name.join("/"), node);
        }
    }
}
