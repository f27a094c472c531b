//! How a connection comes about: with or without TLS, by which password.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

use super::address::{Address, TlsMode};
use super::error::{PostgresError, doing};
use super::pgpass;
use super::tls::Tls;

/// A connection, and the task that moves its bytes.
pub(super) struct Connected {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Connected {
    /// Closes the socket, and returns when it is closed.
    pub(super) async fn close(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Connected {
    /// The socket is closed at once, whatever was on its way: a transaction that has not been committed is not.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects in the ways that the mode allows, best first.
pub(super) async fn connect(address: &Address) -> Result<Connected, PostgresError> {
    let tls = Tls::new(address)?;
    let mut config = address.config.clone();
    if config.get_password().is_none()
        && let Some(password) = pgpass::password(address)?
    {
        config.password(password);
    }
    let ways: &[SslMode] = match address.mode {
        TlsMode::Disable => &[SslMode::Disable],
        TlsMode::Allow => &[SslMode::Disable, SslMode::Require],
        TlsMode::Prefer => &[SslMode::Prefer, SslMode::Disable],
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => &[SslMode::Require],
    };
    // Each host gets the time that it takes to connect and as much again to agree on TLS and a password.
    let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1).max(1);
    let limit = address.connect_timeout * 2 * hosts;
    let mut first = None;
    for way in ways {
        config.ssl_mode(*way);
        match attempt(&config, &tls, limit).await {
            Ok(connected) => return Ok(connected),
            // Only who may come in depends on TLS; a server that is away is away.
            Err(error) if ways.len() > 1 && depends_on_tls(&error) => _ = first.get_or_insert(error),
            Err(error) => return Err(first.unwrap_or(error)),
        }
    }
    Err(first.unwrap_or(PostgresError::Slow { doing: "connecting", seconds: limit.as_secs() }))
}

fn depends_on_tls(error: &PostgresError) -> bool {
    error.code() == "28000"
        || matches!(error, PostgresError::Server { source, .. } if source.as_db_error().is_none() && source.to_string().contains("TLS"))
}

async fn attempt(config: &Config, tls: &Tls, limit: Duration) -> Result<Connected, PostgresError> {
    let connecting = tokio::time::timeout(limit, config.connect(tls.0.clone()));
    let slow = |_| PostgresError::Slow { doing: "connecting", seconds: limit.as_secs() };
    let (client, connection) = connecting.await.map_err(slow)?.map_err(doing("connecting"))?;
    let task = tokio::spawn(async move {
        // Whoever waits for an answer is told of a connection that ends.
        let _ = connection.await;
    });
    Ok(Connected { client, task })
}
