//! What the Kinesis Producer Library packs into one record: a magic number, a message of Protobuf with a table of keys and the records, and
//! the MD5 of that message.

use std::ops::Range;

use bytes::Bytes;
use md5::{Digest as _, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

/// Records in one record.
#[derive(Debug)]
pub(crate) struct Aggregate {
    payload: Bytes,
    keys: Vec<Range<usize>>,
    records: Vec<PackedRecord>,
}

/// A record in an aggregate.
#[derive(Debug, Default)]
struct PackedRecord {
    key: usize,
    data: Range<usize>,
}

impl Aggregate {
    /// Reads a record; none where it is no aggregate, or a broken one.
    pub(crate) fn read(payload: &Bytes) -> Option<Self> {
        let rest = payload.strip_prefix(&MAGIC)?;
        let body_end = payload.len().checked_sub(DIGEST_BYTES)?;
        let body = payload.get(MAGIC.len()..body_end)?;
        let digest = rest.get(body.len()..)?;
        if Md5::digest(body).as_slice() != digest {
            return None;
        }
        let mut read = Self { payload: payload.clone(), keys: Vec::new(), records: Vec::new() };
        let mut wire = Wire { bytes: payload, at: MAGIC.len(), end: body_end };
        while wire.at < wire.end {
            match wire.field()? {
                (1, WireValue::Bytes(key)) => read.keys.push(key),
                (3, WireValue::Bytes(record)) => read.records.push(packed(payload, record)?),
                _ => {}
            }
        }
        let has_key = |record: &PackedRecord| {
            let key = read.keys.get(record.key).and_then(|key| payload.get(key.clone()));
            key.is_some_and(|key| std::str::from_utf8(key).is_ok())
        };
        (!read.records.is_empty() && read.records.iter().all(has_key)).then_some(read)
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// The key and the data of a record, which share the bytes of the whole.
    pub(crate) fn record(&self, sub: u64) -> Option<(Bytes, Bytes)> {
        let record = self.records.get(usize::try_from(sub).ok()?)?;
        let key = self.keys.get(record.key)?;
        Some((self.payload.slice(key.clone()), self.payload.slice(record.data.clone())))
    }
}

fn packed(payload: &[u8], range: Range<usize>) -> Option<PackedRecord> {
    let mut wire = Wire { bytes: payload, at: range.start, end: range.end };
    let (mut key, mut data) = (None, None);
    while wire.at < wire.end {
        match wire.field()? {
            (1, WireValue::Number(index)) => key = Some(usize::try_from(index).ok()?),
            (3, WireValue::Bytes(range)) => data = Some(range),
            _ => {}
        }
    }
    Some(PackedRecord { key: key?, data: data? })
}

/// A field's value, bytes by where they are.
enum WireValue {
    Number(u64),
    Bytes(Range<usize>),
    Fixed,
}

/// Protobuf, read from the front.
struct Wire<'b> {
    bytes: &'b [u8],
    at: usize,
    end: usize,
}

impl Wire<'_> {
    fn field(&mut self) -> Option<(u64, WireValue)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => WireValue::Number(self.varint()?),
            1 => self.skip(8).map(|_| WireValue::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                WireValue::Bytes(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| WireValue::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn skip(&mut self, length: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end)?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).filter(|_| self.at < self.end)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn varint(mut number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while number > 127 {
            out.push(((number & 127) as u8) | 128);
            number >>= 7;
        }
        out.push(number as u8);
        out
    }

    fn field(number: u64, payload: &[u8]) -> Vec<u8> {
        [varint((number << 3) | 2), varint(payload.len() as u64), payload.to_vec()].concat()
    }

    fn sealed(body: &[u8]) -> Bytes {
        [&MAGIC[..], body, Md5::digest(body).as_slice()].concat().into()
    }

    /// As the library packs records of these keys.
    fn pack(records: &[(&str, Vec<u8>)]) -> Bytes {
        let mut body = Vec::new();
        for (key, _) in records {
            body.extend(field(1, key.as_bytes()));
        }
        for (index, (_, data)) in records.iter().enumerate() {
            let record = [varint(1 << 3), varint(index as u64), field(3, data)].concat();
            body.extend(field(3, &record));
        }
        sealed(&body)
    }

    #[test]
    fn an_aggregate_gives_each_record_with_its_key() {
        let read = Aggregate::read(&pack(&[("a", b"one".to_vec()), ("b", Vec::new())])).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read.record(0), Some((Bytes::from("a"), Bytes::from("one"))));
        assert_eq!(read.record(1), Some((Bytes::from("b"), Bytes::new())));
        assert_eq!(read.record(2), None);
    }

    #[test]
    fn what_only_looks_like_an_aggregate_is_none() {
        let whole = pack(&[("a", b"one".to_vec())]);
        let mut changed = whole.to_vec();
        changed[6] ^= 1;
        let key_beyond_the_table =
            [field(1, b"a"), field(3, &[varint(1 << 3), varint(9), field(3, b"x")].concat())].concat();
        let cut = whole.slice(4..whole.len() - 20);
        for (name, record) in [
            ("wrong digest", Bytes::from(changed)),
            ("magic alone", Bytes::from(MAGIC.to_vec())),
            ("short", Bytes::from([&MAGIC[..], b"0123456789"].concat())),
            ("no records", sealed(b"")),
            ("no key", sealed(&field(3, &field(3, b"x")))),
            ("key beyond the table", sealed(&key_beyond_the_table)),
            ("cut within", sealed(&cut)),
            ("no aggregate", Bytes::from("{}")),
        ] {
            assert!(Aggregate::read(&record).is_none(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reading(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(read) = Aggregate::read(&sealed(&body)) {
                for sub in 0..read.len() {
                    prop_assert!(read.record(sub).is_some());
                }
            }
            let _ = Aggregate::read(&Bytes::from(body));
        }

        #[test]
        fn what_was_packed_comes_out(data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..50)) {
            let records: Vec<(&str, Vec<u8>)> = data.iter().map(|data| ("key", data.clone())).collect();
            let read = Aggregate::read(&pack(&records)).unwrap();
            let found: Vec<Vec<u8>> = (0..read.len()).map(|sub| read.record(sub).unwrap().1.to_vec()).collect();
            prop_assert_eq!(found, data);
        }
    }
}
