//! Alerts: how each is, what is to be told yet, and what happened. What was decided and what is to be told of it are one transaction, so a restart
//! tells nothing twice and forgets nothing. What the texts mean is for whoever evaluates alerts.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{State, StateError, signed, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS alert_memories (alert TEXT PRIMARY KEY, memory TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS alert_mutes (
        alert TEXT PRIMARY KEY, until_us INTEGER, asked_by TEXT NOT NULL, at_us INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS alert_history (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, alert TEXT NOT NULL, object TEXT NOT NULL, what TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS alert_messages (
        id INTEGER PRIMARY KEY, alert TEXT NOT NULL, channel TEXT NOT NULL, changes TEXT NOT NULL, at_us INTEGER NOT NULL,
        next_at_us INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL
    );
";

/// A memory whose objects say nothing: texts may quote somebody.
pub(super) const WITHOUT_TEXTS: &str = "json_set(memory, '$.objects', json((
    SELECT json_group_object(key, json_set(value, '$.text', '')) FROM json_each(memory, '$.objects'))))";

/// Entries of the history that are kept.
const HISTORY_KEPT: i64 = 10_000;
/// Messages of one channel that may wait; the oldest goes first.
const MESSAGES_MAX: i64 = 100;
/// Of the changes of one message; further ones make another message.
const CHANGES_BYTES_MAX: usize = 16 << 10;
/// A message that was made or put off by a clock that is ahead by more than this is due, microseconds.
const CLOCK_AHEAD_US: i64 = 3_600_000_000;

/// The hours that were asked for, counted from the epoch, with how much was accepted in each, and the first hour in which anything was.
pub type AcceptedInHours = (Vec<(i64, u64)>, Option<i64>);

/// Something that happened to an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertEvent {
    /// Its number; 0 in one that is not kept yet.
    pub id: u64,
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub alert: String,
    /// What it is about; empty for the alert itself.
    pub object: String,
    /// `firing`, `recovered`, `told`, `undelivered`, `muted`, `unmuted`, `tested`.
    pub what: String,
    pub text: String,
}

/// That nobody is told of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMuting {
    pub alert: String,
    /// Microseconds since the epoch; none for until somebody says otherwise.
    pub until_us: Option<i64>,
    pub asked_by: String,
    pub at_us: i64,
}

/// A message for one channel that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingMessage {
    pub id: u64,
    pub alert: String,
    pub channel: String,
    /// A change on each line, in the words of whoever evaluates.
    pub changes: String,
    /// When the first of them was made, microseconds since the epoch.
    pub at_us: i64,
    pub attempts: u32,
    /// What the last attempt said.
    pub error: String,
}

/// What an evaluation has come to.
#[derive(Debug, Clone, Default)]
pub struct AlertStep<'a> {
    pub alert: &'a str,
    /// None to forget it.
    pub memory: Option<&'a str>,
    pub events: &'a [AlertEvent],
    /// What is to be told: a change each, on one line.
    pub changes: &'a [String],
    /// To whom.
    pub channels: &'a [String],
    /// Microseconds since the epoch.
    pub at_us: i64,
    /// When what is gathered is sent, microseconds since the epoch.
    pub due_us: i64,
}

/// Which part of the history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertHistoryPart {
    pub alert: Option<String>,
    /// Only what happened before this entry.
    pub before: Option<u64>,
    pub entries_max: u64,
}

impl State {
    /// How each alert is, by its name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_memories(&self) -> Result<Vec<(String, String)>, StateError> {
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut find = self.connection.prepare_cached("SELECT alert, memory FROM alert_memories ORDER BY alert")?;
            find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().map_err(self.err("could not read the alerts"))
    }

    /// Keeps what an evaluation has come to, all of it at once. Changes join a message of the alert that is gathered still.
    ///
    /// # Errors
    /// Nothing was kept.
    pub fn step_alert(&mut self, step: &AlertStep<'_>) -> Result<(), StateError> {
        self.in_transaction(!step.changes.is_empty(), |connection| {
            match step.memory {
                Some(memory) => {
                    let sql = "INSERT OR REPLACE INTO alert_memories (alert, memory) VALUES (?1, ?2)";
                    connection.prepare_cached(sql)?.execute([step.alert, memory])?;
                }
                None => {
                    let sql = "DELETE FROM alert_memories WHERE alert = ?1";
                    connection.prepare_cached(sql)?.execute([step.alert])?;
                }
            }
            step.events.iter().try_for_each(|event| note(connection, event))?;
            if step.changes.is_empty() {
                return Ok(());
            }
            let messages = in_messages(step.changes);
            step.channels.iter().try_for_each(|channel| {
                messages.iter().try_for_each(|changes| queue(connection, step, (channel, changes)))
            })
        })
    }

    /// Forgets alerts that are no more: but for these all.
    ///
    /// # Errors
    /// Nothing was forgotten.
    pub fn forget_alerts_but(&mut self, kept: &[String]) -> Result<(), StateError> {
        let sql = "SELECT alert FROM alert_memories UNION SELECT alert FROM alert_messages UNION SELECT alert FROM alert_mutes";
        let read = || -> rusqlite::Result<Vec<String>> {
            self.connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let mut gone = read().map_err(self.err("could not read the alerts"))?;
        gone.retain(|alert| !kept.contains(alert));
        if gone.is_empty() {
            return Ok(());
        }
        self.in_transaction(false, |connection| {
            gone.iter().try_for_each(|alert| {
                for table in ["alert_memories", "alert_messages", "alert_mutes"] {
                    connection.execute(&format!("DELETE FROM {table} WHERE alert = ?1"), [alert])?;
                }
                Ok(())
            })
        })
    }

    /// Messages that are due. Of each channel of an alert it is the oldest alone: nobody is told of a recovery before they were told of what
    /// has recovered.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_messages(&self, now_us: i64, messages_max: u64) -> Result<Vec<WaitingMessage>, StateError> {
        let sql = "SELECT id, alert, channel, changes, at_us, attempts, error FROM alert_messages
            WHERE id IN (SELECT min(id) FROM alert_messages GROUP BY alert, channel)
                AND (next_at_us <= ?1 OR at_us > ?1 + ?3 OR (attempts > 0 AND next_at_us > ?1 + ?3))
            ORDER BY next_at_us, id LIMIT ?2";
        let read = || -> rusqlite::Result<Vec<WaitingMessage>> {
            let mut find = self.connection.prepare_cached(sql)?;
            find.query_map(params![now_us, signed(messages_max), CLOCK_AHEAD_US], message)?.collect()
        };
        read().map_err(self.err("could not read the messages of alerts"))
    }

    /// All messages that wait, due or not, oldest first, without what they tell.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn waiting_alert_messages(&self, messages_max: u64) -> Result<Vec<WaitingMessage>, StateError> {
        let sql = "SELECT id, alert, channel, '', at_us, attempts, error FROM alert_messages ORDER BY id LIMIT ?1";
        let read = || -> rusqlite::Result<Vec<WaitingMessage>> {
            self.connection.prepare_cached(sql)?.query_map([signed(messages_max)], message)?.collect()
        };
        read().map_err(self.err("could not read the messages of alerts"))
    }

    /// A message has come to its end: it was delivered, or is given up. What joined it since it was read is told by another one.
    ///
    /// # Errors
    /// Nothing was recorded, and it is sent again.
    pub fn end_alert_message(&mut self, message: &WaitingMessage, event: &AlertEvent) -> Result<(), StateError> {
        self.in_transaction(true, |connection| {
            end(connection, message, event.at_us)?;
            note(connection, event)
        })
    }

    /// A message was not delivered, and is tried again then.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn postpone_alert_message(&mut self, id: u64, next_at_us: i64, error: &str) -> Result<(), StateError> {
        let sql = "UPDATE alert_messages SET attempts = attempts + 1, next_at_us = ?2, error = ?3 WHERE id = ?1";
        self.in_transaction(false, |connection| {
            connection.prepare_cached(sql)?.execute(params![signed(id), next_at_us, error]).map(drop)
        })
    }

    /// What happened, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_history(&self, part: &AlertHistoryPart) -> Result<Vec<AlertEvent>, StateError> {
        let sql = "SELECT id, at_us, alert, object, what, text FROM alert_history
            WHERE (?1 IS NULL OR alert = ?1) AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3";
        let event = |row: &Row<'_>| {
            Ok(AlertEvent {
                id: unsigned(row.get(0)?),
                at_us: row.get(1)?,
                alert: row.get(2)?,
                object: row.get(3)?,
                what: row.get(4)?,
                text: row.get(5)?,
            })
        };
        let read = || -> rusqlite::Result<Vec<AlertEvent>> {
            let mut find = self.connection.prepare_cached(sql)?;
            find.query_map(params![part.alert, part.before.map(signed), signed(part.entries_max)], event)?.collect()
        };
        read().map_err(self.err("could not read the history of alerts"))
    }

    /// Keeps that something happened.
    ///
    /// # Errors
    /// Nothing was kept.
    pub fn note_alert(&mut self, event: &AlertEvent) -> Result<(), StateError> {
        self.in_transaction(false, |connection| note(connection, event))
    }

    /// Of which alerts nobody is told, because somebody said so.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_mutes(&self) -> Result<Vec<AlertMuting>, StateError> {
        let sql = "SELECT alert, until_us, asked_by, at_us FROM alert_mutes ORDER BY alert";
        let mute = |row: &Row<'_>| {
            Ok(AlertMuting { alert: row.get(0)?, until_us: row.get(1)?, asked_by: row.get(2)?, at_us: row.get(3)? })
        };
        let read = || -> rusqlite::Result<Vec<AlertMuting>> {
            self.connection.prepare_cached(sql)?.query_map([], mute)?.collect()
        };
        read().map_err(self.err("could not read which alerts are muted"))
    }

    /// Mutes an alert, in the place of what was said of it before.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn mute_alert(&mut self, mute: &AlertMuting, event: &AlertEvent) -> Result<(), StateError> {
        let sql = "INSERT OR REPLACE INTO alert_mutes (alert, until_us, asked_by, at_us) VALUES (?1, ?2, ?3, ?4)";
        self.in_transaction(true, |connection| {
            let AlertMuting { alert, until_us, asked_by, at_us } = mute;
            connection.execute(sql, params![alert, until_us, asked_by, at_us])?;
            note(connection, event)
        })
    }

    /// Has people be told of an alert again; false when they were.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn unmute_alert(&mut self, alert: &str, event: &AlertEvent) -> Result<bool, StateError> {
        let mut was_muted = false;
        self.in_transaction(true, |connection| {
            was_muted = connection.execute("DELETE FROM alert_mutes WHERE alert = ?1", [alert])? > 0;
            if was_muted { note(connection, event) } else { Ok(()) }
        })?;
        Ok(was_muted)
    }

    /// What was accepted of a source in these hours, counted from the epoch, and the first hour in which anything was.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn accepted_in_hours(&self, source: &str, hours: &[i64]) -> Result<AcceptedInHours, StateError> {
        let sum = "SELECT coalesce(sum(came), 0) FROM fate_hours WHERE is_sync = 0 AND scope = ?1 AND hour = ?2";
        let first = "SELECT min(hour) FROM fate_hours WHERE is_sync = 0 AND scope = ?1";
        let read = || -> rusqlite::Result<AcceptedInHours> {
            let mut find = self.connection.prepare_cached(sum)?;
            let mut found = Vec::new();
            for hour in hours {
                let came: i64 = find.query_row(params![source, hour], |row| row.get(0))?;
                found.push((*hour, unsigned(came.max(0))));
            }
            let first: Option<Option<i64>> =
                self.connection.prepare_cached(first)?.query_row([source], |row| row.get(0)).optional()?;
            Ok((found, first.flatten()))
        };
        read().map_err(self.err("could not read what became of events"))
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<WaitingMessage> {
    Ok(WaitingMessage {
        id: unsigned(row.get(0)?),
        alert: row.get(1)?,
        channel: row.get(2)?,
        changes: row.get(3)?,
        at_us: row.get(4)?,
        attempts: row.get(5)?,
        error: row.get(6)?,
    })
}

/// Changes, each on a line, as the texts of as many messages as it takes.
fn in_messages(changes: &[String]) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for change in changes {
        match messages.last_mut().filter(|message| message.len() + change.len() < CHANGES_BYTES_MAX) {
            Some(message) => {
                message.push('\n');
                message.push_str(change);
            }
            None => messages.push(change.clone()),
        }
    }
    messages
}

/// A message is over; what joined it since it was read is one that was made now.
pub(super) fn end(connection: &Connection, message: &WaitingMessage, at_us: i64) -> rusqlite::Result<()> {
    let WaitingMessage { id, changes, .. } = message;
    let sql =
        "UPDATE alert_messages SET changes = substr(changes, length(?2) + 2), at_us = ?3, attempts = 0, error = ''
        WHERE id = ?1 AND length(changes) > length(?2)";
    if connection.prepare_cached(sql)?.execute(params![signed(*id), changes, at_us])? == 0 {
        connection.prepare_cached("DELETE FROM alert_messages WHERE id = ?1")?.execute([signed(*id)])?;
    }
    Ok(())
}

pub(super) fn note(connection: &Connection, event: &AlertEvent) -> rusqlite::Result<()> {
    let sql = "INSERT INTO alert_history (at_us, alert, object, what, text) VALUES (?1, ?2, ?3, ?4, ?5)";
    let AlertEvent { at_us, alert, object, what, text, .. } = event;
    connection.prepare_cached(sql)?.execute(params![at_us, alert, object, what, text])?;
    let newest = connection.last_insert_rowid();
    let sql = "DELETE FROM alert_history WHERE id <= ?1";
    connection.prepare_cached(sql)?.execute([newest - HISTORY_KEPT]).map(drop)
}

/// Puts changes into the message of a channel that is gathered still, or into one of their own.
fn queue(connection: &Connection, step: &AlertStep<'_>, (channel, changes): (&str, &str)) -> rusqlite::Result<()> {
    let sql = "UPDATE alert_messages SET changes = changes || char(10) || ?3 WHERE id = (
        SELECT id FROM alert_messages WHERE alert = ?1 AND channel = ?2 AND attempts = 0 AND next_at_us > ?4
            AND at_us <= ?4 AND octet_length(changes) < ?5 ORDER BY id DESC LIMIT 1)";
    let values = params![step.alert, channel, changes, step.at_us, signed(CHANGES_BYTES_MAX as u64)];
    if connection.prepare_cached(sql)?.execute(values)? > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO alert_messages (alert, channel, changes, at_us, next_at_us, attempts, error)
        VALUES (?1, ?2, ?3, ?4, ?5, 0, '')";
    let values = params![step.alert, channel, changes, step.at_us, step.due_us];
    connection.prepare_cached(sql)?.execute(values)?;
    bound(connection, step.alert, channel)
}

/// Removes the oldest messages of a channel, where too many wait.
pub(super) fn bound(connection: &Connection, alert: &str, channel: &str) -> rusqlite::Result<()> {
    let sql = "DELETE FROM alert_messages WHERE alert = ?1 AND channel = ?2 AND id NOT IN (
        SELECT id FROM alert_messages WHERE alert = ?1 AND channel = ?2 ORDER BY id DESC LIMIT ?3)";
    connection.prepare_cached(sql)?.execute(params![alert, channel, MESSAGES_MAX]).map(drop)
}

#[cfg(test)]
mod tests {
    use tidegate_event::subject::SubjectKind;

    use super::super::ClearSubject;
    use super::*;

    fn event(what: &str) -> AlertEvent {
        AlertEvent { at_us: 1, alert: "a".to_owned(), what: what.to_owned(), ..AlertEvent::default() }
    }

    #[test]
    fn what_is_told_is_kept_with_what_was_decided_and_gathered_until_it_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        let (events, channels) = ([event("firing")], ["ops".to_owned()]);
        let (one, two, three) = (["1".to_owned()], ["2".to_owned()], ["3".to_owned()]);
        let step = |changes, at_us| AlertStep {
            alert: "a",
            memory: Some("{}"),
            events: &events,
            changes,
            channels: &channels,
            at_us,
            due_us: at_us + 10,
        };
        state.step_alert(&step(&one, 5)).unwrap();
        state.step_alert(&step(&two, 9)).unwrap();
        state.step_alert(&step(&three, 20)).unwrap();
        drop(state);
        let mut state = State::open(&path).unwrap();
        assert!(state.alert_messages(14, 10).unwrap().is_empty(), "it is gathered still");
        let texts = |waiting: &[WaitingMessage]| -> Vec<String> {
            waiting.iter().map(|message| message.changes.clone()).collect()
        };
        let waiting = state.alert_messages(40, 10).unwrap();
        assert_eq!(texts(&waiting), ["1\n2"], "what came later is told later");
        assert_eq!(state.waiting_alert_messages(10).unwrap().len(), 2);
        state.postpone_alert_message(waiting[0].id, 100, "away").unwrap();
        assert!(state.alert_messages(99, 10).unwrap().is_empty(), "nobody is told of the end before the beginning");
        let left = state.alert_messages(100, 10).unwrap();
        assert_eq!((left.len(), left[0].attempts, &*left[0].error), (1, 1, "away"));
        state.end_alert_message(&left[0], &event("told")).unwrap();
        let next = state.alert_messages(100, 10).unwrap();
        assert_eq!(texts(&next), ["3"]);
        let part = AlertHistoryPart { entries_max: 2, ..AlertHistoryPart::default() };
        let told: Vec<String> = state.alert_history(&part).unwrap().into_iter().map(|event| event.what).collect();
        assert_eq!(told, ["told", "firing"]);
        state.forget_alerts_but(&[]).unwrap();
        assert!(state.alert_memories().unwrap().is_empty() && state.waiting_alert_messages(10).unwrap().is_empty());
    }

    #[test]
    fn what_joins_a_message_that_is_on_its_way_is_told_by_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let channels = ["ops".to_owned()];
        let (one, two) = (["1".to_owned()], ["2".to_owned()]);
        let step = AlertStep { alert: "a", channels: &channels, at_us: 5, due_us: 10, ..AlertStep::default() };
        state.step_alert(&AlertStep { changes: &one, ..step.clone() }).unwrap();
        let sent = state.alert_messages(10, 10).unwrap();
        // A look that has begun before it was due.
        state.step_alert(&AlertStep { changes: &two, at_us: 9, due_us: 14, ..step }).unwrap();
        state.end_alert_message(&sent[0], &AlertEvent { at_us: 12, ..event("told") }).unwrap();
        let next = state.alert_messages(12, 10).unwrap();
        assert_eq!((next.len(), &*next[0].changes, next[0].at_us), (1, "2", 12));
        state.end_alert_message(&next[0], &event("told")).unwrap();
        assert!(state.waiting_alert_messages(10).unwrap().is_empty());
    }

    #[test]
    fn many_changes_are_several_messages_and_a_clock_that_went_back_holds_none_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let (channels, changes) = (["ops".to_owned()], vec!["x".repeat(1_000); 40]);
        let ahead_us = 10 * CLOCK_AHEAD_US;
        let step = AlertStep {
            alert: "a",
            channels: &channels,
            at_us: ahead_us,
            due_us: ahead_us + 5,
            ..AlertStep::default()
        };
        state.step_alert(&AlertStep { changes: &changes, ..step }).unwrap();
        assert_eq!(state.waiting_alert_messages(10).unwrap().len(), 2);
        let mut told = 0;
        while let Some(message) = state.alert_messages(1, 10).unwrap().pop() {
            told += message.changes.lines().count();
            state.end_alert_message(&message, &event("told")).unwrap();
        }
        assert_eq!(told, 40);
    }

    #[test]
    fn what_quotes_somebody_who_is_forgotten_goes_and_alerts_stay_how_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let text = "it fails: no somebody-12345 here";
        let memory = format!(
            r#"{{"evaluated_us":7,"objects":{{"sync a.b":{{"phase":"firing","text":"{text}","moved":[3,4]}}}}}}"#
        );
        let (changes, channels) = ([format!(r#"{{"text":"{text}"}}"#)], ["ops".to_owned()]);
        let events = [AlertEvent { text: text.to_owned(), ..event("firing") }];
        let (memory, at_us) = (Some(&*memory), 5);
        let step =
            AlertStep { alert: "a", memory, events: &events, changes: &changes, channels: &channels, at_us, due_us: 6 };
        state.step_alert(&step).unwrap();
        let (kind, value) = (SubjectKind::User, "somebody-12345".to_owned());
        let hashed = state.hashed(&[ClearSubject { kind, trait_name: String::new(), value }]).unwrap();
        let subjects = state.subject_set(&hashed).unwrap();
        state.forget_rows(&subjects, &[], false).unwrap();
        let left = r#"{"evaluated_us":7,"objects":{"sync a.b":{"phase":"firing","text":"","moved":[3,4]}}}"#;
        assert_eq!(state.alert_memories().unwrap(), [("a".to_owned(), left.to_owned())]);
        assert_eq!(state.alert_messages(6, 10).unwrap()[0].changes, "");
        let part = AlertHistoryPart { entries_max: 9, ..AlertHistoryPart::default() };
        assert!(state.alert_history(&part).unwrap().iter().all(|event| event.text.is_empty()));
    }

    #[test]
    fn an_alert_is_muted_until_somebody_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let mute = AlertMuting { alert: "a".to_owned(), until_us: Some(7), asked_by: "ann".to_owned(), at_us: 1 };
        state.mute_alert(&mute, &event("muted")).unwrap();
        assert_eq!(state.alert_mutes().unwrap(), [mute]);
        assert!(state.unmute_alert("a", &event("unmuted")).unwrap());
        assert!(!state.unmute_alert("a", &event("unmuted")).unwrap() && state.alert_mutes().unwrap().is_empty());
    }
}
