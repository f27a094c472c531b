//! Whom to trust: rustls under PostgreSQL's protocol, with libpq's notions of how far a server must prove who it is.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tidegate_document::file;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Inner;

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

/// Makes connections secret, as the address says.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new(address: &Address) -> Result<Self, PostgresError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifies = matches!(address.mode, TlsMode::VerifyCa | TlsMode::VerifyFull)
            // As libpq has it: whoever names authorities for `require` wants them asked.
            || (address.mode == TlsMode::Require && address.root_cert.is_some());
        let verifier: Arc<dyn ServerCertVerifier> = if verifies {
            let roots = Arc::new(roots(address.root_cert.as_deref())?);
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
        Ok(Self { config: Arc::new(config) })
    }
}

fn unusable(path: &Path, problem: &str) -> PostgresError {
    PostgresError::File { path: PathBuf::from(path), problem: problem.to_owned() }
}

fn pem(path: &Path) -> Result<Vec<u8>, PostgresError> {
    file::read(path, file::SECRET_BYTES_MAX).map_err(|error| unusable(path, &error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    let found = CertificateDer::pem_slice_iter(&pem(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| unusable(path, &error.to_string()))?;
    if found.is_empty() { Err(unusable(path, "there is no certificate in it")) } else { Ok(found) }
}

/// The authorities of a file; of the machine, or those that browsers trust where the machine has none.
fn roots(file: Option<&str>) -> Result<RootCertStore, PostgresError> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) if path != "system" => {
            for certificate in certificates(Path::new(path))? {
                store.add(certificate).map_err(|error| unusable(Path::new(path), &error.to_string()))?;
            }
        }
        _ => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
    }
    Ok(store)
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        Ok(Connect { connector: TlsConnector::from(Arc::clone(&self.config)), host: domain.to_owned() })
    }
}

pub(super) struct Connect {
    connector: TlsConnector,
    /// Empty for a socket of this machine, which takes no TLS.
    host: String,
}

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host).map_err(io::Error::other)?;
            Ok(Stream(Box::new(self.connector.connect(name, stream).await?)))
        })
    }
}

pub(super) struct Stream<S>(Box<Inner<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        match certificates.and_then(|chain| chain.first()).and_then(|leaf| end_point(leaf)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

/// The hash of a certificate that both ends of a connection agree on (RFC 5929), by the algorithm of its signature.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, .. }, .. }
    let (inside, _) = element(certificate, 0x30)?;
    let (_, after) = element(inside, 0x30)?;
    let (algorithm, _) = element(after, 0x30)?;
    let (id, _) = element(algorithm, 0x06)?;
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA_SHA2: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    match (id.strip_prefix(&RSA), id.strip_prefix(&ECDSA_SHA2)) {
        // MD5 and SHA-1 count as SHA-256.
        (Some([4 | 5 | 11]), _) | (_, Some([2])) => Some(Sha256::digest(certificate).to_vec()),
        (Some([12]), _) | (_, Some([3])) => Some(Sha384::digest(certificate).to_vec()),
        (Some([13]), _) | (_, Some([4])) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The content of the DER element at the beginning of `bytes`, which has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
    };
    (found == tag).then(|| rest.split_at_checked(len))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature_and_broken_bytes_have_none() {
        let signed = |id: &[u8]| {
            let id = [&[0x06, u8::try_from(id.len()).unwrap()], id].concat();
            let algorithm = [&[0x30, u8::try_from(id.len()).unwrap()], &id[..]].concat();
            let inside = [&[0x30, 0x00], &algorithm[..]].concat();
            [&[0x30, 0x81, u8::try_from(inside.len()).unwrap()], &inside[..]].concat()
        };
        let ecdsa_384 = signed(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]);
        assert_eq!(end_point(&ecdsa_384), Some(Sha384::digest(&ecdsa_384).to_vec()));
        let rsa_256 = signed(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 11]);
        assert_eq!(end_point(&rsa_256), Some(Sha256::digest(&rsa_256).to_vec()));
        assert_eq!(end_point(&signed(&[0x2b, 0x65, 0x70])), None);
        for end in 0..rsa_256.len() {
            assert_eq!(end_point(&rsa_256[..end]), None);
        }
    }
}
