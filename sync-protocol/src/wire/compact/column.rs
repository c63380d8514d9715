//! A column of signed numbers: zigzag, then seven bits a byte with the lowest first. All zeros are nothing at all.

use crate::cbor::CborError;

const MALFORMED: CborError = CborError::Form {
    what: "column of a compact batch",
};

#[derive(Default)]
pub(super) struct Column {
    bytes: Vec<u8>,
    at: usize,
}

impl Column {
    pub(super) fn push(&mut self, number: i64) {
        let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    pub(super) fn push_count(&mut self, count: usize) {
        self.push(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn written(&self) -> Option<&[u8]> {
        self.bytes.iter().any(|byte| *byte != 0).then_some(&self.bytes)
    }

    pub(super) fn read(bytes: &[u8]) -> Column {
        Column {
            bytes: bytes.to_vec(),
            at: 0,
        }
    }

    /// The next number; zero when the column was left out.
    pub(super) fn next(&mut self) -> Result<i64, CborError> {
        if self.bytes.is_empty() {
            return Ok(0);
        }
        let mut rest = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(MALFORMED)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(MALFORMED);
            }
            rest |= bits << shift;
            if byte < 0x80 {
                return Ok((rest >> 1).cast_signed() ^ -(rest & 1).cast_signed());
            }
        }
        Err(MALFORMED)
    }

    pub(super) fn next_count(&mut self, max: usize) -> Result<usize, CborError> {
        match usize::try_from(self.next()?) {
            Ok(count) if count <= max => Ok(count),
            Ok(_) | Err(_) => Err(MALFORMED),
        }
    }

    pub(super) fn next_as<T: TryFrom<i64>>(&mut self) -> Result<T, CborError> {
        T::try_from(self.next()?).map_err(|_| MALFORMED)
    }

    pub(super) fn is_read(&self) -> bool {
        self.at == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        let numbers = [0, 1, -1, 63, 64, -64, -65, 1_776_000_000_000, i64::MAX, i64::MIN];
        let mut column = Column::default();
        numbers.iter().for_each(|number| column.push(*number));

        let mut read = Column::read(column.written().unwrap());
        let back: Vec<i64> = numbers.iter().map(|_| read.next().unwrap()).collect();

        assert_eq!(back, numbers);
        assert!(read.is_read() && read.next().is_err());
    }

    #[test]
    fn a_column_of_zeros_is_left_out_and_read_as_zeros() {
        let mut column = Column::default();
        (0..5).for_each(|_| column.push(0));

        assert_eq!(column.written(), None);
        assert_eq!(Column::default().next(), Ok(0));
    }

    #[test]
    fn a_number_that_never_ends_is_refused() {
        let mut column = Column::read(&[0xff; 20]);

        assert_eq!(column.next(), Err(MALFORMED));
    }
}
