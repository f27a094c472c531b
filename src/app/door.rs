//! The door as the workspace and the catalog have it: which keys open which source, and how much each source may send.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_catalog::{Catalog, CatalogError, WriteKeyEntry, WriteKeyTable};
use tidegate_document::problem::Problem;
use tidegate_net as net;
use tidegate_process::clock;
use tidegate_source::http::{
    EntranceSettings, IngestSettings, KeyHasher, KeyOrigin, Rate, WebhookEntrance, WriteKey, WriteKeys,
};

use crate::config::{Workspace, WriteKeyConfig};

/// What hashes the write keys of files, under a secret of this process alone: the files have the keys themselves, so no hash outlives it.
pub(super) fn hasher() -> KeyHasher {
    KeyHasher::new(&clock::random())
}

/// What the workspace says of the door.
pub(super) struct FolderEntrance {
    pub(super) keys: Vec<WriteKey>,
    /// Of sources that take something in; to one that ends no key is known.
    rates: BTreeMap<String, Rate>,
    /// They take nothing for now.
    paused: HashSet<Arc<str>>,
    webhooks: Vec<Arc<WebhookEntrance>>,
    /// They read a stream: nobody sends to them.
    streams: HashSet<String>,
}

/// The write keys of the catalog, as it hashes them.
#[derive(Clone)]
pub(super) struct CatalogWriteKeys {
    hasher: KeyHasher,
    /// By hash.
    pub(super) keys: Vec<WriteKey>,
}

impl FolderEntrance {
    /// The sources of `paused` take nothing for now, nor do those that the workspace has paused, nor those that cannot run: who sends to them
    /// is told to come again.
    pub(super) fn of(workspace: &Workspace, hasher: &KeyHasher, mut paused: HashSet<Arc<str>>) -> Self {
        let by_choice = workspace.sources.keys().filter(|name| workspace.is_paused(ObjectRefKind::Source, name));
        paused.extend(by_choice.map(|name| Arc::<str>::from(name.as_str())));
        let created_at_us = clock::now_us();
        let key = |source: &Arc<str>, config: &WriteKeyConfig| WriteKey {
            source: Arc::clone(source),
            name: config.name.as_str().into(),
            origin: KeyOrigin::File,
            hash: hasher.hash(&config.key),
            created_at_us,
            ends_at_us: config.ends_at_us,
            uses: Arc::default(),
        };
        // Of two keys of one text the later counts: that of a source which runs.
        let mut keys: Vec<WriteKey> =
            workspace.left_out_keys().map(|(name, config)| key(&Arc::from(name), config)).collect();
        let (mut rates, mut webhooks) = (BTreeMap::new(), Vec::new());
        for (name, config) in workspace.sources.iter().filter(|(name, _)| !workspace.ending.sources.contains(*name)) {
            let source: Arc<str> = name.as_str().into();
            keys.extend(config.write_keys.iter().map(|config| key(&source, config)));
            rates.insert(name.clone(), config.rate.clone());
            if let Some(settings) = &config.webhook {
                let webhook = WebhookEntrance::new(source, Arc::clone(settings), hasher);
                keys.extend(webhook.signing_key(created_at_us));
                webhooks.push(Arc::new(webhook));
            }
        }
        for name in workspace.left_out_sources.keys() {
            rates.insert(name.clone(), Rate::default());
            paused.insert(name.as_str().into());
        }
        let of_stream = workspace.sources.iter().filter(|(_, config)| config.stream.is_some());
        let streams = of_stream.map(|(name, _)| name.clone()).collect();
        Self { keys, rates, paused, webhooks, streams }
    }

    /// Who may send, and how much. A key of the catalog whose source does not run, ends, or reads a stream, opens nothing.
    pub(super) fn settings(&self, hasher: &KeyHasher, catalog: &CatalogWriteKeys) -> EntranceSettings {
        let is_open = |source: &str| self.rates.contains_key(source) && !self.streams.contains(source);
        let of_catalog = catalog.keys.iter().filter(|key| is_open(&key.source));
        let keys = WriteKeys::new(hasher.clone(), self.keys.iter().cloned());
        EntranceSettings {
            keys: keys.and(catalog.hasher.clone(), of_catalog.cloned()),
            rates: self.rates.iter().map(|(name, rate)| (name.clone(), rate.clone())).collect(),
            paused: self.paused.clone(),
            webhooks: self.webhooks.clone(),
        }
    }
}

impl CatalogWriteKeys {
    /// Those of a workspace, as they are now.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) async fn read(catalog: &Catalog, workspace: &str) -> Result<Self, CatalogError> {
        Ok(Self::of(&catalog.write_keys().await?, workspace))
    }

    /// Those of a workspace.
    pub(super) fn of(table: &WriteKeyTable, workspace: &str) -> Self {
        let entries = table.entries().filter(|(_, entry)| entry.workspace == workspace);
        let key = |(hash, entry): (&[u8; 32], &WriteKeyEntry)| WriteKey {
            source: entry.source.as_str().into(),
            name: api_key_name(&entry.source, &entry.name).into(),
            origin: KeyOrigin::Catalog,
            hash: *hash,
            created_at_us: entry.created_at_us,
            ends_at_us: entry.end_us,
            uses: Arc::default(),
        };
        let mut keys: Vec<WriteKey> = entries.map(key).collect();
        keys.sort_by_key(|key| key.hash);
        Self { hasher: KeyHasher::of(table.hasher()), keys }
    }

    /// Whether the same keys are there, with the same ends.
    pub(super) fn are(&self, others: &Self) -> bool {
        let what = |key: &WriteKey| (key.hash, key.ends_at_us, Arc::clone(&key.source), Arc::clone(&key.name));
        self.keys.iter().map(what).eq(others.keys.iter().map(what))
    }

    /// Says which keys of files somebody has made over the API as well: a text opens one source, and the file's counts.
    pub(super) fn warn_of_both(&self, workspace: &Workspace) {
        for (source, config) in &workspace.sources {
            for key in &config.write_keys {
                let hash = self.hasher.hash(&key.key);
                if let Some(made) = self.keys.iter().find(|made| made.hash == hash) {
                    tracing::warn!(
                        source = &**source,
                        key = &*key.name,
                        source_of_made = &*made.source,
                        made = &*made.name,
                        "a write key of a file was made over the API as well; the file's counts. Revoke the other, or take it from the file"
                    );
                }
            }
        }
    }
}

/// Keys of the files of an environment that somebody has made over the API in another workspace: a key opens one source.
pub(super) fn keys_of_others(table: &WriteKeyTable, environment: &str, workspace: &Workspace) -> Vec<Problem> {
    let made: HashMap<&[u8; 32], &WriteKeyEntry> =
        table.entries().filter(|(_, entry)| entry.workspace != environment).collect();
    let hash = table.hasher();
    let mut problems = Vec::new();
    let keys =
        workspace.sources.iter().flat_map(|(source, config)| config.write_keys.iter().map(move |key| (source, key)));
    for (source, key) in keys.filter(|_| !made.is_empty()) {
        let Some(entry) = made.get(&hash(&key.key)) else { continue };
        let message = format!(
            "the write key {} was made over the API as well, for source {} of the workspace {}, and a key opens one source",
            key.name, entry.source, entry.workspace
        );
        let file = workspace.dir.join(ObjectRefKind::Source.folder()).join(format!("{source}.yaml"));
        problems.push(Problem::of_file(file, key.line, message, "write another key, or revoke that one"));
    }
    problems
}

/// The name of a key that was made over the API: the catalog has the source before it.
fn api_key_name<'n>(source: &str, name: &'n str) -> &'n str {
    name.strip_prefix(source).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name)
}

/// What the door needs of the workspace besides.
pub(super) fn settings(
    workspace: &Workspace,
    connections: net::ConnectionLimits,
    tls: Option<Arc<net::PortTls>>,
) -> IngestSettings {
    IngestSettings {
        limits: workspace.limits.clone(),
        connections,
        trusted_proxies: workspace.trusted_proxies.clone(),
        public_host: workspace.public_host.clone(),
        browser_cookies: workspace.browser_cookies.clone(),
        tls,
    }
}
