//! The threads that guests run on.
//!
//! There are more of them than cores, so that the operating system shares the cores out: a call that has just come runs
//! at once, and one that has used its turn waits, whoever's it is. A guest also gives way at every tick of its engine,
//! so that calls that share a thread take turns. Functions that lately broke or needed much of their budgets run in a
//! lane of their own, which gets what the others leave, and never all cores: where there are two or more, one is free of
//! it. All of them give way to those that accept events.

use std::future::Future;

use serde::{Deserialize, Serialize};
use tidegate_process::task;
use tokio::runtime::{Handle, Runtime};

/// Threads for guests. They end when it is dropped; calls under way are then given up.
pub struct Pool {
    lanes: Option<(Runtime, Runtime)>,
    cores: usize,
}

/// Runs work on the threads of a [`Pool`]. Clones share them.
#[derive(Debug, Clone)]
pub struct Workers {
    quick: Handle,
    slow: Handle,
    cores: usize,
}

/// Which threads a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Quick,
    /// For functions that lately broke, or needed much of what they may use.
    Slow,
}

/// How a candidate version is tried beside the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutMode {
    /// It takes this percentage of the batches.
    Share(u8),
    /// It runs beside the active version; its outcomes are compared and thrown away.
    Shadow,
}

/// A run came to no end: the pool has stopped, or the host itself failed while the guest ran.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a run of functions came to no end: {0}")]
pub struct UnfinishedRun(String);

/// Threads of the quick lane for each core.
const THREADS_FOR_EACH_CORE: usize = 4;

impl Pool {
    /// # Errors
    /// The operating system refused a thread.
    pub fn start(cores: usize) -> std::io::Result<Self> {
        let lane = |name: &str, threads: usize, give_way: fn()| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(threads.max(1))
                .thread_name(name)
                .on_thread_start(give_way)
                .enable_time()
                .build()
        };
        let quick = lane("function", cores * THREADS_FOR_EACH_CORE, task::give_way)?;
        // With as many threads as cores a call that has just come would wait for a turn behind one of them, whatever
        // their rank: the kernel lets a thread finish its slice of some milliseconds.
        let slow = lane("function-slow", cores.saturating_sub(1), task::give_way_to_all)?;
        let lanes = (quick, slow);
        Ok(Self { lanes: Some(lanes), cores: cores.max(1) })
    }

    /// Where to send work.
    #[must_use]
    pub fn workers(&self) -> Workers {
        // There are lanes until the drop.
        let handles = self.lanes.as_ref().map(|(quick, slow)| (quick.handle().clone(), slow.handle().clone()));
        let (quick, slow) = handles.unwrap_or_else(|| (Handle::current(), Handle::current()));
        Workers { quick, slow, cores: self.cores }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some((quick, slow)) = self.lanes.take() {
            quick.shutdown_background();
            slow.shutdown_background();
        }
    }
}

impl Workers {
    /// How many runs make progress at the same time.
    #[must_use]
    pub const fn cores(&self) -> usize {
        self.cores
    }

    /// Begins `work` on the pool at once, so that several may be under way; whoever awaits it gets what came of it.
    ///
    /// # Errors
    /// The pool has stopped, or the host panicked: what `work` held is gone.
    pub fn run<T: Send + 'static, W: Future<Output = T> + Send + 'static>(
        &self,
        lane: Lane,
        work: W,
    ) -> impl Future<Output = Result<T, UnfinishedRun>> + Send + use<T, W> {
        let lane = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
        };
        let started = lane.spawn(work);
        async move { started.await.map_err(|error| UnfinishedRun(error.to_string())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_lane_leaves_a_core_to_the_others() {
        for (cores, slow) in [(0, 1), (1, 1), (2, 1), (8, 7)] {
            let pool = Pool::start(cores).unwrap();
            assert_eq!(pool.workers().slow.metrics().num_workers(), slow, "{cores} cores");
        }
    }
}
