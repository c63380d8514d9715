//! Deterministic CBOR (RFC 8949 §4.2): maps with ascending integer keys, shortest lengths, no indefinite items.
//! Keys that this version does not know are kept as raw bytes and written back in their place.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decoder, Encoder};
use thiserror::Error;

pub(crate) type Writer = Encoder<Vec<u8>>;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum CborError {
    #[error("not valid CBOR at byte {0}")]
    Malformed(usize),
    #[error("{what} is missing")]
    Missing { what: &'static str },
    #[error("{what} has the wrong form")]
    Form { what: &'static str },
    #[error("{what} is larger than {max}")]
    TooLarge { what: &'static str, max: usize },
    #[error("bytes follow the end of the item")]
    Trailing,
}

/// One CBOR data item, kept as the bytes its writer chose. It may hold PHI, so it prints only its length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw(Vec<u8>);

impl Raw {
    pub fn text(text: &str) -> Raw {
        Raw::build(|w| {
            w.str(text).ok();
        })
    }

    pub fn int(value: i64) -> Raw {
        Raw::build(|w| {
            w.i64(value).ok();
        })
    }

    pub fn bytes(bytes: &[u8]) -> Raw {
        Raw::build(|w| {
            w.bytes(bytes).ok();
        })
    }

    pub fn null() -> Raw {
        Raw(vec![0xf6])
    }

    /// Encodes with the given steps; writing to memory cannot fail.
    pub fn build(steps: impl FnOnce(&mut Encoder<Vec<u8>>)) -> Raw {
        let mut writer = Encoder::new(Vec::new());
        steps(&mut writer);
        Raw(writer.into_writer())
    }

    /// Takes bytes that must be exactly one well-formed data item.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Raw, CborError> {
        let mut decoder = Decoder::new(&bytes);
        decoder.skip().map_err(|_| CborError::Malformed(0))?;
        if decoder.position() == bytes.len() {
            Ok(Raw(bytes))
        } else {
            Err(CborError::Trailing)
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_null(&self) -> bool {
        self.0 == [0xf6]
    }

    pub fn to_text(&self) -> Option<String> {
        Decoder::new(&self.0).str().ok().map(str::to_owned)
    }

    pub fn to_int(&self) -> Option<i64> {
        Decoder::new(&self.0).i64().ok()
    }

    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        Decoder::new(&self.0).bytes().ok().map(<[u8]>::to_vec)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raw({} bytes)", self.0.len())
    }
}

/// Fields of a newer version: kept byte for byte, never understood.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unknown(pub BTreeMap<u64, Raw>);

/// Writes one map: known keys are pushed in any order, unknown ones join them, and all leave in ascending order.
pub(crate) struct MapWriter(BTreeMap<u64, Vec<u8>>);

impl MapWriter {
    pub(crate) fn new(unknown: &Unknown) -> MapWriter {
        MapWriter(unknown.0.iter().map(|(key, raw)| (*key, raw.0.clone())).collect())
    }

    pub(crate) fn put(&mut self, key: u64, steps: impl FnOnce(&mut Writer)) {
        let mut writer = Encoder::new(Vec::new());
        steps(&mut writer);
        self.0.insert(key, writer.into_writer());
    }

    pub(crate) fn finish(self, out: &mut Writer) {
        out.map(self.0.len() as u64).ok();
        for (key, bytes) in self.0 {
            out.u64(key).ok();
            out.writer_mut().extend_from_slice(&bytes);
        }
    }
}

/// Reads what [`MapWriter`] writes. A reader stops at the first form it does not expect.
pub struct Reader<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader {
            decoder: Decoder::new(bytes),
        }
    }

    fn at<T>(&self, result: Result<T, minicbor::decode::Error>) -> Result<T, CborError> {
        result.map_err(|_| CborError::Malformed(self.decoder.position()))
    }

    /// Calls `known` for each key; what it answers `false` to is kept in the returned [`Unknown`].
    pub fn map(
        &mut self,
        mut known: impl FnMut(u64, &mut Reader<'b>) -> Result<bool, CborError>,
    ) -> Result<Unknown, CborError> {
        let length = self.decoder.map();
        let length = self.at(length)?.ok_or(CborError::Form { what: "map" })?;
        let mut unknown = Unknown::default();
        let mut last = None;
        for _ in 0..length {
            let key = self.u64()?;
            if last.is_some_and(|last| key <= last) {
                return Err(CborError::Form { what: "order of keys" });
            }
            last = Some(key);
            let before = self.decoder.position();
            if !known(key, self)? {
                self.decoder.set_position(before);
                unknown.0.insert(key, self.raw()?);
            }
        }
        Ok(unknown)
    }

    pub fn array<T>(
        &mut self,
        max: usize,
        what: &'static str,
        mut each: impl FnMut(&mut Reader<'b>) -> Result<T, CborError>,
    ) -> Result<Vec<T>, CborError> {
        let length = self.array_length()? as usize;
        if length > max {
            return Err(CborError::TooLarge { what, max });
        }
        (0..length).map(|_| each(self)).collect()
    }

    pub fn array_length(&mut self) -> Result<u64, CborError> {
        let length = self.decoder.array();
        self.at(length)?.ok_or(CborError::Form { what: "array" })
    }

    pub fn exact_array(&mut self, length: u64, what: &'static str) -> Result<(), CborError> {
        if self.array_length()? == length {
            Ok(())
        } else {
            Err(CborError::Form { what })
        }
    }

    pub fn u64(&mut self) -> Result<u64, CborError> {
        let value = self.decoder.u64();
        self.at(value)
    }

    pub fn u32(&mut self) -> Result<u32, CborError> {
        let value = self.decoder.u32();
        self.at(value)
    }

    pub fn u16(&mut self) -> Result<u16, CborError> {
        let value = self.decoder.u16();
        self.at(value)
    }

    pub fn u8(&mut self) -> Result<u8, CborError> {
        let value = self.decoder.u8();
        self.at(value)
    }

    pub fn i64(&mut self) -> Result<i64, CborError> {
        let value = self.decoder.i64();
        self.at(value)
    }

    pub fn bool(&mut self) -> Result<bool, CborError> {
        let value = self.decoder.bool();
        self.at(value)
    }

    pub fn text(&mut self) -> Result<&'b str, CborError> {
        let value = self.decoder.str();
        self.at(value)
    }

    pub fn bytes(&mut self) -> Result<&'b [u8], CborError> {
        let value = self.decoder.bytes();
        self.at(value)
    }

    pub fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CborError> {
        self.bytes()?.try_into().map_err(|_| CborError::Form { what })
    }

    pub fn is_null(&mut self) -> Result<bool, CborError> {
        let kind = self.decoder.datatype();
        if self.at(kind)? == minicbor::data::Type::Null {
            let null = self.decoder.null();
            self.at(null)?;
            return Ok(true);
        }
        Ok(false)
    }

    pub fn raw(&mut self) -> Result<Raw, CborError> {
        let start = self.decoder.position();
        let skipped = self.decoder.skip();
        self.at(skipped)?;
        Ok(Raw(self.decoder.input()[start..self.decoder.position()].to_vec()))
    }

    pub fn finish(self) -> Result<(), CborError> {
        if self.decoder.position() == self.decoder.input().len() {
            Ok(())
        } else {
            Err(CborError::Trailing)
        }
    }
}

pub(crate) fn encode(steps: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Encoder::new(Vec::new());
    steps(&mut writer);
    writer.into_writer()
}

/// Parses one whole item: nothing may follow it.
pub(crate) fn parse<'b, T>(
    bytes: &'b [u8],
    read: impl FnOnce(&mut Reader<'b>) -> Result<T, CborError>,
) -> Result<T, CborError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}
