//! Where randomness comes from, and the texts that are made of it.

/// A source of unpredictable bytes. The program hands in the operating system's; a test hands in one that repeats.
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Bytes at or above it are drawn again, so that every digit is as likely as any other: four times 62.
const UNBIASED_BELOW: u8 = 248;

/// So many random digits of base 62, about 5.95 bits each.
pub(crate) fn base62(entropy: &dyn Entropy, digits: usize) -> String {
    let mut text = String::with_capacity(digits);
    let mut drawn = [0; 64];
    while text.len() < digits {
        entropy.fill(&mut drawn);
        let usable = drawn.iter().filter(|byte| **byte < UNBIASED_BELOW);
        text.extend(usable.take(digits - text.len()).map(|byte| char::from(BASE62[usize::from(byte % 62)])));
    }
    text
}

/// A number in base 62 with leading zeros: six digits hold 32 bits.
pub(crate) fn base62_of(mut number: u32, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        *digit = BASE62[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8(text).unwrap_or_default()
}

/// So many random bytes.
pub(crate) fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    #[test]
    fn digits_are_of_base_62_and_the_last_bytes_are_drawn_again() {
        let text = base62(&Counting(240.into()), 12);
        // 240 to 247 count, 248 to 255 do not, then it begins anew at 0.
        assert_eq!(text, "stuvwxyz0123");
        assert_eq!(base62_of(0, 6), "000000");
        assert_eq!(base62_of(61, 2), "0z");
        assert_eq!(base62_of(u32::MAX, 6), "4gfFC3");
    }
}
