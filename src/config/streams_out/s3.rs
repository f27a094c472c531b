//! `kind: s3` of a destination: where files of events go, and in which folders.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_object_store::ObjectPlace;
use tidegate_stream::{MessageShape, StreamTarget};
use tidegate_stream_s3::{FileCompression, S3Target, illegal_folder};

use super::template;
use crate::config::around::Around;
use crate::config::object_place;

const PATH_DEFAULT: &str = "events/{source}/dt={year}-{month}-{day}/hour={hour}";
/// Where what contracts found goes.
const VIOLATIONS: &str = "violations";
/// With a folder and a name below it, a file has to stay within what S3 takes.
const PREFIX_BYTES_MAX: usize = 160;
const COMPRESSIONS: [(&str, FileCompression); 3] =
    [("gzip", FileCompression::Gzip), ("zstd", FileCompression::Zstd), ("none", FileCompression::None)];
/// As a lake in S3 has them.
const OPTIONS: [&str; 6] =
    ["endpoint", "region", "access_key_id", "secret_access_key", "session_token", "virtual_hosted_style_request"];

/// None where something is wrong, or a secret is not at hand.
pub(super) fn s3(f: &mut Fields<'_>, around: &Around<'_>) -> Option<Arc<dyn StreamTarget>> {
    let place = place(f, around);
    let options = object_place::options(f, (place.as_ref(), "files"), &OPTIONS, around);
    let web = object_place::web(f, around, (place.as_ref(), "files"));
    let compression = f.word("compression", &COMPRESSIONS).unwrap_or_default();
    Some(Arc::new(S3Target::new(place?, options, web, compression)))
}

/// Which folder the file of an event is in.
pub(super) fn shape(f: &mut Fields<'_>) -> Option<MessageShape> {
    let line = f.line_of("path_template");
    let topic = match f.text("path_template") {
        Some(text) => {
            let folder = text.trim_end_matches('/');
            is_folder(f, folder).then(|| template(f, ("path_template", line), folder)).flatten()
        }
        None if f.has("path_template") => None,
        None => PATH_DEFAULT.parse().ok(),
    };
    let has_violations = f.flag("violations").unwrap_or(false);
    let violations_topic = has_violations.then(|| VIOLATIONS.to_owned());
    Some(MessageShape { topic: topic?, key: None, headers: Vec::new(), violations_topic, format: None })
}

/// Whether the text around the fields is that of a folder. What events make of it is looked at with each of them.
fn is_folder(f: &mut Fields<'_>, written: &str) -> bool {
    let Some(why) = illegal_folder(written) else { return true };
    let message = format!("`path_template` is {:?}: {why}", shortened(written, QUOTED_CHARS_MAX));
    f.problem("path_template", message, format!("write folders with a slash between them, such as \"{PATH_DEFAULT}\""));
    false
}

/// `path`, a folder, or `bucket` with a `prefix`.
fn place(f: &mut Fields<'_>, around: &Around<'_>) -> Option<ObjectPlace> {
    if !f.has("path") {
        let bucket = f.required("bucket", "my-bucket");
        let prefix = f.text("prefix");
        return of_bucket(f, &bucket?, &prefix.unwrap_or_default());
    }
    let path = f.text("path");
    for other in ["bucket", "prefix"] {
        if f.text(other).is_some() {
            let message = format!("`{other}` says nothing where files go to a folder, which `path` names");
            f.problem(other, message, "take one of both away");
        }
    }
    around.inputs.storage(f, ("path", &path?), around.data).map(ObjectPlace::Folder)
}

fn of_bucket(f: &mut Fields<'_>, bucket: &str, prefix: &str) -> Option<ObjectPlace> {
    if bucket.contains('/') {
        let message = format!("`bucket` is {:?}, which has a slash", shortened(bucket, QUOTED_CHARS_MAX));
        f.problem("bucket", message, "write the name of the bucket alone, and what comes behind it into `prefix`");
        return None;
    }
    let prefix = prefix.trim_matches('/');
    if prefix.len() > PREFIX_BYTES_MAX {
        let message = format!("`prefix` has {} bytes, more than {PREFIX_BYTES_MAX}", prefix.len());
        f.problem("prefix", message, "write a shorter one");
        return None;
    }
    if let Some(why) = Some(prefix).filter(|prefix| !prefix.is_empty()).and_then(illegal_folder) {
        let message = format!("`prefix` is {:?}: {why}", shortened(prefix, QUOTED_CHARS_MAX));
        f.problem("prefix", message, "write folders with a slash between them, such as `raw/tidegate`");
        return None;
    }
    match ObjectPlace::parse(&format!("s3://{bucket}/{prefix}")) {
        Ok(place) => Some(place),
        Err(_) => {
            let message = format!(
                "{:?} is no bucket, or {:?} no prefix",
                shortened(bucket, QUOTED_CHARS_MAX),
                shortened(prefix, QUOTED_CHARS_MAX)
            );
            f.problem(
                "bucket",
                message,
                "write the name of the bucket alone, without an address and without `*`, `?`, `#`, `[` and `\\`",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_document::problem::Problem;

    use super::*;

    fn read(yaml: &str) -> (Option<MessageShape>, Vec<Problem>) {
        let node = tidegate_document::yaml::parse(yaml).unwrap();
        let mut problems = Vec::new();
        let mut fields = Fields::new(std::path::Path::new("destinations/raw.yaml"), &node, &mut problems);
        let shape = shape(&mut fields);
        fields.finish();
        (shape, problems)
    }

    #[test]
    fn files_lie_by_source_and_hour_unless_the_file_says_otherwise() {
        let (shape, problems) = read("{}");
        let shape = shape.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((shape.topic.to_string().as_str(), shape.violations_topic), (PATH_DEFAULT, None));
        let (shape, problems) = read("path_template: \"raw/{type}/\"\nviolations: true\n");
        let shape = shape.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            (shape.topic.to_string().as_str(), shape.violations_topic.as_deref()),
            ("raw/{type}", Some("violations"))
        );
    }

    #[test]
    fn a_path_that_is_none_is_told_with_its_line() {
        for (yaml, line, words) in [
            ("path_template: \"/data/{source}\"\n", 1, "without a name"),
            ("violations: true\npath_template: \"../{source}\"\n", 2, "elsewhere"),
            ("path_template: \"_tidegate/{source}\"\n", 1, "ledgers"),
            ("path_template: \"raw/{source\"\n", 1, "not closed"),
        ] {
            let (_, problems) = read(yaml);
            let [problem] = &problems[..] else { panic!("{yaml}: {problems:?}") };
            assert!(problem.line == line && problem.message.contains(words), "{problem:?}");
        }
    }
}
