//! An answer that is costly to make is made once in a second, however many ask; they wait for one another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::extract::blocking;
use super::refusal::ApiRefusal;

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(1);

/// The last answer, and when it was made.
pub(super) struct RecentAnswer<T>(Arc<Mutex<Option<(Instant, T)>>>);

impl<T> Default for RecentAnswer<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<T: Clone + Send + 'static> RecentAnswer<T> {
    /// The answer of this second. It is made away from the threads that serve, and to its end though whoever asked has left: nobody begins
    /// another one meanwhile.
    ///
    /// # Errors
    /// It could not be made.
    pub(super) async fn or_make(&self, make: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiRefusal> {
        let mut kept = Arc::clone(&self.0).lock_owned().await;
        if let Some((at, answer)) = &*kept
            && at.elapsed() < KEPT
        {
            return Ok(answer.clone());
        }
        blocking(move || {
            let answer = make();
            *kept = Some((Instant::now(), answer.clone()));
            answer
        })
        .await
    }
}
