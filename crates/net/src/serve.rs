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
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{Connection, Signal};
use super::io::Socket;
use super::port_tls::PortTls;
use super::table::ConnectionPlace;
use super::{HttpReply, Peer, Port, RequestBody, Service};

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
        let Self { listener, table, tls } = self;
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
                    // Where TLS is spoken an answer would need a handshake, and that the right time.
                    if tls.is_none() {
                        tokio::spawn(refuse(stream, "503 Service Unavailable\r\nretry-after: 30", WRONG_CLOCK));
                    }
                    continue;
                }
                Ok((stream, address)) => {
                    let Ok(local) = stream.local_addr() else { continue };
                    let service = Arc::clone(&service);
                    match (table.admit(Peer { address, local, over_tls: tls.is_some() }), &tls) {
                        (Some(place), None) => drop(tokio::spawn(serve_plain(stream, place, service))),
                        (Some(place), Some(tls)) => {
                            drop(tokio::spawn(serve_over_tls(stream, place, service, Arc::clone(tls))));
                        }
                        (None, _) if told.is_due() => {
                            tracing::warn!(
                                connections_max = table.limits.connections_max,
                                "all connections are busy; new ones are closed (limits.connections_max)"
                            );
                        }
                        (None, _) => {}
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

/// How long a client that is refused by hand may go on sending before its connection is closed.
const REFUSED_MAX: Duration = Duration::from_secs(2);
const WRONG_CLOCK: &str = concat!(
    r#"{"error":"the clock of the server is wrong; nothing was accepted","code":"wrong-clock","#,
    r#""message":"the clock of the server is wrong; nothing was accepted"}"#
);
/// In the words of both ports: as SDKs read an error, and as a problem of RFC 9457.
const WITHOUT_TLS: &str = concat!(
    r#"{"error":"this port speaks TLS: use https://; nothing was accepted","code":"tls-required","#,
    r#""message":"this port speaks TLS: use https://; nothing was accepted","#,
    r#""type":"urn:tidegate:problem:tls-required","title":"Bad Request","status":400,"#,
    r#""detail":"this port speaks TLS; nothing was accepted","fix":"use https://"}"#
);

/// Answers by hand with a status, perhaps with a header behind it, and a body.
async fn refuse(mut stream: TcpStream, status: &str, body: &str) {
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    if let Ok(Ok(())) = tokio::time::timeout(REFUSED_MAX, stream.write_all(reply.as_bytes())).await {
        leave(stream).await;
    }
}

/// Ends a connection whose client was told why. What it is still sending is read, so that it finds that and no broken connection.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let work = async {
        stream.shutdown().await?;
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

/// One connection without TLS, to its end.
async fn serve_plain<S: Service>(stream: TcpStream, place: ConnectionPlace, service: Arc<S>) {
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, Arc::clone(&place.connection));
    serve(socket, &place, service).await;
}

/// One connection over TLS, to its end.
async fn serve_over_tls<S: Service>(stream: TcpStream, place: ConnectionPlace, service: Arc<S>, tls: Arc<PortTls>) {
    let _ = stream.set_nodelay(true);
    let connection = &place.connection;
    let mut first = [0_u8];
    let Some(Ok(1)) = unless_ended(connection, stream.peek(&mut first)).await else { return };
    // HTTP begins with the name of its method, and TLS with a byte that is no letter.
    if first.iter().all(u8::is_ascii_uppercase) {
        unless_ended(connection, refuse(stream, "400 Bad Request", WITHOUT_TLS)).await;
        return;
    }
    let socket = Socket::new(stream, Arc::clone(connection));
    match unless_ended(connection, tls.acceptor().accept(socket).into_fallible()).await {
        Some(Ok(stream)) => {
            place.shook_hands();
            serve(stream, &place, service).await;
        }
        Some(Err((error, socket))) => {
            tls.note_failed(&error, connection.peer.address);
            unless_ended(connection, leave(socket)).await;
        }
        None => {}
    }
}

/// What comes of `work`; nothing where the connection is to be closed, or the port stops, before that is done.
async fn unless_ended<T>(connection: &Connection, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        connection.listen(cx.waker());
        if connection.heard(Signal::Close) || connection.heard(Signal::Stop) {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Requests of a connection, to its end.
async fn serve<S: Service>(stream: impl AsyncRead + AsyncWrite + Unpin, place: &ConnectionPlace, service: Arc<S>) {
    let connection = &place.connection;
    let stop_timeout = place.limits().stop_timeout;
    let answer = service_fn(|request| {
        let (service, connection) = (Arc::clone(&service), Arc::clone(connection));
        async move { Ok::<_, Infallible>(answer(&*service, &connection, request).await) }
    });
    let mut server = http1::Builder::new();
    // Waits are ended by the table, which looks at all of them together.
    server.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), answer));
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
    reply.map(|body| body.over(connection))
}
