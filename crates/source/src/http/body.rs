//! Reading a request's body: bounded in bytes, in time, in what all unfinished bodies hold together and in how far it
//! may inflate; and what is not wanted is read to its end all the same, so that the client can read its answer.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap};
use parking_lot::Mutex;
use tidegate_net::RequestBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::RequestLimits;
use super::answer::HttpAnswer;
use super::inflate::{self, Cap, Encoding, Scratch};
use super::unfinished::BudgetShare;

/// How much of an unwanted body is read before the answer.
const UNWANTED_BYTES_MAX: usize = 16 << 20;
const UNWANTED_TIME_MAX: Duration = Duration::from_secs(10);
/// A body up to this size gets room for twice what has arrived of it; a larger one for a quarter more.
const DOUBLED_BYTES_MAX: usize = 64 << 10;
/// How long a body waits for a decoder.
const DECODER_WAIT_MAX: Duration = Duration::from_secs(5);

/// A body on its way in.
pub(super) struct WireBody {
    incoming: RequestBody,
    /// The rest is not read: the client waits to be asked for it (`Expect: 100-continue`), or is too slow for that.
    is_left: bool,
    /// All of it has been read.
    is_over: bool,
}

/// A whole body, inflated, with what it holds until it has been worked on.
pub(super) struct DecodedBody {
    bytes: Bytes,
    _share: BudgetShare,
    _decoder: Option<OwnedSemaphorePermit>,
}

impl Deref for DecodedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Places at the decoders: no more work at once than leaves the processor to others. Unknown clients have one of their own.
pub(super) struct Decoders {
    known: DecoderLane,
    unknown: DecoderLane,
}

struct DecoderLane {
    places: Arc<Semaphore>,
    /// At most one for each place.
    scratch: Arc<Mutex<Vec<Scratch>>>,
}

impl Decoders {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let lane = |places| DecoderLane { places: Arc::new(Semaphore::new(places)), scratch: Arc::default() };
        Self { known: lane((cores / 2).max(1)), unknown: lane(1) }
    }
}

impl DecoderLane {
    async fn place(&self) -> Result<OwnedSemaphorePermit, HttpAnswer> {
        let place = tokio::time::timeout(DECODER_WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await;
        let busy = HttpAnswer::TooBusy("too many compressed bodies wait to be inflated; try again");
        place.ok().and_then(Result::ok).ok_or(busy)
    }

    /// Inflates on a thread that may be busy: the ones that serve connections may not. The place is taken until the
    /// work is done, even if the client goes away meanwhile.
    async fn inflate(
        &self,
        encoding: Encoding,
        wire: Bytes,
        cap: Cap,
    ) -> Result<(Bytes, OwnedSemaphorePermit), HttpAnswer> {
        let place = self.place().await?;
        let pool = Arc::clone(&self.scratch);
        let work = move || {
            // Whatever else these threads do can wait for those that accept events, too.
            tidegate_process::task::give_way();
            let mut scratch = pool.lock().pop().unwrap_or_default();
            let inflated = inflate::inflate(encoding, &wire, cap, &mut scratch);
            let inflated = inflated.map(|()| Bytes::copy_from_slice(&scratch.bytes));
            pool.lock().push(scratch);
            inflated.map(|bytes| (bytes, place))
        };
        let broke = |_| Err(HttpAnswer::bad("malformed-encoding", "the body broke its decoder"));
        tokio::task::spawn_blocking(work).await.unwrap_or_else(broke)
    }
}

impl WireBody {
    pub(super) fn new(headers: &HeaderMap, incoming: RequestBody) -> Self {
        let asks =
            headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let is_over = incoming.is_end_stream();
        Self { incoming, is_left: asks && !is_over, is_over }
    }

    /// The whole body, inflated. `is_known` says that the write key outside the body opens a source.
    pub(super) async fn read(
        &mut self,
        headers: &HeaderMap,
        (share, is_known): (BudgetShare, bool),
        decoders: &Decoders,
        limits: &RequestLimits,
    ) -> Result<DecodedBody, HttpAnswer> {
        let encoding = inflate::encoding(headers)?;
        if !is_known && encoding.is_some_and(|encoding| !encoding.is_small()) {
            return Err(HttpAnswer::KeyOutside);
        }
        if self.incoming.size_hint().lower() > limits.request_bytes_max as u64 {
            return Err(too_large(limits));
        }
        let mut share = share;
        let collect = self.collect(&mut share, encoding.is_some(), limits);
        let Ok(wire) = tokio::time::timeout(limits.body_timeout, collect).await else {
            self.is_left = true;
            return Err(HttpAnswer::Slow);
        };
        let wire = wire?;
        let Some(encoding) = encoding else { return Ok(DecodedBody { bytes: wire, _share: share, _decoder: None }) };
        let lane = if is_known { &decoders.known } else { &decoders.unknown };
        // Without a key there is no more room than a plain body has.
        let most = if is_known { limits.inflated_bytes_max } else { limits.request_bytes_max };
        let cap = Cap { bytes_max: most.min(limits.inflated_bytes_max), ratio_max: limits.inflate_ratio_max };
        let (bytes, place) = lane.inflate(encoding, wire, cap).await?;
        Ok(DecodedBody { bytes, _share: share, _decoder: Some(place) })
    }

    /// The body as it comes; `waits` says that it will have to wait for a decoder.
    async fn collect(
        &mut self,
        share: &mut BudgetShare,
        waits: bool,
        limits: &RequestLimits,
    ) -> Result<Bytes, HttpAnswer> {
        let declared = self.incoming.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let most = declared.unwrap_or(usize::MAX).min(limits.request_bytes_max);
        let mut kept = Vec::new();
        self.is_left = false;
        while let Some(frame) = self.incoming.frame().await {
            let Ok(frame) = frame else {
                return Err(HttpAnswer::bad("broken-body", "the connection broke off in the body"));
            };
            let Ok(data) = frame.into_data() else { continue };
            // Most bodies arrive in one piece, and were never unfinished.
            if !waits && kept.is_empty() && declared == Some(data.len()) {
                self.is_over = true;
                return Ok(data);
            }
            let bytes = kept.len() + data.len();
            if bytes > limits.request_bytes_max {
                return Err(too_large(limits));
            }
            if bytes > kept.capacity() {
                // Ahead of what has arrived: few moves, and little of a large one that is empty.
                let ahead = if bytes <= DOUBLED_BYTES_MAX { bytes } else { bytes / 4 };
                let room = (bytes + ahead.max(1 << 10)).min(most).max(bytes);
                if !share.grow(room - kept.capacity()) {
                    return Err(HttpAnswer::TooBusy("too many unfinished request bodies; try again"));
                }
                kept.reserve_exact(room - kept.len());
            }
            kept.extend_from_slice(&data);
        }
        self.is_over = true;
        Ok(Bytes::from(kept))
    }

    /// Reads on to the body's end and keeps nothing. False when it goes on beyond what is read for that: the
    /// connection is of no use then.
    pub(super) async fn finish(&mut self) -> bool {
        if self.is_over || self.is_left {
            return self.is_over;
        }
        let read = async {
            let mut left = UNWANTED_BYTES_MAX;
            loop {
                match self.incoming.frame().await {
                    None => return true,
                    Some(Err(_)) => return false,
                    Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                        Some(less) => left = less,
                        None => return false,
                    },
                }
            }
        };
        tokio::time::timeout(UNWANTED_TIME_MAX, read).await.unwrap_or(false)
    }
}

fn too_large(limits: &RequestLimits) -> HttpAnswer {
    let max = limits.request_bytes_max;
    HttpAnswer::bad("request-too-large", format!("the request body is larger than {max} bytes; send smaller batches"))
}
