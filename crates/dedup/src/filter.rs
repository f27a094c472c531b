//! A filter in front of a run: says for sure that an id is not in it, or that it may be.
//!
//! A Bloom filter of blocks as in Parquet (<https://parquet.apache.org/docs/file-format/bloomfilter/>): an id has eight
//! bits, all in one block of 256, so a look touches one line of the cache. The high half of the hash chooses the block; ids
//! come in order of their hashes, so a filter is filled from its first block to its last.

/// Bits for each id. Ten let one id in a hundred through that is not there.
const BITS_PER_ID: u64 = 10;
const BLOCK_BITS: u64 = 256;
pub(crate) const BLOCK_BYTES: usize = 32;

/// Odd numbers that spread the low bits of a hash; those of the format of Parquet.
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
pub(crate) struct FilterBlock([u32; 8]);

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Filter(Vec<FilterBlock>);

impl Filter {
    /// An empty filter for so many ids.
    pub(crate) fn for_ids(count: u64) -> Self {
        let blocks = (count * BITS_PER_ID).div_ceil(BLOCK_BITS).max(1);
        Self(vec![FilterBlock::default(); usize::try_from(blocks).unwrap_or(usize::MAX)])
    }

    pub(crate) fn add(&mut self, hash: u128) {
        let at = self.block(hash);
        for (word, bit) in self.0[at].0.iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    pub(crate) fn may_hold(&self, hash: u128) -> bool {
        let block = &self.0[self.block(hash)].0;
        // Without a branch for each word: all eight are looked at together.
        block.iter().zip(bits(hash)).fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }

    /// Below the number of blocks: the high half of the hash, as a fraction of all blocks.
    fn block(&self, hash: u128) -> usize {
        let high = hash >> 64;
        ((high * self.0.len() as u128) >> 64) as usize
    }

    pub(crate) fn blocks(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> impl Iterator<Item = [u8; BLOCK_BYTES]> + '_ {
        self.0.iter().map(|block| {
            let mut bytes = [0; BLOCK_BYTES];
            for (to, word) in bytes.chunks_exact_mut(4).zip(block.0) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            bytes
        })
    }

    /// From what [`Filter::bytes`] gave, one block after the other.
    pub(crate) fn from_blocks(blocks: Vec<FilterBlock>) -> Option<Self> {
        (!blocks.is_empty()).then_some(Self(blocks))
    }
}

impl FilterBlock {
    pub(crate) fn read(bytes: &[u8; BLOCK_BYTES]) -> Self {
        let mut words = [0; 8];
        for (word, four) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*four);
        }
        Self(words)
    }
}

/// One bit for each word of a block, from the low bits of the hash.
fn bits(hash: u128) -> [u32; 8] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}
