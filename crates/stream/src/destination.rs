//! A stream as a destination: what [`Destination`] promises, kept with a carrier's writer.
//!
//! Where the far side keeps a **ledger** in its own transactions, that says what is durable, and each event is there once. Where it keeps none,
//! the caller's cursor says it, and a batch that comes again is written again. A writer is opened when it is first needed, and anew
//! after each error; the caller waits between two tries. A writer whose call was dropped is dropped too.
//!
//! A ledger is moved by one writer. When it is opened anew and says what this one never wrote, somebody else writes under its name: that
//! stops the sync, since events of the two would be taken for one another's.

mod payload;
mod shape;
mod template;
mod violation;

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Rejected, Reply};

pub use payload::PayloadFormat;
pub use shape::MessageShape;
pub use template::{FILLED_BYTES_MAX, MessageTemplate, TEMPLATE_BYTES_MAX, TemplateError};

use crate::error::StreamError;
use crate::message::OutgoingMessage;
use crate::writer::{RefusedMessage, StreamTarget, StreamWriter};

/// Violations that are named one by one when they are refused.
const NOTICES_MAX: usize = 5;

/// A stream that one sync delivers to.
pub struct StreamDestination {
    target: Arc<dyn StreamTarget>,
    shape: Arc<MessageShape>,
    /// Of the sync and the log partition.
    ledger: String,
    /// The server's data directory, as ledgers name it.
    owner: Option<String>,
    writer: Option<Box<dyn StreamWriter>>,
    /// What the far side's ledger says, as far as known here.
    word: LedgerWord,
    /// As the caller has recorded it, and where the last delivery ended: what counts without a ledger, and with one that is new.
    cursor: Option<u64>,
    unrecorded: Option<u64>,
    /// What the ledger said although the caller had recorded nothing.
    found: Option<u64>,
}

/// What a ledger at the far side may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct LedgerWord {
    is_asked: bool,
    /// What it said, or was made to say.
    durable: Option<u64>,
    /// What it says if a write counted whose answer never came.
    perhaps: Option<u64>,
    /// What it said when somebody else had moved it.
    is_taken: Option<Option<u64>>,
}

impl LedgerWord {
    const ASKED: Self = Self { is_asked: true, durable: None, perhaps: None, is_taken: None };
}

impl StreamDestination {
    /// Nothing need be reachable yet. `ledger` names the sync and its log partition, unique in the server and among all that write to the
    /// same far side. `cursor` is how far the caller has recorded the sync to be, for a far side that does not say it.
    #[must_use]
    pub fn new(target: Arc<dyn StreamTarget>, shape: Arc<MessageShape>, ledger: String, cursor: Option<u64>) -> Self {
        let word = LedgerWord::default();
        Self { target, shape, ledger, owner: None, writer: None, word, cursor, unrecorded: None, found: None }
    }

    /// Whose ledger it is: one that another has written to stops the sync. Without, nobody looks.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<String>) -> Self {
        self.owner = owner;
        self
    }

    /// A writer, and that its ledger says what it may. Whoever takes it puts it back when all went well.
    async fn opened(&mut self) -> Result<Box<dyn StreamWriter>, Failure> {
        if let Some(said) = self.word.is_taken {
            return Err(self.taken(said));
        }
        if let Some(writer) = self.writer.take() {
            return Ok(writer);
        }
        let mut writer = open(&self.target, &self.ledger, self.owner.as_deref()).await?;
        if self.target.keeps_ledger() {
            let said = writer.durable_to().await.map_err(failure)?;
            if said != self.word.durable && (said.is_none() || said != self.word.perhaps) {
                self.word.is_taken = Some(said);
                return Err(self.taken(said));
            }
            self.word = LedgerWord { durable: said, ..LedgerWord::ASKED };
        }
        Ok(writer)
    }

    fn taken(&self, said: Option<u64>) -> Failure {
        let place = self.target.place();
        let said = said.map_or_else(|| "nothing".to_owned(), |said| format!("offset {said}"));
        let own = self.word.durable.map_or_else(|| "nothing".to_owned(), |own| format!("offset {own}"));
        Failure::Stop {
            reason: format!(
                "{place}: somebody else writes under the name {}: its ledger says {said}, and this sync has written to {own}",
                self.ledger
            ),
            advice: "let one server write under a name: give the destination of one of them a `ledger` of its own; if nobody else \
                     does, pause the sync and resume it: then it goes on where the ledger is"
                .to_owned(),
            cause: None,
        }
    }

    async fn ask(&mut self) -> Result<Option<u64>, Failure> {
        if !self.target.keeps_ledger() {
            return Ok(self.cursor);
        }
        // Whoever asks goes on from the answer, whatever it is.
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => open(&self.target, &self.ledger, self.owner.as_deref()).await?,
        };
        let durable = writer.durable_to().await.map_err(failure)?;
        self.word = LedgerWord { durable, ..LedgerWord::ASKED };
        self.writer = Some(writer);
        self.found = durable.filter(|durable| self.cursor.is_none() && *durable > 0);
        // One that has no ledger yet was perhaps written to without.
        Ok(durable.or(self.cursor))
    }

    async fn hand_over(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        self.unrecorded = None;
        let keeps_ledger = self.target.keeps_ledger();
        if keeps_ledger && !self.word.is_asked {
            self.ask().await?;
        }
        let mut writer = self.opened().await?;
        let durable = self.word.durable.filter(|_| keeps_ledger);
        let skip_below = durable.unwrap_or(0);
        let next = skip_below.max(batch.range.end);
        let mut delivery = Delivery { delivered: batch.events.len() as u64, ..Delivery::default() };
        if let Some(durable) = durable.filter(|durable| *durable < batch.range.start) {
            let (place, start) = (self.target.place(), batch.range.start);
            delivery.notices.push(format!("offsets {durable} to {start} of the log never reached {place}"));
        }
        if let Err(error) = self.shape.prepare(batch, skip_below).await {
            self.writer = Some(writer);
            return Err(failure(error));
        }
        let mut left_out = HashSet::new();
        loop {
            let shaped = self.shape.messages(batch, skip_below, &left_out);
            delivery.duplicates = shaped.there;
            if keeps_ledger && !shaped.refused.is_empty() {
                self.writer = Some(writer);
                return Err(Failure::Refused { rejected: shaped.refused });
            }
            delivery.rejected = shaped.refused;
            let is_there = if keeps_ledger { durable == Some(next) } else { shaped.messages.is_empty() };
            if is_there && shaped.messages.is_empty() {
                break;
            }
            self.word.perhaps = Some(next);
            let refused = write(&mut *writer, shaped.messages, next).await?;
            let (events, violations): (Vec<_>, Vec<_>) =
                refused.into_iter().partition(|refused| refused.index < batch.events.len());
            if !keeps_ledger {
                delivery.rejected.extend(events.into_iter().map(rejected));
                delivery.rejected.sort_unstable_by_key(|rejected| rejected.index);
                tell(&mut delivery.notices, &violations);
                break;
            }
            if events.is_empty() && violations.is_empty() {
                self.word = LedgerWord { durable: Some(next), ..LedgerWord::ASKED };
                break;
            }
            // Nothing counted.
            self.word.perhaps = None;
            if !events.is_empty() {
                self.writer = Some(writer);
                return Err(Failure::Refused { rejected: events.into_iter().map(rejected).collect() });
            }
            tell(&mut delivery.notices, &violations);
            let before = left_out.len();
            left_out.extend(violations.into_iter().map(|refused| refused.index));
            if left_out.len() == before {
                let reason = format!("{}: messages were refused that were not sent", self.target.place());
                return Err(Failure::Retry { reason, cause: None });
            }
        }
        delivery.delivered -= delivery.rejected.len() as u64;
        if let Some(found) = self.found.take() {
            let (place, ledger) = (self.target.place(), &self.ledger);
            delivery.notices.push(format!(
                "{place} had the ledger {ledger} before this server delivered anything under that name: what its log has below offset \
                 {found} counts as written; if another server wrote it, give this destination a `ledger` of its own"
            ));
        }
        self.writer = Some(writer);
        self.unrecorded = Some(batch.range.end);
        Ok(delivery)
    }
}

async fn open(
    target: &Arc<dyn StreamTarget>,
    ledger: &str,
    owner: Option<&str>,
) -> Result<Box<dyn StreamWriter>, Failure> {
    let mut writer = target.open(ledger).await.map_err(failure)?;
    if let Some(owner) = owner {
        writer.own(owner);
    }
    Ok(writer)
}

async fn write(
    writer: &mut dyn StreamWriter,
    messages: Vec<OutgoingMessage>,
    next: u64,
) -> Result<Vec<RefusedMessage>, Failure> {
    writer.write(messages, next).await.map_err(failure)
}

fn rejected(RefusedMessage { index, reason }: RefusedMessage) -> Rejected {
    Rejected { index, code: "message_refused".into(), reason, detail: None }
}

/// Says of violations that they were refused; they are in no quarantine, since their events may have arrived.
fn tell(notices: &mut Vec<String>, violations: &[RefusedMessage]) {
    for refused in violations.iter().take(NOTICES_MAX) {
        notices.push(format!("what a contract found could not be written: {}", refused.reason));
    }
    if let Some(more) = violations.len().checked_sub(NOTICES_MAX).filter(|more| *more > 0) {
        notices.push(format!("and {more} more of what contracts found could not be written"));
    }
}

fn failure(error: StreamError) -> Failure {
    match error {
        StreamError::Retry(reason) => Failure::Retry { reason, cause: None },
        StreamError::Stop { reason, advice } => Failure::Stop { reason, advice, cause: None },
    }
}

impl Destination for StreamDestination {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.ask())
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.hand_over(&batch).await })
    }

    fn recorded(&mut self) {
        // Another worker may go on with this destination.
        self.cursor = self.unrecorded.take().or(self.cursor);
    }

    fn close(&mut self) -> Reply<'_, ()> {
        Box::pin(async move {
            match self.writer.take() {
                Some(mut writer) => writer.close().await.map_err(failure),
                None => Ok(()),
            }
        })
    }
}
