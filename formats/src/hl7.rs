//! HL7 v2: reading messages as senders really send them, acknowledging them, and writing our own.
//!
//! [`Message::parse`] takes bytes apart once and checks what every message needs (MSH, its delimiters, character set, type and
//! control id); the typed views ([`PatientSegment`], [`Visit`], [`PatientResults`], …) read narrow, named parts of it. What is
//! not valid is refused with segment, field and table 0357 code ([`Hl7Error`]), ready for [`ack`]. Whether an event is wanted,
//! which fields must be there for it and whose patient it is, others decide.

pub mod ack;
pub mod build;
mod charset;
mod coverage;
mod datatypes;
mod delimiters;
mod error;
mod fields;
mod header;
mod merge;
mod message;
mod patient;
mod results;
mod schedule;
mod segments;
mod telecom;
mod visit;

pub use charset::Charset;
pub use coverage::{Allergy, Coverage};
pub use datatypes::{
    Address, Clinician, Coded, Designator, EntityIdentifier, PatientIdentifier, PatientLocation, PersonName, Sent,
};
pub use delimiters::Delimiters;
pub use error::{ErrorCode, Hl7Error, Location, SegmentId};
pub use fields::{Component, Field, Repetition, Segment};
pub use header::{AckCondition, Header, MessageType};
pub use merge::Merge;
pub use message::Message;
pub use patient::PatientSegment;
pub use results::{Observation, PatientResults, Report};
pub use schedule::{Booking, PersonBooked, PlaceBooked, ServiceBooked, Timing};
pub use segments::Limits;
pub use telecom::{Telecom, TelecomSystem, TelecomUse};
pub use visit::{Event, Visit};

/// The HL7 null: "delete what you have", as against an empty field, which says nothing.
pub(crate) const NULL: &str = "\"\"";
