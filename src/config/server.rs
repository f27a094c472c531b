//! `tidegate.yaml`: what holds for the server as a whole.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tidegate_dedup::DedupSettings;
use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_log as intake;
use tidegate_net::{self as net, Network};
use tidegate_oidc::LoginSettings;
use tidegate_source::http::{self, BrowserCookies, RequestLimits};
use tidegate_state::QuarantineBounds;

use super::archive::{self, ArchiveSettings};
use super::browser_cookies;
use super::environments::{self, EnvironmentFolders};
use super::instance_key::InstanceKeySetting;
use super::leases::{self, LeaseSettings};
use super::outgoing::Outgoing;
use super::port_tls::PortTlsConfig;
use super::surroundings::ObjectInputs;
use super::telemetry::{self, MetricsConfig, TracesConfig};
use super::{instance_key, login};

/// Where the admin API listens unless told otherwise: reachable from this machine alone.
pub const ADMIN_LISTEN_DEFAULT: &str = "127.0.0.1:8089";
/// Where it listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// The same as addresses.
pub(super) const ADMIN_AND_LISTEN: (SocketAddr, SocketAddr) =
    (SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8089), SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

/// What `tidegate.yaml` says.
pub(super) struct Server {
    pub(super) listen: Option<SocketAddr>,
    pub(super) admin_listen: Option<SocketAddr>,
    pub(super) tls: Option<PortTlsConfig>,
    pub(super) admin_tls: Option<PortTlsConfig>,
    pub(super) data: Option<String>,
    pub(super) limits: RequestLimits,
    pub(super) connections: net::ConnectionLimits,
    pub(super) wrong_tokens_max: Option<u32>,
    pub(super) public_host: Option<String>,
    pub(super) browser_cookies: BrowserCookies,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) login: LoginSettings,
    pub(super) log: intake::LogSettings,
    pub(super) archive: Option<ArchiveSettings>,
    pub(super) partitions: u16,
    pub(super) dedup: DedupSettings,
    pub(super) quarantine: QuarantineBounds,
    /// Fields of events that only admins see.
    pub(super) masked: Vec<String>,
    pub(super) pagemap_scan: bool,
    pub(super) instance_key: Option<InstanceKeySetting>,
    pub(super) leases: Option<LeaseSettings>,
    pub(super) metrics: MetricsConfig,
    pub(super) traces: Option<TracesConfig>,
    pub(super) outgoing: Outgoing,
    /// Variables of the environment that every object of the catalog may name.
    pub(super) catalog_variables: BTreeSet<String>,
    pub(super) environments: EnvironmentFolders,
}

pub(super) fn server(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Server {
    let listen = fields.parsed("listen", "an address such as 0.0.0.0:8080");
    let tls = PortTlsConfig::read(fields, inputs);
    let (mut admin_listen, mut admin_tls, mut wrong_tokens_max) = (None, None, None);
    fields.within("admin", |f| {
        admin_listen = f.parsed("listen", "an address such as 127.0.0.1:8089");
        admin_tls = PortTlsConfig::read(f, inputs);
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
    let environments = environments::folders(fields, data.as_deref());
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
    let outgoing = Outgoing::read(fields, inputs);
    let (mut log, mut partitions, mut archive) = (intake::LogSettings::default(), 1, None);
    fields.within("log", |f| {
        set(&mut log.segment_bytes, f.bytes_up_to("segment_bytes", 4 << 30));
        set(&mut log.pending_bytes_max, f.bytes_up_to("pending_bytes_max", 64 << 30));
        set(&mut log.retention_age_us, f.duration("retention_age").map(micros));
        set(&mut log.retention_bytes, f.bytes("retention_bytes"));
        log.hard_cap_bytes = f.bytes("hard_cap_bytes");
        set(&mut partitions, f.number_up_to("partitions", 1, PARTITIONS_MAX));
        archive = archive::read(f, inputs, &outgoing);
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
    let masked = fields.within("privacy", masked).unwrap_or_default();
    let mut pagemap_scan = false;
    fields.within("slots", |f| set(&mut pagemap_scan, f.flag("pagemap_scan")));
    let catalog_variables = fields.texts("catalog_variables").into_iter().collect();
    Server {
        listen,
        admin_listen,
        tls,
        admin_tls,
        data,
        limits,
        connections,
        wrong_tokens_max,
        public_host,
        browser_cookies: browser_cookies::read(fields),
        trusted_proxies,
        login: login::read(fields, inputs, &outgoing),
        log,
        archive,
        partitions,
        dedup,
        quarantine,
        masked,
        pagemap_scan,
        instance_key: instance_key::read(fields, inputs),
        leases: leases::read(fields, inputs, &outgoing),
        metrics: telemetry::metrics(fields),
        traces: telemetry::traces(fields, inputs, &outgoing),
        outgoing,
        catalog_variables,
        environments,
    }
}

/// Paths of masked fields, and names in each.
const MASKED_MAX: usize = 200;
const NAMES_MAX: usize = 20;
const MASKED_BYTES_MAX: usize = 500;

fn masked(f: &mut Fields<'_>) -> Vec<String> {
    let said = f.texts_and_lines("mask");
    if said.len() > MASKED_MAX {
        f.problem("mask", format!("`privacy.mask` has more than {MASKED_MAX} paths"), "name what they are in instead");
    }
    let mut paths = Vec::new();
    for (path, line) in said.into_iter().take(MASKED_MAX) {
        let names = path.split('.');
        let is_path = path.len() <= MASKED_BYTES_MAX
            && names.clone().count() <= NAMES_MAX
            && names.clone().all(|name| !name.trim().is_empty())
            && path != "*";
        if is_path {
            paths.push(path);
        } else {
            let said = shortened(&path, QUOTED_CHARS_MAX);
            let fix = "write names with dots between them, such as traits.email or properties.card.*";
            f.problem_at("mask", line, format!("{said:?} names no field of an event"), fix);
        }
    }
    paths
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
    set(&mut limits.handshake_timeout, f.duration("handshake_timeout"));
    set(&mut limits.handshakes_max, f.number_up_to("handshakes_max", 1, 1_000_000));
    set(&mut limits.connections_address_max, f.number_up_to("connections_address_max", 1, 1_000_000));
}

pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
