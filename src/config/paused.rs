//! What is there and stops for now: by its file, or because somebody has said so.

use std::collections::BTreeSet;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};

use super::Workspace;

impl Workspace {
    /// Whether an object is paused: its file says so, or somebody has.
    #[must_use]
    pub fn is_paused(&self, kind: ObjectRefKind, key: &str) -> bool {
        let by_file = match kind {
            ObjectRefKind::Source => self.sources.get(key).is_some_and(|source| source.paused),
            ObjectRefKind::Destination => self.destinations.get(key).is_some_and(|destination| destination.paused),
            ObjectRefKind::Sync => self.syncs.get(key).is_some_and(|sync| sync.paused),
            ObjectRefKind::Function | ObjectRefKind::Lookup | ObjectRefKind::Alert | ObjectRefKind::ContractFile => {
                false
            }
        };
        by_file || self.paused_by_hand.contains(&ObjectRef::new(kind, key))
    }

    /// Whether a sync delivers nothing for now: it is paused, or its destination is.
    #[must_use]
    pub fn is_sync_paused(&self, name: &str) -> bool {
        let Some(sync) = self.syncs.get(name) else { return false };
        self.is_paused(ObjectRefKind::Sync, name) || self.is_paused(ObjectRefKind::Destination, &sync.destination.0)
    }

    /// Everything that is paused.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<ObjectRef> {
        self.specs.keys().filter(|object| self.is_paused(object.kind, &object.key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_paused_with_its_destination_and_not_with_its_source() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["sources", "destinations", "syncs"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("tidegate.yaml", "{}");
        write("sources/web.yaml", "kind: http\nwrite_key: key-0123456789abcdef\npaused: true\n");
        write("destinations/a.yaml", "kind: sqlite\npath: a.db\n");
        write("destinations/b.yaml", "kind: sqlite\npath: b.db\npaused: true\n");
        write("syncs/a.yaml", "source: web\ndestination: a\n");
        write("syncs/b.yaml", "source: web\ndestination: b\n");
        write("syncs/c.yaml", "source: web\ndestination: a\nschema: c\npaused: true\n");
        let mut workspace = Workspace::read(dir.path(), None, |_, _| Ok(None)).unwrap();
        let paused = ["a", "b", "c"].map(|name| workspace.is_sync_paused(name));
        assert_eq!(paused, [false, true, true]);
        let told: Vec<String> = workspace.paused().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["source web", "destination b", "sync c"]);
        workspace.paused_by_hand = BTreeSet::from([ObjectRef::new(ObjectRefKind::Sync, "a")]);
        assert!(workspace.is_sync_paused("a"));
    }
}
