//! Text to a configuration that cannot be wrong.
//!
//! A **workspace** is a folder: `tidegate.yaml`, one YAML file for each object under `sources/`, `functions/`,
//! `lookups/`, `destinations/`, `syncs/` and `alerts/`, contracts under `events/`. An object's name is its file's name. Reading it finds
//! every problem at once, each with file, line and fix; a [`Workspace`] that was read holds no dangling name and no
//! value out of range. It is done in two steps: text becomes [`WorkspaceDocuments`], in which nothing is resolved, so that they can be
//! compared and kept; and those become a [`Workspace`] with their [`Surroundings`]. This room is the only reader of the environment
//! (`${NAME}` as a whole value), and never reads the server's store: what is live there is an argument.

mod alerts;
mod archive;
mod around;
mod aws_place;
mod batch;
mod browser_cookies;
mod catalog_specs;
mod component;
mod connection_document;
mod contracts;
mod destinations;
pub mod differences;
mod documents;
mod environment;
mod environments;
mod folder;
mod file_marks;
mod file_secrets;
mod functions;
mod init;
mod instance_key;
mod kafka_connection;
mod kept_documents;
mod leases;
mod left_out_sources;
mod live_version;
mod login;
mod lookups;
mod mapping;
mod names;
mod notes;
mod object_place;
mod outgoing;
mod outline;
mod overlay;
mod paused;
mod plugin;
mod port_tls;
mod pubsub_connection;
mod read_environments;
mod resolving;
mod secret_masks;
mod server;
mod sources;
mod spec_hash;
mod streams;
mod streams_out;
mod surroundings;
mod syncs;
mod telemetry;
mod warehouses;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::SecretValue;
use tidegate_contract::Contract;
use tidegate_dedup::DedupSettings;
use tidegate_document::problem::Problem;
use tidegate_log as intake;
use tidegate_net::{self as net, Network};
use tidegate_oidc::LoginSettings;
use tidegate_source::http::{BrowserCookies, RequestLimits};
use tidegate_state::QuarantineBounds;

pub use alerts::AlertConfig;
pub use archive::ArchiveSettings;
use around::Around;
pub use catalog_specs::{
    FILES_FIELD, SpecMasks, catalog_kind, folder_file, folder_kind, is_masked, masked_field, named_file, written_secret,
};
pub use component::ComponentFile;
pub use connection_document::ConnectionDocument;
use contracts::CompiledContracts;
pub use destinations::{DestinationConfig, DestinationKind};
pub use documents::{CatalogOrigin, ObjectDocument, WRITE_KEYS, WorkspaceDocuments};
pub(crate) use environment::{environment, home};
pub use environments::{EnvironmentFolders, MAIN_ENVIRONMENT, environment_data};
pub use file_marks::{FileMarks, differing_files, differing_marks, marks_of_files};
use folder::DATA_DEFAULT;
pub use functions::{Borrowed, FunctionConfig};
pub use init::{WrittenWorkspace, init};
pub use instance_key::{InstanceKeySetting, instance_key_of};
pub use kept_documents::{EndingObjects, KeptDocument, KeptDocuments, KeptNeeds, needs_plugin};
pub use leases::LeaseSettings;
pub use left_out_sources::LeftOutSources;
pub use live_version::{LiveVersion, LookUpLive};
pub use lookups::LookupConfig;
pub(crate) use outgoing::proxies_of_environment;
pub use outline::Outline;
pub use overlay::{MayBeLeftOut, ResolvedOverlay, resolve_what_runs};
pub use plugin::{PluginConfig, effective_policy};
pub use port_tls::{CERTIFICATE_ENDS_SOON_US, PortTlsConfig};
pub use read_environments::{ReadEnvironment, clashes, read_environment, read_environments};
use resolving::Resolving;
use server::ADMIN_AND_LISTEN;
pub use server::{ADMIN_LISTEN_DEFAULT, LISTEN_DEFAULT};
pub use sources::{SourceConfig, WriteKeyConfig};
pub use spec_hash::{ContentHash, ObjectSpec, SpecHash, SpecInput, fingerprint};
pub use streams::StreamSourceConfig;
pub use streams_out::StreamDestinationConfig;
pub use surroundings::{CatalogInputs, Surroundings};
pub use syncs::{StartConfig, SyncConfig};
pub use telemetry::{MetricsConfig, TracesConfig};

/// Everything that a server needs to know, checked.
#[derive(Debug)]
pub struct Workspace {
    pub dir: PathBuf,
    pub listen: SocketAddr,
    /// Where the admin API listens.
    pub admin_listen: SocketAddr,
    /// The same as `tidegate.yaml` has it, whatever else was asked for.
    pub admin_listen_named: SocketAddr,
    /// How the port that takes events speaks TLS, if it does.
    pub tls: Option<PortTlsConfig>,
    /// How the admin API speaks TLS, if it does.
    pub admin_tls: Option<PortTlsConfig>,
    pub data: PathBuf,
    /// As `tidegate.yaml` has it, whatever else was asked for.
    pub data_named: String,
    /// The environments of the server, by name.
    pub environments: EnvironmentFolders,
    pub limits: RequestLimits,
    pub connections: net::ConnectionLimits,
    /// Wrong admin tokens in a minute from one address.
    pub wrong_tokens_max: Option<u32>,
    /// Host and path that SDKs are told to send to.
    pub public_host: Option<String>,
    /// Which pages may use the cookie service.
    pub browser_cookies: BrowserCookies,
    pub trusted_proxies: Vec<Network>,
    /// How people sign in at the admin API.
    pub login: LoginSettings,
    pub log: intake::LogSettings,
    /// Where segments are kept that the log gives up.
    pub archive: Option<ArchiveSettings>,
    /// How many partitions the log has.
    pub partitions: u16,
    pub dedup: DedupSettings,
    pub quarantine: QuarantineBounds,
    /// Fields of events that only admins of the workspace see, as paths with dots.
    pub masked: Vec<String>,
    /// Where the workspace names one; otherwise it is a file of the data directory.
    pub instance_key: Option<InstanceKeySetting>,
    /// Where servers that share sources of Kinesis say who reads which shard; without, this server reads all of it.
    pub leases: Option<LeaseSettings>,
    /// Who may read the numbers of the server.
    pub metrics: MetricsConfig,
    /// Where spans of requests go.
    pub traces: Option<TracesConfig>,
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
    pub alerts: BTreeMap<String, AlertConfig>,
    /// By source; a source without any domain has none.
    pub contracts: BTreeMap<String, Arc<Contract>>,
    /// What they were made from: the files below `events/`, by their paths there.
    pub contract_files: BTreeMap<String, serde_json::Value>,
    /// How many contract events there are, for `check`.
    pub contract_events: usize,
    /// What contracts say and hardly mean.
    contract_notes: Vec<Problem>,
    /// What each object is made of, for telling whether it is still the same.
    pub specs: BTreeMap<ObjectRef, ObjectSpec>,
    /// Every file that was read, by its path from the workspace's folder where it lies there.
    pub files: BTreeMap<PathBuf, ContentHash>,
    /// Objects that somebody has paused. Never read from a file.
    pub paused_by_hand: BTreeSet<ObjectRef>,
    /// Sources that are there and cannot run for now. Never read from a file.
    pub left_out_sources: LeftOutSources,
    /// What goes on until it has ended.
    pub ending: EndingObjects,
    /// Secrets of the catalog by their names, for what names them outside of the documents; without a value, those that are gone. None where
    /// there is no catalog to be asked. Never read from a file.
    pub secrets: Option<BTreeMap<String, Option<SecretValue>>>,
}

impl Workspace {
    /// Which events `sync` gets when it first runs: a warehouse or a stream all that the log keeps, a tool those from then on.
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
        Self::read_with_documents(dir, data, look_up_live).map(|(_, workspace)| workspace)
    }

    /// The same, with the documents that it was made of.
    ///
    /// # Errors
    /// All problems, sorted by file and line.
    pub fn read_with_documents(
        dir: &Path,
        data: Option<&Path>,
        look_up_live: LookUpLive,
    ) -> Result<(WorkspaceDocuments, Self), Vec<Problem>> {
        let documents = WorkspaceDocuments::read(dir)?;
        let catalog = CatalogInputs::default();
        let surroundings = Surroundings { dir, data, variables: &environment, look_up_live, catalog };
        let workspace = Self::resolve(&documents, &surroundings)?;
        Ok((documents, workspace))
    }

    /// Makes a configuration of documents and what they refer to.
    ///
    /// # Errors
    /// All problems, those of the documents too, sorted by file and line.
    pub fn resolve(documents: &WorkspaceDocuments, surroundings: &Surroundings<'_>) -> Result<Self, Vec<Problem>> {
        Self::resolve_beside(documents, documents, surroundings)
    }

    /// The same of documents of which all but those that are `told` go on until they have ended.
    fn resolve_beside(
        documents: &WorkspaceDocuments,
        told: &WorkspaceDocuments,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let dir = surroundings.dir;
        let mut resolving = Resolving::new(documents, surroundings);
        let server = resolving.server();
        let outgoing = server.as_ref().map(|server| server.outgoing.clone()).unwrap_or_default();
        let sources = resolving.each(ObjectRefKind::Source, |f, inputs| sources::source(f, inputs, &outgoing));
        let functions = resolving.each(ObjectRefKind::Function, functions::function);
        let lookups = resolving.each(ObjectRefKind::Lookup, lookups::lookup);
        names::check_lookups(dir, documents, &lookups, &functions, &mut resolving.problems);
        let named = server.as_ref().and_then(|server| server.data.clone());
        let named = named.unwrap_or_else(|| DATA_DEFAULT.to_owned());
        let data = surroundings.data.map_or_else(|| dir.join(&named), Path::to_path_buf);
        let destinations = resolving.each(ObjectRefKind::Destination, |f, inputs| {
            destinations::destination(f, &Around { data: &data, outgoing: &outgoing, inputs })
        });
        let syncs = resolving.each(ObjectRefKind::Sync, |f, _| syncs::sync(f));
        let alerts = resolving.each(ObjectRefKind::Alert, alerts::alert);
        resolving.contract_files();
        let Resolving { mut problems, specs, files, .. } = resolving;
        let names =
            names::ObjectNames { documents, sources: &sources, functions: &functions, destinations: &destinations };
        names::check(dir, &names, &syncs, &mut problems);
        alerts::check_names(dir, &names, (&syncs, &alerts), &mut problems);
        names::check_warehouse_files(dir, told, &destinations, &mut problems);
        let contracts = CompiledContracts::of(dir, documents, sources.keys(), &mut problems);
        problems.sort();
        problems.dedup();
        match server {
            Some(server) if problems.is_empty() => Ok(Self {
                dir: dir.to_owned(),
                listen: server.listen.unwrap_or(ADMIN_AND_LISTEN.1),
                admin_listen: server.admin_listen.unwrap_or(ADMIN_AND_LISTEN.0),
                admin_listen_named: server.admin_listen.unwrap_or(ADMIN_AND_LISTEN.0),
                tls: server.tls,
                admin_tls: server.admin_tls,
                data,
                data_named: named,
                environments: server.environments,
                limits: server.limits,
                connections: server.connections,
                wrong_tokens_max: server.wrong_tokens_max,
                public_host: server.public_host,
                browser_cookies: server.browser_cookies,
                trusted_proxies: server.trusted_proxies,
                login: server.login,
                log: server.log,
                archive: server.archive,
                partitions: server.partitions,
                dedup: server.dedup,
                quarantine: server.quarantine,
                masked: server.masked,
                instance_key: server.instance_key,
                leases: server.leases,
                metrics: server.metrics,
                traces: server.traces,
                rebuild_state: false,
                pagemap_scan: server.pagemap_scan,
                sources,
                functions,
                lookups,
                destinations,
                syncs,
                alerts,
                contracts: contracts.by_source,
                contract_files: contracts.files,
                contract_events: contracts.events,
                contract_notes: contracts.notes,
                specs,
                files,
                paused_by_hand: BTreeSet::new(),
                left_out_sources: LeftOutSources::new(),
                ending: EndingObjects::default(),
                secrets: None,
            }),
            _ => Err(problems),
        }
    }
}
