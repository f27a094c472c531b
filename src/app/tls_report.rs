//! How the ports speak TLS, kept in the file `tls.json` so that `tidegate status` shows it without asking the server.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_event::time;
use tidegate_net::PortTls;
use tidegate_process::whole_file;

use super::kept_json::{self, KeptJsonError};

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;

/// What the ports said of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTls {
    format: u32,
    /// When they said so.
    pub at: String,
    pub ports: Vec<PortTlsReport>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTlsReport {
    /// `events` or `admin`.
    pub port: String,
    /// The file of the certificate that is shown.
    pub certificate: String,
    /// Hosts and addresses that it is for.
    pub names: Vec<String>,
    /// Until when it counts, in microseconds since 1970; none where that cannot be told.
    pub ends_at_us: Option<i64>,
    /// Whether clients must show a certificate.
    pub asks_clients: bool,
    /// Why files that are there now are not served.
    pub refused: Option<String>,
}

impl PortTlsReport {
    /// Of a port as it is now.
    pub(super) fn of(tls: &PortTls) -> Self {
        let certificate = tls.certificate();
        Self {
            port: tls.port().to_owned(),
            certificate: tls.files().certificate.display().to_string(),
            ends_at_us: certificate.as_ref().map(|certificate| certificate.ends_at_us),
            names: certificate.map(|certificate| certificate.names).unwrap_or_default(),
            asks_clients: tls.files().client_ca.is_some(),
            refused: tls.refused().map(|error| error.to_string()),
        }
    }
}

/// Keeps it in the place of what they said before; where no port speaks TLS there is no file.
pub(super) fn write(path: &Path, now_us: i64, ports: Vec<PortTlsReport>) -> io::Result<()> {
    if ports.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let kept = KeptTls { format: FORMAT, at: time::format(now_us), ports };
    whole_file::replace_quickly(path, &serde_json::to_vec(&kept)?)
}

/// What they said last; none where no port speaks TLS, or no server has run.
///
/// # Errors
/// The file cannot be read, is damaged, or is of a newer build.
pub fn read(path: &Path) -> Result<Option<KeptTls>, KeptJsonError> {
    kept_json::read(path, FORMAT)
}
