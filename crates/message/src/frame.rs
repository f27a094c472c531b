//! How messages of a schema registry begin: a byte 0, the id of the schema in four bytes, and for Protobuf which message of it.

use crate::schema_text::SchemaId;

/// Messages within messages, of the list that says which message it is.
const NESTED_MAX: u64 = 32;

/// A message that names its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SchemaFrame<'m> {
    pub(crate) id: SchemaId,
    /// What is behind the id.
    pub(crate) payload: &'m [u8],
}

impl<'m> SchemaFrame<'m> {
    /// None where the bytes begin otherwise.
    pub(crate) fn of(bytes: &'m [u8]) -> Option<Self> {
        let (id, payload) = bytes.strip_prefix(&[0])?.split_first_chunk::<4>()?;
        Some(Self { id: SchemaId(u32::from_be_bytes(*id)), payload })
    }
}

/// An unsigned number in groups of seven bits, and what is behind it. None where it does not end or has more than 64 bits.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let group = u64::from(byte & 0x7f);
        if at == 9 && group > 1 {
            return None;
        }
        number |= group << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    None
}

/// A signed number, spelled so that small ones are short.
pub(crate) fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (number, rest) = varint(bytes)?;
    Some(((number >> 1).cast_signed() ^ -(number & 1).cast_signed(), rest))
}

/// Which message of a Protobuf schema it is, from the outermost inwards, and what is behind that. A single 0 is the first one.
pub(crate) fn message_indexes(payload: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (count, mut rest) = zigzag(payload)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let count = u64::try_from(count).ok().filter(|count| *count <= NESTED_MAX)?;
    let mut indexes = Vec::new();
    for _ in 0..count {
        let (index, behind) = zigzag(rest)?;
        indexes.push(usize::try_from(index).ok()?);
        rest = behind;
    }
    Some((indexes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_a_zero_byte_an_id_and_for_protobuf_a_list_of_numbers() {
        let frame = SchemaFrame::of(&[0, 0, 0, 1, 2, 9]).unwrap();
        assert_eq!((frame.id, frame.payload), (SchemaId(258), &[9][..]));
        for other in [&b""[..], b"{}", &[0, 0, 0, 1], &[1, 0, 0, 0, 1, 2]] {
            assert_eq!(SchemaFrame::of(other), None);
        }
        assert_eq!(message_indexes(&[0, 7]), Some((vec![0], &[7][..])));
        assert_eq!(message_indexes(&[4, 2, 0, 7]), Some((vec![1, 0], &[7][..])));
        for wrong in [&[][..], &[2], &[1], &[4, 2], &[2, 1], &[0x80], &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0]] {
            assert_eq!(message_indexes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn numbers_have_64_bits_and_no_more() {
        let most = [0xff; 9];
        let of = |last: u8| [&most[..], &[last]].concat();
        assert_eq!(varint(&of(1)), Some((u64::MAX, &[][..])));
        assert_eq!(zigzag(&of(1)), Some((i64::MIN, &[][..])));
        assert_eq!(varint(&of(2)), None);
        assert_eq!(varint(&[0xff; 11]), None);
        for (bytes, number) in [(&[0][..], 0), (&[1], -1), (&[2], 1), (&[0x80, 1], 64)] {
            assert_eq!(zigzag(bytes), Some((number, &[][..])));
        }
    }
}
