//! What write keys are used for, kept from one start to the next.
//!
//! The door counts in memory, where a request waits for nothing. Every few seconds, and at the stop, the counts are written into the state:
//! a crash costs those of the last few seconds, and no event.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_source::http::{Entrance, KeyOrigin, WriteKey};
use tidegate_state::{KeyUse, State, StateError};
use tokio::sync::watch;

/// How the state names a key: its source, and the key within it. Names in files have no `/`, so a key that was made over the API has one.
pub(super) fn key_in_state(key: &WriteKey) -> (String, String) {
    let name = match key.origin {
        KeyOrigin::File => key.name.to_string(),
        KeyOrigin::Catalog => format!("{}/{}", key.source, key.name),
    };
    (key.source.to_string(), name)
}

/// By source and key.
type UsedKeys = BTreeMap<(String, String), KeyUse>;

/// Writes uses into the state.
pub(super) struct KeyUsesWriter {
    entrance: watch::Receiver<Arc<Entrance>>,
    /// As the state has them; none before the first look.
    kept: Option<UsedKeys>,
}

impl KeyUsesWriter {
    pub(super) fn new(entrance: watch::Receiver<Arc<Entrance>>) -> Self {
        Self { entrance, kept: None }
    }

    /// Writes what is different, and forgets keys that are gone.
    pub(super) fn keep(&mut self, state: &mut State) -> Result<(), StateError> {
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => by_key(state.key_uses()?),
        };
        let entrance = Arc::clone(&self.entrance.borrow());
        let now = by_key(entrance.write_keys().filter_map(used).collect());
        let changed: Vec<KeyUse> = now.values().filter(|used| !is_kept(&kept, used)).cloned().collect();
        // Also of a key that has another text now and was not used since.
        let gone: Vec<(String, String)> = kept.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
        if !changed.is_empty() || !gone.is_empty() {
            state.keep_key_uses(&changed, &gone)?;
        }
        self.kept = Some(now);
        Ok(())
    }
}

fn used(key: &WriteKey) -> Option<KeyUse> {
    let (first_at_us, last_at_us) = (key.uses.first_us()?, key.uses.last_us()?);
    let (source, name) = key_in_state(key);
    Some(KeyUse { source, key: name, events: key.uses.events(), first_at_us, last_at_us })
}

fn by_key(uses: Vec<KeyUse>) -> UsedKeys {
    uses.into_iter().map(|used| ((used.source.clone(), used.key.clone()), used)).collect()
}

fn is_kept(kept: &UsedKeys, used: &KeyUse) -> bool {
    kept.get(&(used.source.clone(), used.key.clone())) == Some(used)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tidegate_source::http::{EntranceSettings, KeyHasher, KeyUses, WriteKeys};

    use super::*;

    fn key(name: &str, origin: KeyOrigin, events: u64) -> WriteKey {
        let uses = if events == 0 { KeyUses::default() } else { KeyUses::kept(events, 5, 9) };
        WriteKey {
            source: "web".into(),
            name: name.into(),
            origin,
            hash: KeyHasher::new(&[1; 32]).hash(name),
            created_at_us: 0,
            ends_at_us: None,
            uses: Arc::new(uses),
        }
    }

    fn entrance(keys: Vec<WriteKey>) -> Arc<Entrance> {
        let keys = WriteKeys::new(KeyHasher::new(&[1; 32]), keys);
        let settings = EntranceSettings { keys, rates: Vec::new(), paused: Default::default(), webhooks: Vec::new() };
        Arc::new(Entrance::new(settings, 2, Instant::now()))
    }

    #[test]
    fn uses_go_into_the_state_and_those_of_keys_that_are_gone_go_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let first = vec![
            key("default", KeyOrigin::File, 3),
            key("app", KeyOrigin::Catalog, 4),
            key("idle", KeyOrigin::File, 0),
        ];
        let door = watch::Sender::new(entrance(first));
        let mut writer = KeyUsesWriter::new(door.subscribe());
        writer.keep(&mut state).unwrap();
        let kept = |state: &State| -> Vec<(String, u64)> {
            state.key_uses().unwrap().into_iter().map(|used| (used.key, used.events)).collect()
        };
        assert_eq!(kept(&state), [("default".to_owned(), 3), ("web/app".to_owned(), 4)]);
        door.send_replace(entrance(vec![key("default", KeyOrigin::File, 5)]));
        writer.keep(&mut state).unwrap();
        assert_eq!(kept(&state), [("default".to_owned(), 5)]);
        // The next start knows what is there.
        door.send_replace(entrance(vec![key("other", KeyOrigin::File, 1)]));
        KeyUsesWriter::new(door.subscribe()).keep(&mut state).unwrap();
        assert_eq!(kept(&state), [("other".to_owned(), 1)]);
    }
}
