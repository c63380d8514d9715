//! Bytes to text, and text to segments.
//!
//! Takes CR, LF and CR LF as segment ends, a byte-order mark, blank lines, what MLLP leaves at the end, and line feeds that a
//! sender forgot to escape inside a CR-terminated message.

use std::collections::BTreeMap;
use std::ops::Range;

use super::charset::{self, Charset};
use super::delimiters::Delimiters;
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::fields::{Segment, Syntax};

/// What a message may measure. Beyond it the message is refused, not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub message_max_bytes: usize,
    pub segments_max: usize,
    pub fields_per_segment_max: usize,
}

impl Default for Limits {
    /// 4 MiB (a result with an embedded PDF), 20,000 segments (a long panel with notes), 1,000 fields (the standard's longest
    /// segments have about a hundred).
    fn default() -> Self {
        Self {
            message_max_bytes: 4 * 1024 * 1024,
            segments_max: 20_000,
            fields_per_segment_max: 1_000,
        }
    }
}

#[derive(Clone)]
struct Span {
    id: SegmentId,
    occurrence: u16,
    range: Range<usize>,
}

/// The text of one message with its segments found. The first is MSH, and there is no other.
#[derive(Clone)]
pub(crate) struct Segments {
    text: String,
    syntax: Syntax,
    spans: Vec<Span>,
}

impl Segments {
    pub(crate) fn split(bytes: &[u8], limits: &Limits) -> Result<Self, Hl7Error> {
        let whole = |code, problem| Hl7Error::segment(code, SegmentId::MSH, 1, problem);
        if bytes.len() > limits.message_max_bytes {
            return Err(whole(ErrorCode::Internal, "message is larger than the limit set here"));
        }
        let bytes = message_body(bytes);
        if !bytes.starts_with(b"MSH") {
            return Err(whole(
                ErrorCode::SegmentSequence,
                "a message has to begin with an MSH segment",
            ));
        }
        let msh = bytes.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
        let delimiters = Delimiters::declared(msh)?;
        let separator = msh.get(3).copied().unwrap_or(b'|');
        let charset = declared_charset(msh, separator, delimiters)?;
        let text = charset
            .decode(bytes)
            .map_err(|offset| charset::undecodable(bytes, offset, separator))?;
        let spans = spans(&text, delimiters.field, limits)?;
        Ok(Self {
            text,
            syntax: Syntax { delimiters, charset },
            spans,
        })
    }

    pub(crate) fn charset(&self) -> Charset {
        self.syntax.charset
    }

    pub(crate) fn delimiters(&self) -> Delimiters {
        self.syntax.delimiters
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Segment<'_>> {
        self.spans.iter().map(|span| {
            let text = &self.text[span.range.clone()];
            Segment::new(span.id, span.occurrence, text, self.syntax)
        })
    }

    pub(crate) fn named(&self, id: SegmentId) -> impl Iterator<Item = Segment<'_>> {
        self.iter().filter(move |segment| segment.id() == id)
    }

    pub(crate) fn first(&self, id: SegmentId) -> Option<Segment<'_>> {
        self.named(id).next()
    }
}

/// The message without a byte-order mark before it, line ends around it and the rest of an MLLP or file frame behind it.
pub(super) fn message_body(bytes: &[u8]) -> &[u8] {
    let mut body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    while let [b'\r' | b'\n' | b' ' | b'\x0b', rest @ ..] = body {
        body = rest;
    }
    while let [rest @ .., b'\r' | b'\n' | b'\x1c' | b'\x1a' | b'\0'] = body {
        body = rest;
    }
    body
}

fn declared_charset(msh: &[u8], separator: u8, delimiters: Delimiters) -> Result<Charset, Hl7Error> {
    let stated = msh.split(|b| *b == separator).nth(17).unwrap_or_default();
    let stated = String::from_utf8_lossy(stated);
    let first = stated
        .split(|c| Some(c) == delimiters.repetition)
        .next()
        .unwrap_or_default();
    Charset::named(first).ok_or_else(|| {
        let problem = "character set is not one read here; send UNICODE UTF-8 or 8859/1";
        Hl7Error::field(ErrorCode::TableValueNotFound, SegmentId::MSH, 18, problem)
    })
}

fn spans(text: &str, separator: char, limits: &Limits) -> Result<Vec<Span>, Hl7Error> {
    let mut seen: BTreeMap<SegmentId, u16> = BTreeMap::new();
    let mut spans: Vec<Span> = Vec::new();
    for range in lines(text, separator) {
        let line = &text[range.clone()];
        if line.trim().is_empty() {
            continue;
        }
        let previous = spans
            .last()
            .map_or((SegmentId::MSH, 1), |span| (span.id, span.occurrence));
        let sequence = |problem| Hl7Error::segment(ErrorCode::SegmentSequence, previous.0, previous.1, problem);
        let id = segment_id(line, separator)
            .ok_or_else(|| sequence("what follows this segment does not begin with a segment name"))?;
        if id == SegmentId::MSH && !spans.is_empty() {
            return Err(Hl7Error::segment(
                ErrorCode::SegmentSequence,
                id,
                2,
                "one message holds one MSH segment",
            ));
        }
        if spans.len() == limits.segments_max {
            return Err(sequence("message has more segments than the limit set here"));
        }
        let occurrence = seen.entry(id).and_modify(|n| *n = n.saturating_add(1)).or_insert(1);
        if line.matches(separator).count() > limits.fields_per_segment_max {
            let problem = "segment has more fields than the limit set here";
            return Err(Hl7Error::segment(ErrorCode::DataType, id, *occurrence, problem));
        }
        spans.push(Span {
            id,
            occurrence: *occurrence,
            range,
        });
    }
    Ok(spans)
}

/// The ranges of text between segment ends.
fn lines(text: &str, separator: char) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let by_carriage_return = bytes.contains(&b'\r');
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let ends = match byte {
            b'\r' => true,
            b'\n' if by_carriage_return => start == at || segment_id(&text[at + 1..], separator).is_some(),
            b'\n' => true,
            _ => false,
        };
        if ends {
            lines.push(start..at);
            start = at + 1;
        }
    }
    lines.push(start..text.len());
    lines
}

fn segment_id(line: &str, separator: char) -> Option<SegmentId> {
    let id = SegmentId::from_bytes(line.as_bytes().get(..3)?)?;
    let followed = line[3..].chars().next();
    followed
        .is_none_or(|c| c == separator || c == '\r' || c == '\n')
        .then_some(id)
}

conceal_debug!(Segments);
