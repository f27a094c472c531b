//! The files of a port that speaks TLS: read within bounds, and good as a whole or refused with a sentence that names one of them.
//!
//! No byte of a file stands in a message: where a certificate should be there may be a key.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tidegate_document::file;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::trust::{self, TrustError};

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate of this server first, then those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: the key of the first certificate.
    pub key: PathBuf,
    /// PEM: only clients with a certificate of these authorities are spoken to.
    pub client_ca: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFilesError {
    pub path: PathBuf,
    pub problem: String,
    /// What to do about it.
    pub fix: &'static str,
}

impl fmt::Display for TlsFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path.display(), self.problem, self.fix)
    }
}

impl std::error::Error for TlsFilesError {}

/// Why a client cannot show a certificate of its own.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    #[error(transparent)]
    Files(#[from] TlsFilesError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCertificate {
    /// Hosts and addresses that it is for.
    pub names: Vec<String>,
    /// From when it counts, in microseconds since 1970.
    pub begins_at_us: i64,
    /// Until when it counts, in microseconds since 1970.
    pub ends_at_us: i64,
}

/// The files as they were at one moment.
pub(super) struct ReadTlsFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Files that are good as a whole.
pub(super) struct LoadedTls {
    pub(super) config: Arc<ServerConfig>,
    /// Of what was read.
    pub(super) digest: [u8; 32],
    /// None where it cannot be told what the certificate says.
    pub(super) certificate: Option<ServedCertificate>,
}

const CERTIFICATE_FIX: &str =
    "name a PEM file that begins with the certificate itself, followed by those that lead to its authority";
const KEY_FIX: &str = "name the PEM file of the certificate's private key, without a password";
const CLIENT_CA_FIX: &str = "name a PEM file of the authorities that sign the certificates of clients";
/// Names of a certificate that are shown.
const NAMES_MAX: usize = 100;
/// What others than the owner and the group may do with a key, and that the group may write it.
const OPEN_MODES: u32 = 0o027;

impl TlsFiles {
    /// Reads all of them.
    ///
    /// # Errors
    /// One of them is not there, is no ordinary file, or too large.
    pub(super) fn read(&self) -> Result<ReadTlsFiles, TlsFilesError> {
        let client_ca = self.client_ca.as_deref().map(|path| content(path, CLIENT_CA_FIX)).transpose()?;
        Ok(ReadTlsFiles {
            certificate: content(&self.certificate, CERTIFICATE_FIX)?,
            key: content(&self.key, KEY_FIX)?,
            client_ca,
        })
    }

    /// Reads them and says what the certificate says of itself, for whoever wants to know whether they are good.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn check(&self) -> Result<Option<ServedCertificate>, TlsFilesError> {
        Ok(self.load(&self.read()?)?.certificate)
    }

    /// The mode of the key's file, where others than its owner and its group may read it, or others than its owner write it.
    #[must_use]
    pub fn open_key_mode(&self) -> Option<u32> {
        let mode = std::fs::metadata(&self.key).ok()?.permissions().mode() & 0o777;
        (mode & OPEN_MODES != 0).then_some(mode)
    }

    /// What makes TLS connections to servers that [`trust::roots`] vouch for, and shows this certificate where one is asked for.
    ///
    /// # Errors
    /// One of the files cannot be used, or see [`trust::roots`].
    pub fn client_config(&self, ca_file: Option<&Path>) -> Result<ClientConfig, OwnCertificateError> {
        let (chain, key) = self.pair(&self.read()?)?;
        let builder = ClientConfig::builder_with_provider(trust::provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(TrustError::from)?;
        let builder = builder.with_root_certificates(trust::roots(ca_file)?);
        Ok(builder.with_client_auth_cert(chain, key).map_err(|error| self.refused_pair(error))?)
    }

    fn pair(
        &self,
        read: &ReadTlsFiles,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsFilesError> {
        let chain = certificates(&read.certificate);
        let chain = chain.map_err(|problem| refused(&self.certificate, problem.to_owned(), CERTIFICATE_FIX))?;
        let key = private_key(&read.key).map_err(|problem| refused(&self.key, problem.to_owned(), KEY_FIX))?;
        Ok((chain, key))
    }

    fn refused_pair(&self, error: rustls::Error) -> TlsFilesError {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let problem = format!("it is not the key of the certificate in {}", self.certificate.display());
                refused(&self.key, problem, "put the two files there that belong together")
            }
            rustls::Error::InvalidCertificate(problem) => {
                let problem = format!("its first certificate cannot be used: {problem}");
                refused(&self.certificate, problem, CERTIFICATE_FIX)
            }
            error => refused(&self.key, format!("it cannot be used: {error}"), KEY_FIX),
        }
    }

    /// What a port does with what was read.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn load(&self, read: &ReadTlsFiles) -> Result<LoadedTls, TlsFilesError> {
        let (chain, key) = self.pair(read)?;
        let authorities = match (&self.client_ca, &read.client_ca) {
            (Some(path), Some(bytes)) => {
                Some(authorities(bytes).map_err(|problem| refused(path, problem, CLIENT_CA_FIX))?)
            }
            _ => None,
        };
        let certificate = chain.first().and_then(served_certificate);
        let config = server_config(chain, key, authorities).map_err(|error| self.refused_pair(error))?;
        Ok(LoadedTls { config: Arc::new(config), digest: read.digest(), certificate })
    }
}

impl ReadTlsFiles {
    /// By which two readings are told apart.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for bytes in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten() {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.finalize().into()
    }
}

fn refused(path: &Path, problem: String, fix: &'static str) -> TlsFilesError {
    TlsFilesError { path: path.to_owned(), problem, fix }
}

fn content(path: &Path, fix: &'static str) -> Result<Vec<u8>, TlsFilesError> {
    let read = file::read(path, file::SECRET_BYTES_MAX);
    read.map_err(|error: io::Error| refused(path, format!("it cannot be read: {error}"), fix))
}

/// At least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| "it is not PEM, or its end is missing")?;
    if found.is_empty() { Err("it holds no certificate") } else { Ok(found) }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        if memchr::memmem::find(pem, b"ENCRYPTED").is_some() {
            return "the key is encrypted under a password, and nobody is here to type that";
        }
        match error {
            pem::Error::NoItemsFound => "it holds no private key",
            _ => "it is not PEM, or its end is missing",
        }
    })
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("a certificate in it is not that of an authority: {error}"))?;
    }
    Ok(roots)
}

/// TLS 1.2 and 1.3, and HTTP/1.1. Nothing is taken before the handshake is over (no early data), for that could be sent again by others.
fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<RootCertStore>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(trust::provider()).with_safe_default_protocol_versions()?;
    let builder = match authorities {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), trust::provider()).build();
            let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Whoever comes again needs no second signature, and nothing is kept of them here. With other files these tickets count no more.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(config)
}

fn served_certificate(der: &CertificateDer<'_>) -> Option<ServedCertificate> {
    let certificate = Certificate::from_der(der.as_ref()).ok()?.tbs_certificate;
    let micros = |of: x509_cert::time::Time| i64::try_from(of.to_unix_duration().as_micros()).unwrap_or(i64::MAX);
    let names = certificate.get::<SubjectAltName>().ok().flatten().map(|(_, SubjectAltName(names))| names);
    let shown = names.unwrap_or_default().into_iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(|address| address.to_string()),
        _ => None,
    });
    Some(ServedCertificate {
        names: shown.take(NAMES_MAX).collect(),
        begins_at_us: micros(certificate.validity.not_before),
        ends_at_us: micros(certificate.validity.not_after),
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let of_four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    of_four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate for a name, and its key, as PEM.
    fn pair(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned(), "192.0.2.7".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_what_to_do_and_without_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (certificate, key) = pair("events.example.com");
        let (_, other) = pair("events.example.com");
        let one_line = key.replace('\n', "");
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (name, text) in [
            ("good.pem", certificate.as_str()),
            ("good.key", key.as_str()),
            ("other.key", other.as_str()),
            ("line.key", one_line.as_str()),
            ("locked.key", locked),
            ("torn.pem", &certificate[..certificate.len() / 2]),
        ] {
            std::fs::write(path(name), text).unwrap();
        }
        let check = |certificate: &str, key: &str, client_ca: Option<&str>| {
            let client_ca = client_ca.map(path);
            TlsFiles { certificate: path(certificate), key: path(key), client_ca }.check()
        };
        let good = check("good.pem", "good.key", Some("good.pem")).unwrap().unwrap();
        assert_eq!(good.names, ["events.example.com", "192.0.2.7"]);
        assert!(good.begins_at_us < good.ends_at_us);
        let secret = &one_line[40..80];
        for (certificate, key, client_ca, file, problem) in [
            ("none.pem", "good.key", None, "none.pem", "No such file"),
            ("good.pem", "", None, "", "not an ordinary file"),
            ("good.pem", "other.key", None, "other.key", "not the key of the certificate in"),
            ("good.key", "good.key", None, "good.key", "holds no certificate"),
            ("line.key", "good.key", None, "line.key", "not PEM"),
            ("torn.pem", "good.key", None, "torn.pem", "its end is missing"),
            ("good.pem", "good.pem", None, "good.pem", "holds no private key"),
            ("good.pem", "line.key", None, "line.key", "not PEM"),
            ("good.pem", "locked.key", None, "locked.key", "password"),
            ("good.pem", "good.key", Some("good.key"), "good.key", "holds no certificate"),
        ] {
            let error = check(certificate, key, client_ca).unwrap_err();
            assert_eq!(error.path, path(file), "{error}");
            let said = format!("{error} {error:?}");
            assert!(said.contains(problem) && !error.fix.is_empty(), "{said}");
            assert!(!said.contains(secret), "a key is told");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_told_from_one_for_a_group() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("a.key");
        std::fs::write(&key, "").unwrap();
        let files = TlsFiles { certificate: key.clone(), key: key.clone(), client_ca: None };
        for (mode, open) in [(0o600, None), (0o640, None), (0o644, Some(0o644)), (0o660, Some(0o660))] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(files.open_key_mode(), open);
        }
    }
}
