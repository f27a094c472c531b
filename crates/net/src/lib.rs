//! Connections: one server loop for every port, with limits in both directions; and for those that we make, one trust for
//! TLS and one way to set up an HTTP client. A port speaks TLS where it is given files for that.
//!
//! Nouns: a **port** (a bound listener), a **connection** (a socket, and how far its client has come), the **phase** of a
//! connection (shaking hands, idle, sending a head, being served, being written to), the **table** (all connections of a port), a
//! **caller** (an address, IPv6 by its /64).
//!
//! Guarantees:
//! * Accepting never waits for a place. When all places are taken, or those of one address, the idlest connection is
//!   closed in favour of the new one: of the address with the most connections, unknown clients that have sent no request yet
//!   before others; never one whose request is being worked on.
//! * Every wait for a client has an end: for a head, for the next request, for a body (progress and a least rate), for
//!   room to write an answer (the same).
//! * While an answer waits to be written, nothing more is read: a client that pipelines and never reads costs one buffer.
//! * A TLS handshake has one end, however slow, and those that are not over have places of their own: the longest gives way.
//! * A stop ends every connection in a time of its own, whatever the clients do.
//! * Without a free file descriptor the idlest connections are closed, and the loop goes on.
//!
//! This room knows HTTP as far as where a request begins and ends; it does not know what is asked.

mod address;
mod body;
mod callers;
mod connection;
pub mod descriptors;
mod io;
mod port_tls;
mod reply;
mod serve;
mod table;
mod tls_files;
/// The way out: requests to far hosts on behalf of guests, checked, signed and bounded.
pub mod outbound;
pub mod trust;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpSocket};

pub use address::{Caller, Network};
pub use body::RequestBody;
pub use callers::{InFlight, StartedCall, WrongTries};
pub use port_tls::{PortTls, TlsLook};
pub use reply::{ReplyBody, ReplyError};
use table::ConnectionTable;
pub use tls_files::{OwnCertificateError, ServedCertificate, TlsFiles, TlsFilesError};
pub use web::{Proxies, ProxyError, WebSettings};

/// What a client gets.
pub type HttpReply = Response<ReplyBody>;

/// Limits of one port's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// From the first byte of a request to the end of its head; also how long a new connection may send nothing.
    pub head_timeout: Duration,
    /// Between the requests of a connection.
    pub idle_timeout: Duration,
    /// Without a byte of a body that is waited for.
    pub read_timeout: Duration,
    /// Without progress of an answer that waits to be written.
    pub write_timeout: Duration,
    /// Bytes a second, of bodies that are waited for and of answers that wait; asked for after some seconds of waiting.
    pub rate_min: u64,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once of one caller; addresses of `trusted` have no such limit.
    pub connections_address_max: usize,
    /// From the beginning of a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// TLS handshakes at once.
    pub handshakes_max: usize,
    /// How long connections may take to end at a stop.
    pub stop_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            rate_min: 500,
            connections_max: 4096,
            connections_address_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 512,
            stop_timeout: Duration::from_secs(3),
        }
    }
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's end.
    pub address: SocketAddr,
    /// Our end: the address that the client has reached.
    pub local: SocketAddr,
    /// The client speaks TLS, and not to a proxy before us.
    pub over_tls: bool,
}

/// What a port serves.
pub trait Service: Send + Sync + 'static {
    /// Answers a request. It is dropped when the client goes away, or sends its body too slowly.
    fn answer(&self, request: Request<RequestBody>, peer: Peer) -> impl Future<Output = HttpReply> + Send;

    /// What a client hears whose body comes too slowly.
    fn too_slow(&self) -> HttpReply;
}

/// Connections that may wait in the kernel until they are accepted.
const BACKLOG: u32 = 4096;

/// A bound listener.
pub struct Port {
    listener: TcpListener,
    table: Arc<ConnectionTable>,
    tls: Option<Arc<PortTls>>,
}

impl Port {
    /// Binds `listen`. Addresses of `trusted` are proxies, which speak for many clients.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn open(listen: SocketAddr, limits: ConnectionLimits, trusted: Vec<Network>) -> std::io::Result<Self> {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { listener, table: Arc::new(ConnectionTable::new(limits, trusted)), tls: None })
    }

    /// The same, over TLS where that is given.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<PortTls>>) -> Self {
        Self { tls, ..self }
    }

    /// The address that it listens on, with the port that was chosen.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
