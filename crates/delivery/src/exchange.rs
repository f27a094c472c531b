//! One planned request: sent, answered, and its answer read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_net::outbound::{OutboundError, OutboundRequest, OutboundResponse};
use tidegate_process::clock;
use tidegate_wasm::{self as wasm, AnsweredRequest, CallFailure, DeliveryVerdict};

use super::outcome::DeliveryOutcome;
use super::outgoing_event::OutgoingEvent;
use super::rate_limiter::retry_after;
use super::runtime::DestinationRuntime;

/// A request with the events that it carries: as the guest counts them, and as indexes of outgoing events.
pub(super) struct PlannedRequest {
    pub(super) request: OutboundRequest,
    pub(super) events: Vec<u32>,
    pub(super) indexes: Vec<usize>,
    pub(super) tag: String,
}

/// A failure that may pass at once is tried again this often before its events are deferred,
const TRIES_IN_PLACE: u32 = 2;
/// unless that would take longer than this,
const PAUSE_IN_PLACE_MAX: Duration = Duration::from_secs(2);
/// or this many tries in a row have failed: then the far side is away.
pub(super) const FAILURES_IN_A_ROW_MAX: u32 = 3;

/// Of bodies, this much is shown to people.
const SHOWN_BYTES_MAX: usize = 2 << 10;
const SHOWN_HEADERS_MAX: usize = 32;

/// What one try of a request came to.
enum ExchangeEnd {
    Outcomes(Vec<(usize, DeliveryOutcome)>),
    /// Refused as a whole; nobody knows for which event.
    Refused {
        code: String,
        reason: String,
        detail: Option<String>,
    },
    /// The whole request is worth another try.
    Again {
        after: Option<Duration>,
        error: String,
        detail: Option<String>,
    },
    /// At once, with new credentials.
    Reauthenticate {
        error: String,
        detail: Option<String>,
    },
}

/// What came of a request.
pub(super) enum ExchangeResult {
    Settled(Vec<(usize, DeliveryOutcome)>),
    /// To be planned anew in halves: the indexes of several outgoing events, and what they are refused with when that goes on for
    /// too long.
    Bisect(Vec<usize>, String),
}

impl DestinationRuntime {
    /// Sends a request until its answer settles its events, or they have to wait, or it is to be halved.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        planned: PlannedRequest,
        outgoing: &[OutgoingEvent],
        is_first_try: bool,
    ) -> ExchangeResult {
        let before = planned.indexes.iter().map(|index| outgoing[*index].tries).max().unwrap_or(0);
        let (mut tries, mut reauthenticated) = (0, false);
        if !is_first_try {
            self.numbers.retries.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            if let Some(stop) = self.stopped() {
                let error = stop.to_string();
                let waits = |index: &usize| (*index, outgoing[*index].again_uncounted(error.clone()));
                return ExchangeResult::Settled(planned.indexes.iter().map(waits).collect());
            }
            let began = Instant::now();
            let end = self.once(&planned, before + tries + 1, outgoing).await;
            tries += 1;
            let failures = match &end {
                ExchangeEnd::Outcomes(_) | ExchangeEnd::Refused { .. } => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.is_back();
                    0
                }
                _ => self.failures.fetch_add(1, Ordering::Relaxed),
            };
            let (after, error, detail) = match end {
                ExchangeEnd::Outcomes(outcomes) => return ExchangeResult::Settled(outcomes),
                ExchangeEnd::Refused { reason, .. }
                    if planned.indexes.iter().any(|index| *index != planned.indexes[0]) =>
                {
                    return ExchangeResult::Bisect(planned.indexes, reason);
                }
                ExchangeEnd::Refused { code, reason, detail } => {
                    let outcome = DeliveryOutcome::Rejected { code, reason, detail };
                    return ExchangeResult::Settled(
                        planned.indexes.into_iter().map(|index| (index, outcome.clone())).collect(),
                    );
                }
                ExchangeEnd::Reauthenticate { .. } if !reauthenticated => {
                    self.client.forget_token().await;
                    self.numbers.retries.fetch_add(1, Ordering::Relaxed);
                    reauthenticated = true;
                    continue;
                }
                ExchangeEnd::Reauthenticate { error, detail } => (None, error, detail),
                ExchangeEnd::Again { after, error, detail } => (after, error, detail),
            };
            if failures + 1 >= FAILURES_IN_A_ROW_MAX {
                self.is_away(&error);
            }
            let pause = self.pause(tries - 1, after);
            // Who was slow to fail would be slow again, and the rest of the batch waits meanwhile.
            let quick = began.elapsed().max(pause) <= PAUSE_IN_PLACE_MAX && failures < FAILURES_IN_A_ROW_MAX;
            if is_first_try && quick && tries <= TRIES_IN_PLACE {
                tokio::time::sleep(pause).await;
                self.numbers.retries.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let outcome = |outgoing: &OutgoingEvent| DeliveryOutcome::Again {
                tries: outgoing.tries.saturating_add(tries),
                after,
                error: error.clone(),
                detail: detail.clone(),
            };
            return ExchangeResult::Settled(
                planned.indexes.iter().map(|index| (*index, outcome(&outgoing[*index]))).collect(),
            );
        }
    }

    async fn once(&self, planned: &PlannedRequest, attempt: u32, outgoing: &[OutgoingEvent]) -> ExchangeEnd {
        let answer = {
            let _turn = self.rate_limiter.turn().await;
            let began = Instant::now();
            let answer = self.client.send(&planned.request).await;
            self.count(&answer, began.elapsed());
            answer
        };
        match answer {
            Ok(response) => self.read(planned, attempt, response, outgoing).await,
            // Nothing was sent; the guest wrote a request that must not be.
            Err(OutboundError::Refused(refusal)) => {
                let detail = self.detail(&planned.request, None);
                let reject = |index: &usize| {
                    let (code, reason) = (refusal.code.to_owned(), refusal.reason.clone());
                    (*index, DeliveryOutcome::Rejected { code, reason, detail: detail.clone() })
                };
                ExchangeEnd::Outcomes(planned.indexes.iter().map(reject).collect())
            }
            Err(error) => {
                if let OutboundError::SignIn { permanent: true, .. } = &error {
                    self.stop(error.to_string(), "mend the credentials in the settings of the destination");
                }
                ExchangeEnd::Again {
                    after: None,
                    error: error.to_string(),
                    detail: self.detail(&planned.request, None),
                }
            }
        }
    }

    /// Counts what came of a request, unless it was never sent.
    fn count(&self, answer: &Result<OutboundResponse, OutboundError>, took: Duration) {
        let class = match answer {
            Ok(response) => match response.status / 100 {
                1 => "1xx",
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                _ => "5xx",
            },
            Err(OutboundError::Refused(_)) => return,
            Err(_) => "none",
        };
        self.numbers.exchange.observe(took);
        self.numbers.answers.of(&[class]).fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the guest say what the answer means.
    async fn read(
        &self,
        planned: &PlannedRequest,
        attempt: u32,
        response: OutboundResponse,
        outgoing: &[OutgoingEvent],
    ) -> ExchangeEnd {
        let shown = wasm::GuestResponse {
            status: response.status,
            headers: response.headers.clone(),
            body: response.body.clone(),
            attempt,
        };
        let answered = AnsweredRequest { tag: &planned.tag, events: &planned.events, response: &shown };
        let answer = self.classify(answered).await;
        let detail = || self.detail(&planned.request, Some(&response));
        let error = |what: &str| format!("status {}: {what}", response.status);
        let all = |outcome: DeliveryOutcome| {
            ExchangeEnd::Outcomes(planned.indexes.iter().map(|index| (*index, outcome.clone())).collect())
        };
        let rejected =
            |code: &str, reason: String| DeliveryOutcome::Rejected { code: code.to_owned(), reason, detail: detail() };
        match answer {
            Ok(DeliveryVerdict::Delivered) => all(DeliveryOutcome::Delivered),
            Ok(DeliveryVerdict::Rejected(guest_error)) => all(rejected(&guest_error.code, error(&guest_error.message))),
            Ok(DeliveryVerdict::Bisect(guest_error)) => {
                let reason = error(&guest_error.message);
                ExchangeEnd::Refused { code: guest_error.code, reason, detail: detail() }
            }
            Ok(DeliveryVerdict::Retry(wait)) => {
                let asked = response.header("retry-after").and_then(|value| retry_after(value, clock::now_us()));
                ExchangeEnd::Again { after: asked.max(wait), error: error("worth another try"), detail: detail() }
            }
            Ok(DeliveryVerdict::Reauthenticate) => {
                ExchangeEnd::Reauthenticate { error: error("the credentials were refused"), detail: detail() }
            }
            Ok(DeliveryVerdict::Disable(guest_error)) => {
                self.stop(error(&guest_error.to_string()), "do what it says");
                ExchangeEnd::Outcomes(
                    planned
                        .indexes
                        .iter()
                        .map(|index| (*index, outgoing[*index].again_uncounted(guest_error.to_string())))
                        .collect(),
                )
            }
            Ok(DeliveryVerdict::Partial(marked)) => {
                if let Some((event, _)) = marked.iter().find(|(event, _)| !planned.events.contains(event)) {
                    let reason = format!("the verdict names event {event}, which the request does not carry");
                    return all(rejected("bad-verdict", error(&reason)));
                }
                let outcome = |(event, index): (&u32, &usize)| {
                    let outgoing = &outgoing[*index];
                    let outcome = match marked.iter().find(|(known, _)| known == event) {
                        None => DeliveryOutcome::Delivered,
                        Some((_, false)) => rejected("rejected", error("this event was rejected")),
                        Some((_, true)) => DeliveryOutcome::Again {
                            tries: outgoing.tries.saturating_add(1),
                            after: response.header("retry-after").and_then(|value| retry_after(value, clock::now_us())),
                            error: error("this event is worth another try"),
                            detail: detail(),
                        },
                    };
                    (*index, outcome)
                };
                ExchangeEnd::Outcomes(planned.events.iter().zip(&planned.indexes).map(outcome).collect())
            }
            // An answer that the guest cannot read says neither that the events arrived nor that they did not. Sending
            // them again could double them, so people decide, with the answer before them.
            Err(CallFailure::Stopped { stop_reason, message, .. }) => {
                all(rejected(stop_reason.as_str(), error(&format!("the plugin broke on the answer: {message}"))))
            }
            Err(failure) => {
                let what = match &failure {
                    CallFailure::Configure(guest_error)
                    | CallFailure::Fatal(guest_error)
                    | CallFailure::Retryable(guest_error, _) => guest_error.to_string(),
                    CallFailure::Stopped { message, .. } => message.clone(),
                };
                all(rejected("classify-failed", error(&what)))
            }
        }
    }

    /// What people see of a request and its answer. The request is the guest's plan, which holds no secret.
    fn detail(&self, request: &OutboundRequest, response: Option<&OutboundResponse>) -> Option<String> {
        let headers = |headers: &[(String, String)]| -> serde_json::Map<String, serde_json::Value> {
            let short = |text: &String| text.chars().take(256).collect::<String>();
            headers.iter().take(SHOWN_HEADERS_MAX).map(|(name, value)| (short(name), short(value).into())).collect()
        };
        let detail = json!({
            "request": {
                "method": request.method.as_str(),
                "url": request.url.chars().take(1_024).collect::<String>(),
                "headers": headers(&request.headers),
                "body": shown(&request.body),
            },
            "response": response.map(|response| json!({
                "status": response.status,
                "headers": headers(&response.headers),
                "body": shown(&response.body),
            })),
        });
        Some(self.client.secrets().redact_text(&detail.to_string()))
    }
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..SHOWN_BYTES_MAX).unwrap_or(body)).into_owned()
}
