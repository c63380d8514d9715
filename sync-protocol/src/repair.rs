//! Finding what two ends hold differently when their roots differ: 256 buckets first, then sixteen parts of each bucket
//! that differs, then the records of each part that differs. It says what differs; who mends stands at either end
//! (`hub::handle_repair`, `replica::handle_repair`).
//!
//! Sums and leaves are compared by their first word: a difference is missed once in 2^64, and the root, which is whole, is
//! compared again afterwards.

use crate::ids::RecordId;
use crate::proof::{self, Sum};

/// Parts of a bucket.
pub const PARTS: usize = 16;
/// Records that one question lists at most: some 96 KiB of a body.
pub const LISTED_MAX: usize = 4_096;

/// One sixteenth of a bucket: the records whose ids begin with the same twelve bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Part(u16);

impl Part {
    pub fn of(record: RecordId) -> Part {
        Part(u16::from(record.0[0]) << 4 | u16::from(record.0[1]) >> 4)
    }

    pub fn numbered(bucket: u8, within: usize) -> Part {
        Part(u16::from(bucket) << 4 | (within & 0xf) as u16)
    }

    /// A number below 4,096.
    pub fn from_number(number: u16) -> Option<Part> {
        (number < 0x1000).then_some(Part(number))
    }

    pub fn number(self) -> u16 {
        self.0
    }

    pub fn bucket(self) -> u8 {
        (self.0 >> 4) as u8
    }

    pub fn within(self) -> usize {
        usize::from(self.0 & 0xf)
    }
}

/// A record that is counted in a bucket, from its row and not from the sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    pub record: RecordId,
    /// Where its row stands in the feed.
    pub sequence: u64,
    pub sum: Sum,
}

/// What the sum of a bucket is to be.
pub fn total(leaves: &[Leaf]) -> Sum {
    leaves.iter().fold(Sum::default(), |sum, leaf| sum.plus(leaf.sum))
}

/// The first words of the sums of a bucket's parts.
pub fn words_of_parts(leaves: &[Leaf]) -> [u64; PARTS] {
    let mut sums = [Sum::default(); PARTS];
    for leaf in leaves {
        let sum = &mut sums[Part::of(leaf.record).within()];
        *sum = sum.plus(leaf.sum);
    }
    sums.map(Sum::word)
}

/// The first words of all buckets; those that are absent count as zero.
pub fn words_of_buckets(sums: impl IntoIterator<Item = (u8, Sum)>) -> Vec<u64> {
    let mut words = vec![0; proof::BUCKETS];
    for (bucket, sum) in sums {
        words[usize::from(bucket)] = sum.word();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_by_the_twelve_bits_that_its_records_begin_with() {
        let mut id = [0u8; 16];
        id[0] = 0xab;
        id[1] = 0xcd;
        let part = Part::of(RecordId(id));

        assert_eq!((part.number(), part.bucket(), part.within()), (0xabc, 0xab, 0xc));
        assert_eq!(Part::numbered(0xab, 0xc), part);
        assert_eq!(Part::from_number(0xabc), Some(part));
        assert_eq!(Part::from_number(0x1000), None);
    }
}
