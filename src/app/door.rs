//! The door as the workspace has it: which keys open which source, and how much each source may send.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_net as net;
use tidegate_process::clock;
use tidegate_source::http::{Entrance, EntranceSettings, IngestSettings, KeyHasher, WriteKey, WriteKeys};
use tokio::sync::watch;

use crate::config::{Workspace, WriteKeyConfig};

/// What hashes write keys, under a secret of this process alone: the files have the keys themselves, so no hash outlives it.
pub(super) fn hasher() -> KeyHasher {
    KeyHasher::new(&clock::random())
}

/// Who may send, and how much; these sources take nothing for now, nor do those that the workspace has paused. To a source that
/// ends no key is known.
pub(super) fn entrance(workspace: &Workspace, hasher: &KeyHasher, mut paused: HashSet<Arc<str>>) -> EntranceSettings {
    let by_choice = workspace.sources.keys().filter(|name| workspace.is_paused(ObjectRefKind::Source, name));
    paused.extend(by_choice.map(|name| Arc::<str>::from(name.as_str())));
    let created_at_us = clock::now_us();
    let key = |source: &Arc<str>, config: &WriteKeyConfig| WriteKey {
        source: Arc::clone(source),
        name: config.name.as_str().into(),
        hash: hasher.hash(&config.key),
        created_at_us,
        ends_at_us: config.ends_at_us,
        uses: Arc::default(),
    };
    let mut keys = Vec::new();
    for (source, config) in workspace.sources.iter().filter(|(name, _)| !workspace.ending.sources.contains(*name)) {
        let source: Arc<str> = source.as_str().into();
        keys.extend(config.write_keys.iter().map(|config| key(&source, config)));
    }
    EntranceSettings {
        keys: WriteKeys::new(hasher.clone(), keys),
        rates: workspace.sources.iter().map(|(name, source)| (name.clone(), source.rate.clone())).collect(),
        paused,
    }
}

/// What the door needs of the workspace besides.
pub(super) fn settings(
    workspace: &Workspace,
    connections: net::ConnectionLimits,
    entrance: watch::Receiver<Arc<Entrance>>,
) -> IngestSettings {
    IngestSettings {
        limits: workspace.limits.clone(),
        connections,
        trusted_proxies: workspace.trusted_proxies.clone(),
        entrance,
        public_host: workspace.public_host.clone(),
    }
}
