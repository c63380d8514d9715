//! One message, parsed.

use super::coverage::{Allergy, Coverage};
use super::delimiters::Delimiters;
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::fields::Segment;
use super::header::Header;
use super::merge::Merge;
use super::patient::PatientSegment;
use super::results::PatientResults;
use super::schedule::Booking;
use super::segments::{Limits, Segments};
use super::visit::{Event, Visit};

/// A message whose MSH is sound: it has a type and a control id, and all of it is text.
#[derive(Clone)]
pub struct Message {
    segments: Segments,
    header: Header,
}

conceal_debug!(Message);

impl Message {
    /// Reads one message within [`Limits::default`]; not an MLLP frame with several, nor a batch file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Hl7Error> {
        Self::parse_within(bytes, &Limits::default())
    }

    pub fn parse_within(bytes: &[u8], limits: &Limits) -> Result<Self, Hl7Error> {
        let segments = Segments::split(bytes, limits)?;
        let header = Header::read(&segments)?;
        Ok(Self { segments, header })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn delimiters(&self) -> Delimiters {
        self.segments.delimiters()
    }

    /// All segments, in the order sent.
    pub fn all_segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter()
    }

    /// The segments of one name, in the order sent; none for what is no segment name.
    pub fn segments(&self, name: &str) -> impl Iterator<Item = Segment<'_>> {
        let id = SegmentId::parse(name);
        self.segments.iter().filter(move |segment| Some(segment.id()) == id)
    }

    /// The one patient this message is about. A message with none or with several is refused (100); results, which may
    /// come for several, are read by [`Message::results`].
    pub fn patient(&self) -> Result<PatientSegment, Hl7Error> {
        let wrong =
            |occurrence, problem| Hl7Error::segment(ErrorCode::SegmentSequence, SegmentId::PID, occurrence, problem);
        let mut found = self.segments.named(SegmentId::PID);
        let patient = found.next().ok_or_else(|| wrong(1, "message needs a PID segment"))?;
        if found.next().is_some() {
            return Err(wrong(2, "a message of this type is about one patient"));
        }
        PatientSegment::read(&patient)
    }

    /// PV1, with the reason of PV2.
    pub fn visit(&self) -> Result<Option<Visit>, Hl7Error> {
        let reason_from = self.segments.first(SegmentId::PV2);
        self.segments
            .first(SegmentId::PV1)
            .map(|pv1| Visit::read(&pv1, reason_from.as_ref()))
            .transpose()
    }

    /// EVN. Its event code is left alone: MSH-9 decides, and senders let the two disagree.
    pub fn event(&self) -> Result<Option<Event>, Hl7Error> {
        self.segments
            .first(SegmentId::EVN)
            .map(|evn| Event::read(&evn))
            .transpose()
    }

    /// Every AL1.
    pub fn allergies(&self) -> Result<Vec<Allergy>, Hl7Error> {
        self.segments
            .named(SegmentId::AL1)
            .map(|al1| Allergy::read(&al1))
            .collect()
    }

    /// Every IN1.
    pub fn coverages(&self) -> Result<Vec<Coverage>, Hl7Error> {
        self.segments
            .named(SegmentId::IN1)
            .map(|in1| Coverage::read(&in1))
            .collect()
    }

    /// The results of an ORU R01, by patient.
    pub fn results(&self) -> Result<Vec<PatientResults>, Hl7Error> {
        PatientResults::read_all(self.segments.iter())
    }

    /// The booking of an SIU.
    pub fn booking(&self) -> Result<Booking, Hl7Error> {
        Booking::read(self.segments.iter())
    }

    /// The pairs of an ADT A40, at least one.
    pub fn merges(&self) -> Result<Vec<Merge>, Hl7Error> {
        Merge::read_all(self.segments.iter())
    }
}
