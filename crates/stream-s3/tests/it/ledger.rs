//! What a writer makes of a ledger that another one left behind.

use std::path::Path;

use tidegate_stream::{StreamError, StreamWriter};
use tidegate_stream_s3::FileCompression;
use tidegate_stream_suite::StreamRig as _;

use crate::folder::FilesInFolder;

const STEM: &str = "tidegate-web-0-00000000000000000000-00000000000000000009-1.jsonl";

/// Writes a ledger that announces two files of 3 bytes each.
fn announce(rig: &FilesInFolder) {
    let text = format!(
        r#"{{"format":1,"generation":1,"writer":"gone","next":null,"commit":{{"to":9,"files":[{{"path":"a/{STEM}","bytes":3}},{{"path":"b/{STEM}","bytes":3}}]}}}}"#
    );
    write(&rig.path().join("_tidegate/tidegate-web-0.json"), &text);
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn opened(rig: &FilesInFolder) -> Box<dyn StreamWriter> {
    rig.target().open("tidegate-web").await.unwrap()
}

#[tokio::test]
async fn files_that_are_all_there_count() {
    let rig = FilesInFolder::with(FileCompression::None);
    announce(&rig);
    for folder in ["a", "b"] {
        write(&rig.path().join(folder).join(STEM), "{}\n");
    }
    assert_eq!(opened(&rig).await.durable_to().await.unwrap(), Some(9));
    assert_eq!(rig.files().len(), 2);
}

#[tokio::test]
async fn files_of_which_one_is_missing_or_short_are_deleted() {
    for rest in [None, Some("{}")] {
        let rig = FilesInFolder::with(FileCompression::None);
        announce(&rig);
        write(&rig.path().join("a").join(STEM), "{}\n");
        // What the disk shows of a file whose writer died.
        write(&rig.path().join("b").join(format!("{STEM}#1")), "{");
        write(&rig.path().join("b/notes.jsonl"), "somebody else's\n");
        if let Some(rest) = rest {
            write(&rig.path().join("b").join(STEM), rest);
        }
        assert_eq!(opened(&rig).await.durable_to().await.unwrap(), None);
        assert_eq!(rig.files(), ["b/notes.jsonl"]);
    }
}

#[tokio::test]
async fn a_file_that_comes_after_it_was_given_up_is_deleted_with_the_next_batch() {
    let rig = FilesInFolder::with(FileCompression::None);
    announce(&rig);
    let mut writer = opened(&rig).await;
    // Its writer had been replaced in the middle of it.
    write(&rig.path().join("a").join(STEM), "{}\n");
    let message = tidegate_stream::OutgoingMessage {
        index: 0,
        topic: "a".to_owned(),
        key: String::new(),
        headers: Vec::new(),
        message_id: String::new(),
        payload: "{}".into(),
    };
    assert_eq!(writer.write(vec![message], 5).await.unwrap(), []);
    assert_eq!(rig.files(), ["a/tidegate-web-0-00000000000000000000-00000000000000000005-2.jsonl"]);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_stops_the_sync_and_stays_as_it_is() {
    for text in [
        r#"{"format":7}"#,
        "{\"format\":1,",
        r#"{"format":1,"generation":1,"writer":"w","next":1,"given_up":[{"path":"/etc/passwd","at_us":0}]}"#,
    ] {
        let rig = FilesInFolder::with(FileCompression::None);
        let path = rig.path().join("_tidegate/tidegate-web-0.json");
        write(&path, text);
        let Err(StreamError::Stop { reason, .. }) = rig.target().open("tidegate-web").await.map(drop) else {
            panic!("it is taken over: {text}")
        };
        assert!(reason.contains("_tidegate/tidegate-web-0.json"), "{reason}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
