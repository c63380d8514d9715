//! Text taken apart: segments, fields, repetitions, components, subcomponents. Lazily, and without copying.
//!
//! Takes CR, LF and CR LF as segment ends, a byte-order mark, blank lines, what MLLP leaves at the end, and line feeds that a
//! sender forgot to escape inside a CR-terminated message.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::NULL;
use super::charset::{self, Charset};
use super::delimiters::Delimiters;
use super::error::{ErrorCode, Hl7Error, Location, SegmentId};

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
        Self { message_max_bytes: 4 * 1024 * 1024, segments_max: 20_000, fields_per_segment_max: 1_000 }
    }
}

#[derive(Clone, Copy)]
struct Syntax {
    delimiters: Delimiters,
    charset: Charset,
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
            return Err(whole(ErrorCode::SegmentSequence, "a message has to begin with an MSH segment"));
        }
        let msh = bytes.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
        let delimiters = Delimiters::declared(msh)?;
        let separator = msh.get(3).copied().unwrap_or(b'|');
        let charset = declared_charset(msh, separator, delimiters)?;
        let text =
            charset.decode(bytes).map_err(|offset| charset::undecodable(bytes, offset, separator))?;
        let spans = spans(&text, delimiters.field, limits)?;
        Ok(Self { text, syntax: Syntax { delimiters, charset }, spans })
    }

    pub(crate) fn charset(&self) -> Charset {
        self.syntax.charset
    }

    pub(crate) fn delimiters(&self) -> Delimiters {
        self.syntax.delimiters
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Segment<'_>> {
        self.spans.iter().map(|span| Segment {
            id: span.id,
            occurrence: span.occurrence,
            text: &self.text[span.range.clone()],
            syntax: self.syntax,
        })
    }

    pub(crate) fn named(&self, id: SegmentId) -> impl Iterator<Item = Segment<'_>> {
        self.iter().filter(move |segment| segment.id == id)
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
    let first = stated.split(|c| Some(c) == delimiters.repetition).next().unwrap_or_default();
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
        let previous = spans.last().map_or((SegmentId::MSH, 1), |span| (span.id, span.occurrence));
        let sequence = |problem| Hl7Error::segment(ErrorCode::SegmentSequence, previous.0, previous.1, problem);
        let id = segment_id(line, separator)
            .ok_or_else(|| sequence("what follows this segment does not begin with a segment name"))?;
        if id == SegmentId::MSH && !spans.is_empty() {
            return Err(Hl7Error::segment(ErrorCode::SegmentSequence, id, 2, "one message holds one MSH segment"));
        }
        if spans.len() == limits.segments_max {
            return Err(sequence("message has more segments than the limit set here"));
        }
        let occurrence = seen.entry(id).and_modify(|n| *n = n.saturating_add(1)).or_insert(1);
        if line.matches(separator).count() > limits.fields_per_segment_max {
            let problem = "segment has more fields than the limit set here";
            return Err(Hl7Error::segment(ErrorCode::DataType, id, *occurrence, problem));
        }
        spans.push(Span { id, occurrence: *occurrence, range });
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
    followed.is_none_or(|c| c == separator || c == '\r' || c == '\n').then_some(id)
}

/// One segment. Fields are numbered as the standard numbers them, from 1, in MSH too.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    id: SegmentId,
    occurrence: u16,
    text: &'a str,
    syntax: Syntax,
}

/// One field: empty, the HL7 null, or repetitions of components.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    raw: &'a str,
    syntax: Syntax,
}

/// One repetition of a field.
#[derive(Clone, Copy)]
pub struct Repetition<'a> {
    raw: &'a str,
    syntax: Syntax,
}

/// One component of a repetition.
#[derive(Clone, Copy)]
pub struct Component<'a> {
    raw: &'a str,
    syntax: Syntax,
}

conceal_debug!(Segments, Segment<'_>, Field<'_>, Repetition<'_>, Component<'_>);

impl<'a> Segment<'a> {
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Counted from 1 among the segments of this name.
    pub fn occurrence(&self) -> u16 {
        self.occurrence
    }

    /// Field `n`; empty when the segment ends before it.
    pub fn field(&self, n: u16) -> Field<'a> {
        let in_msh = self.id == SegmentId::MSH;
        let literal = Syntax { delimiters: Delimiters::none(self.syntax.delimiters.field), ..self.syntax };
        if in_msh && n == 1 {
            return Field { raw: self.text.get(3..4).unwrap_or_default(), syntax: literal };
        }
        let at = usize::from(n) - usize::from(in_msh && n > 0);
        let raw = match n {
            0 => "",
            _ => self.text.split(self.syntax.delimiters.field).nth(at).unwrap_or_default(),
        };
        Field { raw, syntax: if in_msh && n == 2 { literal } else { self.syntax } }
    }

    /// An error about field `n` of this very segment.
    pub fn error(&self, code: ErrorCode, n: u16, problem: &'static str) -> Hl7Error {
        let location = Location { segment: self.id, occurrence: self.occurrence, field: Some(n) };
        Hl7Error { code, location, problem }
    }
}

impl<'a> Field<'a> {
    /// As sent, escapes and all.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Nothing, or nothing but delimiters: the sender says nothing about it.
    pub fn is_empty(&self) -> bool {
        let Delimiters { component, repetition, subcomponent, .. } = self.syntax.delimiters;
        self.raw.chars().all(|c| c.is_whitespace() || [component, repetition, subcomponent].contains(&Some(c)))
    }

    /// `""`: the sender says that there is none.
    pub fn is_null(&self) -> bool {
        self.raw.trim() == NULL
    }

    pub fn repetitions(&self) -> impl Iterator<Item = Repetition<'a>> + use<'a> {
        let syntax = self.syntax;
        split(self.raw, syntax.delimiters.repetition).map(move |raw| Repetition { raw, syntax })
    }

    /// The first repetition.
    pub fn repetition(&self) -> Repetition<'a> {
        let raw = split(self.raw, self.syntax.delimiters.repetition).next().unwrap_or_default();
        Repetition { raw, syntax: self.syntax }
    }

    /// Component `n` of the first repetition.
    pub fn component(&self, n: usize) -> Component<'a> {
        self.repetition().component(n)
    }

    /// All of it unescaped, for a field of plain text whose sender left delimiters in it.
    pub fn whole_text(&self) -> Cow<'a, str> {
        self.syntax.delimiters.unescape(self.raw, self.syntax.charset)
    }

    /// The first component of the first repetition, unescaped.
    pub fn text(&self) -> Cow<'a, str> {
        self.component(1).text()
    }
}

impl<'a> Repetition<'a> {
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Component `n`, from 1; empty when there are fewer.
    pub fn component(&self, n: usize) -> Component<'a> {
        let raw = match n {
            0 => "",
            _ => split(self.raw, self.syntax.delimiters.component).nth(n - 1).unwrap_or_default(),
        };
        Component { raw, syntax: self.syntax }
    }

    pub fn components(&self) -> impl Iterator<Item = Component<'a>> + use<'a> {
        let syntax = self.syntax;
        split(self.raw, syntax.delimiters.component).map(move |raw| Component { raw, syntax })
    }

    /// The whole repetition unescaped, for free text whose sender left delimiters in it.
    pub fn whole_text(&self) -> Cow<'a, str> {
        self.syntax.delimiters.unescape(self.raw, self.syntax.charset)
    }
}

impl<'a> Component<'a> {
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The whole component unescaped; an `&` that its sender did not escape stays in it. The HL7 null is empty text.
    pub fn text(&self) -> Cow<'a, str> {
        match self.raw {
            NULL => Cow::Borrowed(""),
            raw => self.syntax.delimiters.unescape(raw, self.syntax.charset),
        }
    }

    /// Subcomponent `n`, from 1, unescaped; empty when there are fewer.
    pub fn subcomponent(&self, n: usize) -> Cow<'a, str> {
        let raw = match n {
            0 => "",
            _ => split(self.raw, self.syntax.delimiters.subcomponent).nth(n - 1).unwrap_or_default(),
        };
        Component { raw, syntax: self.syntax }.text()
    }
}

fn split(raw: &str, delimiter: Option<char>) -> impl Iterator<Item = &str> {
    raw.split(move |c| Some(c) == delimiter)
}
