//! The CBOR of the first format: maps with ascending integer keys, what a reader does not know kept byte for byte.
//! Frozen: it must not follow the engine.

use std::collections::BTreeMap;

use minicbor::{Decoder, Encoder};

use super::model::{Hex, Id};

pub(crate) type Out = Encoder<Vec<u8>>;
/// Keys that the first format does not know, as they were read.
pub(crate) type Unknown = BTreeMap<u64, Hex>;

/// What a reader of the first format says of bytes that it does not take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Frame,
    Malformed,
    Missing,
    Form,
    TooLarge,
    Trailing,
    Protocol(u64),
}

pub(crate) type Read<T> = Result<T, Refusal>;

pub(crate) fn encode(steps: impl FnOnce(&mut Out)) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    steps(&mut out);
    out.into_writer()
}

/// A map that is written in ascending order of its keys, in whatever order they were put.
pub(crate) struct Map(BTreeMap<u64, Vec<u8>>);

impl Map {
    pub(crate) fn new(unknown: &Unknown) -> Map {
        Map(unknown.iter().map(|(key, raw)| (*key, raw.0.clone())).collect())
    }

    pub(crate) fn put(&mut self, key: u64, steps: impl FnOnce(&mut Out)) {
        self.0.insert(key, encode(steps));
    }

    pub(crate) fn write(self, out: &mut Out) {
        out.map(self.0.len() as u64).unwrap();
        for (key, bytes) in self.0 {
            out.u64(key).unwrap();
            out.writer_mut().extend_from_slice(&bytes);
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        encode(|out| self.write(out))
    }
}

pub(crate) fn put_bytes(out: &mut Out, bytes: &[u8]) {
    out.bytes(bytes).unwrap();
}

pub(crate) fn put_int(out: &mut Out, value: impl Into<u64>) {
    out.u64(value.into()).unwrap();
}

pub(crate) fn put_raw(out: &mut Out, raw: &Hex) {
    out.writer_mut().extend_from_slice(&raw.0);
}

pub(crate) fn put_list<T>(out: &mut Out, list: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut Out, T)) {
    out.array(list.len() as u64).unwrap();
    list.for_each(|item| each(out, item));
}

pub(crate) struct In<'b>(Decoder<'b>);

impl<'b> In<'b> {
    /// One item from the first byte to the last.
    pub(crate) fn whole<T>(bytes: &'b [u8], read: impl FnOnce(&mut In<'b>) -> Read<T>) -> Read<T> {
        let mut reader = In(Decoder::new(bytes));
        let value = read(&mut reader)?;
        if reader.0.position() == bytes.len() {
            Ok(value)
        } else {
            Err(Refusal::Trailing)
        }
    }

    /// Answers what `known` did not take.
    pub(crate) fn map(&mut self, mut known: impl FnMut(u64, &mut In<'b>) -> Read<bool>) -> Read<Unknown> {
        let length = self.0.map().map_err(|_| Refusal::Malformed)?.ok_or(Refusal::Form)?;
        let (mut unknown, mut last) = (Unknown::new(), None);
        for _ in 0..length {
            let key = self.u64()?;
            if last.is_some_and(|last| key <= last) {
                return Err(Refusal::Form);
            }
            last = Some(key);
            if !known(key, self)? {
                unknown.insert(key, self.raw()?);
            }
        }
        Ok(unknown)
    }

    pub(crate) fn length(&mut self) -> Read<u64> {
        self.0.array().map_err(|_| Refusal::Malformed)?.ok_or(Refusal::Form)
    }

    pub(crate) fn exactly(&mut self, parts: u64) -> Read<()> {
        if self.length()? == parts {
            Ok(())
        } else {
            Err(Refusal::Form)
        }
    }

    pub(crate) fn list<T>(&mut self, max: u64, mut each: impl FnMut(&mut In<'b>) -> Read<T>) -> Read<Vec<T>> {
        let length = self.length()?;
        if length > max {
            return Err(Refusal::TooLarge);
        }
        (0..length).map(|_| each(self)).collect()
    }

    pub(crate) fn u64(&mut self) -> Read<u64> {
        self.0.u64().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn u32(&mut self) -> Read<u32> {
        self.0.u32().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn u16(&mut self) -> Read<u16> {
        self.0.u16().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn u8(&mut self) -> Read<u8> {
        self.0.u8().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.0.i64().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        self.0.bool().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn bytes(&mut self) -> Read<&'b [u8]> {
        self.0.bytes().map_err(|_| Refusal::Malformed)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.bytes()?.try_into().map_err(|_| Refusal::Form)
    }

    pub(crate) fn id(&mut self) -> Read<Id> {
        self.fixed().map(Id)
    }

    /// The next item, whatever it is.
    pub(crate) fn raw(&mut self) -> Read<Hex> {
        let start = self.0.position();
        self.0.skip().map_err(|_| Refusal::Malformed)?;
        Ok(Hex(self.0.input()[start..self.0.position()].to_vec()))
    }
}
