//! What is shown once and kept as a hash: its text, and when it was used.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::catalog::Catalog;
use crate::entropy::{Entropy, base62, base62_of};
use crate::error::{CatalogError, CredentialProblem};
use crate::keys::{KeyedHash, SecretValue};
use crate::object::{ObjectId, ObjectKind};
use crate::store::{CatalogTransaction, StoreAccess};

/// Random digits of base 62: 178 bits.
const DIGITS: usize = 30;
/// Digits of the checksum behind them.
const CHECK_DIGITS: usize = 6;
/// How exactly the last use is known: a minute.
const USE_GRAIN_US: i64 = 60_000_000;

/// Something new that is shown this once.
#[derive(Debug, Clone)]
pub struct IssuedCredential {
    pub id: ObjectId,
    pub value: SecretValue,
}

/// `tgp_`, 30 random digits, and 6 of their CRC-32: what a scanner of repositories can tell from other texts.
pub(crate) fn new_text(prefix: &str, entropy: &dyn Entropy) -> String {
    let digits = base62(entropy, DIGITS);
    let check = base62_of(crc32fast::hash(digits.as_bytes()), CHECK_DIGITS);
    format!("{prefix}_{digits}{check}")
}

/// Whether prefix, length and checksum are right: what is mistyped costs no look into the store.
pub(crate) fn check_text(text: &str, prefixes: &[&str]) -> Result<(), CredentialProblem> {
    let parts = text.split_once('_').filter(|(prefix, digits)| {
        prefixes.contains(prefix) && digits.len() == DIGITS + CHECK_DIGITS && digits.is_ascii()
    });
    let (digits, check) = parts.ok_or(CredentialProblem::Malformed)?.1.split_at(DIGITS);
    let expected = base62_of(crc32fast::hash(digits.as_bytes()), CHECK_DIGITS);
    if check == expected { Ok(()) } else { Err(CredentialProblem::Malformed) }
}

/// The last four characters, by which people tell one from another.
pub(crate) fn last4(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    chars[chars.len().saturating_sub(4)..].iter().collect()
}

/// Keeps the hash of a credential under the id of its object.
pub(crate) async fn keep(
    transaction: &mut dyn CatalogTransaction,
    id: &ObjectId,
    hash: &KeyedHash,
) -> Result<(), CatalogError> {
    let insert = "INSERT INTO credential (hash, id) VALUES ($1, $2)";
    transaction.run(insert, vec![hash[..].into(), id.as_str().into()]).await?;
    Ok(())
}

impl Catalog {
    /// Notes that credentials were used at this time, to the minute. Neither a revision nor an entry of the audit log comes of it.
    ///
    /// # Errors
    /// It is not noted.
    pub async fn note_use(&self, ids: &[ObjectId], at_us: i64) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let set = "UPDATE credential SET last_used_at_us = $1 \
             WHERE id = $2 AND (last_used_at_us IS NULL OR last_used_at_us <= $3)";
        let before = at_us - USE_GRAIN_US;
        let rows = ids.iter().map(|id| vec![at_us.into(), id.as_str().into(), before.into()]);
        transaction.run_each(set, rows.collect()).await?;
        Ok(transaction.commit().await?)
    }

    /// When a token or a write key was used last: microseconds since the Unix epoch, UTC, to the minute.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn last_used(&self, id: &ObjectId) -> Result<Option<i64>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = "SELECT last_used_at_us FROM credential WHERE id = $1";
        let found = transaction.run(sql, vec![id.as_str().into()]).await?;
        Ok(found.first().map(|row| row.integer_or_null(0)).transpose()?.flatten())
    }

    /// The same for all objects of a kind whose names are within `names`, both ends included. Those that were never used are left out.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn last_uses(
        &self,
        workspace: &str,
        kind: ObjectKind,
        names: RangeInclusive<&str>,
    ) -> Result<BTreeMap<ObjectId, i64>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = "SELECT c.id, c.last_used_at_us FROM credential c JOIN living l ON l.id = c.id \
             WHERE l.workspace = $1 AND l.kind = $2 AND l.name >= $3 AND l.name <= $4 AND c.last_used_at_us IS NOT NULL";
        let cells = vec![workspace.into(), kind.name().into(), (*names.start()).into(), (*names.end()).into()];
        let rows = transaction.run(sql, cells).await?;
        rows.iter().map(|row| Ok((ObjectId::parse(&row.text(0)?)?, row.integer(1)?))).collect()
    }
}

/// Whether a use is to be noted.
pub(crate) const fn is_use_due(last_used_at_us: Option<i64>, at_us: i64) -> bool {
    match last_used_at_us {
        None => true,
        Some(last) => at_us - last >= USE_GRAIN_US,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Repeating;

    impl Entropy for Repeating {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        }
    }

    #[test]
    fn a_text_with_one_wrong_character_is_told_without_a_look() {
        let text = new_text("tgp", &Repeating);
        assert_eq!(text, "tgp_0123456789ABCDEFGHIJKLMNOPQRST4PMbyp");
        assert_eq!(check_text(&text, &["tgp", "tgs"]), Ok(()));
        assert_eq!(check_text(&text, &["tgs"]), Err(CredentialProblem::Malformed));
        for at in 4..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(check_text(&wrong, &["tgp"]), Err(CredentialProblem::Malformed), "{wrong}");
        }
        for text in ["", "tgp_", "tgp", "tgp_é", "tgw_0123456789ABCDEFGHIJKLMNOPQRST000000"] {
            assert!(check_text(text, &["tgp"]).is_err(), "{text}");
        }
        assert_eq!(last4("abcdef"), "cdef");
        assert_eq!(last4("é"), "é");
    }
}
