//! From events that messages became to framed records: one for each event; what cannot be mapped is in one as it came.

use tidegate_event::EventKind;
use tidegate_event::record::{CarriedMessage, Record, RecordProblem};
use tidegate_log::{Frames, Partitioner};
use tidegate_message::MappedEvent;
use tidegate_process::clock;

use super::RequestLimits;
use super::scan::{self, RequestScan};

/// Frames of the records of one source.
pub struct MappedFrames<'a> {
    source: &'a str,
    limits: &'a RequestLimits,
    partitioner: Partitioner,
    received_at_us: i64,
    parts: Vec<PartFrames>,
    /// For how many bytes the frames of a partition are made, at least.
    room: usize,
    /// What the record that is added shares with others.
    shared: Vec<u8>,
    malformed: u64,
    bytes: usize,
}

/// Those of one partition, and what the records share that were begun last.
struct PartFrames {
    partition: u16,
    frames: Frames,
    begun: Vec<u8>,
}

impl<'a> MappedFrames<'a> {
    /// None yet. `received_at_us` is when the messages came, in microseconds since the Unix epoch.
    #[must_use]
    pub const fn new(
        source: &'a str,
        limits: &'a RequestLimits,
        partitioner: Partitioner,
        received_at_us: i64,
    ) -> Self {
        Self {
            source,
            limits,
            partitioner,
            received_at_us,
            parts: Vec::new(),
            room: 0,
            shared: Vec::new(),
            malformed: 0,
            bytes: 0,
        }
    }

    /// For records of about so many bytes together.
    #[must_use]
    pub fn with_room(self, bytes: usize) -> Self {
        Self { room: bytes / usize::from(self.partitioner.count()).max(1), ..self }
    }

    /// Adds an event; `context` is a JSON object that its own context is laid over.
    pub fn push(&mut self, event: &MappedEvent, context: &str) {
        let bytes = event.bytes.len() + context.len();
        let found = FoundMessage::of(event, self.limits, bytes > self.limits.event_bytes_max);
        let record = Record { context: context.as_bytes(), ..self.record(event, &found) };
        self.shared.clear();
        record.write_shared(&mut self.shared);
        self.frames_for(event, &found, bytes).push(|out| record.write_own(out));
    }

    /// Adds an event that was in this message, whose context its own context is laid over.
    pub fn push_carried(&mut self, event: &MappedEvent, message: &CarriedMessage<'_>) {
        let found = FoundMessage::of(event, self.limits, self.is_swollen(event, message));
        let record = self.record(event, &found);
        self.shared.clear();
        message.origin.write_shared(self.source, self.received_at_us, &mut self.shared);
        let bytes = event.bytes.len() + message.own_bytes();
        let frames = self.frames_for(event, &found, bytes);
        frames.push(|out| record.write_carried(message, event.unmappable.as_deref(), out));
    }

    /// Whether an event is larger than events may be, with the context of its message.
    fn is_swollen(&self, event: &MappedEvent, message: &CarriedMessage<'_>) -> bool {
        let Some(left) = self.limits.event_bytes_max.checked_sub(event.bytes.len()) else { return true };
        let reason = event.unmappable.as_deref();
        // Few come near: the text is not made for the others.
        message.context_bytes_max(reason) > left && message.context(reason).len() > left
    }

    /// The record of an event, without a context.
    fn record<'r>(&self, event: &'r MappedEvent, found: &'r FoundMessage) -> Record<'r>
    where
        'a: 'r,
    {
        Record {
            problem: found.problem,
            route: None,
            received_at_us: self.received_at_us,
            source: self.source,
            // That of somebody's server says nothing of where the user is; it stands in the context.
            ip: "",
            message_id: &found.message_id,
            sent_at: "",
            context: b"",
            integrations: b"",
            event: &event.bytes,
        }
    }

    /// Where the record of an event goes, behind what it shares with others.
    fn frames_for(&mut self, event: &MappedEvent, found: &FoundMessage, bytes: usize) -> &mut Frames {
        self.bytes = self.bytes.saturating_add(bytes);
        self.malformed += u64::from(found.problem.is_some());
        let partition = if self.partitioner.is_one() {
            0
        } else {
            self.partitioner.choose(self.source, &found.partition_key(event))
        };
        let at = self.parts.iter().position(|part| part.partition == partition).unwrap_or_else(|| {
            let frames = Frames::with_capacity(self.room.max(bytes));
            self.parts.push(PartFrames { partition, frames, begun: Vec::new() });
            self.parts.len() - 1
        });
        let PartFrames { frames, begun, .. } = &mut self.parts[at];
        if *begun != self.shared {
            frames.begin(|out| out.extend_from_slice(&self.shared));
            begun.clone_from(&self.shared);
        }
        frames
    }

    /// What the events and what they have of their messages come to, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of them are plainly no events, and go to quarantine.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The frames of each partition.
    #[must_use]
    pub fn into_parts(self) -> Vec<(u16, Frames)> {
        self.parts.into_iter().map(|part| (part.partition, part.frames)).collect()
    }
}

/// What is found of an event that a message became.
struct FoundMessage {
    problem: Option<RecordProblem>,
    /// Empty when the event has an id itself.
    message_id: String,
    scan: RequestScan,
}

impl FoundMessage {
    /// `is_swollen` says that the event and its context take more than an event may.
    fn of(event: &MappedEvent, limits: &RequestLimits, is_swollen: bool) -> Self {
        // The kind only says that the bytes are one event.
        let scan = match event.unmappable {
            Some(_) => None,
            None => scan::scan(&event.bytes, Some(EventKind::Track), limits).ok(),
        };
        let Some(scan) = scan else {
            let problem = RecordProblem::Unmappable;
            let scan = RequestScan::of_malformed(event.bytes.len(), problem);
            return Self { problem: Some(problem), message_id: event.id.clone(), scan };
        };
        let found = scan.events.first();
        let swollen = is_swollen.then_some(RecordProblem::TooLarge);
        let problem = found.and_then(|found| found.problem).or(swollen);
        let message_id = match found {
            Some(found) if found.has_id => String::new(),
            _ if event.id.is_empty() => clock::uuid(),
            _ => event.id.clone(),
        };
        Self { problem, message_id, scan }
    }

    /// Whose event it is; what is nobody's goes by its own id, so that it goes the same way when it is delivered again.
    fn partition_key(&self, event: &MappedEvent) -> Vec<u8> {
        let own = if event.id.is_empty() { event.bytes.as_slice() } else { event.id.as_bytes() };
        match self.scan.events.first() {
            Some(found) => found.user_or(&event.bytes, own).into_owned(),
            None => own.to_vec(),
        }
    }
}
