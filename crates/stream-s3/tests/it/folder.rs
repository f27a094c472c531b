//! Files in a folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_event::destination::{Batch, Destination as _};
use tidegate_event::{Event, EventId, EventKind, Position};
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectOptions, ObjectPlace};
use tidegate_stream::{MessageShape, StreamDestination, StreamTarget};
use tidegate_stream_s3::{FileCompression, S3Target};
use tidegate_stream_suite::{StreamRig, stream_suite};

pub(crate) const TOPIC: &str = "events/orders";

/// A folder of its own.
pub(crate) struct FilesInFolder {
    pub(crate) folder: tempfile::TempDir,
    target: Arc<S3Target>,
}

impl FilesInFolder {
    pub(crate) fn with(compression: FileCompression) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It is made by whoever writes first.
        let place = ObjectPlace::Folder(folder.path().join("raw"));
        let target = S3Target::new(place, ObjectOptions::default(), WebSettings::default(), compression);
        Self { folder, target: Arc::new(target) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("raw")
    }

    /// Every file below the folder, relative to it, but for those of the ledgers.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(&self.path(), &mut files);
        let relative = |path: PathBuf| path.strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned();
        let mut files: Vec<String> = files.into_iter().map(relative).filter(|path| !path.starts_with('_')).collect();
        files.sort_unstable();
        files
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let mut text = String::new();
        let bytes = std::fs::read(self.path().join(file)).unwrap();
        if file.ends_with(".gz") {
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes).unwrap();
        }
        text.lines().map(str::to_owned).collect()
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

impl StreamRig for FilesInFolder {
    async fn new() -> Result<Self, String> {
        Ok(Self::with(FileCompression::Gzip))
    }

    fn target(&self) -> Arc<dyn StreamTarget> {
        Arc::<S3Target>::clone(&self.target)
    }

    fn topic(&self) -> String {
        TOPIC.to_owned()
    }

    fn refused_topic(&self) -> Option<String> {
        Some("../elsewhere".to_owned())
    }

    async fn seen(&self) -> Vec<String> {
        let files = self.files();
        files
            .iter()
            .inspect(|file| assert!(file.ends_with(".jsonl.gz"), "{file}"))
            .flat_map(|file| self.lines(file))
            .collect()
    }
}

stream_suite!(FilesInFolder);

fn event(offset: u64, received_at_us: i64) -> Arc<Event> {
    let body = format!(r#"{{"messageId":"m{offset}","properties":{{"n":{offset}.10}},"type":"track"}}"#);
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, offset), 0),
        kind: EventKind::Track,
        received_at_us,
        body: body.parse().unwrap(),
    })
}

#[tokio::test]
async fn a_batch_across_an_hour_is_a_file_in_each_and_its_names_say_which_events() {
    let rig = FilesInFolder::with(FileCompression::None);
    let shape = MessageShape {
        topic: "events/{source}/dt={year}-{month}-{day}/hour={hour}".parse().unwrap(),
        key: None,
        headers: Vec::new(),
        violations_topic: None,
        format: None,
    };
    let mut destination = StreamDestination::new(rig.target(), Arc::new(shape), "tidegate-web/2".to_owned(), None);
    // 2024-05-06T07:59:59.999999Z, and a microsecond later.
    let last_us = 1_714_982_399_999_999;
    let events = vec![event(5, last_us), event(6, last_us + 1), event(8, last_us)];
    let batch = Batch { range: 0..9, events, violations: Vec::new() };
    destination.deliver(Arc::new(batch)).await.unwrap();
    let batch = Batch { range: 9..12, events: vec![event(9, last_us)], violations: Vec::new() };
    destination.deliver(Arc::new(batch)).await.unwrap();
    let name = |from: u64, to: u64| format!("tidegate-web-2-{from:020}-{to:020}-1.jsonl");
    let (seven, eight) = ("events/web/dt=2024-05-06/hour=07", "events/web/dt=2024-05-06/hour=08");
    assert_eq!(
        rig.files(),
        [format!("{seven}/{}", name(0, 9)), format!("{seven}/{}", name(9, 12)), format!("{eight}/{}", name(0, 9))]
    );
    let ids = |file: String| rig.lines(&file).iter().map(|line| line[14..16].to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(format!("{seven}/{}", name(0, 9))), ["m5", "m8"]);
    assert_eq!(ids(format!("{eight}/{}", name(0, 9))), ["m6"]);
    assert_eq!(
        rig.lines(&format!("{seven}/{}", name(9, 12))),
        [r#"{"messageId":"m9","properties":{"n":9.10},"type":"track"}"#]
    );
}

#[tokio::test]
async fn a_check_writes_nothing() {
    let rig = FilesInFolder::with(FileCompression::Gzip);
    assert_eq!(rig.target().check().await.unwrap(), ["the folder is made when the first file is written"]);
    assert!(!rig.path().exists());
    rig.target().open("tidegate-web").await.unwrap();
    assert_eq!(rig.target().check().await.unwrap(), ["it answers, and has 1 ledger"]);
}
