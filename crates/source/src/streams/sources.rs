//! The streams of an environment by their sources, for whoever asks how they are, or has one go on elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_stream::{SeekTarget, StreamError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::board::{StreamBoard, StreamReport};
use super::orders::SeekOrder;

/// What was read before comes to its end first, and upstream has to answer.
const SEEK_MAX: Duration = Duration::from_secs(60);

/// Every stream source, whether it runs or not. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct StreamSources(Arc<RwLock<BTreeMap<String, ListedStream>>>);

#[derive(Debug)]
struct ListedStream {
    board: Arc<StreamBoard>,
    /// None while it does not run.
    seeks: Option<mpsc::Sender<SeekOrder>>,
}

/// Why a stream did not go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeekProblem {
    /// The source is no stream, or there is none.
    NoStream,
    /// It is paused, or has ended.
    NotRunning,
    /// It did not answer; it may go elsewhere yet.
    TookLong,
    Refused(StreamError),
}

impl StreamSources {
    /// A source is a stream that says what it does on this board. `seeks` takes orders while it runs.
    pub fn list(&self, source: &str, board: Arc<StreamBoard>, seeks: Option<mpsc::Sender<SeekOrder>>) {
        self.0.write().insert(source.to_owned(), ListedStream { board, seeks });
    }

    /// The source is a stream no more.
    pub fn remove(&self, source: &str) {
        self.0.write().remove(source);
    }

    /// How a stream is, at `now_us` in microseconds since the Unix epoch.
    #[must_use]
    pub fn report(&self, source: &str, now_us: i64) -> Option<StreamReport> {
        self.0.read().get(source).map(|listed| listed.board.report(now_us))
    }

    /// How all of them are.
    #[must_use]
    pub fn reports(&self, now_us: i64) -> BTreeMap<String, StreamReport> {
        self.0.read().iter().map(|(source, listed)| (source.clone(), listed.board.report(now_us))).collect()
    }

    /// Has a stream go on elsewhere, and waits until it does.
    ///
    /// # Errors
    /// It does not, or nobody knows.
    pub async fn seek(&self, source: &str, to: SeekTarget) -> Result<(), SeekProblem> {
        let seeks = match self.0.read().get(source) {
            None => return Err(SeekProblem::NoStream),
            Some(listed) => listed.seeks.clone().ok_or(SeekProblem::NotRunning)?,
        };
        let (reply, answer) = oneshot::channel();
        let asked = async {
            seeks.send(SeekOrder { to, reply }).await.map_err(|_| SeekProblem::NotRunning)?;
            answer.await.map_err(|_| SeekProblem::NotRunning)?.map_err(SeekProblem::Refused)
        };
        timeout(SEEK_MAX, asked).await.unwrap_or(Err(SeekProblem::TookLong))
    }
}
