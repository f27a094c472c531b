//! `tls` of `tidegate.yaml`, and that of `admin`: the files by which a port speaks TLS.
//!
//! They are named here and read by whoever opens the port. They are replaced while the server runs, one after the other, and a change of
//! anything else must not be refused because of that moment.

use std::path::{Path, PathBuf};

use tidegate_document::fields::Fields;
use tidegate_document::problem::Problem;
use tidegate_event::time;
use tidegate_net::{TlsFiles, TlsFilesError};

use super::surroundings::ObjectInputs;

/// Before its end, how long a certificate ends soon, in microseconds: 30 days.
pub const CERTIFICATE_ENDS_SOON_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// How a port speaks TLS.
#[derive(Debug, Clone)]
pub struct PortTlsConfig {
    pub files: TlsFiles,
    file: PathBuf,
    /// The line and the place of each file, in the order of [`PortTlsConfig::named`].
    places: [(usize, String); 3],
}

impl PortTlsConfig {
    /// Reads `tls`. What has problems is left out.
    pub(super) fn read(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>) -> Option<Self> {
        let read = |f: &mut Fields<'_>| {
            let certificate = f.required("certificate", "/etc/tidegate/tls/fullchain.pem");
            let key = f.required("key", "/etc/tidegate/tls/privkey.pem");
            let client_ca = f.text("client_ca");
            let places = ["certificate", "key", "client_ca"].map(|name| (f.line_of(name), f.at(name)));
            let path = |written: String| inputs.dir().join(written);
            let files = TlsFiles { certificate: path(certificate?), key: path(key?), client_ca: client_ca.map(path) };
            Some(Self { files, file: inputs.dir().join(super::folder::MAIN_FILE), places })
        };
        fields.within("tls", read).flatten()
    }

    fn named(&self) -> [Option<&PathBuf>; 3] {
        [Some(&self.files.certificate), Some(&self.files.key), self.files.client_ca.as_ref()]
    }

    /// What is wrong with a file, as a problem of the field that names it.
    #[must_use]
    pub fn problem(&self, error: &TlsFilesError) -> Problem {
        let found = self.named().into_iter().position(|named| named == Some(&error.path));
        let (line, place) = found.and_then(|at| self.places.get(at)).cloned().unwrap_or_default();
        let message = format!("`{place}` names {}: {}", error.path.display(), error.problem);
        Problem { file: self.file.clone(), line, place, message, fix: error.fix.to_owned() }
    }

    /// What is wrong with the files as they are now.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.files.check().err().map(|error| self.problem(&error)).into_iter().collect()
    }

    /// Whether the file that says so lies in a folder.
    pub(super) fn is_of_folder(&self, dir: &Path) -> bool {
        self.file.parent() == Some(dir)
    }

    /// What is allowed and hardly meant: a key that others can read, and a certificate that ends soon or has ended.
    pub(super) fn notes(&self, now_us: i64) -> Vec<Problem> {
        let mut notes = Vec::new();
        if let Some(mode) = self.files.open_key_mode() {
            let key = self.files.key.display();
            let message =
                format!("the private key {key} has the mode {mode:03o}: others than the server can read or change it");
            notes.push(self.note(1, message, format!("chmod 600 {key}")));
        }
        let certificate = self.files.check().ok().flatten();
        if let Some(end) = certificate.map(|certificate| certificate.ends_at_us) {
            let (file, at) = (self.files.certificate.display(), time::format(end));
            if end.saturating_sub(now_us) < CERTIFICATE_ENDS_SOON_US {
                let message =
                    format!("the certificate {file} ends, or has ended, on {at}; clients refuse it from then on");
                notes.push(self.note(
                    0,
                    message,
                    "put another one there; a running server takes it by itself".to_owned(),
                ));
            }
        }
        notes
    }

    fn note(&self, at: usize, message: String, fix: String) -> Problem {
        let (line, place) = self.places.get(at).cloned().unwrap_or_default();
        Problem { file: self.file.clone(), line, place, message, fix }
    }
}
