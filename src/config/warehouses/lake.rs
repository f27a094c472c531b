//! `kind: lake`.

use tidegate_document::fields::Fields;
use tidegate_warehouse_lake::{self as lake, ObjectPlace, Partition};

use super::limits;
use crate::config::around::Around;
use crate::config::object_place;

pub(super) fn folder(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<lake::LakeSettings> {
    let place = place(fields, around);
    let limits = limits(fields, &lake::CAPABILITIES);
    let mut names: Vec<&'static str> = vec!["endpoint"];
    for other in ["s3://b", "gs://b", "az://b"] {
        names.extend(ObjectPlace::parse(other).iter().flat_map(|place| place.options()));
    }
    let options = object_place::options(fields, (place.as_ref(), "a lake"), &names, around);
    let web = object_place::web(fields, around, (place.as_ref(), "a lake"));
    let partitions = ["day", "hour", "none"].map(|word| (word, Partition::parse(word)));
    let partition = fields.word("partition", &partitions).flatten().unwrap_or(Partition::Day);
    let schema = fields.text("schema");
    let file_bytes = fields.bytes("file_bytes");
    let merge_files_min = fields.number("merge_files_min", 0);
    let (keep, orphan_age) = (fields.duration("keep"), fields.duration("orphan_age"));
    if let Some(age) = orphan_age.filter(|age| age.as_secs() < 3_600) {
        let message = format!("`orphan_age` is {} s, and files of a batch under way could be deleted", age.as_secs());
        fields.problem("orphan_age", message, "write `orphan_age: 1 h` or more");
    }
    let default = lake::LakeSettings::new(place?);
    Some(lake::LakeSettings {
        options,
        web,
        limits,
        partition,
        schema: schema.unwrap_or_else(|| default.schema.clone()),
        file_bytes: file_bytes.unwrap_or(default.file_bytes),
        merge_files_min: merge_files_min.unwrap_or(default.merge_files_min),
        keep: keep.unwrap_or(default.keep),
        orphan_age: orphan_age.unwrap_or(default.orphan_age),
        ..default
    })
}

/// `url`, which may be a folder relative to the workspace or to its data; the data's own folder when it is absent.
fn place(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<ObjectPlace> {
    let Some(url) = fields.text("url") else { return Some(ObjectPlace::Folder(around.data.join("lake"))) };
    if !url.contains("://") {
        return around.inputs.storage(fields, ("url", &url), around.data).map(ObjectPlace::Folder);
    }
    match ObjectPlace::parse(&url) {
        Ok(ObjectPlace::Folder(folder)) => {
            around.inputs.storage(fields, ("url", &url), around.data).map(|_| ObjectPlace::Folder(folder))
        }
        Ok(place) => Some(place),
        Err(message) => {
            let fix =
                "write `url: file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`";
            fields.problem("url", message, fix);
            None
        }
    }
}
