//! Whether somebody still stands anywhere in the data directory: every file is read, and nothing of the question is kept.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use axum::extract::State;
use parking_lot::Mutex;
use serde_json::json;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::privacy::{ForgottenVerified, FoundMarker, VerifyForgotten};
use tidegate_event::subject::count_texts;
use tidegate_state::ClearSubject;

use super::clear_subjects;
use crate::api::extract::{Json, Query, blocking};
use crate::api::refusal::ApiRefusal;
use crate::api::v1::asker::{OfApi, Requester};

/// Files that an answer names.
const NAMED_MAX: usize = 1_000;
/// Folders within one another.
const DEPTH_MAX: usize = 32;

/// Looks for subjects in every file of the data directory, as they are and as JSON spells them. What is compressed or hashed is not seen.
#[utoipa::path(post, path = path::PRIVACY_VERIFY, tag = "privacy", operation_id = "verify_forgotten",
    params(WorkspaceQuery), request_body = VerifyForgotten,
    responses((status = 200, body = ForgottenVerified), ApiRefusal))]
pub(in crate::api::v1) async fn verify(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<VerifyForgotten>,
) -> Result<axum::Json<ForgottenVerified>, ApiRefusal> {
    let (workspace, engine) = shared.engine_of_privacy(&asker, query.workspace.as_deref())?;
    let subjects = clear_subjects(&order.subjects)?;
    shared.note_done(&asker, &workspace, ("privacy_verified", json!({ "subjects": subjects.len() }))).await?;
    let texts = clear_texts(&subjects);
    let archive = engine.archive.as_ref().map(|look| look(texts));
    let mut verified = blocking(move || verified(&engine.data, &subjects)).await?;
    if let Some(looking) = archive {
        match looking.await {
            Ok(ForgottenVerified { files, bytes, found, left_out }) => {
                verified.files += files;
                verified.bytes += bytes;
                verified.found.extend(found);
                verified.found.truncate(NAMED_MAX);
                verified.left_out.extend(left_out);
            }
            Err(error) => verified.left_out.push(format!("the archive of the log: {error}")),
        }
    }
    Ok(axum::Json(verified))
}

/// What is looked for: digests are known of some, and their values of nobody.
fn clear_texts(subjects: &[ClearSubject]) -> Vec<String> {
    let clear = subjects.iter().filter(|subject| !subject.is_hashed());
    clear.map(|subject| subject.value.trim().to_owned()).collect()
}

fn verified(data: &Path, subjects: &[ClearSubject]) -> ForgottenVerified {
    let mut verified = ForgottenVerified::default();
    let hashed = subjects.iter().filter(|subject| subject.is_hashed()).count();
    if hashed > 0 {
        verified.left_out.push(format!("{hashed} subjects whose values are only known as digests"));
    }
    look_into(data, (data, 0), &clear_texts(subjects), &mut verified);
    verified
}

/// Files of SQLite that were read, by device and number: they stay open.
///
/// Closing one would take away all locks that this process has on the file, those of its connections too. The next program that looks at the
/// database would then take it for one that nobody uses, and remove the write-ahead log under the server
/// (<https://sqlite.org/howtocorrupt.html>, 2.2).
static KEPT_OPEN: Mutex<BTreeMap<(u64, u64), File>> = Mutex::new(BTreeMap::new());

const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// How often the texts stand in a file.
fn counted(path: &Path, meta: &Metadata, texts: &[String]) -> io::Result<u64> {
    let number = (meta.dev(), meta.ino());
    let mut kept = KEPT_OPEN.lock();
    if let Some(mut file) = kept.get(&number) {
        file.rewind()?;
        return count_texts(&mut file, texts);
    }
    let file = File::open(path)?;
    let is_beside = ["-wal", "-shm"].iter().any(|end| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes()));
    let mut header = [0; SQLITE_HEADER.len()];
    let is_database = is_beside || (file.read_exact_at(&mut header, 0).is_ok() && header == *SQLITE_HEADER);
    if is_database {
        let mut file: &File = kept.entry(number).or_insert(file);
        return count_texts(&mut file, texts);
    }
    drop(kept);
    count_texts(&mut &file, texts)
}

/// Reads everything below `folder`, which is so deep below `data`.
fn look_into(data: &Path, (folder, depth): (&Path, usize), texts: &[String], verified: &mut ForgottenVerified) {
    let shown = |path: &Path| path.strip_prefix(data).unwrap_or(path).display().to_string();
    let Ok(entries) = std::fs::read_dir(folder) else {
        verified.left_out.push(format!("{}: it could not be read", shown(folder)));
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    for path in paths {
        // What a link leads to is not of this directory; what is gone meanwhile is nowhere.
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() && depth < DEPTH_MAX {
            look_into(data, (&path, depth + 1), texts, verified);
        }
        if !meta.is_file() {
            continue;
        }
        let counted = counted(&path, &meta, texts);
        verified.files += 1;
        verified.bytes += meta.len();
        match counted {
            Ok(0) => {}
            Ok(count) if verified.found.len() < NAMED_MAX => {
                verified.found.push(FoundMarker { file: shown(&path), count });
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => verified.left_out.push(format!("{}: {error}", shown(&path))),
        }
    }
}
