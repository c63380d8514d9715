//! Character sets of messages: UTF-8 (also when MSH-18 is silent) and ISO 8859-1.

use super::error::{ErrorCode, Hl7Error, Location, SegmentId};

/// How the bytes of a message become text (MSH-18, HL7 table 0211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Latin1,
}

impl Charset {
    /// Of the name in MSH-18; its first repetition when it has several.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_uppercase().as_str() {
            "" | "ASCII" | "UNICODE UTF-8" | "UTF-8" | "UTF8" | "UNICODE" => Some(Self::Utf8),
            "8859/1" | "8859-1" | "ISO-8859-1" | "ISO 8859-1" => Some(Self::Latin1),
            _ => None,
        }
    }

    /// The text, or the offset of the first byte that is none.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<String, usize> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes)
                .map(str::to_owned)
                .map_err(|error| error.valid_up_to()),
            Self::Latin1 => Ok(bytes.iter().copied().map(char::from).collect()),
        }
    }

    /// Bytes in this character set; a character that it lacks becomes `?`.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Latin1 => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                .collect(),
        }
    }
}

/// Names segment and field of a byte that is not text.
pub(crate) fn undecodable(bytes: &[u8], offset: usize, separator: u8) -> Hl7Error {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let ends = |b: &u8| matches!(b, b'\r' | b'\n');
    let line_start = before.iter().rposition(ends).map_or(0, |at| at + 1);
    let id_of = |line: &[u8]| line.get(..3).and_then(SegmentId::from_bytes);
    let segment = id_of(&bytes[line_start..]).unwrap_or(SegmentId::MSH);
    let earlier = bytes[..line_start]
        .split(ends)
        .filter(|line| id_of(line) == Some(segment))
        .count();
    let separators = before[line_start..].iter().filter(|b| **b == separator).count();
    let number = separators + usize::from(segment == SegmentId::MSH);
    let field = (separators > 0).then(|| u16::try_from(number).unwrap_or(u16::MAX));
    let occurrence = u16::try_from(earlier + 1).unwrap_or(u16::MAX);
    Hl7Error {
        code: ErrorCode::DataType,
        location: Location {
            segment,
            occurrence,
            field,
        },
        problem: "a byte is not text in the character set of MSH-18; send UTF-8, or name 8859/1 there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_no_text_is_named_by_segment_and_field() {
        let bytes = b"MSH|^~\\&|A\rOBX|1|ST\rOBX|2|ST|x||\xff\r";
        let offset = Charset::Utf8.decode(bytes).unwrap_err();

        let refused = undecodable(bytes, offset, b'|');

        assert_eq!(refused.location.to_string(), "OBX(2)-5");
        assert_eq!(refused.code.number(), 102);
    }

    #[test]
    fn latin_1_goes_both_ways() {
        let text = Charset::Latin1.decode(b"Jos\xe9").unwrap();

        assert_eq!(text, "José");
        assert_eq!(Charset::Latin1.encode(&text), b"Jos\xe9");
        assert_eq!(Charset::Latin1.encode("Ł"), b"?");
    }
}
