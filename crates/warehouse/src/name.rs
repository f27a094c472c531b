//! From the path of a value to the name of its column; from an event name to the name of its table.
//!
//! A name is a pure function of the path: never of what arrived before, never of the other fields of the event.
//! The mapping is many-to-one on purpose (`orderId` and `order_id` share a column); where it would be so by accident
//! (characters dropped, names cut) eight digits of a hash keep the paths apart. The rule is written for analysts in
//! `docs/warehouses.md`; change both or neither. This room knows nothing of tables but the words they reserve.

use sha2::{Digest, Sha256};

mod reserved;

pub use reserved::is_reserved;

/// No name is longer: PostgreSQL cuts at 63 bytes, silently.
pub const NAME_BYTES_MAX: usize = 63;
/// What remains of a name in front of `_` and eight hex digits.
const CUT_BYTES_MAX: usize = NAME_BYTES_MAX - 9;

/// A path on its way to a name. Built key by key, each step costing only its own key, so that a deep object with long
/// keys costs no more than its bytes.
#[derive(Debug, Clone)]
pub struct Path {
    /// The normalised name so far, bounded: a little over [`NAME_BYTES_MAX`], then no more is added.
    text: String,
    /// A separator is due before the next character.
    pending: bool,
    long: bool,
    /// A character was dropped, or a key left nothing.
    lossy: bool,
    altered: bool,
    /// Over the keys, each behind a `/`.
    hash: Sha256,
}

impl Path {
    /// The empty path, whose names begin with `prefix` (itself a normal name, or nothing).
    #[must_use]
    pub fn root(container: &str, prefix: &str) -> Self {
        let mut path = Self {
            text: prefix.to_owned(),
            pending: !prefix.is_empty(),
            long: false,
            lossy: false,
            altered: false,
            hash: Sha256::new(),
        };
        if !container.is_empty() {
            path.digest(container);
        }
        path
    }

    /// This path and one key more.
    #[must_use]
    pub fn child(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.digest(key);
        path.segment(key);
        path
    }

    /// The column's name, and whether it is spelled as the path itself, keys joined by `_`. `taken` says which names
    /// the table wants for itself; such a one gets a `_` in front, as do the words that SQL reserves.
    #[must_use]
    pub fn column(&self, taken: impl Fn(&str) -> bool) -> (String, bool) {
        let (name, plain) = self.finish(taken);
        (name, plain && !self.altered)
    }

    /// JSON-pointer spelling, so that anybody can compute the hash with `sha256sum`.
    fn digest(&mut self, key: &str) {
        self.hash.update(b"/");
        if key.contains(['~', '/']) {
            self.hash.update(key.replace('~', "~0").replace('/', "~1").as_bytes());
        } else {
            self.hash.update(key.as_bytes());
        }
    }

    fn segment(&mut self, key: &str) {
        if !self.text.is_empty() {
            self.pending = true;
        }
        let start = self.text.len() + usize::from(!self.text.is_empty());
        let before = self.text.len();
        let mut characters = key.chars().peekable();
        let mut previous = None;
        while let Some(c) = characters.next() {
            if self.long {
                break;
            }
            if c == ' ' || c.is_ascii_punctuation() {
                self.pending = true;
            } else if c.is_alphanumeric() {
                if starts_word(previous, c, characters.peek().copied()) {
                    self.pending = true;
                }
                for lower in c.to_lowercase() {
                    self.push(lower);
                }
            } else {
                self.lossy = true;
            }
            previous = Some(c);
        }
        self.lossy |= self.text.len() == before;
        self.altered |= self.text.get(start..) != Some(key);
    }

    fn push(&mut self, c: char) {
        if !c.is_alphanumeric() {
            self.lossy = true;
            return;
        }
        if self.pending || (self.text.is_empty() && c.is_numeric()) {
            self.text.push('_');
            self.pending = false;
        }
        self.text.push(c);
        self.long |= self.text.len() > NAME_BYTES_MAX;
    }

    fn finish(&self, taken: impl Fn(&str) -> bool) -> (String, bool) {
        let (name, plain) = self.assemble("");
        if is_reserved(&name) || taken(&name) { (self.assemble("_").0, false) } else { (name, plain) }
    }

    fn assemble(&self, prefix: &str) -> (String, bool) {
        let mut name = String::with_capacity(prefix.len() + self.text.len() + 9);
        name.push_str(prefix);
        name.push_str(&self.text);
        if !self.lossy && name.len() <= NAME_BYTES_MAX {
            return (name, true);
        }
        if name.len() > CUT_BYTES_MAX {
            name.truncate(name.floor_char_boundary(CUT_BYTES_MAX));
        }
        name.truncate(name.trim_end_matches('_').len());
        name.push('_');
        for byte in self.hash.clone().finalize().iter().take(4) {
            for nibble in [byte >> 4, byte & 15] {
                name.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        (name, false)
    }
}

/// Where a camel-case hump begins: `order|Id`, `HTTP|Server`.
fn starts_word(previous: Option<char>, c: char, next: Option<char>) -> bool {
    let Some(previous) = previous else { return false };
    is_upper(c) && previous.is_alphanumeric() && (!is_upper(previous) || next.is_some_and(char::is_lowercase))
}

/// Whether lower-casing changes it; so a name is its own normal form.
fn is_upper(c: char) -> bool {
    let mut lower = c.to_lowercase();
    lower.next() != Some(c) || lower.next().is_some()
}

/// The table of the event called `event_name`. `fixed` are the tables that exist for other reasons.
#[must_use]
pub fn table(event_name: &str, fixed: &[&str]) -> String {
    let path = Path::root("", "").child(event_name);
    let ours = |name: &str| {
        fixed.contains(&name) || ["sqlite_", "_tidegate", "_overflow"].iter().any(|prefix| name.starts_with(prefix))
    };
    path.column(ours).0
}

#[cfg(test)]
mod tests;
