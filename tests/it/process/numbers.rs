//! Numbers in a workspace: what is out of range is a problem with its line, and what is in range works.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tidegate::config::Workspace as Read;

use super::Running;
use crate::support::Workspace;

/// What a setting is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Size,
    Time,
    Count,
    Rate,
    /// `5000/s`, or a size a second.
    PerSecond,
}
use What::{Count, PerSecond, Rate, Size, Time};

/// Every numeric setting that a workspace without secrets can have: its file, the map it stands in, its name.
const SETTINGS: &[(&str, &str, &str, What)] = &[
    ("tidegate.yaml", "limits", "event_bytes_max", Size),
    ("tidegate.yaml", "limits", "request_bytes_max", Size),
    ("tidegate.yaml", "limits", "inflated_bytes_max", Size),
    ("tidegate.yaml", "limits", "inflate_ratio_max", Count),
    ("tidegate.yaml", "limits", "event_depth_max", Count),
    ("tidegate.yaml", "limits", "event_keys_max", Count),
    ("tidegate.yaml", "limits", "request_events_max", Count),
    ("tidegate.yaml", "limits", "request_expanded_bytes_max", Size),
    ("tidegate.yaml", "limits", "unfinished_bytes_max", Size),
    ("tidegate.yaml", "limits", "wrong_keys_max", Count),
    ("tidegate.yaml", "limits", "requests_address_max", Count),
    ("tidegate.yaml", "limits", "header_timeout", Time),
    ("tidegate.yaml", "limits", "body_timeout", Time),
    ("tidegate.yaml", "limits", "idle_timeout", Time),
    ("tidegate.yaml", "limits", "read_timeout", Time),
    ("tidegate.yaml", "limits", "write_timeout", Time),
    ("tidegate.yaml", "limits", "bytes_a_second_min", Size),
    ("tidegate.yaml", "limits", "connections_max", Count),
    ("tidegate.yaml", "limits", "connections_address_max", Count),
    ("tidegate.yaml", "admin", "wrong_tokens_max", Count),
    ("tidegate.yaml", "log", "segment_bytes", Size),
    ("tidegate.yaml", "log", "pending_bytes_max", Size),
    ("tidegate.yaml", "log", "retention_age", Time),
    ("tidegate.yaml", "log", "retention_bytes", Size),
    ("tidegate.yaml", "log", "hard_cap_bytes", Size),
    ("tidegate.yaml", "log", "partitions", Count),
    ("tidegate.yaml", "dedup", "window", Time),
    ("tidegate.yaml", "dedup", "entries_max", Count),
    ("tidegate.yaml", "quarantine", "age", Time),
    ("tidegate.yaml", "quarantine", "bytes", Size),
    ("sources/web.yaml", "", "rate", PerSecond),
    ("sources/web.yaml", "", "rate_bytes", PerSecond),
    ("sources/web.yaml", "", "rate_burst", Time),
    ("functions/unused.yaml", "", "memory_bytes_max", Size),
    ("functions/unused.yaml", "", "cpu_batch_max", Time),
    ("lookups/unused.yaml", "", "bytes_max", Size),
    ("syncs/web-to-warehouse.yaml", "batch", "events_max", Count),
    ("syncs/web-to-warehouse.yaml", "batch", "bytes_max", Size),
    ("syncs/web-to-warehouse.yaml", "batch", "age_max", Time),
    ("destinations/warehouse.yaml", "", "columns_max", Count),
    ("destinations/warehouse.yaml", "", "tables_max", Count),
    ("destinations/crm.yaml", "limits", "memory_bytes_max", Size),
    ("destinations/crm.yaml", "limits", "cpu_batch_max", Time),
    ("destinations/crm.yaml", "pending", "events_max", Count),
    ("destinations/crm.yaml", "pending", "bytes_max", Size),
    ("destinations/crm.yaml", "retry", "age_max", Time),
    ("destinations/crm.yaml", "retry", "pause_min", Time),
    ("destinations/crm.yaml", "retry", "pause_max", Time),
    ("destinations/crm.yaml", "traffic", "requests_per_second", Rate),
    ("destinations/crm.yaml", "traffic", "requests_at_once_max", Count),
    ("destinations/crm.yaml", "traffic", "timeout", Time),
    ("destinations/crm.yaml", "batch", "events_max", Count),
    ("destinations/crm.yaml", "batch", "bytes_max", Size),
    ("destinations/crm.yaml", "batch", "age_max", Time),
    ("destinations/ch.yaml", "", "timeout", Time),
    ("destinations/pg.yaml", "", "lock_timeout", Time),
    ("destinations/pg.yaml", "", "statement_timeout", Time),
    ("destinations/lake.yaml", "", "file_bytes", Size),
    ("destinations/lake.yaml", "", "merge_files_min", Count),
    ("destinations/lake.yaml", "", "keep", Time),
    ("destinations/lake.yaml", "", "orphan_age", Time),
];

/// The key of the source `web`.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What each file says before a setting is added. A component and a table need only be files here.
const FILES: &[(&str, &str)] = &[
    ("tidegate.yaml", ""),
    ("sources/web.yaml", "kind: http\nwrite_key: 0123456789abcdef0123456789abcdef\n"),
    ("functions/unused.yaml", "component: tidegate.yaml\n"),
    ("lookups/unused.yaml", "kind: table\npath: tidegate.yaml\n"),
    ("syncs/web-to-warehouse.yaml", "source: web\ndestination: warehouse\n"),
    ("destinations/warehouse.yaml", "kind: sqlite\n"),
    ("destinations/crm.yaml", "kind: plugin\n"),
    ("destinations/ch.yaml", "kind: clickhouse\nurl: http://127.0.0.1:1\n"),
    ("destinations/pg.yaml", "kind: postgres\nurl: postgres://tidegate@127.0.0.1:1/tidegate\n"),
    ("destinations/lake.yaml", "kind: lake\nurl: file:///tmp/nowhere\n"),
];

/// Files that a server is started without: nothing of a lake or another server is wanted here, and what they name does not
/// compile.
const NOT_SERVED: [&str; 5] = [
    "destinations/ch.yaml",
    "destinations/pg.yaml",
    "destinations/lake.yaml",
    "functions/unused.yaml",
    "lookups/unused.yaml",
];

/// Writes the files with these settings; answers the line on which the setting of each stands.
fn write(workspace: &Workspace, settings: &[(&str, &str, &str, String)]) {
    for (file, start) in FILES {
        let mut text = (*start).to_owned();
        let own: Vec<_> = settings.iter().filter(|(of, ..)| of == file).collect();
        for (_, _, name, value) in own.iter().filter(|(_, map, ..)| map.is_empty()) {
            text += &format!("{name}: {value}\n");
        }
        let mut maps: Vec<&str> = own.iter().map(|(_, map, ..)| *map).filter(|map| !map.is_empty()).collect();
        maps.sort_unstable();
        maps.dedup();
        for map in maps {
            text += &format!("{map}:\n");
            for (_, _, name, value) in own.iter().filter(|(_, of, ..)| *of == map) {
                text += &format!("  {name}: {value}\n");
            }
        }
        workspace.write(file, &text);
    }
}

fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("1e30".to_owned()),
        Just("1e-300".to_owned()),
        Just("0.5".to_owned()),
        Just(".nan".to_owned()),
        Just(".inf".to_owned()),
        Just("-0.0".to_owned()),
        Just("4294967296".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("9223372036854775808".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("0x7fffffffffffffff".to_owned()),
        Just("9".repeat(400)),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        (0_u32..10_000).prop_map(|n| n.to_string()),
    ];
    let unit = prop::sample::select(vec![
        "", "", " ms", " s", " min", " h", " d", " w", " y", " kB", " MiB", " GiB", " TiB", " PB", " EiB", "%", "/s",
        " MB/s", "\u{202e}",
    ]);
    (number, unit).prop_map(|(number, unit)| format!("{number}{unit}"))
}

#[test]
fn a_number_beyond_its_range_is_a_problem_with_its_line_and_never_a_panic() {
    let workspace = Workspace::new();
    let mut runner = TestRunner::new(Config { cases: 1_500, failure_persistence: None, ..Config::default() });
    let setting = prop::sample::select(SETTINGS);
    let done = runner.run(&(setting, value()), |((file, map, name, what), value)| {
        write(&workspace, &[(file, map, name, value.clone())]);
        let Err(problems) = Read::read(&workspace.path(), None, |_, _| Ok(None)) else { return Ok(()) };
        for problem in &problems {
            prop_assert!(problem.file.ends_with(file), "{what:?} {map}.{name}: {value}: {problem}");
            prop_assert!(problem.line > 0 && problem.message.contains(name), "{map}.{name}: {value}: {problem}");
        }
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_is_beyond_any_sense_is_refused_in_every_setting() {
    let workspace = Workspace::new();
    for (file, map, name, what) in SETTINGS {
        for value in [
            "0",
            "-1",
            "0 s",
            "-5 MiB",
            "1e30",
            "9223372036854775807",
            "18446744073709551616",
            "10 PB",
            ".nan",
            "99999999999999 d",
            "0/s",
            "18446744073709551616/s",
        ] {
            if *name == "merge_files_min" && value == "0" {
                continue;
            }
            write(&workspace, &[(file, map, name, value.to_owned())]);
            let problems = Read::read(&workspace.path(), None, |_, _| Ok(None)).err().unwrap_or_default();
            let named = problems.iter().any(|problem| problem.line > 0 && problem.message.contains(name));
            assert!(named, "{file} {map}.{name} ({what:?}) takes {value}: {problems:?}");
        }
    }
}

/// The largest value that a setting takes, as its problem says.
fn largest(workspace: &Workspace, file: &str, map: &str, name: &str, what: What) -> String {
    match what {
        Time => return "36525 d".to_owned(),
        PerSecond => return format!("{}/s", u64::MAX),
        Size | Count | Rate => {}
    }
    write(workspace, &[(file, map, name, "-1".to_owned())]);
    let problems = Read::read(&workspace.path(), None, |_, _| Ok(None)).unwrap_err();
    let message = &problems[0].message;
    let words: Vec<&str> = message.split_whitespace().collect();
    let at = words.iter().rposition(|word| *word == "to").unwrap();
    words[at + 1..].join(" ")
}

#[test]
fn a_server_whose_numbers_are_all_as_large_as_they_may_be_starts_and_works() {
    let workspace = Workspace::new();
    let mut settings = Vec::new();
    for (file, map, name, what) in SETTINGS {
        // A column limit has one of its own.
        if NOT_SERVED.contains(file) || *name == "columns_max" {
            continue;
        }
        let mut value = largest(&workspace, file, map, name, *what);
        if *name == "segment_bytes" {
            // As much is written at once.
            value = "2 MiB".to_owned();
        }
        if *name == "partitions" {
            // Each has files of that size, and threads.
            value = "2".to_owned();
        }
        if *name == "age_max" && file.starts_with("syncs") {
            value = "1 s".to_owned();
        }
        settings.push((*file, *map, *name, value));
    }
    write(&workspace, &settings);
    workspace.append("syncs/web-to-warehouse.yaml", "");
    for file in NOT_SERVED {
        std::fs::remove_file(workspace.path().join(file)).unwrap();
    }
    let mut server = Running::start(&workspace, &[]);
    server.batch(KEY, &[json!({"type": "page", "messageId": "a"})]);
    server.signal("TERM");
    assert_eq!(server.ends_within(std::time::Duration::from_secs(10)).code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(workspace.warehouse().count("pages"), 1);
}
