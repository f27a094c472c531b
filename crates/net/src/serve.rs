//! The loop of a port, and the task of each connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_process::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{Connection, Signal};
use super::io::Socket;
use super::table::ConnectionPlace;
use super::{HttpReply, Port, RequestBody, Service};

/// How often waits are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// Connections closed at once when descriptors have run out.
const SHED_AT_ONCE: usize = 16;
/// How long the loop waits for a descriptor to come free.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_millis(20);
/// What a flood makes us say is said this often.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// The largest head, and the most that one read takes. A client that stops within a large body makes its connection keep
/// a buffer of this size.
const BUFFER_BYTES_MAX: usize = 32 << 10;

impl Port {
    /// Serves until `stop` turns true; then takes no new connection and waits for the requests in flight, up to
    /// `stop_timeout`.
    pub async fn run<S: Service>(self, service: Arc<S>, mut stop: watch::Receiver<bool>) {
        let Self { listener, table } = self;
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = ToldAcceptErrors::default();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = sweep.tick() => {
                    table.sweep();
                    continue;
                }
                accepted = accept(&listener) => accepted,
            };
            let error = match accepted {
                Ok((stream, _)) if !clock_can_be_told() => {
                    if told.is_due() {
                        tracing::warn!(
                            "the clock of this machine is before 1970 or beyond 9999; requests are answered with 503 until it is right"
                        );
                    }
                    tokio::spawn(refuse_for_the_clock(stream));
                    continue;
                }
                Ok((stream, address)) => {
                    let Ok(local) = stream.local_addr() else { continue };
                    match table.admit(address, local) {
                        Some(place) => drop(tokio::spawn(serve(stream, place, Arc::clone(&service)))),
                        None if told.is_due() => {
                            tracing::warn!(
                                connections_max = table.limits.connections_max,
                                "all connections are busy; new ones are closed (limits.connections_max)"
                            );
                        }
                        None => {}
                    }
                    continue;
                }
                Err(error) => error,
            };
            if !lacks_descriptors(&error) {
                // The client has gone before it was accepted, most likely.
                tokio::task::yield_now().await;
                continue;
            }
            if told.is_due() {
                tracing::warn!(error = %error, "there is no free file descriptor; idle connections are closed. Raise the limit (ulimit -n, LimitNOFILE)");
            }
            // When nobody is idle the new ones wait in the kernel, for those that are worked on end soon.
            table.shed(SHED_AT_ONCE);
            let _ = tokio::time::timeout(DESCRIPTOR_PATIENCE, table.ended.notified()).await;
        }
        drop(listener);
        table.stop();
        let deadline = Instant::now() + table.limits.stop_timeout;
        while !table.is_empty() && tokio::time::timeout_at(deadline, table.ended.notified()).await.is_ok() {}
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    fail::fail_point!("net_accept", |_| Err(io::Error::from_raw_os_error(24)));
    listener.accept().await
}

/// Whether HTTP can spell the time. The server below does so at every turn, and panics on a clock that is before 1970 or
/// beyond 9999.
fn clock_can_be_told() -> bool {
    (0..clock::LATEST_US).contains(&clock::now_us())
}

/// How long a client that is refused for the clock may go on sending before its connection is closed.
const REFUSED_MAX: Duration = Duration::from_secs(2);
const REFUSAL: &str = concat!(
    r#"{"error":"the clock of the server is wrong; nothing was accepted","code":"wrong-clock","#,
    r#""message":"the clock of the server is wrong; nothing was accepted"}"#
);

/// Answers by hand: later, when the clock is right.
async fn refuse_for_the_clock(mut stream: TcpStream) {
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\nretry-after: 30\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{REFUSAL}",
        REFUSAL.len()
    );
    let work = async {
        stream.write_all(reply.as_bytes()).await?;
        stream.shutdown().await?;
        // What the client is still sending is read, so that it finds the answer and no broken connection.
        let mut unwanted = [0; 4096];
        while stream.read(&mut unwanted).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    let _ = tokio::time::timeout(REFUSED_MAX, work).await;
}

fn lacks_descriptors(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM: of this process, or of the whole system.
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

#[derive(Default)]
struct ToldAcceptErrors(Option<Instant>);

impl ToldAcceptErrors {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= TELL_INTERVAL);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// One connection, to its end.
async fn serve<S: Service>(stream: TcpStream, place: ConnectionPlace, service: Arc<S>) {
    let _ = stream.set_nodelay(true);
    let connection = &place.connection;
    let stop_timeout = place.limits().stop_timeout;
    let answer = service_fn(|request| {
        let (service, connection) = (Arc::clone(&service), Arc::clone(connection));
        async move { Ok::<_, Infallible>(answer(&*service, &connection, request).await) }
    });
    let mut server = http1::Builder::new();
    // Waits are ended by the table, which looks at all of them together.
    server.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
    let socket = Socket::new(stream, Arc::clone(connection));
    let mut serving = pin!(server.serve_connection(TokioIo::new(socket), answer));
    let mut deadline = None;
    poll_fn(|cx| {
        connection.listen(cx.waker());
        if connection.heard(Signal::Stop) {
            serving.as_mut().graceful_shutdown();
            deadline = Some(Box::pin(tokio::time::sleep(stop_timeout)));
        }
        // A client that breaks off is its own business.
        if !clock_can_be_told() || serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if connection.heard(Signal::Close) {
            if !connection.is_worked_on() {
                return Poll::Ready(());
            }
            // Its request came whole just now: it gets its answer first.
            serving.as_mut().graceful_shutdown();
        }
        deadline.as_mut().map_or(Poll::Pending, |deadline| deadline.as_mut().poll(cx))
    })
    .await;
}

async fn answer<S: Service>(service: &S, connection: &Arc<Connection>, request: Request<Incoming>) -> HttpReply {
    connection.begin();
    let request = request.map(|incoming| RequestBody::new(incoming, Arc::clone(connection)));
    let mut answering = pin!(service.answer(request, connection.peer));
    let reply = poll_fn(|cx| match answering.as_mut().poll(cx) {
        // Only while nothing but the client is waited for: nothing of this request is on its way to the log.
        Poll::Pending if connection.heard(Signal::SlowBody) && connection.is_receiving() => {
            Poll::Ready(service.too_slow())
        }
        polled => polled,
    })
    .await;
    connection.answered();
    reply
}
