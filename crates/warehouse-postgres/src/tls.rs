//! Whom to trust: rustls under PostgreSQL's protocol, with libpq's notions of how far a server must prove who it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tidegate_document::file;
use tidegate_net::trust;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, TlsMode};
use super::error::PostgresError;

/// How far a certificate is looked at.
#[derive(Debug)]
enum Trust {
    /// Not at all: the connection is encrypted, and that is all.
    Anybody(Arc<CryptoProvider>),
    /// Signed by somebody trusted, for whatever host.
    Signed(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Self::Signed(verifier) = self else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last, so that all else was fine.
        match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Anybody(provider) => {
                verify_tls12_signature(message, cert, signature, &provider.signature_verification_algorithms)
            }
            Self::Signed(verifier) => verifier.verify_tls12_signature(message, cert, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Anybody(provider) => {
                verify_tls13_signature(message, cert, signature, &provider.signature_verification_algorithms)
            }
            Self::Signed(verifier) => verifier.verify_tls13_signature(message, cert, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Anybody(provider) => provider.signature_verification_algorithms.supported_schemes(),
            Self::Signed(verifier) => verifier.supported_verify_schemes(),
        }
    }
}

/// Makes connections secret, as the address says; passwords are bound to them where the server can.
pub(super) struct Tls(pub(super) MakeRustlsConnect);

impl Tls {
    pub(super) fn new(address: &Address) -> Result<Self, PostgresError> {
        let provider = trust::provider();
        let verifies = matches!(address.mode, TlsMode::VerifyCa | TlsMode::VerifyFull)
            // As libpq has it: whoever names authorities for `require` wants them asked.
            || (address.mode == TlsMode::Require && address.root_cert.is_some());
        let verifier: Arc<dyn ServerCertVerifier> = if verifies {
            let roots = Arc::new(roots(address)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| PostgresError::Tls { problem: error.to_string() })?;
            if address.mode == TlsMode::VerifyFull { verifier } else { Arc::new(Trust::Signed(verifier)) }
        } else {
            Arc::new(Trust::Anybody(Arc::clone(&provider)))
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PostgresError::Tls { problem: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match (&address.cert, &address.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let pem = pem(key)?;
                let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(key, &error.to_string()))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| unusable(key, &error.to_string()))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self(MakeRustlsConnect::new(config)))
    }
}

fn unusable(path: &Path, problem: &str) -> PostgresError {
    PostgresError::File { path: PathBuf::from(path), problem: problem.to_owned() }
}

fn pem(path: &Path) -> Result<Vec<u8>, PostgresError> {
    file::read(path, file::SECRET_BYTES_MAX).map_err(|error| unusable(path, &error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    trust::certificates(path).map_err(|error| unusable(path, &error.to_string()))
}

/// The authorities of `sslrootcert` and no others, as libpq has it; where it names no file, those that are trusted
/// everywhere.
fn roots(address: &Address) -> Result<RootCertStore, PostgresError> {
    match address.root_cert.as_deref().filter(|path| *path != "system").map(Path::new) {
        None => {
            trust::roots(address.ca_file.as_deref()).map_err(|error| PostgresError::Tls { problem: error.to_string() })
        }
        Some(path) => {
            let mut store = RootCertStore::empty();
            for certificate in certificates(path)? {
                store.add(certificate).map_err(|error| unusable(path, &error.to_string()))?;
            }
            Ok(store)
        }
    }
}
