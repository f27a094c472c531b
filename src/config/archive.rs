//! `archive` below `log` of `tidegate.yaml`: where segments of the log are kept when the log gives them up.

use std::path::{Component, Path, PathBuf};

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_net::WebSettings;
use tidegate_object_store::{ObjectOptions, ObjectPlace};

use super::around::Around;
use super::object_place;
use super::outgoing::Outgoing;
use super::surroundings::ObjectInputs;

/// What is in the place, for messages.
const WHAT: &str = "an archive";
/// As a lake in S3 has them.
const OPTIONS: [&str; 6] =
    ["endpoint", "region", "access_key_id", "secret_access_key", "session_token", "virtual_hosted_style_request"];

/// Where the archive of the log is, and for how long it keeps what it has.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    pub place: ObjectPlace,
    pub options: ObjectOptions,
    pub web: WebSettings,
    /// Microseconds since a segment was sealed; without, it is kept for ever.
    pub keep_us: Option<i64>,
}

/// How a bucket is reached.
type ReachedPlace = (ObjectPlace, ObjectOptions, WebSettings);

/// None where it is not there, or has problems.
pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<ArchiveSettings> {
    fields.within("archive", |f| {
        let keep = f.duration("keep");
        let directory = directory(f, inputs);
        let around = Around { data: inputs.dir(), outgoing, inputs };
        let s3 = f.within("s3", |f| bucket(f, &around)).flatten();
        if f.has("directory") == f.has("s3") && f.all_are_known() {
            let message = "`log.archive` needs one place, `directory` or `s3`";
            f.problem(
                "",
                message,
                "write `archive: {directory: /mnt/archive}` or `archive: {s3: {bucket: my-bucket}}`",
            );
            return None;
        }
        let (place, options, web) = directory.or(s3)?;
        let keep_us = keep.map(|keep| i64::try_from(keep.as_micros()).unwrap_or(i64::MAX));
        Some(ArchiveSettings { place, options, web, keep_us })
    })?
}

/// A folder, by its path from that of the workspace.
fn directory(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<ReachedPlace> {
    let written = f.text("directory")?;
    if written.trim().is_empty() {
        f.problem("directory", "`log.archive.directory` is empty", "write the path of a folder");
        return None;
    }
    let place = ObjectPlace::Folder(without_dots(&inputs.dir().join(written)));
    Some((place, ObjectOptions::default(), WebSettings::default()))
}

/// The same path without `.` and `..`, which names of objects do not have.
fn without_dots(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain
}

/// A bucket with a prefix.
fn bucket(f: &mut Fields<'_>, around: &Around<'_>) -> Option<ReachedPlace> {
    let bucket = f.required("bucket", "my-bucket");
    let prefix = f.text("prefix").unwrap_or_default();
    let place = bucket.and_then(|bucket| place_of(f, &bucket, &prefix));
    let options = object_place::options(f, (place.as_ref(), WHAT), &OPTIONS, around);
    let web = object_place::web(f, around, (place.as_ref(), WHAT));
    Some((place?, options, web))
}

fn place_of(f: &mut Fields<'_>, bucket: &str, prefix: &str) -> Option<ObjectPlace> {
    let place = ObjectPlace::parse(&format!("s3://{bucket}/{prefix}")).ok().filter(|_| !bucket.contains('/'));
    if place.is_none() {
        let (bucket, prefix) = (shortened(bucket, QUOTED_CHARS_MAX), shortened(prefix, QUOTED_CHARS_MAX));
        let message = format!("{bucket:?} is no bucket, or {prefix:?} no prefix");
        f.problem("bucket", message, "write the name of the bucket alone, and what comes behind it into `prefix`");
    }
    place
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{CatalogInputs, Surroundings, WorkspaceDocuments};

    fn problems_of(archive: &str) -> Vec<(usize, String)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tidegate.yaml"), format!("log:\n  archive:\n{archive}")).unwrap();
        let documents = WorkspaceDocuments::read(dir.path()).unwrap();
        let variables = |_: &str| None;
        let surroundings = Surroundings {
            dir: dir.path(),
            data: Some(Path::new("data")),
            variables: &variables,
            look_up_live: |_, _| Ok(None),
            catalog: CatalogInputs::default(),
        };
        let resolved = crate::config::Workspace::resolve(&documents, &surroundings);
        let problems = resolved.err().unwrap_or_default();
        let told: BTreeMap<usize, String> =
            problems.into_iter().map(|problem| (problem.line, problem.message)).collect();
        told.into_iter().collect()
    }

    #[test]
    fn a_folder_is_named_without_dots() {
        assert_eq!(without_dots(Path::new("/srv/shop/../archive/./log")), Path::new("/srv/archive/log"));
    }

    #[test]
    fn an_archive_has_one_place_and_what_is_wrong_with_it_is_told_with_its_line() {
        for right in
            ["    directory: ../archive\n", "    s3: {bucket: b, prefix: /a/, region: eu-west-1}\n    keep: 90 d\n"]
        {
            assert_eq!(problems_of(right), [], "{right}");
        }
        for (wrong, line, words) in [
            ("    keep: 90 d\n", 2, "needs one place"),
            ("    directory: a\n    s3: {bucket: b}\n", 2, "needs one place"),
            ("    directory: \"\"\n", 3, "is empty"),
            ("    directory: a\n    keep: forever\n", 4, "keep"),
            ("    s3: {bucket: a/b}\n", 3, "is no bucket"),
            ("    s3: {prefix: a}\n", 3, "bucket"),
            ("    folder: a\n", 3, "folder"),
        ] {
            let told = problems_of(wrong);
            assert!(told.iter().any(|(at, told)| *at == line && told.contains(words)), "{wrong}: {told:?}");
        }
    }
}
