//! What the operating system tells a running server, heard by a thread of its own: nothing that the server does or waits
//! for can keep an order from being heard.
//!
//! An order to read the workspace again is kept until somebody takes it, one at most: another one would read the same files.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// What is heard from now on.
pub(super) struct HeardSignals {
    /// Turns true with the first order to stop.
    pub(super) stop: watch::Receiver<bool>,
    /// Orders to read the workspace again.
    pub(super) hung_up: mpsc::Receiver<()>,
    /// For whoever else orders that.
    pub(super) hang_up: mpsc::Sender<()>,
}

/// Hears signals from now on. Orders to stop go to `tell`, each time. Other signals that
/// would end a process without a word are ignored with a line in the log.
///
/// # Errors
/// The operating system refused a thread or a handler.
pub(super) fn listen<T: Send + 'static>(
    tell: Sender<T>,
    order: impl Fn(&'static str) -> T + Send + 'static,
) -> std::io::Result<HeardSignals> {
    let (stop, stopped) = watch::channel(false);
    let (hang_up, hung_up) = mpsc::channel(1);
    let of_others = hang_up.clone();
    let (installed, is_installed) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async move {
            let handlers = Handlers::install();
            let failed = handlers.as_ref().err().map(|error| std::io::Error::new(error.kind(), error.to_string()));
            // Who asked waits for it.
            let _ = installed.send(failed);
            let Ok(mut handlers) = handlers else { return };
            loop {
                let name = handlers.stop(&hang_up).await;
                stop.send_replace(true);
                if tell.send(order(name)).is_err() {
                    return;
                }
            }
        });
    })?;
    match is_installed.recv_timeout(Duration::from_secs(10)) {
        Ok(None) => Ok(HeardSignals { stop: stopped, hung_up, hang_up: of_others }),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(std::io::Error::other("the thread that hears signals did not start")),
    }
}

struct Handlers {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user1: Signal,
    user2: Signal,
}

impl Handlers {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next order to stop.
    async fn stop(&mut self, hang_up: &mpsc::Sender<()>) -> &'static str {
        loop {
            let other = tokio::select! {
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.hang_up.recv() => "SIGHUP",
                _ = self.user1.recv() => "SIGUSR1",
                _ = self.user2.recv() => "SIGUSR2",
            };
            if other == "SIGHUP" {
                // One that waits already reads what is there now.
                let _ = hang_up.try_send(());
                tracing::info!(signal = other, "the workspace is read again");
            } else {
                tracing::info!(signal = other, "ignored: this signal has no meaning here");
            }
        }
    }
}
