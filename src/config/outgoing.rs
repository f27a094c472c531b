//! `net` of `tidegate.yaml`, and `ca_file` and `proxy` of destinations: whom connections to servers trust, and the proxy
//! that they go through. What a destination says counts for it alone, and before what `net` says.

use std::path::{Path, PathBuf};

use tidegate_document::fields::Fields;
use tidegate_net::{Proxies, ProxyError, WebSettings, trust};

use super::environment::environment;

/// What `net` says for all.
#[derive(Debug, Clone, Default)]
pub(super) struct Outgoing {
    pub(super) ca_file: Option<PathBuf>,
    /// Left out: the proxies of the environment.
    proxies: Option<Proxies>,
}

impl Outgoing {
    /// Reads `net`. Paths count from the workspace in `dir`.
    pub(super) fn read(fields: &mut Fields<'_>, dir: &Path) -> Self {
        let read = |f: &mut Fields<'_>| Self { ca_file: ca_file(f, dir), proxies: proxy(f) };
        fields.within("net", read).unwrap_or_default()
    }

    /// How a destination connects whose file may have `ca_file` and `proxy`.
    pub(super) fn of_destination(&self, fields: &mut Fields<'_>, dir: &Path) -> WebSettings {
        let ca_file = ca_file(fields, dir).or_else(|| self.ca_file.clone());
        let proxies = proxy(fields).or_else(|| self.proxies.clone());
        let proxies = proxies.unwrap_or_else(|| {
            proxies_of_environment().unwrap_or_else(|error| {
                let message = format!("the environment variable {error}");
                fields.problem_at(
                    "proxy",
                    0,
                    message,
                    "set it to one, or write `proxy: none` here or below `net:` in tidegate.yaml",
                );
                Proxies::default()
            })
        });
        WebSettings { ca_file, proxies }
    }
}

/// The proxies that the usual variables name.
///
/// # Errors
/// One of them is no address.
pub(crate) fn proxies_of_environment() -> Result<Proxies, ProxyError> {
    Proxies::from_variables(environment)
}

/// `ca_file`, which is looked at now: a missing file is told with its line.
pub(super) fn ca_file(fields: &mut Fields<'_>, dir: &Path) -> Option<PathBuf> {
    let path = dir.join(fields.text("ca_file")?);
    if let Err(error) = trust::roots(Some(&path)) {
        let fix = "name a PEM file of certificates, by a path from the workspace's folder";
        fields.problem("ca_file", error.to_string(), fix);
    }
    Some(path)
}

/// `proxy`: an address, or `none`.
fn proxy(fields: &mut Fields<'_>) -> Option<Proxies> {
    let text = fields.text("proxy")?;
    if text == "none" {
        return Some(Proxies::default());
    }
    let proxies = Proxies::all("proxy", &text).unwrap_or_else(|error| {
        let fix = "write `proxy: http://host:port`, or `proxy: none` for none";
        fields.problem("proxy", error.to_string(), fix);
        Proxies::default()
    });
    Some(proxies)
}
