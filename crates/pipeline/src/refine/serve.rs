//! Who is answered when: askers at the end of the log wait for more of it, who runs ahead waits for those right behind, and
//! while nobody asks the next log range is refined ahead.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{LogRange, RangeManner, RangeRequest, RefineError, RefineRequest, Refiner};

/// A request that waits.
struct WaitingRequest {
    request: RangeRequest,
    /// Until when it is held for others; `None` while it waits for more of the log.
    held_until: Option<Instant>,
}

/// What there is for a request.
enum Found {
    Range(Arc<LogRange>),
    /// The log ends here.
    AtEnd,
    Held(Instant),
}

impl Refiner {
    pub(super) async fn serve(mut self, mut asked: mpsc::Receiver<RefineRequest>) {
        let mut committed = self.log.follow();
        let mut waiting: Vec<WaitingRequest> = Vec::new();
        loop {
            let held_until = waiting.iter().filter_map(|waiting| waiting.held_until).min();
            let is_at_end = waiting.iter().any(|waiting| waiting.held_until.is_none());
            tokio::select! {
                biased;
                request = asked.recv() => match request {
                    Some(RefineRequest::Range(request)) => waiting.push(WaitingRequest { request, held_until: None }),
                    Some(RefineRequest::Gone(asker)) => {
                        self.askers.forget(asker);
                        self.close_left_places();
                    }
                    None => return,
                },
                changed = committed.changed(), if is_at_end => if changed.is_err() { return },
                () = until(held_until), if held_until.is_some() => {}
                () = std::future::ready(()), if self.may_go_ahead() => {
                    self.go_ahead();
                    continue;
                }
            }
            committed.mark_unchanged();
            waiting = self.answer(waiting);
            // Whoever was answered may be the one that another was held for.
            if waiting.iter().any(|waiting| waiting.held_until.is_some()) {
                waiting = self.answer(waiting);
            }
        }
    }

    /// Answers what can be answered now; what cannot comes back.
    fn answer(&mut self, waiting: Vec<WaitingRequest>) -> Vec<WaitingRequest> {
        let mut left = Vec::new();
        for WaitingRequest { request, held_until } in waiting {
            if request.reply.is_closed() {
                continue;
            }
            let answer = match self.find(&request, held_until, Instant::now()) {
                Ok(Found::AtEnd) => {
                    left.push(WaitingRequest { request, held_until: None });
                    continue;
                }
                Ok(Found::Held(until)) => {
                    left.push(WaitingRequest { request, held_until: Some(until) });
                    continue;
                }
                Ok(Found::Range(log_range)) => {
                    self.handed_to = self.handed_to.max(log_range.range.end);
                    self.askers.got(request.asker, log_range.range.end, Instant::now());
                    self.close_left_places();
                    Ok(log_range)
                }
                Err(error) => Err(error),
            };
            // Who asked may be gone.
            let _ = request.reply.send(answer);
        }
        left
    }

    /// The log range that a request asks for: remembered, computed again, or refined now.
    fn find(&mut self, request: &RangeRequest, held: Option<Instant>, now: Instant) -> Result<Found, RefineError> {
        let RangeRequest { from, asker, manner, .. } = *request;
        let remembered = self.latest.find(from).or_else(|| self.earlier.find(from));
        if manner == RangeManner::Remembered
            && let Some(log_range) = remembered
            && log_range.erasures == self.log.erasures()
        {
            return Ok(Found::Range(log_range));
        }
        if from < self.refined_to {
            return self.find_again(request, held, now);
        }
        while self.refined_to < self.log.committed() {
            if let Some(until) = self.askers.hold(&self.latest, asker, held, now) {
                return Ok(Found::Held(until));
            }
            let log_range = Arc::new(self.forward()?);
            if log_range.range.is_empty() {
                break;
            }
            self.latest.insert(&log_range, now);
            if log_range.range.contains(&from) {
                return Ok(Found::Range(log_range));
            }
        }
        Ok(Found::AtEnd)
    }

    /// Computes a log range once more. It is remembered when another sync comes by soon.
    fn find_again(
        &mut self,
        request: &RangeRequest,
        held: Option<Instant>,
        now: Instant,
    ) -> Result<Found, RefineError> {
        let RangeRequest { from, asker, manner, .. } = *request;
        if manner != RangeManner::Remembered {
            return self.again(from, manner).map(Found::Range);
        }
        let is_shared = self.askers.follow(from, asker, now);
        if is_shared && let Some(until) = self.askers.hold(&self.earlier, asker, held, now) {
            return Ok(Found::Held(until));
        }
        let log_range = self.again(from, manner)?;
        if is_shared {
            self.earlier.insert(&log_range, now);
        }
        Ok(Found::Range(log_range))
    }

    /// Whether the next log range may be refined before anybody asks: everything before it was handed out, it would be a full
    /// one, and it pushes out nothing that is about to be asked for.
    fn may_go_ahead(&self) -> bool {
        let records_max = self.settings.log_range_records_max as u64;
        self.handed_to >= self.refined_to
            && self.failed_at != Some(self.refined_to)
            && self.log.records(self.refined_to, self.log.committed()) >= records_max
            && !self.askers.need(&self.latest.leaving().0, None, Instant::now())
    }

    fn go_ahead(&mut self) {
        match self.forward() {
            Ok(log_range) if !log_range.range.is_empty() => self.latest.insert(&Arc::new(log_range), Instant::now()),
            // Whoever asks for it hears why.
            Ok(_) | Err(_) => self.failed_at = Some(self.refined_to),
        }
    }
}

/// Waits until then; for ever without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
