//! How the ports speak TLS, by the data directory: which certificate, until when, and what is wrong with the one that should follow.

use std::path::Path;

use serde_json::{Map, Value, json};
use tidegate_event::time;
use tidegate_process::clock;

use crate::app::paths;
use crate::app::tls_report::{self, KeptTls, PortTlsReport};
use crate::cli::style;
use crate::config::CERTIFICATE_ENDS_SOON_US;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;
const SHOWN_CHARS_MAX: usize = 300;

/// What the ports said last.
pub(super) struct TlsLines(Option<KeptTls>);

impl TlsLines {
    pub(super) fn read(data: &Path) -> Self {
        let path = paths::tls(data);
        Self(tls_report::read(&path).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), error = %error, "how the ports speak TLS is not known");
            None
        }))
    }

    /// By the name of the port.
    pub(super) fn to_json(&self) -> Value {
        let Some(kept) = &self.0 else { return json!({}) };
        let now_us = clock::now_us();
        let line = |tls: &PortTlsReport| {
            let shown = json!({
                "certificate": tls.certificate, "names": tls.names, "ends_at": tls.ends_at_us.map(time::format),
                "days_left": tls.ends_at_us.map(|end| days(end, now_us)), "asks_clients": tls.asks_clients,
                "warning": warning(tls, now_us), "refused": tls.refused, "as_of": kept.at,
            });
            (tls.port.clone(), shown)
        };
        Value::Object(kept.ports.iter().map(line).collect::<Map<_, _>>())
    }

    pub(super) fn print(&self) {
        let Some(kept) = &self.0 else { return };
        let now_us = clock::now_us();
        for tls in &kept.ports {
            let port = style::plain(&tls.port, SHOWN_CHARS_MAX);
            let names = style::plain(&tls.names.join(", "), SHOWN_CHARS_MAX);
            let until = tls.ends_at_us.map_or_else(String::new, |end| format!(", until {}", time::format(end)));
            let clients = if tls.asks_clients { "; clients must show a certificate" } else { "" };
            println!("The port {port} speaks TLS for {names}{until}{clients}.");
            let told = warning(tls, now_us).into_iter().chain(
                tls.refused
                    .as_ref()
                    .map(|why| format!("the files that are there now cannot be used, and those before go on: {why}")),
            );
            for told in told {
                println!("{} port {port}: {}", style::bold("tls:"), style::plain(&told, 1_000));
            }
        }
    }
}

/// Whole days, which are negative after the end.
const fn days(end_us: i64, now_us: i64) -> i64 {
    end_us.saturating_sub(now_us).div_euclid(DAY_US)
}

fn warning(tls: &PortTlsReport, now_us: i64) -> Option<String> {
    let end_us = tls.ends_at_us?;
    let left_us = end_us.saturating_sub(now_us);
    let (end, file) = (time::format(end_us), &tls.certificate);
    if left_us <= 0 {
        return Some(format!("the certificate has ended on {end}, and clients refuse it; put another one into {file}"));
    }
    let is_soon = left_us < CERTIFICATE_ENDS_SOON_US;
    is_soon.then(|| {
        format!("the certificate ends in {} days, on {end}; put another one into {file}", days(end_us, now_us))
    })
}
