//! What functions used, said and were: charges, logs, function chains.

use std::ops::Range;

use rusqlite::params;
use tidegate_event::{Position, partition_of};

use super::{EndedRetry, Quarantined, State, StateError, TransformedRange, position, signed, sum, unsigned};

/// Runs with log lines that are kept of each function.
const RUNS_KEPT: u64 = 500;

/// What one version used, for one batch or since it was first seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charge {
    pub function: String,
    pub version: String,
    pub batches: u64,
    pub calls: u64,
    /// Calls that ended without an answer: traps, limits, miscounts.
    pub calls_failed: u64,
    pub events: u64,
    pub errors: u64,
    /// Events that it refused on purpose.
    pub failed: u64,
    pub dropped: u64,
    pub cpu_us: u64,
    pub memory_peak_bytes: u64,
    /// The last error, in words.
    pub error: Option<String>,
}

impl Charge {
    /// Adds what the same version used for other events of the batch.
    pub fn add(&mut self, other: Self) {
        self.batches += other.batches;
        self.calls += other.calls;
        self.calls_failed += other.calls_failed;
        self.events += other.events;
        self.errors += other.errors;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.cpu_us += other.cpu_us;
        self.memory_peak_bytes = self.memory_peak_bytes.max(other.memory_peak_bytes);
        self.error = other.error.or(self.error.take());
    }

    /// Whether most of its events came to nothing: faulted, or were refused on purpose.
    #[must_use]
    pub const fn fails_most(&self) -> bool {
        (self.errors + self.failed) * 2 > self.events
    }
}

/// Log lines of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedRun {
    pub function: String,
    pub version: String,
    /// When the first event of the batch was taken, microseconds since the epoch.
    pub at_us: i64,
    pub positions: Range<Position>,
    /// Of the events that were in the batch.
    pub message_ids: Vec<String>,
    /// Level and text.
    pub lines: Vec<(&'static str, String)>,
    pub lines_dropped: u64,
}

/// One log line, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionLog {
    pub version: String,
    pub at_us: i64,
    pub positions: Range<Position>,
    pub level: String,
    pub text: String,
}

/// A candidate beside the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub live: String,
    pub candidate: String,
    /// Events.
    pub same: u64,
    pub different: u64,
    /// The latest differences: `{messageId: [sentence, ...]}`.
    pub samples_json: String,
}

/// Which log lines to find.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// A `messageId`: lines of batches that it was in.
    pub event: Option<String>,
    /// Part of a line.
    pub text: Option<String>,
    /// `debug`, `info`, `warn` or `error`: this loud or louder.
    pub level_min: Option<String>,
    /// The newest so many.
    pub lines_max: u64,
}

/// What the functions of one source did with one log range.
#[derive(Debug, Default)]
pub struct Transformed<'a> {
    pub source: &'a str,
    /// Everything below is done.
    pub to: u64,
    pub quarantined: &'a [Quarantined],
    /// Retried events of which nothing goes on.
    pub ended_retries: &'a [EndedRetry],
    /// Names and deltas of counters of the source.
    pub counts: &'a [(String, u64)],
    pub charges: &'a [Charge],
    pub logs: &'a [LoggedRun],
    /// A function chain that took over: from which offset on, and its key.
    pub function_chain: Option<(u64, &'a str)>,
    /// What became of the events of the log range.
    pub fates: Option<&'a TransformedRange>,
}

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS transformed (
        source TEXT PRIMARY KEY, log_offset INTEGER NOT NULL, sum INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS lineups (
        source TEXT NOT NULL, log_offset INTEGER NOT NULL, lineup TEXT NOT NULL, sum INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (source, log_offset)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS charges (
        function TEXT NOT NULL, version TEXT NOT NULL, batches INTEGER NOT NULL, calls INTEGER NOT NULL,
        calls_failed INTEGER NOT NULL, events INTEGER NOT NULL, faults INTEGER NOT NULL, failed INTEGER NOT NULL,
        dropped INTEGER NOT NULL, cpu_us INTEGER NOT NULL, memory_peak_bytes INTEGER NOT NULL, fault TEXT,
        stopped TEXT, PRIMARY KEY (function, version)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS function_runs (
        id INTEGER PRIMARY KEY, function TEXT NOT NULL, version TEXT NOT NULL, at_us INTEGER NOT NULL,
        first_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL, message_ids TEXT NOT NULL, lines TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS function_runs_by_function ON function_runs (function, id);
    CREATE TABLE IF NOT EXISTS comparisons (
        function TEXT NOT NULL, live TEXT NOT NULL, rival TEXT NOT NULL, same INTEGER NOT NULL,
        different INTEGER NOT NULL, samples TEXT NOT NULL, PRIMARY KEY (function, live, rival)
    ) WITHOUT ROWID;
";

/// Before the name of a destination among those of functions, which have no slash.
const DESTINATION: &str = "destinations/";

const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

impl State {
    /// How far each source's functions have come, and which function chain took over where, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    #[expect(clippy::type_complexity, reason = "two plain lists, read once at start")]
    pub fn function_chains(&self) -> Result<(Vec<(String, u64)>, Vec<(String, u64, String)>), StateError> {
        let read = || -> rusqlite::Result<(Vec<_>, Vec<_>)> {
            let mut find = self.connection.prepare("SELECT source, log_offset, sum FROM transformed")?;
            let cursors = find.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?), row.get(2)?)))?;
            let cursors: Vec<(String, u64, i64)> = cursors.collect::<Result<_, _>>()?;
            let sql = "SELECT source, log_offset, lineup, sum FROM lineups ORDER BY source, log_offset";
            let mut find = self.connection.prepare(sql)?;
            let rows = find.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?), row.get(2)?, row.get(3)?)))?;
            let function_chains: Vec<(String, u64, String, i64)> = rows.collect::<Result<_, _>>()?;
            Ok((cursors, function_chains))
        };
        let (cursors, function_chains) = read().map_err(self.err("could not read the function chains"))?;
        let right = cursors.iter().all(|(source, to, sum)| sum::named(source, *to).value() == *sum)
            && function_chains
                .iter()
                .all(|(source, from, key, sum)| sum::named(source, *from).text(key).value() == *sum);
        if !right {
            return Err(self.damaged("which functions the events of a source went through is not what was stored"));
        }
        // The name, when it is of this partition.
        let own = |key: &str| {
            let (source, partition) = partition_of(key);
            (partition == self.partition).then(|| source.to_owned())
        };
        let cursors = cursors.into_iter().filter_map(|(key, to, _)| Some((own(&key)?, to))).collect();
        let function_chains = function_chains
            .into_iter()
            .filter_map(|(key, from, chain, _)| Some((own(&key)?, Position::from_bits(from).offset, chain)));
        Ok((cursors, function_chains.collect()))
    }

    /// Keeps what came of a log range: everything or nothing.
    ///
    /// # Errors
    /// Nothing was kept.
    pub fn transformed(&mut self, done: &Transformed<'_>) -> Result<(), StateError> {
        // What is quarantined here is in no other place once a sync has passed it, and a function chain that is forgotten could
        // not be run again: both must survive a power cut. The rest may be counted once more.
        let whole = !done.quarantined.is_empty() || done.function_chain.is_some();
        if whole {
            self.connection
                .execute_batch("PRAGMA synchronous = FULL")
                .map_err(self.err("could not set synchronous"))?;
        }
        let source = self.key(done.source).into_owned();
        let mut stage = self.stage()?;
        for entry in done.quarantined {
            stage.quarantine(entry)?;
        }
        stage.end_retries(done.ended_retries)?;
        for (name, delta) in done.counts {
            stage.count(done.source, name, *delta)?;
        }
        for charge in done.charges {
            stage.charge(charge)?;
        }
        for run in done.logs {
            stage.log(run)?;
        }
        if let Some((from, key)) = done.function_chain {
            let sql = "INSERT OR REPLACE INTO lineups (source, log_offset, lineup, sum) VALUES (?1, ?2, ?3, ?4)";
            let from = stage.column(from);
            let sum = sum::named(&source, unsigned(from)).text(key).value();
            stage.run(sql, params![source, from, key, sum])?;
        }
        if let Some(fates) = done.fates {
            stage.transformed_fates(done.source, fates)?;
        }
        if !done.source.is_empty() {
            let sql = "INSERT OR REPLACE INTO transformed (source, log_offset, sum) VALUES (?1, ?2, ?3)";
            let sum = sum::named(&source, done.to).value();
            stage.run(sql, params![source, signed(done.to), sum])?;
        }
        fail::fail_point!("transformed_before_commit", |_| std::process::abort());
        stage.finish()?;
        if whole {
            self.connection
                .execute_batch("PRAGMA synchronous = NORMAL")
                .map_err(self.err("could not set synchronous"))?;
        }
        Ok(())
    }

    /// Says that a version is stopped, or that it runs again.
    ///
    /// # Errors
    /// Nothing was said.
    pub fn stopped(&mut self, function: &str, version: &str, why: Option<&str>) -> Result<(), StateError> {
        let sql = "UPDATE charges SET stopped = ?3 WHERE function = ?1 AND version = ?2";
        self.connection
            .execute(sql, params![function, version, why])
            .map(drop)
            .map_err(self.err("could not mark a function"))
    }

    /// Says that a version has taken the place of all others: none of these holds anything up.
    ///
    /// # Errors
    /// Nothing was said.
    pub fn took_over(&mut self, function: &str, version: &str) -> Result<(), StateError> {
        let sql = "UPDATE charges SET stopped = NULL WHERE function = ?1 AND version <> ?2 AND stopped IS NOT NULL";
        self.connection
            .execute(sql, params![function, version])
            .map(drop)
            .map_err(self.err("could not mark a function"))
    }

    /// Adds to the comparison of a candidate with the live one.
    ///
    /// # Errors
    /// Nothing was added.
    pub fn compared(&mut self, function: &str, compared: &Compared) -> Result<(), StateError> {
        let Compared { live, candidate, same, different, samples_json } = compared;
        let sql = "INSERT INTO comparisons (function, live, rival, same, different, samples)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (function, live, rival) DO UPDATE SET same = same + excluded.same,
            different = different + excluded.different,
            samples = CASE WHEN excluded.different > 0 THEN excluded.samples ELSE samples END";
        let values = params![function, live, candidate, signed(*same), signed(*different), samples_json];
        self.connection.execute(sql, values).map(drop).map_err(self.err("could not keep a comparison"))
    }

    /// Comparisons of a function's versions.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn comparisons(&self, function: &str) -> Result<Vec<Compared>, StateError> {
        let sql = "SELECT live, rival, same, different, samples FROM comparisons WHERE function = ?1";
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut find = self.connection.prepare(sql)?;
            let rows = find.query_map([function], |row| {
                Ok(Compared {
                    live: row.get(0)?,
                    candidate: row.get(1)?,
                    same: unsigned(row.get(2)?),
                    different: unsigned(row.get(3)?),
                    samples_json: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not read the comparisons"))
    }

    /// Adds to what a version of a destination did: `events`, those that `failed`, and the last `error`.
    ///
    /// # Errors
    /// Nothing was added.
    pub fn carried(&mut self, charge: &Charge) -> Result<(), StateError> {
        let of_destination = Charge { function: format!("{DESTINATION}{}", charge.function), ..charge.clone() };
        self.transformed(&Transformed { charges: &[of_destination], ..Transformed::default() })
    }

    /// What every version of every destination plugin did with its events.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn destination_charges(&self) -> Result<Vec<Charge>, StateError> {
        let all = self.all_charges()?.into_iter();
        let of_destination = |(charge, _): (Charge, _)| {
            Some(Charge { function: charge.function.strip_prefix(DESTINATION)?.to_owned(), ..charge })
        };
        Ok(all.filter_map(of_destination).collect())
    }

    /// What every version of every function has used, and why it is stopped if it is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn charges(&self) -> Result<Vec<(Charge, Option<String>)>, StateError> {
        let all = self.all_charges()?.into_iter();
        Ok(all.filter(|(charge, _)| !charge.function.starts_with(DESTINATION)).collect())
    }

    fn all_charges(&self) -> Result<Vec<(Charge, Option<String>)>, StateError> {
        let sql = "SELECT function, version, batches, calls, calls_failed, events, faults, failed, dropped, cpu_us,
            memory_peak_bytes, fault, stopped FROM charges ORDER BY function, version";
        let read = || -> rusqlite::Result<Vec<(Charge, Option<String>)>> {
            let mut find = self.connection.prepare(sql)?;
            let rows = find.query_map([], |row| {
                let charge = Charge {
                    function: row.get(0)?,
                    version: row.get(1)?,
                    batches: unsigned(row.get(2)?),
                    calls: unsigned(row.get(3)?),
                    calls_failed: unsigned(row.get(4)?),
                    events: unsigned(row.get(5)?),
                    errors: unsigned(row.get(6)?),
                    failed: unsigned(row.get(7)?),
                    dropped: unsigned(row.get(8)?),
                    cpu_us: unsigned(row.get(9)?),
                    memory_peak_bytes: unsigned(row.get(10)?),
                    error: row.get(11)?,
                };
                Ok((charge, row.get(12)?))
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not read the charges"))
    }

    /// Log lines of `function`, newest last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn function_logs(&self, function: &str, filter: &LogFilter) -> Result<Vec<FunctionLog>, StateError> {
        let sql = "SELECT version, at_us, first_offset, end_offset, lines FROM function_runs
            WHERE function = ?1 AND (?2 IS NULL OR instr(char(10) || message_ids || char(10), char(10) || ?2 || char(10)))
            ORDER BY id DESC";
        let least = filter.level_min.as_deref().and_then(|least| LEVELS.iter().position(|level| *level == least));
        let read = || -> rusqlite::Result<Vec<FunctionLog>> {
            let mut found = Vec::new();
            let mut find = self.connection.prepare_cached(sql)?;
            let mut rows = find.query(params![function, filter.event])?;
            while let Some(row) = rows.next()? {
                let (version, at_us): (String, i64) = (row.get(0)?, row.get(1)?);
                let positions = position(row.get(2)?)..position(row.get(3)?);
                let lines: String = row.get(4)?;
                for line in lines.lines().rev() {
                    let (level, text) = line.split_once(' ').unwrap_or(("info", line));
                    let loud = LEVELS.iter().position(|known| *known == level) >= least;
                    if loud && filter.text.as_deref().is_none_or(|part| text.contains(part)) {
                        let (level, text) = (level.to_owned(), text.to_owned());
                        found.push(FunctionLog {
                            version: version.clone(),
                            at_us,
                            positions: positions.clone(),
                            level,
                            text,
                        });
                    }
                    if found.len() as u64 >= filter.lines_max {
                        break;
                    }
                }
                if found.len() as u64 >= filter.lines_max {
                    break;
                }
            }
            found.reverse();
            Ok(found)
        };
        read().map_err(self.err("could not read the logs"))
    }
}

impl super::RefineStage<'_> {
    /// A version that takes most events of a batch is stopped no more.
    fn charge(&mut self, charge: &Charge) -> Result<(), StateError> {
        let sql =
            "INSERT INTO charges (function, version, batches, calls, calls_failed, events, faults, failed, dropped,
            cpu_us, memory_peak_bytes, fault) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            ON CONFLICT (function, version) DO UPDATE SET batches = batches + excluded.batches,
            calls = calls + excluded.calls, calls_failed = calls_failed + excluded.calls_failed,
            events = events + excluded.events, faults = faults + excluded.faults, failed = failed + excluded.failed,
            dropped = dropped + excluded.dropped, cpu_us = cpu_us + excluded.cpu_us,
            memory_peak_bytes = max(memory_peak_bytes, excluded.memory_peak_bytes),
            fault = coalesce(excluded.fault, fault),
            stopped = iif(excluded.events > 0 AND excluded.faults * 2 <= excluded.events, NULL, stopped)";
        let values = params![
            charge.function,
            charge.version,
            signed(charge.batches),
            signed(charge.calls),
            signed(charge.calls_failed),
            signed(charge.events),
            signed(charge.errors),
            signed(charge.failed),
            signed(charge.dropped),
            signed(charge.cpu_us),
            signed(charge.memory_peak_bytes),
            charge.error,
        ];
        self.run(sql, values)
    }

    /// Lines are legible: none holds a line feed of its own.
    fn log(&mut self, run: &LoggedRun) -> Result<(), StateError> {
        let mut lines: Vec<String> = run.lines.iter().map(|(level, text)| format!("{level} {text}")).collect();
        if run.lines_dropped > 0 {
            lines.push(format!("warn ... and {} more lines, which were not kept", run.lines_dropped));
        }
        let sql = "INSERT INTO function_runs (function, version, at_us, first_offset, end_offset, message_ids, lines)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let values = params![
            run.function,
            run.version,
            run.at_us,
            signed(run.positions.start.bits()),
            signed(run.positions.end.bits()),
            run.message_ids.join("\n"),
            lines.join("\n"),
        ];
        self.run(sql, values)?;
        let sql = "DELETE FROM function_runs WHERE function = ?1 AND id <= (SELECT id FROM function_runs
            WHERE function = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        self.run(sql, params![run.function, signed(RUNS_KEPT)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_stopped_until_it_works_again_or_another_one_has_taken_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let charge = |version: &str, errors| Charge {
            function: "f".to_owned(),
            version: version.to_owned(),
            events: 4,
            errors,
            ..Charge::default()
        };
        let stops = |state: &State| -> Vec<bool> {
            state.charges().unwrap().iter().map(|(_, stopped)| stopped.is_some()).collect()
        };
        let run = |state: &mut State, charges: &[Charge]| {
            state.transformed(&Transformed { charges, ..Transformed::default() }).unwrap();
        };
        run(&mut state, &[charge("1", 4)]);
        state.stopped("f", "1", Some("fatal")).unwrap();
        run(&mut state, &[charge("1", 3), charge("2", 0)]);
        assert_eq!(stops(&state), [true, false], "it breaks still");
        run(&mut state, &[charge("1", 1)]);
        assert_eq!(stops(&state), [false, false]);
        state.stopped("f", "1", Some("fatal")).unwrap();
        state.took_over("f", "1").unwrap();
        assert_eq!(stops(&state), [true, false]);
        state.took_over("f", "2").unwrap();
        assert_eq!(stops(&state), [false, false]);
    }
}
