//! Reads everything in a data directory, changing nothing, and says what is damaged: `tidegate check --deep`.
//!
//! It works beside a running server (read-only connections, files that are replaced as a whole) and without one.

use std::path::Path;

use tidegate_catalog::CatalogFile;
use tidegate_log as intake;
use tidegate_process::telemetry::with_causes;
use tidegate_registry as store;
use tidegate_sqlite::sqlite_check::{self, Depth};
use tidegate_state as state;
use tidegate_warehouse_sqlite::ledger;

use super::archive::kept;
use super::keeper::{self, CheckedFile};
use super::{data_id, endings, findings, paths, running_report, stream_report, tls_report};
use crate::api::access;
use crate::config::Workspace;

/// One file, or files of one kind.
#[derive(Debug, Clone, Default)]
pub struct InspectedFiles {
    pub file: String,
    /// Its format number, where it has one.
    pub format: Option<String>,
    pub bytes: u64,
    /// What was looked at, in words.
    pub looked_at: String,
    pub damage: Vec<FileDamage>,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDamage {
    pub file: String,
    pub what: String,
    pub follows: String,
    pub remedy: String,
}

/// Looks at every file of the data directory and at every SQLite warehouse; `told` hears what comes next.
#[must_use]
pub fn inspect(workspace: &Workspace, told: &mut dyn FnMut(&str)) -> Vec<InspectedFiles> {
    let data = &workspace.data;
    let mut all = Vec::new();
    told("id");
    all.push(id(&paths::id(data)));
    told("log");
    let log = paths::log(data);
    let partitions = intake::partitions_in(&log).max(1);
    all.extend((0..partitions).map(|partition| log_report(&intake::partition_dir(&log, partition))));
    for partition in 0..partitions {
        let dir = paths::dedup(data, partition);
        told(&dir.display().to_string());
        all.push(dedup_index(&dir));
    }
    for CheckedFile { path, is_state } in keeper::sqlite_files(workspace) {
        told(&path.display().to_string());
        all.push(if is_state { state_file(&path) } else { warehouse(&path) });
    }
    all.push(store_files(&paths::store(data), told));
    told("catalog.db");
    all.push(catalog_file(&paths::catalog(data)));
    told("admin.json");
    all.push(admin(&paths::admin(data)));
    all.push(report(&paths::running(data)));
    all.push(endings_file(&paths::endings(data)));
    all.push(streams_file(&paths::streams(data)));
    all.push(tls_file(&paths::tls(data)));
    all.push(archive_file(&paths::archive(data)));
    let kept = findings::read(&paths::findings(data));
    if !kept.is_empty() {
        let of = |found: findings::Finding| FileDamage {
            file: found.file,
            what: format!("the last check in the background said: {}", found.what),
            follows: found.follows,
            remedy: found.remedy,
        };
        let path = paths::findings(data);
        let damage = kept.into_iter().map(of).collect();
        let looked_at = "what the server found".to_owned();
        all.push(InspectedFiles { damage, looked_at, format: Some("1".to_owned()), ..seen(&path) });
    }
    all
}

/// What is known of any file.
fn seen(path: &Path) -> InspectedFiles {
    InspectedFiles {
        file: path.display().to_string(),
        bytes: path.metadata().map_or(0, |found| found.len()),
        ..InspectedFiles::default()
    }
}

/// Of a file that is not there.
fn absent(path: &Path) -> InspectedFiles {
    InspectedFiles { looked_at: "not there".to_owned(), ..seen(path) }
}

fn id(path: &Path) -> InspectedFiles {
    match data_id::read(path) {
        Ok(None) => absent(path),
        Ok(Some(identity)) => InspectedFiles {
            format: Some(data_id::FORMAT.to_string()),
            looked_at: format!("generation {}", identity.generation),
            ..seen(path)
        },
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "an older copy of state.db would not be told from the right one at the next start".to_owned(),
                remedy: "start the server: it makes the file anew from state.db".to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}

/// What runs.
fn report(path: &Path) -> InspectedFiles {
    match running_report::read(path) {
        Ok(None) => absent(path),
        Ok(Some(found)) => InspectedFiles {
            format: Some(running_report::FORMAT.to_string()),
            looked_at: format!("revision {}, {} objects", found.revision, found.objects.len()),
            ..seen(path)
        },
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "`tidegate status` does not say which revision runs and which files differ".to_owned(),
                remedy: "none is needed: a reload and the next start of the server write the file anew".to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}

/// What the archive of the log has.
fn archive_file(path: &Path) -> InspectedFiles {
    match kept::read(path) {
        Ok(None) => absent(path),
        Ok(Some(found)) => {
            let segments: usize = found.partitions.values().map(|part| part.segments.len()).sum();
            InspectedFiles {
                format: Some(kept::FORMAT.to_string()),
                looked_at: format!("{segments} segments in {}", found.place),
                ..seen(path)
            }
        }
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "what the archive of the log has is not known until it is asked".to_owned(),
                remedy: "start the server: it reads the records of the archive and writes the file anew".to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}

/// How the streams are that sources read.
fn streams_file(path: &Path) -> InspectedFiles {
    match stream_report::read(path) {
        Ok(None) => absent(path),
        Ok(Some(found)) => InspectedFiles {
            format: Some(stream_report::FORMAT.to_string()),
            looked_at: format!("{} streams", found.streams.len()),
            ..seen(path)
        },
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "`tidegate status` does not say how streams are".to_owned(),
                remedy: "none is needed: a server that runs writes the file anew".to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}

/// How the ports speak TLS.
fn tls_file(path: &Path) -> InspectedFiles {
    match tls_report::read(path) {
        Ok(None) => absent(path),
        Ok(Some(found)) => InspectedFiles {
            format: Some(tls_report::FORMAT.to_string()),
            looked_at: format!("{} ports", found.ports.len()),
            ..seen(path)
        },
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "`tidegate status` does not say how the ports speak TLS".to_owned(),
                remedy: "none is needed: the next start of the server writes the file anew".to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}

/// What syncs need that drain.
fn endings_file(path: &Path) -> InspectedFiles {
    match endings::read(path) {
        Ok(kept) if kept.is_empty() => absent(path),
        Ok(kept) => InspectedFiles {
            format: Some(endings::FORMAT.to_string()),
            looked_at: format!("{} syncs that drain", kept.len()),
            ..seen(path)
        },
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "the server does not start, for it does not know what the syncs need that drain".to_owned(),
                remedy: "put a backup of it back; or remove it, and what waits for them is given up and counted"
                    .to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}

/// Every mark of the dedup index.
fn dedup_index(dir: &Path) -> InspectedFiles {
    let damage_of = |path: &Path, what: String| FileDamage {
        file: path.display().to_string(),
        what,
        follows: "nothing is lost: the ids are read from the log again, as far as that goes back".to_owned(),
        remedy: "none is needed; the server does so when it reads the damaged place, or at its next start".to_owned(),
    };
    match tidegate_dedup::verify(dir) {
        Ok(None) => absent(dir),
        Ok(Some(found)) => InspectedFiles {
            format: Some("1".to_owned()),
            bytes: found.bytes,
            looked_at: format!("{} ids in {} runs", found.marks, found.runs),
            damage: found.damage.into_iter().map(|(path, what)| damage_of(&path, what)).collect(),
            ..seen(dir)
        },
        Err(error) => {
            let damage = FileDamage {
                follows: "the server does not start".to_owned(),
                remedy: "do what the message says; without this directory the ids are read from the log".to_owned(),
                ..damage_of(dir, with_causes(&error))
            };
            InspectedFiles { damage: vec![damage], ..seen(dir) }
        }
    }
}

/// The whole log: frames, marks, the chain of segments, the manifest.
fn log_report(dir: &Path) -> InspectedFiles {
    let file = dir.display().to_string();
    let of = |what: String, follows: &str| FileDamage {
        file: file.clone(),
        what,
        follows: follows.to_owned(),
        remedy: "put a backup of the file back while the server is stopped, or go on without them".to_owned(),
    };
    let report = match intake::verify(dir) {
        _ if !dir.exists() => return absent(dir),
        Err(error) => {
            let damage = vec![of(with_causes(&error), "the server does not start")];
            return InspectedFiles { file: dir.display().to_string(), damage, ..InspectedFiles::default() };
        }
        Ok(report) => report,
    };
    let follows =
        "these records were accepted and cannot be read; quarantine names their offsets, everything else goes on";
    let ranges = report.damaged.iter().map(|damage| {
        let (first, next) = (damage.missing.start, damage.missing.end);
        let what = format!(
            "segment {}, byte {}: {} bytes are damaged, offsets {first} to before {next}",
            damage.segment, damage.position, damage.length
        );
        of(what, follows)
    });
    let errors = report.notes.iter().filter(|note| note.severity == intake::Severity::Error);
    let damage = ranges.chain(errors.map(|note| of(note.text.clone(), "the line says"))).collect();
    let notes = report.notes.iter().filter(|note| note.severity < intake::Severity::Error);
    let notes: String = notes.map(|note| format!("; {}", note.text)).collect();
    let looked_at = format!(
        "{} segments, {} records, offsets {} to before {}{notes}",
        report.segments, report.records, report.oldest, report.end
    );
    InspectedFiles {
        file: dir.display().to_string(),
        format: Some("2".to_owned()),
        bytes: report.bytes,
        looked_at,
        damage,
    }
}

fn state_file(path: &Path) -> InspectedFiles {
    let of = |what: String| {
        let findings::Finding { file, what, follows, remedy } = findings::of_state(path, what);
        FileDamage { file, what, follows, remedy }
    };
    match state::verify(path, Depth::Full) {
        Err(state::StateError::Absent { .. }) => absent(path),
        Err(error) => InspectedFiles { damage: vec![of(with_causes(&error))], ..seen(path) },
        Ok(found) => {
            let rows = found
                .damaged
                .iter()
                .map(|row| of(format!("table {}: {}: its checksum is wrong", row.table, row.which)));
            let damage = found.damage.iter().cloned().map(of).chain(rows).collect();
            let looked_at = format!("structure, indexes, {} checksums", found.rows);
            InspectedFiles { format: found.format.map(|format| format.to_string()), looked_at, damage, ..seen(path) }
        }
    }
}

fn warehouse(path: &Path) -> InspectedFiles {
    if !path.exists() {
        return absent(path);
    }
    let of = |what: String| {
        let findings::Finding { file, what, follows, remedy } = findings::of_warehouse(path, what);
        FileDamage { file, what, follows, remedy }
    };
    let mut damage: Vec<FileDamage> = match sqlite_check::check(path, Depth::Full) {
        Ok(damage) => damage.into_iter().map(of).collect(),
        Err(error) => vec![of(with_causes(&error))],
    };
    let mut format = None;
    if damage.is_empty() {
        let read = sqlite_check::open(path).and_then(|connection| {
            format = ledger::format(&connection)?;
            ledger::damaged(&connection)
        });
        match read {
            Ok(syncs) => damage
                .extend(syncs.iter().map(|sync| of(format!("the ledger's row of sync {sync} is not what was stored")))),
            Err(error) => damage.push(of(with_causes(&error))),
        }
        if let Some(found) = format.filter(|found| *found > ledger::FORMAT) {
            damage
                .push(of(format!("the ledger is of format {found}, and this build supports up to {}", ledger::FORMAT)));
        }
    }
    let format = format.map(|format| format.max(1).to_string());
    InspectedFiles { format, looked_at: "structure, indexes, ledger".to_owned(), damage, ..seen(path) }
}

fn store_files(dir: &Path, told: &mut dyn FnMut(&str)) -> InspectedFiles {
    if !dir.exists() {
        return absent(dir);
    }
    let mut bytes = 0;
    let read = store::verify(dir, &mut |path| {
        bytes += path.metadata().map_or(0, |found| found.len());
        told(&path.display().to_string());
    });
    let file = dir.display().to_string();
    match read {
        Ok((files, found)) => {
            let of = |found: store::VersionDamage| FileDamage {
                file: found.path.display().to_string(),
                what: found.what,
                follows: found.follows,
                remedy: found.remedy,
            };
            let damage = found.into_iter().map(of).collect();
            let looked_at = format!("{files} files: hashes, metadata, seals");
            InspectedFiles { file, format: Some("1".to_owned()), bytes, looked_at, damage }
        }
        Err(error) => {
            let damage = FileDamage {
                file: file.clone(),
                what: with_causes(&error),
                follows: "uploaded functions and destinations cannot be loaded".to_owned(),
                remedy: "let the process read the folder".to_owned(),
            };
            InspectedFiles { file, damage: vec![damage], ..InspectedFiles::default() }
        }
    }
}

/// Structure and indexes; whether its audit log is as it was written, `tidegate audit verify` asks the server, which has the key.
fn catalog_file(path: &Path) -> InspectedFiles {
    if !path.exists() {
        return absent(path);
    }
    let of = |what: String| FileDamage {
        file: path.display().to_string(),
        what,
        follows: "the server does not start; what is accepted and waits is kept".to_owned(),
        remedy: "put a backup of it back".to_owned(),
    };
    let mut damage: Vec<FileDamage> = match sqlite_check::check(path, Depth::Full) {
        Ok(damage) => damage.into_iter().map(of).collect(),
        Err(error) => vec![of(with_causes(&error))],
    };
    let mut format = None;
    if damage.is_empty() {
        match CatalogFile::read(path) {
            Ok(found) => format = found.map(|found| found.migrations.to_string()),
            Err(error) => damage.push(of(with_causes(&error))),
        }
    }
    InspectedFiles { format, looked_at: "structure, indexes".to_owned(), damage, ..seen(path) }
}

fn admin(path: &Path) -> InspectedFiles {
    if !path.exists() {
        return absent(path);
    }
    match access::verify(path) {
        Ok(()) => InspectedFiles {
            format: Some(access::FORMAT.to_string()),
            looked_at: "the hash of the admin token".to_owned(),
            ..seen(path)
        },
        Err(error) => {
            let damage = FileDamage {
                file: path.display().to_string(),
                what: error.to_string(),
                follows: "the admin API lets nobody in; events are accepted and delivered".to_owned(),
                remedy: "`tidegate admin token --reset` makes another token".to_owned(),
            };
            InspectedFiles { damage: vec![damage], ..seen(path) }
        }
    }
}
