//! MSH: who sends what to whom, and how they want it acknowledged.

use std::fmt;

use super::charset::Charset;
use super::datatypes::{Designator, tidy};
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::fields::Field;
use super::segments::Segments;

/// MSH-9: `ADT^A04^ADT_A04`, `ADT^A04` or `ACK`. Upper-case letters and digits only, so it is safe to print.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType {
    code: String,
    event: Option<String>,
    structure: Option<String>,
}

impl MessageType {
    pub(super) fn read(field: &Field<'_>) -> Result<Self, Hl7Error> {
        let wrong = |code, problem| Hl7Error::field(code, SegmentId::MSH, 9, problem);
        let part = |n| tidy(field.component(n).text()).map(|text| text.to_ascii_uppercase());
        let code = part(1).ok_or_else(|| Hl7Error::missing(SegmentId::MSH, 9))?;
        if !is_code(&code, 3) {
            return Err(wrong(
                ErrorCode::UnsupportedMessageType,
                "message type has to be three letters, such as ADT",
            ));
        }
        let event = part(2);
        if event.as_deref().is_some_and(|event| !is_code(event, 3)) {
            return Err(wrong(
                ErrorCode::UnsupportedEvent,
                "event has to be three characters, such as A04",
            ));
        }
        let structure = part(3).filter(|name| name.len() <= 16 && name.split('_').all(|half| is_code(half, 16)));
        Ok(Self { code, event, structure })
    }

    /// `ADT`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// `A04`.
    pub fn event(&self) -> Option<&str> {
        self.event.as_deref()
    }

    /// `ADT_A04`, when sent.
    pub fn structure(&self) -> Option<&str> {
        self.structure.as_deref()
    }

    /// Whether this is the given type and event, whatever the structure: `is("ADT", "A04")`.
    pub fn is(&self, code: &str, event: &str) -> bool {
        self.code == code && self.event.as_deref() == Some(event)
    }
}

fn is_code(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        self.event.iter().try_for_each(|event| write!(f, "^{event}"))
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When an acknowledgement is wanted, HL7 table 0155.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCondition {
    /// AL
    Always,
    /// NE
    Never,
    /// ER
    OnError,
    /// SU
    OnSuccess,
}

impl AckCondition {
    pub(super) fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().as_str() {
            "AL" => Some(Self::Always),
            "NE" => Some(Self::Never),
            "ER" => Some(Self::OnError),
            "SU" => Some(Self::OnSuccess),
            _ => None,
        }
    }
}

/// MSH, read. Whoever sends both of MSH-15 and MSH-16 empty wants original mode.
#[derive(Clone)]
pub struct Header {
    pub sending_application: Designator,
    pub sending_facility: Designator,
    pub receiving_application: Designator,
    pub receiving_facility: Designator,
    pub message_type: MessageType,
    /// MSH-10, never empty.
    pub control_id: String,
    /// MSH-11: P production, T training, D debugging.
    pub processing_id: Option<String>,
    /// MSH-12, such as `2.5.1`.
    pub version: Option<String>,
    /// MSH-15
    pub accept_condition: Option<AckCondition>,
    /// MSH-16
    pub application_condition: Option<AckCondition>,
    pub charset: Charset,
}

conceal_debug!(Header);

/// As sent, blanks and all: the sender looks for exactly this in the acknowledgement.
pub(super) fn control_id(field: &Field<'_>) -> Option<String> {
    let sent = field.whole_text();
    (!sent.trim().is_empty() && !field.is_null()).then(|| sent.into_owned())
}

impl Header {
    pub(super) fn read(segments: &Segments) -> Result<Self, Hl7Error> {
        let msh = segments.first(SegmentId::MSH).ok_or_else(|| {
            Hl7Error::segment(
                ErrorCode::SegmentSequence,
                SegmentId::MSH,
                1,
                "message needs an MSH segment",
            )
        })?;
        let condition = |n| {
            let text = msh.field(n).text();
            let known = AckCondition::read(&text);
            let problem = "acknowledgement condition has to be AL, NE, ER or SU";
            match known {
                None if tidy(text).is_some() => Err(msh.error(ErrorCode::TableValueNotFound, n, problem)),
                known => Ok(known),
            }
        };
        Ok(Self {
            sending_application: Designator::of_field(&msh.field(3)),
            sending_facility: Designator::of_field(&msh.field(4)),
            receiving_application: Designator::of_field(&msh.field(5)),
            receiving_facility: Designator::of_field(&msh.field(6)),
            message_type: MessageType::read(&msh.field(9))?,
            control_id: control_id(&msh.field(10)).ok_or_else(|| Hl7Error::missing(SegmentId::MSH, 10))?,
            processing_id: tidy(msh.field(11).text()),
            version: tidy(msh.field(12).text()),
            accept_condition: condition(15)?,
            application_condition: condition(16)?,
            charset: segments.charset(),
        })
    }

    /// An acknowledgement itself, which is never acknowledged.
    pub fn is_acknowledgement(&self) -> bool {
        matches!(self.message_type.code(), "ACK" | "MCF")
    }
}
