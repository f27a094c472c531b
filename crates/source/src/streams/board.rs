//! What a stream says of itself while it runs: counted without locks where it is often, told under a lock that is held for a moment.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidegate_stream::{PartitionProgress, StreamError};

use super::batch::AppendedBatch;

/// Rates are of so many seconds.
const RATE_SECONDS: u64 = 10;
const SECOND_US: i64 = 1_000_000;
/// Of a reason, in characters.
const ERROR_CHARS_MAX: usize = 1_000;
/// Notices that are kept one by one.
const NOTICES_MAX: usize = 20;

/// What a stream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamState {
    /// It opens its reader, or waits until it may try again.
    #[default]
    Connecting,
    Reading,
    /// The log has no room, or its disk is full: nothing is read.
    WaitingForLog,
    /// The schema registry that its messages need does not answer.
    WaitingForSchemas,
    /// The schema registry does not let us in: an operator has to act. It is asked again meanwhile.
    RefusedSchemas,
    Paused,
    Stopped,
}

impl StreamState {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Reading => "reading",
            Self::WaitingForLog => "waiting for the log",
            Self::WaitingForSchemas => "waiting for schemas",
            Self::RefusedSchemas => "refused by the schema registry",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What a stream says at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamReport {
    pub kind: &'static str,
    /// Where its messages are.
    pub place: String,
    pub state: StreamState,
    /// Acknowledged since the server has started.
    pub messages: u64,
    /// Records that were made of them, what is quarantined among them.
    pub events: u64,
    /// Of payloads, keys and headers.
    pub bytes: u64,
    /// Records that are no events.
    pub quarantined: u64,
    /// Messages without a payload that were passed over, as the settings say.
    pub skipped: u64,
    /// Messages that were read and are not acknowledged yet.
    pub in_flight: u64,
    /// Messages a second, of the last ten seconds.
    pub messages_per_second: f64,
    /// What went wrong last, and when, in microseconds since the Unix epoch. It is gone when the stream reads again.
    pub error: Option<(String, i64)>,
    /// What is wrong with a part of it while the rest is read, one sentence each.
    pub notices: Vec<String>,
    pub partitions: Vec<PartitionProgress>,
}

/// Where a stream says what it does; shared with whoever asks.
#[derive(Debug)]
pub struct StreamBoard {
    messages: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    quarantined: AtomicU64,
    skipped: AtomicU64,
    in_flight: AtomicU64,
    told: Mutex<ToldStream>,
}

#[derive(Debug)]
struct ToldStream {
    kind: &'static str,
    place: String,
    state: StreamState,
    is_paused: bool,
    /// Why the log takes nothing, while it does not.
    log_refuses: Option<String>,
    /// Why there are no schemas, while there are none, and whether the registry refuses them.
    schemas_lack: Option<(String, bool)>,
    error: Option<(String, i64)>,
    notices: Vec<String>,
    partitions: Vec<PartitionProgress>,
    recent: RecentMessages,
}

impl StreamBoard {
    /// Of a stream of this kind and place, which has done nothing yet.
    #[must_use]
    pub fn new(kind: &'static str, place: String) -> Self {
        let told = ToldStream {
            kind,
            place,
            state: StreamState::Stopped,
            is_paused: false,
            log_refuses: None,
            schemas_lack: None,
            error: None,
            notices: Vec::new(),
            partitions: Vec::new(),
            recent: RecentMessages::default(),
        };
        Self {
            messages: AtomicU64::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            told: Mutex::new(told),
        }
    }

    /// What it says at `now_us`, in microseconds since the Unix epoch.
    #[must_use]
    pub fn report(&self, now_us: i64) -> StreamReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let told = self.told.lock();
        let state = match told.state {
            _ if told.is_paused => StreamState::Paused,
            StreamState::Reading if told.log_refuses.is_some() => StreamState::WaitingForLog,
            StreamState::Reading => match &told.schemas_lack {
                Some((_, true)) => StreamState::RefusedSchemas,
                Some((_, false)) => StreamState::WaitingForSchemas,
                None => StreamState::Reading,
            },
            state => state,
        };
        let waits = told.log_refuses.as_ref().or(told.schemas_lack.as_ref().map(|(reason, _)| reason));
        let waits = waits.map(|reason| (reason.clone(), now_us));
        StreamReport {
            kind: told.kind,
            place: told.place.clone(),
            state,
            messages: count(&self.messages),
            events: count(&self.events),
            bytes: count(&self.bytes),
            quarantined: count(&self.quarantined),
            skipped: count(&self.skipped),
            in_flight: count(&self.in_flight),
            messages_per_second: told.recent.a_second(now_us),
            error: told.error.clone().or(waits),
            notices: told.notices.clone(),
            partitions: told.partitions.clone(),
        }
    }

    /// Its messages are elsewhere from now on.
    pub fn moves(&self, kind: &'static str, place: String) {
        let mut told = self.told.lock();
        (told.kind, told.place) = (kind, place);
    }

    /// Whether somebody has paused it.
    pub fn pause(&self, is_paused: bool) {
        self.told.lock().is_paused = is_paused;
    }

    pub(super) fn tell(&self, state: StreamState) {
        let mut told = self.told.lock();
        told.state = state;
        if state == StreamState::Reading {
            told.error = None;
        }
        if state == StreamState::Stopped {
            (told.log_refuses, told.schemas_lack, told.error) = (None, None, None);
            told.partitions.clear();
            told.notices.clear();
        }
    }

    pub(super) fn fail(&self, error: &StreamError, now_us: i64) {
        let reason: String = error.to_string().chars().take(ERROR_CHARS_MAX).collect();
        let mut told = self.told.lock();
        (told.state, told.error) = (StreamState::Connecting, Some((reason, now_us)));
        (told.log_refuses, told.schemas_lack) = (None, None);
        // How much there is by now nobody knows.
        for partition in &mut told.partitions {
            (partition.lag, partition.behind) = (None, None);
        }
    }

    /// Why the log takes nothing; none when it does again.
    pub(super) fn log_refuses(&self, reason: Option<&str>) {
        let mut told = self.told.lock();
        if told.log_refuses.as_deref() != reason {
            told.log_refuses = reason.map(str::to_owned);
        }
    }

    /// Why there are no schemas for what was read; none when there are again.
    pub(super) fn lacks_schemas(&self, error: Option<&StreamError>) {
        let lack = error.map(|error| {
            let reason = error.to_string().chars().take(ERROR_CHARS_MAX).collect();
            (reason, matches!(error, StreamError::Stop { .. }))
        });
        self.told.lock().schemas_lack = lack;
    }

    /// Whether there are no schemas for what was read, while the log would take it.
    pub(super) fn waits_for_schemas_alone(&self) -> bool {
        let told = self.told.lock();
        told.schemas_lack.is_some() && told.log_refuses.is_none()
    }

    /// How far its partitions are, and what is wrong with a part of them.
    pub(super) fn progress(&self, partitions: Vec<PartitionProgress>, notices: Vec<String>) {
        let more = notices.len().saturating_sub(NOTICES_MAX);
        let short = |notice: String| notice.chars().take(ERROR_CHARS_MAX).collect::<String>();
        let mut notices: Vec<String> = notices.into_iter().take(NOTICES_MAX).map(short).collect();
        if more > 0 {
            notices.push(format!("and {more} more of the kind"));
        }
        let mut told = self.told.lock();
        (told.partitions, told.notices) = (partitions, notices);
    }

    pub(super) fn in_flight(&self, messages: u64) {
        self.in_flight.store(messages, Ordering::Relaxed);
    }

    /// A batch is in the log, and acknowledged.
    pub(super) fn count(&self, batch: &AppendedBatch, now_us: i64) {
        let counters = [
            (&self.messages, batch.messages),
            (&self.events, batch.events),
            (&self.bytes, batch.bytes as u64),
            (&self.quarantined, batch.quarantined),
            (&self.skipped, batch.skipped),
        ];
        for (counter, count) in counters {
            counter.fetch_add(count, Ordering::Relaxed);
        }
        self.told.lock().recent.add(batch.messages, now_us);
    }

    /// The last error as a sentence, for whoever asks something of a stream that is not connected.
    pub(super) fn why_not_connected(&self) -> String {
        match &self.told.lock().error {
            Some((error, _)) => format!("it is not connected: {error}"),
            None => "it is not connected yet".to_owned(),
        }
    }
}

/// How many messages came in each of the last seconds.
#[derive(Debug, Default)]
struct RecentMessages(VecDeque<(u64, u64)>);

impl RecentMessages {
    fn add(&mut self, messages: u64, now_us: i64) {
        let second = second(now_us);
        match self.0.back_mut().filter(|(last, _)| *last == second) {
            Some((_, count)) => *count += messages,
            None => self.0.push_back((second, messages)),
        }
        while self.0.front().is_some_and(|(first, _)| first + RATE_SECONDS < second) {
            self.0.pop_front();
        }
    }

    fn a_second(&self, now_us: i64) -> f64 {
        let second = second(now_us);
        let recent = self.0.iter().filter(|(at, _)| at + RATE_SECONDS >= second && *at < second);
        let messages: u64 = recent.map(|(_, count)| count).sum();
        messages as f64 / RATE_SECONDS as f64
    }
}

fn second(now_us: i64) -> u64 {
    u64::try_from(now_us / SECOND_US).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_whole_seconds() {
        let mut recent = RecentMessages::default();
        for second in 0..30 {
            recent.add(50, second * SECOND_US);
            recent.add(50, second * SECOND_US + 500_000);
        }
        assert!((recent.a_second(30 * SECOND_US) - 100.0).abs() < 1e-9);
        assert!((recent.a_second(35 * SECOND_US) - 50.0).abs() < 1e-9);
        assert!(recent.a_second(60 * SECOND_US).abs() < 1e-9);
        assert!(recent.0.len() <= 11, "{}", recent.0.len());
    }

    #[test]
    fn a_board_says_first_that_it_is_paused_and_then_that_it_waits() {
        let board = StreamBoard::new("kafka", "kafka at b1:9092".to_owned());
        let state = |board: &StreamBoard| board.report(0).state;
        assert_eq!(state(&board), StreamState::Stopped);
        board.tell(StreamState::Reading);
        board.log_refuses(Some("the disk is full"));
        assert_eq!(state(&board), StreamState::WaitingForLog);
        assert_eq!(board.report(7).error, Some(("the disk is full".to_owned(), 7)));
        board.pause(true);
        assert_eq!(state(&board), StreamState::Paused);
        board.pause(false);
        board.log_refuses(None);
        board.fail(&StreamError::Retry("away".to_owned()), 9);
        let report = board.report(9);
        assert_eq!((report.state, report.error), (StreamState::Connecting, Some(("away".to_owned(), 9))));
    }

    #[test]
    fn how_far_a_stream_is_behind_is_not_known_while_it_is_not_connected() {
        let board = StreamBoard::new("kafka", "kafka at b1:9092".to_owned());
        let partition = PartitionProgress {
            topic: "orders".into(),
            partition: "0".into(),
            acknowledged: "7".to_owned(),
            lag: Some(0),
            behind: Some(std::time::Duration::ZERO),
            holder: None,
        };
        board.progress(vec![partition.clone()], Vec::new());
        assert_eq!(board.report(0).partitions, std::slice::from_ref(&partition));
        board.fail(&StreamError::Retry("away".to_owned()), 9);
        assert_eq!(board.report(9).partitions, [PartitionProgress { lag: None, behind: None, ..partition }]);
    }

    #[test]
    fn what_is_wrong_with_a_part_is_told_until_it_stops_and_no_list_of_it_is_endless() {
        let board = StreamBoard::new("kafka", "kafka at b1:9092".to_owned());
        board.tell(StreamState::Reading);
        board.progress(Vec::new(), vec!["topic refunds does not exist".to_owned()]);
        assert_eq!(board.report(0).notices, ["topic refunds does not exist"]);
        board.progress(Vec::new(), vec!["x".repeat(5_000); 50]);
        let notices = board.report(0).notices;
        assert_eq!((notices.len(), notices[0].len()), (NOTICES_MAX + 1, ERROR_CHARS_MAX));
        assert_eq!(notices[NOTICES_MAX], "and 30 more of the kind");
        board.tell(StreamState::Stopped);
        assert!(board.report(0).notices.is_empty());
    }
}
