//! The TLS of a port: the certificate that new connections are shown, and how it follows its files while the port is open.
//!
//! Nothing is told when files are replaced, and two of them never are at once. So whoever has the time looks again and again: content that
//! two looks find the same is tried, taken if it is good as a whole, and refused if it stays bad. What was good last goes on meanwhile.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use super::tls_files::{LoadedTls, ServedCertificate, TlsFiles, TlsFilesError};

/// TLS for one port.
pub struct PortTls {
    /// How the port is named in what is said of it.
    port: &'static str,
    files: TlsFiles,
    loaded: RwLock<Arc<LoadedTls>>,
    changing: Mutex<ChangingFiles>,
    failed: Mutex<FailedHandshakes>,
}

/// What is known of content that is another than the one that is served.
#[derive(Default)]
struct ChangingFiles {
    /// By its digest, with how many looks in a row have found it.
    seen: Option<([u8; 32], u32)>,
    refused: Option<([u8; 32], TlsFilesError)>,
    /// From when on what is refused is tried again, in microseconds since 1970.
    tried_again_at_us: Option<i64>,
}

#[derive(Default)]
struct FailedHandshakes {
    since_told: u64,
    told_at: Option<Instant>,
}

/// What a look at the files has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsLook {
    /// Nothing that is new.
    Same,
    /// Something else, which may not be whole yet.
    Changing,
    /// Files that are served from now on.
    Taken,
    /// Files that were refused are gone, and those that are served are back.
    Restored,
    /// Files that cannot be used; those before them go on.
    Refused(TlsFilesError),
}

/// Looks in a row that must find the same content before it is tried: nobody is half way through writing it then.
const LOOKS_BEFORE_TRIED: u32 = 2;
/// Looks in a row after which content that is bad is taken to be all there will be: the second of two files comes a moment later than the first.
const LOOKS_BEFORE_REFUSED: u32 = 5;
/// Handshakes that fail are told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

impl fmt::Debug for PortTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortTls").field("port", &self.port).field("files", &self.files).finish_non_exhaustive()
    }
}

impl PortTls {
    /// Reads the files. `port` names the port in what is said of it.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn open(port: &'static str, files: TlsFiles) -> Result<Self, TlsFilesError> {
        let loaded = files.load(&files.read()?)?;
        let loaded = RwLock::new(Arc::new(loaded));
        Ok(Self { port, files, loaded, changing: Mutex::default(), failed: Mutex::default() })
    }

    /// How the port is named.
    #[must_use]
    pub fn port(&self) -> &'static str {
        self.port
    }

    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// What the certificate says that is served; None where that cannot be told.
    #[must_use]
    pub fn certificate(&self) -> Option<ServedCertificate> {
        self.loaded.read().certificate.clone()
    }

    /// Why files that are there now are not served.
    #[must_use]
    pub fn refused(&self) -> Option<TlsFilesError> {
        self.changing.lock().refused.as_ref().map(|(_, error)| error.clone())
    }

    /// Reads the files once more, and serves what is new and good. It blocks, and one caller looks at a time. A certificate that has ended
    /// at `now_us`, in microseconds since 1970, or counts later alone, takes no other's place.
    pub fn look(&self, now_us: i64) -> TlsLook {
        let read = self.files.read();
        let digest = match &read {
            Ok(read) => read.digest(),
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        let mut changing = self.changing.lock();
        if digest == self.loaded.read().digest {
            changing.seen = None;
            return if changing.refused.take().is_some() { TlsLook::Restored } else { TlsLook::Same };
        }
        let is_refused = changing.refused.as_ref().is_some_and(|(refused, _)| *refused == digest);
        if is_refused && changing.tried_again_at_us.is_none_or(|at_us| now_us < at_us) {
            return TlsLook::Same;
        }
        let looks = match changing.seen {
            Some((seen, looks)) if seen == digest => looks + 1,
            _ => 1,
        };
        changing.seen = Some((digest, looks));
        if looks < LOOKS_BEFORE_TRIED {
            return TlsLook::Changing;
        }
        let loaded = read.and_then(|read| self.files.load(&read));
        let certificate = loaded.as_ref().ok().and_then(|loaded| loaded.certificate.as_ref());
        let begins_at_us = certificate.map(|certificate| certificate.begins_at_us);
        match loaded.and_then(|loaded| self.if_it_counts(loaded, now_us)) {
            Ok(loaded) => {
                *self.loaded.write() = Arc::new(loaded);
                *changing = ChangingFiles::default();
                TlsLook::Taken
            }
            Err(_) if looks < LOOKS_BEFORE_REFUSED => TlsLook::Changing,
            Err(error) => {
                let tried_again_at_us = begins_at_us.filter(|begins_at_us| *begins_at_us > now_us);
                *changing = ChangingFiles { seen: None, refused: Some((digest, error.clone())), tried_again_at_us };
                TlsLook::Refused(error)
            }
        }
    }

    fn if_it_counts(&self, loaded: LoadedTls, now_us: i64) -> Result<LoadedTls, TlsFilesError> {
        let problem = match &loaded.certificate {
            Some(certificate) if certificate.ends_at_us <= now_us => "its first certificate has ended",
            Some(certificate) if certificate.begins_at_us > now_us => {
                "its first certificate does not count yet; it is taken once it does"
            }
            _ => return Ok(loaded),
        };
        let (path, problem) = (self.files.certificate.clone(), problem.to_owned());
        Err(TlsFilesError { path, problem, fix: "put one there that counts today" })
    }

    /// What shakes hands with a new client.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.loaded.read().config))
    }

    /// Says now and then why clients do not come through the handshake. One that goes away gives no reason.
    pub(super) fn note_failed(&self, error: &io::Error, client: SocketAddr) {
        let is_of_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        if !is_of_tls {
            return;
        }
        let mut failed = self.failed.lock();
        failed.since_told += 1;
        let now = Instant::now();
        if failed.told_at.is_some_and(|told| now.duration_since(told) < TELL_INTERVAL) {
            return;
        }
        let failed = std::mem::replace(&mut *failed, FailedHandshakes { since_told: 0, told_at: Some(now) });
        tracing::info!(
            port = self.port,
            client = %client.ip(),
            error = %error,
            failed = failed.since_told,
            "a client did not come through the TLS handshake; it is told of one a minute"
        );
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn write(files: &TlsFiles, pair: &(String, String)) {
        std::fs::write(&files.certificate, &pair.0).unwrap();
        std::fs::write(&files.key, &pair.1).unwrap();
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Files of a port, which are not there yet.
    fn files_in(folder: &tempfile::TempDir) -> TlsFiles {
        let (certificate, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
        TlsFiles { certificate, key, client_ca: None }
    }

    /// In 2027.
    const NOW_US: i64 = 1_800_000_000_000_000;

    fn looks(tls: &PortTls, looks: usize) -> Vec<TlsLook> {
        (0..looks).map(|_| tls.look(NOW_US)).collect()
    }

    #[test]
    fn files_are_followed_once_they_are_whole_and_bad_ones_are_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_in(&folder);
        let (first, second) = (pair(), pair());
        write(&files, &first);
        let tls = PortTls::open("events", files.clone()).unwrap();
        let served = || tls.loaded.read().digest;
        let of_first = served();
        assert_eq!(looks(&tls, 3), vec![TlsLook::Same; 3]);

        // One file of two, and later the other.
        std::fs::write(&files.certificate, &second.0).unwrap();
        assert_eq!(looks(&tls, 4), vec![TlsLook::Changing; 4]);
        assert_eq!((served(), tls.refused()), (of_first, None));
        std::fs::write(&files.key, &second.1).unwrap();
        assert_eq!(looks(&tls, 3), [TlsLook::Changing, TlsLook::Taken, TlsLook::Same]);
        let of_second = served();
        assert_ne!(of_first, of_second);

        // It stays so: it is told once, and what was good goes on.
        std::fs::write(&files.certificate, &first.0).unwrap();
        let found = looks(&tls, 7);
        assert!(matches!(&found[4], TlsLook::Refused(error) if error.path == files.key), "{found:?}");
        assert_eq!(
            (&found[..4], &found[5..]),
            (&[const { TlsLook::Changing }; 4][..], &[TlsLook::Same, TlsLook::Same][..])
        );
        assert!(tls.refused().is_some() && served() == of_second);
        write(&files, &second);
        assert_eq!(looks(&tls, 2), [TlsLook::Restored, TlsLook::Same]);
        assert_eq!(tls.refused(), None);

        std::fs::remove_file(&files.key).unwrap();
        assert!(matches!(&looks(&tls, 5)[4], TlsLook::Refused(error) if error.problem.contains("cannot be read")));
        write(&files, &first);
        assert_eq!(looks(&tls, 2), [TlsLook::Changing, TlsLook::Taken]);
        assert_eq!((served(), tls.refused()), (of_first, None));
    }

    #[test]
    fn a_certificate_that_has_ended_takes_no_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_in(&folder);
        write(&files, &pair());
        let tls = PortTls::open("events", files.clone()).unwrap();
        write(&files, &pair());
        let late: Vec<TlsLook> = (0..5).map(|_| tls.look(i64::MAX)).collect();
        assert!(matches!(&late[4], TlsLook::Refused(error) if error.problem.contains("has ended")), "{late:?}");
    }

    #[test]
    fn a_certificate_that_does_not_count_yet_takes_anothers_place_once_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let files = files_in(&folder);
        write(&files, &pair());
        let tls = PortTls::open("events", files.clone()).unwrap();
        write(&files, &pair());
        let before = tls.loaded.read().digest;
        let begins_at_us = tls.files.check().unwrap().unwrap().begins_at_us;
        let early: Vec<TlsLook> = (0..6).map(|_| tls.look(begins_at_us - 1)).collect();
        assert!(
            matches!(&early[4], TlsLook::Refused(error) if error.problem.contains("does not count yet")),
            "{early:?}"
        );
        assert_eq!((&early[5], tls.loaded.read().digest), (&TlsLook::Same, before));
        let then: Vec<TlsLook> = (0..3).map(|_| tls.look(begins_at_us)).collect();
        assert_eq!(then, [TlsLook::Changing, TlsLook::Taken, TlsLook::Same]);
        assert_eq!(tls.refused(), None);
    }
}
