//! Who has sent which file. To name a file by its hash in a spec is to read it, and a hash is no secret: so whoever names one has sent it, or may
//! view an object that names it.
//!
//! It is kept in memory alone. Whoever sent a file before a restart, or before many others, is told that it is missing, and sends it again.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;
use tidegate_catalog::ObjectId;

/// Files that are remembered, of all who send any.
const SENT_MAX: usize = 20_000;

/// Whoever sent it, a user or a token, and its SHA-256.
type SentBlob = (ObjectId, String);

#[derive(Default)]
struct SentList {
    known: HashSet<SentBlob>,
    /// The oldest first.
    order: VecDeque<SentBlob>,
}

/// The files that were sent lately.
#[derive(Default)]
pub(super) struct SentBlobs(Mutex<SentList>);

impl SentBlobs {
    pub(super) fn note(&self, sender: &ObjectId, sha256: &str) {
        let sent = (sender.clone(), sha256.to_owned());
        let mut list = self.0.lock();
        if !list.known.insert(sent.clone()) {
            return;
        }
        list.order.push_back(sent);
        if list.order.len() > SENT_MAX
            && let Some(oldest) = list.order.pop_front()
        {
            list.known.remove(&oldest);
        }
    }

    pub(super) fn has(&self, sender: &ObjectId, sha256: &str) -> bool {
        self.0.lock().known.contains(&(sender.clone(), sha256.to_owned()))
    }
}
