//! What is wrong with a message and where, in the words of HL7: a location (ERL) and a code of table 0357. Never content.

use std::fmt;

/// The three characters that name a segment: an upper-case letter, then letters or digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId([u8; 3]);

impl SegmentId {
    pub const AIG: Self = Self(*b"AIG");
    pub const AIL: Self = Self(*b"AIL");
    pub const AIP: Self = Self(*b"AIP");
    pub const AIS: Self = Self(*b"AIS");
    pub const AL1: Self = Self(*b"AL1");
    pub const ERR: Self = Self(*b"ERR");
    pub const EVN: Self = Self(*b"EVN");
    pub const IN1: Self = Self(*b"IN1");
    pub const MRG: Self = Self(*b"MRG");
    pub const MSA: Self = Self(*b"MSA");
    pub const MSH: Self = Self(*b"MSH");
    pub const NTE: Self = Self(*b"NTE");
    pub const OBR: Self = Self(*b"OBR");
    pub const OBX: Self = Self(*b"OBX");
    pub const ORC: Self = Self(*b"ORC");
    pub const PID: Self = Self(*b"PID");
    pub const PV1: Self = Self(*b"PV1");
    pub const PV2: Self = Self(*b"PV2");
    pub const RGS: Self = Self(*b"RGS");
    pub const SCH: Self = Self(*b"SCH");
    pub const TQ1: Self = Self(*b"TQ1");

    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let id: [u8; 3] = bytes.try_into().ok()?;
        let fits = id[0].is_ascii_uppercase() && id[1..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        fits.then_some(Self(id))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Message error condition codes, HL7 table 0357.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    SegmentSequence,
    RequiredFieldMissing,
    DataType,
    TableValueNotFound,
    UnsupportedMessageType,
    UnsupportedEvent,
    UnsupportedProcessingId,
    UnsupportedVersion,
    UnknownKey,
    DuplicateKey,
    RecordLocked,
    Internal,
}

impl ErrorCode {
    pub fn number(self) -> u16 {
        match self {
            Self::SegmentSequence => 100,
            Self::RequiredFieldMissing => 101,
            Self::DataType => 102,
            Self::TableValueNotFound => 103,
            Self::UnsupportedMessageType => 200,
            Self::UnsupportedEvent => 201,
            Self::UnsupportedProcessingId => 202,
            Self::UnsupportedVersion => 203,
            Self::UnknownKey => 204,
            Self::DuplicateKey => 205,
            Self::RecordLocked => 206,
            Self::Internal => 207,
        }
    }

    /// The code's text in table 0357.
    pub fn text(self) -> &'static str {
        match self {
            Self::SegmentSequence => "Segment sequence error",
            Self::RequiredFieldMissing => "Required field missing",
            Self::DataType => "Data type error",
            Self::TableValueNotFound => "Table value not found",
            Self::UnsupportedMessageType => "Unsupported message type",
            Self::UnsupportedEvent => "Unsupported event code",
            Self::UnsupportedProcessingId => "Unsupported processing id",
            Self::UnsupportedVersion => "Unsupported version id",
            Self::UnknownKey => "Unknown key identifier",
            Self::DuplicateKey => "Duplicate key identifier",
            Self::RecordLocked => "Application record locked",
            Self::Internal => "Application internal error",
        }
    }

    /// Whether the sender is told "rejected" (AR, CR: the kind of message, or us) rather than "error" (AE, CE: its content).
    pub fn rejects(self) -> bool {
        match self {
            Self::SegmentSequence
            | Self::RequiredFieldMissing
            | Self::DataType
            | Self::TableValueNotFound
            | Self::UnknownKey
            | Self::DuplicateKey => false,
            Self::UnsupportedMessageType
            | Self::UnsupportedEvent
            | Self::UnsupportedProcessingId
            | Self::UnsupportedVersion
            | Self::RecordLocked
            | Self::Internal => true,
        }
    }
}

/// Where in a message: `PID-7`, or `OBX(3)-5` for the third OBX. `occurrence` counts from 1 among segments of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub segment: SegmentId,
    pub occurrence: u16,
    pub field: Option<u16>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.segment)?;
        if self.occurrence > 1 {
            write!(f, "({})", self.occurrence)?;
        }
        match self.field {
            Some(field) => write!(f, "-{field}"),
            None => Ok(()),
        }
    }
}

/// Why a message cannot be used. Carries no content: `problem` is a fixed sentence that says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {problem} (HL7 error {})", code.number())]
pub struct Hl7Error {
    pub code: ErrorCode,
    pub location: Location,
    pub problem: &'static str,
}

impl Hl7Error {
    /// About a field of the first segment of that name.
    pub fn field(code: ErrorCode, segment: SegmentId, field: u16, problem: &'static str) -> Self {
        Self {
            code,
            location: Location {
                segment,
                occurrence: 1,
                field: Some(field),
            },
            problem,
        }
    }

    /// About a segment as a whole.
    pub fn segment(code: ErrorCode, segment: SegmentId, occurrence: u16, problem: &'static str) -> Self {
        Self {
            code,
            location: Location {
                segment,
                occurrence,
                field: None,
            },
            problem,
        }
    }

    /// A field that has to be sent and was not.
    pub fn missing(segment: SegmentId, field: u16) -> Self {
        Self::field(
            ErrorCode::RequiredFieldMissing,
            segment,
            field,
            "required field is empty",
        )
    }

    /// A trigger event (MSH-9.2) that is not taken here.
    pub fn unsupported_event() -> Self {
        Self::field(
            ErrorCode::UnsupportedEvent,
            SegmentId::MSH,
            9,
            "event is not taken here",
        )
    }
}
