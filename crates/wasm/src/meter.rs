//! CPU time of a call: thread time, taken only while its future is being polled.
//!
//! A call may move between threads where it yields, and other calls run in between, so neither wall time nor the
//! thread's own total says what a guest used.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A poll shorter than this counts what the wall clock says, which is never less: the thread's clock is a call into the
/// kernel, a tenth of all that an instance costs.
const SHORT_NS: u64 = 50_000;

#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    /// Nanoseconds of all polls that are over.
    used_ns: AtomicU64,
    /// The thread's clock when the present poll began.
    began_ns: AtomicU64,
}

impl CpuMeter {
    /// Runs `work`, counting the CPU time of each poll.
    pub(super) async fn time<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.began_ns.store(thread_cpu_ns(), Ordering::Relaxed);
            let wall = Instant::now();
            let ready = work.as_mut().poll(cx);
            let used = match u64::try_from(wall.elapsed().as_nanos()) {
                Ok(elapsed) if elapsed < SHORT_NS => self.used_ns.load(Ordering::Relaxed).saturating_add(elapsed),
                _ => self.nanos_while_polled(),
            };
            self.used_ns.store(used, Ordering::Relaxed);
            ready
        })
        .await
    }

    /// CPU time so far; right when no poll is under way.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed))
    }

    /// CPU time so far, asked from within a poll.
    pub(super) fn used_while_polled(&self) -> Duration {
        Duration::from_nanos(self.nanos_while_polled())
    }

    fn nanos_while_polled(&self) -> u64 {
        // Only the polling thread writes, and handing a future to another thread synchronises, so relaxed is enough.
        let since = thread_cpu_ns().saturating_sub(self.began_ns.load(Ordering::Relaxed));
        self.used_ns.load(Ordering::Relaxed).saturating_add(since)
    }
}

fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
