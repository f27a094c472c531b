//! Whom to trust over TLS: one rule for everything that connects from here.
//!
//! Trusted is whom the machine trusts: the list of its distribution, or the one that `SSL_CERT_FILE` or `SSL_CERT_DIR`
//! names. A machine without such a list, like a container without ca-certificates, gets Mozilla's list, which is compiled
//! in. The certificates of a `ca_file` are trusted as well.
//!
//! The machine's list is read once. Whoever changes it starts the program again.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tidegate_document::file;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("ca_file {}: {source}; name a PEM file of the authority's certificates", path.display())]
    CaFile { path: PathBuf, source: CertificatesError },
    #[error(
        "the machine's list of certificate authorities cannot be read: {problem}; see to the file, or to SSL_CERT_FILE and \
         SSL_CERT_DIR where they are set"
    )]
    Machine { problem: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a file gives no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it is not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("it holds no certificate")]
    Empty,
    #[error("a certificate in it is not that of an authority: {0}")]
    Unusable(rustls::Error),
}

/// The cryptography of every TLS connection here.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// The authorities of the machine, and those of `ca_file`.
///
/// # Errors
/// The file or the machine's list cannot be read, or holds something else.
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = of_the_machine()?.clone();
    if let Some(path) = ca_file {
        let unusable = |source| TrustError::CaFile { path: path.to_owned(), source };
        for certificate in certificates(path).map_err(unusable)? {
            roots.add(certificate).map_err(|error| unusable(CertificatesError::Unusable(error)))?;
        }
    }
    Ok(roots)
}

/// What makes TLS connections to servers that [`roots`] vouch for. The client itself shows no certificate.
///
/// # Errors
/// See [`roots`].
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots(ca_file)?).with_no_client_auth())
}

/// The authorities of the machine and those of `ca_file` as PEM, for a client that takes no [`ClientConfig`]. None where the machine has
/// no list and no file is named: such a client then takes Mozilla's list, which it must have compiled in.
///
/// With a file on a machine without a list, the file's authorities are all that is trusted.
///
/// # Errors
/// See [`roots`].
pub fn authorities(ca_file: Option<&Path>) -> Result<Option<Vec<u8>>, TrustError> {
    // What is wrong with either list is told as for every other connection.
    roots(ca_file)?;
    let mut usable = RootCertStore::empty();
    let mut pem = Vec::new();
    let of_file = ca_file.map(certificates).transpose();
    let of_file = of_file
        .map_err(|source| TrustError::CaFile { path: ca_file.map(Path::to_owned).unwrap_or_default(), source })?;
    for certificate in rustls_native_certs::load_native_certs().certs.into_iter().chain(of_file.unwrap_or_default()) {
        // A list of some 150 may hold one that webpki cannot read; the others count.
        if usable.add(certificate.clone()).is_ok() {
            pem.extend_from_slice(pem_of(&certificate).as_bytes());
        }
    }
    Ok((!pem.is_empty()).then_some(pem))
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    const LINE_CHARS: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, c) in text.chars().enumerate() {
        if at > 0 && at % LINE_CHARS == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// There are none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let pem = file::read(path, file::SECRET_BYTES_MAX)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(CertificatesError::Empty) } else { Ok(found) }
}

fn of_the_machine() -> Result<&'static RootCertStore, TrustError> {
    static ROOTS: OnceLock<Result<RootCertStore, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // A list of some 150 may hold one that webpki cannot read; the others count.
        roots.add_parsable_certificates(found.certs);
        match found.errors.first() {
            // Whoever names a list does not mean another one.
            Some(error) if roots.is_empty() => return Err(error.to_string()),
            Some(error) => {
                tracing::warn!(error = %error, "some of the machine's certificate authorities cannot be read")
            }
            None if roots.is_empty() => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            None => {}
        }
        Ok(roots)
    };
    ROOTS.get_or_init(read).as_ref().map_err(|problem| TrustError::Machine { problem: problem.clone() })
}

/// A server's certificate that was refused, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCertificate {
    /// What TLS says.
    pub reason: String,
    kind: TrustKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrustKind {
    Authority,
    Name,
    Other,
}

impl RefusedCertificate {
    /// The refusal among the causes of `error`, if it is there.
    #[must_use]
    pub fn in_causes(error: &(dyn Error + 'static)) -> Option<Self> {
        match tls_error(error)? {
            rustls::Error::InvalidCertificate(problem) => {
                Some(Self { reason: problem.to_string(), kind: kind(problem) })
            }
            _ => None,
        }
    }

    /// What an operator should do; `setting` is how authorities are named here, such as `ca_file`.
    #[must_use]
    pub fn advice(&self, setting: &str) -> String {
        let why = &self.reason;
        match self.kind {
            TrustKind::Authority => format!(
                "the server's certificate is not trusted ({why}): name the authority that signed it, a PEM file, with {setting}"
            ),
            TrustKind::Name => {
                format!(
                    "the server's certificate is for another name ({why}): use a name that stands in the certificate"
                )
            }
            TrustKind::Other => format!("the server's certificate is not valid ({why}): give the server another"),
        }
    }
}

/// Whether `error` says that the far side speaks something else than TLS.
#[must_use]
pub fn is_without_tls(error: &(dyn Error + 'static)) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// Whether `error` says that the far side wants to see a certificate of the client.
#[must_use]
pub fn asks_for_certificate(error: &(dyn Error + 'static)) -> bool {
    matches!(tls_error(error), Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)))
}

/// What TLS says, among the causes of `error`.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // What an I/O error wraps is not its source, whose source it gives.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

const fn kind(problem: &CertificateError) -> TrustKind {
    match problem {
        // A bad signature: an authority of the same name was made anew. Others: it shows its authority as itself.
        CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) => {
            TrustKind::Authority
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TrustKind::Name,
        _ => TrustKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_gives_no_authority_is_named_with_what_is_wrong_and_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (path, problem) in [
            (folder.path().join("none.pem"), "No such file"),
            (folder.path().to_owned(), "not an ordinary file"),
            (file("key.pem", "no PEM at all"), "holds no certificate"),
            (file("torn.pem", torn), "not PEM"),
            (file("bytes.pem", no_certificate), "not that of an authority"),
        ] {
            let error = roots(Some(&path)).unwrap_err().to_string();
            for part in ["ca_file", &path.display().to_string(), problem, "name a PEM file"] {
                assert!(error.contains(part), "{error} does not say {part}");
            }
        }
    }

    #[test]
    fn a_refused_certificate_is_found_below_what_wraps_it() {
        let refused = |problem| io::Error::other(rustls::Error::InvalidCertificate(problem));
        let wrapped = io::Error::other(refused(CertificateError::UnknownIssuer));
        let found = RefusedCertificate::in_causes(&wrapped).unwrap();
        assert!(found.advice("`ca_file`").ends_with("a PEM file, with `ca_file`"), "{}", found.advice("`ca_file`"));
        let anew = RefusedCertificate::in_causes(&refused(CertificateError::BadSignature)).unwrap();
        assert!(anew.advice("`ca_file`").contains("`ca_file`"), "an authority of the same name is another one");
        let name = RefusedCertificate::in_causes(&refused(CertificateError::NotValidForName)).unwrap();
        assert!(name.advice("`ca_file`").contains("another name"), "{}", name.advice("`ca_file`"));
        let expired = RefusedCertificate::in_causes(&refused(CertificateError::Expired)).unwrap();
        assert!(!expired.advice("`ca_file`").contains("ca_file"), "{}", expired.advice("`ca_file`"));
        assert_eq!(RefusedCertificate::in_causes(&io::Error::other("reset")), None);
    }
}
