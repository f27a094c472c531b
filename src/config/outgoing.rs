//! `net` of `tidegate.yaml`, and `ca_file` and `proxy` of destinations and streams: whom connections to servers trust, and the proxy
//! that they go through. What a destination or a source says counts for it alone, and before what `net` says.

use std::path::PathBuf;

use tidegate_document::fields::Fields;
use tidegate_document::file;
use tidegate_net::{Proxies, ProxyError, WebSettings, trust};

use super::environment::environment;
use super::surroundings::ObjectInputs;

/// What `net` says for all.
#[derive(Debug, Clone, Default)]
pub(super) struct Outgoing {
    ca_file: Option<PathBuf>,
    /// With the text that it was read from. Left out: the proxies of the environment.
    proxies: Option<(Proxies, String)>,
}

impl Outgoing {
    /// Reads `net`.
    pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Self {
        let read = |f: &mut Fields<'_>| Self { ca_file: ca_file(f, inputs), proxies: proxy(f) };
        fields.within("net", read).unwrap_or_default()
    }

    /// How a destination or a stream connects whose file may have `ca_file` and `proxy`.
    pub(super) fn of_destination(&self, fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> WebSettings {
        let ca_file = ca_file(fields, inputs).or_else(|| self.ca_file(inputs));
        let own = proxy(fields).map(|(proxies, _)| proxies);
        let proxies = own.unwrap_or_else(|| self.proxies(fields, inputs));
        WebSettings { ca_file, proxies }
    }

    /// The proxy that `net` names, or those of the environment, for what names none.
    pub(super) fn proxies(&self, fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Proxies {
        if let Some((proxies, text)) = &self.proxies {
            inputs.setting("net.proxy", text);
            return proxies.clone();
        }
        Proxies::from_variables(|variable| inputs.variable(variable)).unwrap_or_else(|error| {
            let message = format!("the environment variable {error}");
            fields.problem_at(
                "proxy",
                0,
                message,
                "set it to one, or write `proxy: none` here or below `net:` in tidegate.yaml",
            );
            Proxies::default()
        })
    }

    /// The authorities that `net` names, for a destination that names none.
    pub(super) fn ca_file(&self, inputs: &ObjectInputs<'_>) -> Option<PathBuf> {
        let path = self.ca_file.clone()?;
        inputs.depends_on(&path, file::SECRET_BYTES_MAX);
        Some(path)
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
pub(super) fn ca_file(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<PathBuf> {
    let written = fields.text("ca_file")?;
    let path = inputs.certificates(fields, "ca_file", &written)?;
    inputs.depends_on(&path, file::SECRET_BYTES_MAX);
    if let Err(error) = trust::roots(Some(&path)) {
        let fix = "name a PEM file of certificates, by a path from the workspace's folder";
        fields.problem("ca_file", error.to_string(), fix);
    }
    Some(path)
}

/// `proxy`: an address, or `none`; with its text.
fn proxy(fields: &mut Fields<'_>) -> Option<(Proxies, String)> {
    let text = fields.text("proxy")?;
    if text == "none" {
        return Some((Proxies::default(), text));
    }
    let proxies = Proxies::all("proxy", &text).unwrap_or_else(|error| {
        let fix = "write `proxy: http://host:port`, or `proxy: none` for none";
        fields.problem("proxy", error.to_string(), fix);
        Proxies::default()
    });
    Some((proxies, text))
}
