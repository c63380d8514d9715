//! Segments taken apart: fields, repetitions, components, subcomponents. Lazily, and without copying.

use std::borrow::Cow;

use super::NULL;
use super::charset::Charset;
use super::delimiters::Delimiters;
use super::error::{ErrorCode, Hl7Error, Location, SegmentId};

/// What it takes to read a piece of a message.
#[derive(Clone, Copy)]
pub(super) struct Syntax {
    pub(super) delimiters: Delimiters,
    pub(super) charset: Charset,
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

conceal_debug!(Segment<'_>, Field<'_>, Repetition<'_>, Component<'_>);

impl<'a> Segment<'a> {
    pub(super) fn new(id: SegmentId, occurrence: u16, text: &'a str, syntax: Syntax) -> Self {
        Self {
            id,
            occurrence,
            text,
            syntax,
        }
    }

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
        let literal = Syntax {
            delimiters: Delimiters::none(self.syntax.delimiters.field),
            ..self.syntax
        };
        if in_msh && n == 1 {
            return Field {
                raw: self.text.get(3..4).unwrap_or_default(),
                syntax: literal,
            };
        }
        let at = usize::from(n) - usize::from(in_msh && n > 0);
        let raw = match n {
            0 => "",
            _ => self
                .text
                .split(self.syntax.delimiters.field)
                .nth(at)
                .unwrap_or_default(),
        };
        Field {
            raw,
            syntax: if in_msh && n == 2 { literal } else { self.syntax },
        }
    }

    /// Field `n` of this very segment has to be sent and was not.
    pub fn missing(&self, n: u16) -> Hl7Error {
        let error = Hl7Error::missing(self.id, n);
        Hl7Error {
            location: Location {
                occurrence: self.occurrence,
                ..error.location
            },
            ..error
        }
    }

    /// An error about field `n` of this very segment.
    pub fn error(&self, code: ErrorCode, n: u16, problem: &'static str) -> Hl7Error {
        let location = Location {
            segment: self.id,
            occurrence: self.occurrence,
            field: Some(n),
        };
        Hl7Error {
            code,
            location,
            problem,
        }
    }
}

impl<'a> Field<'a> {
    /// As sent, escapes and all.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Nothing, or nothing but delimiters: the sender says nothing about it.
    pub fn is_empty(&self) -> bool {
        let Delimiters {
            component,
            repetition,
            subcomponent,
            ..
        } = self.syntax.delimiters;
        self.raw
            .chars()
            .all(|c| c.is_whitespace() || [component, repetition, subcomponent].contains(&Some(c)))
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
        let raw = split(self.raw, self.syntax.delimiters.repetition)
            .next()
            .unwrap_or_default();
        Repetition {
            raw,
            syntax: self.syntax,
        }
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
            _ => split(self.raw, self.syntax.delimiters.component)
                .nth(n - 1)
                .unwrap_or_default(),
        };
        Component {
            raw,
            syntax: self.syntax,
        }
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
            _ => split(self.raw, self.syntax.delimiters.subcomponent)
                .nth(n - 1)
                .unwrap_or_default(),
        };
        Component {
            raw,
            syntax: self.syntax,
        }
        .text()
    }
}

fn split(raw: &str, delimiter: Option<char>) -> impl Iterator<Item = &str> {
    raw.split(move |c| Some(c) == delimiter)
}
