//! Log ranges of one source that follow one another, and how many events of each went on, in a few bytes for each: a log range may have one record.
//!
//! Each is its length with three flags, and behind it the numbers that the flags announce, seven bits to a byte. Nothing of a log range is lost.

/// A log range of one source. Where it begins and ends is a position, in bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CountedRange {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Events that went on before the functions of the source.
    pub(super) judged: u64,
    /// Events that these let go on; `None` as long as they have not had the log range, and where there are none.
    pub(super) went_on: Option<u64>,
}

impl CountedRange {
    /// Events that went on, as far as that is known.
    pub(super) fn events(&self) -> u64 {
        self.went_on.unwrap_or(self.judged)
    }
}

/// It does not begin where the one before ends, and so many positions behind where that begins.
const HAS_GAP: u64 = 1;
/// Not each of its positions is an event that went on, and so many are.
const HAS_JUDGED: u64 = 2;
/// Functions have had it, and let so many events go on.
const HAS_WENT_ON: u64 = 4;
const FLAG_BITS: u32 = 3;

/// Log ranges in the order of where they begin, no two at one place, as bytes; where the first begins stands elsewhere.
pub(super) fn packed(ranges: &[CountedRange]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranges.len() * 2);
    let first = ranges.first().map_or(0, |first| first.start);
    let (mut before, mut expected) = (first, first);
    for range in ranges {
        let length = range.end.saturating_sub(range.start);
        let gap = (range.start != expected).then_some(range.start.saturating_sub(before));
        let judged = (range.judged != length).then_some(range.judged);
        let flags = [(gap, HAS_GAP), (judged, HAS_JUDGED), (range.went_on, HAS_WENT_ON)];
        let announced = flags.iter().filter(|(number, _)| number.is_some()).fold(0_u64, |all, (_, flag)| all | *flag);
        put(&mut bytes, (length << FLAG_BITS) | announced);
        flags.into_iter().filter_map(|(number, _)| number).for_each(|number| put(&mut bytes, number));
        (before, expected) = (range.start, range.end);
    }
    bytes
}

/// The log ranges that [`packed`] made these bytes of, of which the first begins at `start`; `None` where it cannot have.
pub(super) fn unpacked(start: u64, mut bytes: &[u8]) -> Option<Vec<CountedRange>> {
    let mut ranges = Vec::with_capacity(bytes.len());
    let (mut before, mut expected) = (start, start);
    while !bytes.is_empty() {
        let head = take(&mut bytes)?;
        let length = head >> FLAG_BITS;
        let start = if head & HAS_GAP == 0 { expected } else { before.checked_add(take(&mut bytes)?)? };
        let judged = if head & HAS_JUDGED == 0 { length } else { take(&mut bytes)? };
        let went_on = if head & HAS_WENT_ON == 0 { None } else { Some(take(&mut bytes)?) };
        let end = start.checked_add(length)?;
        ranges.push(CountedRange { start, end, judged, went_on });
        (before, expected) = (start, end);
    }
    Some(ranges)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        number |= low << shift;
        // Of the tenth byte one bit has a place.
        if (low << shift) >> shift != low {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = (3 << 48) | 1_000_000;

    fn range(start: u64, length: u64, judged: u64, went_on: Option<u64>) -> CountedRange {
        CountedRange { start, end: start + length, judged, went_on }
    }

    #[test]
    fn log_ranges_come_back_as_they_were() {
        let all = [
            range(START, 1, 1, None),
            range(START + 1, 1, 0, None),
            range(START + 2, 1_024, 1_024, None),
            range(START + 1_026, 1_024, 17, Some(0)),
            // Others of the source are between.
            range(START + 9_000_000, 5, 5, Some(5)),
            range(START + 9_000_005, 0, 0, None),
            // Counts of a damaged file may be anything.
            range(START + 9_000_006, 7, u64::MAX, Some(u64::MAX)),
            // A log that was numbered anew: it begins within the one before.
            range(START + 9_000_008, 2, 1, None),
        ];
        for first in 0..all.len() {
            for end in first..=all.len() {
                let some = &all[first..end];
                let start = some.first().map_or(START, |first| first.start);
                assert_eq!(unpacked(start, &packed(some)).as_deref(), Some(some), "{first}..{end}");
            }
        }
        assert_eq!(all.map(|one| one.events())[2..5], [1_024, 0, 5]);
    }

    #[test]
    fn a_log_range_of_one_record_that_went_on_takes_one_byte_and_two_with_functions() {
        let one = |at: u64, went_on| range(START + at, 1, 1, went_on);
        assert_eq!(packed(&[one(0, None), one(1, None), one(2, None)]).len(), 3);
        assert_eq!(packed(&[one(0, Some(1)), one(1, Some(1))]).len(), 4);
        assert_eq!(packed(&[range(START, 1_024, 1_024, None)]).len(), 2);
    }

    #[test]
    fn any_bytes_are_log_ranges_or_none() {
        let bytes = packed(&[range(START, 300, 200, Some(1 << 40)), range(START + 800, 1, 1, None)]);
        for end in 0..bytes.len() {
            let whole = unpacked(START, &bytes[..end]).map(|ranges| ranges.len());
            assert!(whole.is_none_or(|ranges| ranges < 2), "{end}: {whole:?}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(unpacked(START, &flipped), unpacked(START, &bytes), "bit {bit}");
        }
        for nonsense in
            [&[0xff; 11][..], &[0x80], &[8, 0xff, 0xff], &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert_eq!(unpacked(START, nonsense), None, "{nonsense:?}");
        }
        assert_eq!(unpacked(u64::MAX, &[8 << FLAG_BITS]), None, "it would end behind all positions");
    }
}
