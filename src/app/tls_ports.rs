//! The TLS of both ports: opened with them, followed while the files are replaced, and told to people before a certificate ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_document::problem::Problem;
use tidegate_event::time;
use tidegate_net::{PortTls, TlsLook};
use tidegate_process::clock;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::paths;
use super::tls_report::{self, PortTlsReport};
use crate::config::{CERTIFICATE_ENDS_SOON_US, PortTlsConfig, Workspace};

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A certificate that ends soon is told this often, in microseconds.
const TELL_INTERVAL_US: i64 = 24 * 3_600 * 1_000_000;

/// What each port speaks TLS by, if it does.
pub(super) struct TlsPorts {
    pub(super) ingest: Option<Arc<PortTls>>,
    pub(super) admin: Option<Arc<PortTls>>,
    report: PathBuf,
}

impl TlsPorts {
    /// Reads the files that the server's own folder names.
    ///
    /// # Errors
    /// All files that cannot be used.
    pub(super) fn open(workspace: &Workspace) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let ingest = opened("events", workspace.tls.as_ref(), &mut problems);
        let admin = opened("admin", workspace.admin_tls.as_ref(), &mut problems);
        let report = paths::tls(&workspace.data);
        if problems.is_empty() { Ok(Self { ingest, admin, report }) } else { Err(problems) }
    }

    fn each(&self) -> Vec<Arc<PortTls>> {
        self.ingest.iter().chain(&self.admin).cloned().collect()
    }

    /// Says what there is to say of the files as they are at the start.
    pub(super) fn begin(&self) {
        let now_us = clock::now_us();
        for tls in self.each() {
            tell_of_end(&tls, now_us);
            tell_of_mode(&tls);
        }
        self.keep_report(now_us);
    }

    fn keep_report(&self, now_us: i64) {
        let ports = self.each().iter().map(|tls| PortTlsReport::of(tls)).collect();
        if let Err(error) = tls_report::write(&self.report, now_us, ports) {
            let file = self.report.display();
            tracing::warn!(file = %file, error = %error, "how the ports speak TLS could not be kept for the status");
        }
    }

    /// Serves what the files hold, until `stop` turns true.
    pub(super) async fn follow_files(self, mut stop: watch::Receiver<bool>) {
        let ports = self.each();
        if ports.is_empty() {
            return;
        }
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told_at_us = clock::now_us();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = look.tick() => {}
            }
            let now_us = clock::now_us();
            let looked_at = ports.clone();
            let looks = move || looked_at.iter().map(|tls| tls.look(now_us)).collect::<Vec<TlsLook>>();
            let Ok(looks) = tokio::task::spawn_blocking(looks).await else { return };
            let mut is_other = false;
            for (tls, look) in ports.iter().zip(&looks) {
                is_other |= tell_of_look(tls, look, now_us);
            }
            if is_other {
                self.keep_report(now_us);
            }
            if now_us.saturating_sub(told_at_us) >= TELL_INTERVAL_US {
                told_at_us = now_us;
                ports.iter().for_each(|tls| tell_of_end(tls, now_us));
            }
        }
    }
}

/// Where a port is reached that listens there.
pub(super) fn url(address: SocketAddr, over_tls: bool) -> String {
    format!("{}://{address}", if over_tls { "https" } else { "http" })
}

fn opened(port: &'static str, config: Option<&PortTlsConfig>, problems: &mut Vec<Problem>) -> Option<Arc<PortTls>> {
    let config = config?;
    match PortTls::open(port, config.files.clone()) {
        Ok(tls) => Some(Arc::new(tls)),
        Err(error) => {
            problems.push(config.problem(&error));
            None
        }
    }
}

/// Says what a look has found. Answers whether the port is another than before.
fn tell_of_look(tls: &PortTls, look: &TlsLook, now_us: i64) -> bool {
    let port = tls.port();
    match look {
        TlsLook::Same | TlsLook::Changing => return false,
        TlsLook::Taken => {
            let ends_at = tls.certificate().map(|certificate| time::format(certificate.ends_at_us));
            tracing::info!(
                port,
                ends_at,
                "the TLS files have changed, and new connections are shown the new certificate"
            );
            tell_of_end(tls, now_us);
            tell_of_mode(tls);
        }
        TlsLook::Restored => tracing::info!(port, "the TLS files are again those that are served"),
        TlsLook::Refused(error) => tracing::error!(
            port,
            file = %error.path.display(),
            problem = %error.problem,
            fix = error.fix,
            "the TLS files have changed and cannot be used; the certificate before goes on"
        ),
    }
    true
}

fn tell_of_end(tls: &PortTls, now_us: i64) {
    let (port, file) = (tls.port(), tls.files().certificate.display());
    let Some(certificate) = tls.certificate() else { return };
    let (left_us, ends_at) = (certificate.ends_at_us.saturating_sub(now_us), time::format(certificate.ends_at_us));
    if left_us <= 0 {
        tracing::error!(port, file = %file, ends_at, "the TLS certificate has ended, and clients refuse it: put another one there");
    } else if left_us < CERTIFICATE_ENDS_SOON_US {
        let days = left_us / TELL_INTERVAL_US;
        tracing::warn!(port, file = %file, ends_at, days, "the TLS certificate ends soon: put another one there");
    }
    if certificate.begins_at_us > now_us {
        let begins_at = time::format(certificate.begins_at_us);
        tracing::error!(port, file = %file, begins_at, "the TLS certificate does not count yet, and clients refuse it");
    }
}

fn tell_of_mode(tls: &PortTls) {
    if let Some(mode) = tls.files().open_key_mode() {
        let (port, file) = (tls.port(), tls.files().key.display());
        let mode = format!("{mode:03o}");
        tracing::warn!(port, file = %file, mode, "others than the server can read or change the private key: chmod 600");
    }
}
