//! What is shown, as lines of text that are no wider than they may be.

use super::numbers::{TopAlert, TopDestination, TopFunction, TopKey, TopNumbers, TopSource, TopSync};
use crate::cli::style;

/// Nothing is drawn for less.
pub(super) const COLUMNS_MIN: usize = 60;
/// A name has at least so many columns: further numbers are left out instead.
const NAME_MIN: usize = 16;
const NAME_MAX: usize = 48;
/// A number and the space before it.
const CELL: usize = 10;

/// How much room there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopRoom {
    pub(super) columns: usize,
    /// Rows of a table; the rest is counted.
    pub(super) rows: usize,
}

/// Something that is shown row by row; the most important numbers stand first.
struct TopTable {
    title: &'static str,
    columns: &'static [&'static str],
    rows: Vec<TopRow>,
}

struct TopRow {
    name: String,
    cells: Vec<String>,
    /// Something is wrong there, and perhaps what.
    is_bad: bool,
    why: Option<String>,
}

/// The lines; `outage` says why they are old.
pub(super) fn lines(numbers: &TopNumbers, outage: Option<&str>, room: TopRoom) -> Vec<String> {
    let mut lines = head(numbers, room.columns);
    if let Some(outage) = outage {
        lines.push(style::bad(&cut(outage, room.columns)));
    }
    lines.extend(alerts(&numbers.alerts, room));
    let tables = [
        sources(&numbers.sources),
        syncs(&numbers.syncs),
        functions(&numbers.functions),
        destinations(&numbers.destinations),
        keys(&numbers.write_keys),
    ];
    for table in tables.into_iter().filter(|table| !table.rows.is_empty()) {
        lines.push(String::new());
        lines.extend(table.lines(room));
    }
    if !numbers.not_seen.is_empty() {
        lines.push(String::new());
        lines.extend(numbers.not_seen.iter().map(|sentence| cut(&format!("not shown: {sentence}"), room.columns)));
    }
    lines
}

fn head(numbers: &TopNumbers, columns: usize) -> Vec<String> {
    let TopNumbers { server, environment, at, seconds, .. } = numbers;
    let over = seconds.map(|seconds| format!(", over {}", length(seconds))).unwrap_or_default();
    // The day and the second are enough.
    let at = at.get(..19).unwrap_or(at).replace('T', " ");
    let first = format!("tidegate top {server} {environment} at {at} UTC{over}");
    let mut parts = vec![
        format!("in {}/s", rate(numbers.in_a_second)),
        format!("out {}/s", rate(numbers.out_a_second)),
        format!("waiting {}", style::count(numbers.waiting)),
        format!("pending {}", style::count(numbers.pending)),
    ];
    if let Some(entries) = numbers.quarantine {
        parts.push(format!("quarantine {}", style::count(entries)));
    }
    if let Some(disk) = &numbers.disk {
        let percent = disk.free_bytes.saturating_mul(100) / disk.bytes.max(1);
        parts.push(format!("disk {} free ({percent} %)", size(disk.free_bytes)));
        parts.extend(disk.log_bytes.map(|bytes| format!("log {}", size(bytes))));
    }
    let mut lines = vec![style::bold(&cut(&first, columns))];
    lines.extend(wrapped(&parts, columns));
    lines
}

/// Parts of a line, on as many lines as it takes.
fn wrapped(parts: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut().filter(|line| line.chars().count() + 3 + part.chars().count() <= columns) {
            Some(line) => {
                line.push_str("   ");
                line.push_str(part);
            }
            None => lines.push(cut(part, columns)),
        }
    }
    lines
}

fn alerts(alerts: &[TopAlert], room: TopRoom) -> Vec<String> {
    if alerts.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), style::bad(&format!("{} firing", alerts.len()))];
    for TopAlert { alert, severity, muted, object, since, text } in alerts.iter().take(room.rows) {
        let muted = if *muted { " (muted)" } else { "" };
        let since = since.get(..19).unwrap_or(since).replace('T', " ");
        lines.push(cut(&format!("  {severity} {alert}{muted}: {object} since {since}: {text}"), room.columns));
    }
    lines.extend(more(alerts.len(), room.rows));
    lines
}

fn more(all: usize, rows: usize) -> Option<String> {
    (all > rows).then(|| format!("  and {} more", all - rows))
}

impl TopTable {
    fn lines(&self, room: TopRoom) -> Vec<String> {
        let columns = room.columns.max(COLUMNS_MIN);
        // As many numbers as there is room for.
        let shown = self.columns.len().min(columns.saturating_sub(NAME_MIN) / CELL);
        let longest = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let name = longest.max(self.title.len()).min(NAME_MAX).min(columns - shown * CELL).max(NAME_MIN);
        let mut header = format!("{:<name$}", self.title);
        for column in &self.columns[..shown] {
            header.push_str(&format!("{column:>CELL$}"));
        }
        let mut lines = vec![style::bold(&header)];
        for row in self.rows.iter().take(room.rows) {
            let mut line = format!("{:<name$}", cut(&row.name, name));
            for cell in row.cells.iter().take(shown) {
                line.push_str(&format!("{:>CELL$}", cut(cell, CELL - 1)));
            }
            lines.push(if row.is_bad { style::bad(&line) } else { line });
            lines.extend(row.why.as_ref().map(|why| cut(&format!("    {why}"), columns)));
        }
        lines.extend(more(self.rows.len(), room.rows));
        lines
    }
}

fn sources(sources: &[TopSource]) -> TopTable {
    let row = |TopSource { source, totals, a_second, .. }: &TopSource| TopRow {
        name: source.clone(),
        cells: vec![
            rate(a_second.accepted),
            rate(a_second.quarantined),
            rate(a_second.duplicates),
            rate(a_second.dropped),
            style::count(totals.accepted),
            style::count(totals.quarantined),
            rate(a_second.suppressed),
        ],
        is_bad: false,
        why: None,
    };
    let columns = &["in/s", "quar/s", "dup/s", "drop/s", "in", "quar", "suppr/s"];
    TopTable { title: "SOURCES", columns, rows: sources.iter().map(row).collect() }
}

fn syncs(syncs: &[TopSync]) -> TopTable {
    let row = |sync: &TopSync| TopRow {
        name: sync.sync.clone(),
        cells: vec![
            rate(sync.a_second.delivered),
            style::count(sync.waiting),
            length(sync.behind_seconds),
            sync.fresh_seconds.map_or_else(none, length),
            style::count(sync.pending),
            style::count(sync.totals.delivered),
            rate(sync.a_second.quarantined),
            rate(sync.a_second.filtered),
        ],
        is_bad: sync.failing,
        why: sync.failing.then(|| sync.failure.clone().unwrap_or_else(|| "it fails, and tries again".to_owned())),
    };
    let columns = &["out/s", "waiting", "behind", "fresh", "pending", "out", "quar/s", "filter/s"];
    TopTable { title: "SYNCS", columns, rows: syncs.iter().map(row).collect() }
}

fn functions(functions: &[TopFunction]) -> TopTable {
    let row = |function: &TopFunction| TopRow {
        name: function.function.clone(),
        cells: vec![
            rate(function.events_a_second),
            function.cpu_us.map_or_else(none, |us| format!("{us:.1} us")),
            rate(function.errors_a_second),
            style::count(function.errors),
            function.p50_seconds.map_or_else(none, length),
            function.p99_seconds.map_or_else(none, length),
            rate(function.dropped_a_second),
            style::count(function.events),
        ],
        is_bad: function.stopped,
        why: function.stopped.then(|| "its live version is stopped".to_owned()),
    };
    let columns = &["events/s", "CPU/event", "err/s", "errors", "p50", "p99", "drop/s", "events"];
    TopTable { title: "FUNCTIONS", columns, rows: functions.iter().map(row).collect() }
}

fn destinations(destinations: &[TopDestination]) -> TopTable {
    let row = |destination: &TopDestination| TopRow {
        name: destination.destination.clone(),
        cells: vec![
            rate(destination.answers_a_second),
            rate(destination.errors_a_second),
            style::count(destination.errors),
            rate(destination.retries_a_second),
            style::count(destination.answers),
        ],
        is_bad: destination.errors_a_second.is_some_and(|errors| errors > 0.0),
        why: None,
    };
    let columns = &["answers/s", "err/s", "errors", "retries/s", "answers"];
    TopTable { title: "DESTINATIONS", columns, rows: destinations.iter().map(row).collect() }
}

fn keys(keys: &[TopKey]) -> TopTable {
    let row = |key: &TopKey| TopRow {
        name: format!("{}/{}", key.source, key.name),
        cells: vec![rate(key.events_a_second), style::count(key.events)],
        is_bad: false,
        why: None,
    };
    TopTable { title: "WRITE KEYS", columns: &["events/s", "events"], rows: keys.iter().map(row).collect() }
}

fn none() -> String {
    "-".to_owned()
}

/// Events a second: a few of them with a digit behind the point.
fn rate(number: Option<f64>) -> String {
    match number {
        None => none(),
        Some(number) if number < 99.95 => format!("{number:.1}"),
        Some(number) if number < 9_999_999.5 => style::count(number.round() as u64),
        Some(number) => format!("{:.1} M", number / 1e6),
    }
}

/// Seconds in the unit that fits.
fn length(seconds: f64) -> String {
    match seconds {
        ..0.0005 => "0 s".to_owned(),
        0.0005..0.00995 => format!("{:.1} ms", seconds * 1e3),
        0.00995..0.9995 => format!("{:.0} ms", seconds * 1e3),
        0.9995..9.95 => format!("{seconds:.1} s"),
        9.95..119.5 => format!("{seconds:.0} s"),
        119.5..7_200.0 => format!("{:.0} min", seconds / 60.0),
        7_200.0..172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

fn size(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(scale, _)| bytes >= *scale) {
        None => format!("{bytes} bytes"),
        Some((scale, unit)) => format!("{:.1} {unit}", bytes as f64 / scale as f64),
    }
}

/// Text from outside on one line of so many columns.
fn cut(text: &str, columns: usize) -> String {
    let plain = style::plain(text, columns);
    if plain.chars().count() <= columns {
        return plain;
    }
    plain.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{TopDisk, TopRates};
    use super::*;
    use crate::cli::out;

    /// As the terminal gets it, without our own styles.
    fn bare(line: &str) -> String {
        let shown = out::of_terminal(line);
        let mut pieces = shown.split("\u{1b}[");
        let first = pieces.next().unwrap_or_default().to_owned();
        first + &pieces.filter_map(|piece| Some(piece.split_once('m')?.1)).collect::<String>()
    }

    fn numbers() -> TopNumbers {
        let sync = |name: &str, failing: bool| TopSync {
            sync: name.to_owned(),
            a_second: TopRates { delivered: Some(1_234.5), ..TopRates::default() },
            waiting: 1_000_000,
            behind_seconds: 90.0,
            fresh_seconds: Some(2.5),
            failing,
            failure: failing.then(|| "the far side says \u{1b}[31m503".to_owned()),
            ..TopSync::default()
        };
        TopNumbers {
            server: "http://127.0.0.1:8089".to_owned(),
            environment: "default".to_owned(),
            at: "2026-01-01T00:00:12.000000Z".to_owned(),
            seconds: Some(2.0),
            in_a_second: Some(20_000.0),
            disk: Some(TopDisk { free_bytes: 5 << 30, bytes: 10 << 30, log_bytes: Some(3 << 20) }),
            syncs: vec![sync("web-to-warehouse", true), sync(&"x".repeat(63), false)],
            alerts: vec![TopAlert { alert: "late".to_owned(), object: "sync crm".to_owned(), ..TopAlert::default() }],
            not_seen: vec!["write keys are for admins".to_owned()],
            ..TopNumbers::default()
        }
    }

    #[test]
    fn no_line_is_wider_than_there_is_room_for() {
        for columns in [60, 61, 79, 80, 120, 200] {
            for line in lines(&numbers(), Some(&"out ".repeat(100)), TopRoom { columns, rows: 20 }) {
                let line = bare(&line);
                assert!(line.chars().count() <= columns, "{columns}: {line}");
                assert!(!line.contains('\u{1b}'), "{line}");
            }
        }
    }

    #[test]
    fn narrow_tables_keep_what_matters_most() {
        let wide = lines(&numbers(), None, TopRoom { columns: 160, rows: 1 }).join("\n");
        for part in [
            "in 20,000/s",
            "disk 5.0 GiB free (50 %)",
            "log 3.0 MiB",
            "1 firing",
            "late: sync crm",
            "filter/s",
            "1,235",
            "2.5 s",
            "90 s",
            "and 1 more",
            "503",
            "not shown: write keys",
            "over 2.0 s",
        ] {
            assert!(wide.contains(part), "{part} in {wide}");
        }
        let narrow = lines(&numbers(), None, TopRoom { columns: 60, rows: 5 }).join("\n");
        assert!(narrow.contains("out/s") && narrow.contains("fresh") && !narrow.contains("filter/s"), "{narrow}");
    }

    #[test]
    fn numbers_are_short() {
        let rates = [None, Some(0.0), Some(1.26), Some(99.96), Some(12_345.6), Some(2e7)].map(rate);
        assert_eq!(rates, ["-", "0.0", "1.3", "100", "12,346", "20.0 M"]);
        let lengths = [0.0, 0.0025, 0.01, 0.25, 2.5, 90.0, 600.0, 7_200.0, 1e6].map(length);
        assert_eq!(lengths, ["0 s", "2.5 ms", "10 ms", "250 ms", "2.5 s", "90 s", "10 min", "2 h", "12 d"]);
    }
}
